//! Draining with real systemd units: a replicated service never goes away, what cannot move runs on, and the machine takes
//! nothing until it is uncordoned.

use std::time::Instant;

use anyhow::{Result, ensure};
use muster_tests::cluster::{Cluster, LONG_TTL};

/// Reads a request up to its blank line, then answers.
const ANSWER: &str = r"while read -r line && [ ${#line} -gt 1 ]; do :; done
printf 'HTTP/1.0 200 OK\r\n\r\nhere\n'
";

/// Serves its instance as a port, and is up once it answers.
const REPLICA: &str = "\
[Service]
ExecStart=/usr/bin/systemd-socket-activate --listen=%i --accept --inetd /bin/sh /etc/answer
ExecStartPost=/bin/sh -c 'until curl --silent --fail --output /dev/null http://127.0.0.1:%i/; do sleep 0.1; done'
";

const REPLICAS: [u16; 3] = [8001, 8002, 8003];

#[test]
fn a_drained_machine_gives_its_units_up_and_no_replica_is_ever_away() -> Result<()> {
    let cluster = Cluster::with_ttl(LONG_TTL)?;
    let first = cluster.host(0)?;
    cluster.for_each_host(|_, host| host.write_file("/etc/answer", ANSWER))?;
    cluster.write_unit(first, "replica@.service", REPLICA)?;
    let names = REPLICAS.map(|port| format!("replica@{port}.service"));
    cluster.run(first, &format!("musterctl start {}", names.join(" ")))?;
    let [replica, ..] = &names;
    let drained = cluster.host_of(replica)?;
    let id = cluster.run(drained, "cat /etc/machine-id")?.stdout.trim().to_owned();
    cluster.write_sleeper(first, "pinned.service", &format!("MachineID={id}"))?;
    cluster.write_sleeper(first, "node.service", "Global=true")?;
    cluster.write_sleeper(first, "single.service", "Conflicts=single.service")?;
    cluster.run(first, "musterctl start pinned.service node.service single.service")?;
    cluster.wait_for_condition("the global unit everywhere", || {
        let everywhere = cluster.active_on("node.service").len();
        ensure!(everywhere == 3, "it runs on {everywhere}");
        Ok(())
    })?;
    let before = cluster.invocation_id(drained, "pinned.service")?;

    cluster.step("a rehearsal");
    let name = drained.name();
    let rehearsal = cluster.run_shell(first, &format!("musterctl drain {id} --dry-run"))?;
    ensure!(rehearsal.code == 1, "a pinned unit cannot move:\n{}", rehearsal.stdout);
    for word in
        ["replica@8001.service moves to", "pinned.service cannot move", "node.service stays"]
    {
        ensure!(rehearsal.stdout.contains(word), "{word} in:\n{}", rehearsal.stdout);
    }
    ensure!(cluster.host_of(replica)?.name() == name, "a rehearsal moves nothing");

    cluster.step("the drain");
    let ((), samples) = cluster.sample_while(&REPLICAS, || {
        let begin = Instant::now();
        let output = cluster.run_failing(
            first,
            &format!("musterctl drain {id} --reason test"),
            &["pinned.service cannot move: its MachineID= names this machine"],
        )?;
        cluster.report_duration("drain", begin.elapsed());
        ensure!(output.stdout.contains("replica@8001.service moved to"), "{}", output.stdout);
        Ok(())
    })?;
    ensure!(
        samples.fewest_answering() == REPLICAS.len(),
        "replicas were away: {:?} {:?} {:?}",
        samples.time_away(0),
        samples.time_away(1),
        samples.time_away(2)
    );
    cluster.report_duration("looks at it, at the most apart", samples.longest_gap());
    let left = drained.active_units(|unit| {
        unit.starts_with("replica@")
            || ["pinned.service", "node.service", "single.service"].contains(&unit)
    });
    ensure!(left == ["node.service", "pinned.service"], "{left:?} are left");
    ensure!(cluster.invocation_id(drained, "pinned.service")? == before, "it was restarted");
    cluster.host_of("single.service")?;

    cluster.step("it takes nothing");
    cluster.write_sleeper(first, "more@.service", "")?;
    cluster.run(first, "musterctl start more@1 more@2 more@3 more@4")?;
    let more = drained.active_units(|unit| unit.starts_with("more@"));
    ensure!(more.is_empty(), "{more:?} came to a drained machine");

    cluster.step("forced, at its deadline");
    // The client waits a moment longer than the deadline, which may not be enough for the stop.
    cluster.run_shell(first, &format!("musterctl drain {id} --deadline 1 --force"))?;
    cluster.wait_for_condition("nothing but the global unit to be left", || {
        let left = drained.active_units(|unit| unit == "pinned.service" || unit == "node.service");
        ensure!(left == ["node.service"], "{left:?} are left");
        Ok(())
    })?;

    cluster.step("uncordoned");
    cluster.run(first, &format!("musterctl uncordon {id}"))?;
    cluster.wait_for_condition("the pinned unit to come back", || {
        let home = cluster.host_of("pinned.service")?;
        ensure!(home.name() == name, "it is on {}", home.name());
        Ok(())
    })?;
    cluster.run(first, "musterctl start more@5")?;
    cluster.assert_sound()?;
    cluster.tear_down()
}
