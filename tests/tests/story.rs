//! What a user gets: the story of the README, from three bare machines to units that are gone again.

use anyhow::{Context, Result, ensure};
use muster_tests::cluster::Cluster;
use muster_tests::lab::{Host, Options};

fn is_web(unit: &str) -> bool {
    unit.starts_with("web@")
}

#[test]
fn units_are_placed_run_moved_and_forgotten() -> Result<()> {
    let cluster = Cluster::start(Options::default())?;
    let first = cluster.host(0)?;

    cluster.step("each host lists the three machines");
    for host in cluster.hosts() {
        let mut listed = cluster.machines(host)?;
        listed.sort_by(|one, other| one.ip.cmp(&other.ip));
        let listed: Vec<_> = listed.into_iter().map(|row| (row.machine, row.ip)).collect();
        let expected: Vec<_> = cluster
            .hosts()
            .iter()
            .map(|host| (host.machine_id().to_owned(), Some(host.address().to_string())))
            .collect();
        ensure!(listed == expected, "{} lists {listed:?}", host.name());
    }

    cluster.step("a template is submitted: inactive, and in the store");
    cluster.write_examples(first, &["web@.service"])?;
    cluster.run(first, "musterctl submit web@.service")?;
    let files = cluster.unit_files(cluster.host(1)?)?;
    let template = files.first().context("list-unit-files is empty")?;
    ensure!(files.len() == 1 && template.unit == "web@.service", "{files:?}");
    ensure!(template.dstate == "inactive" && template.state == "inactive", "{template:?}");
    ensure!(template.target.is_empty(), "{template:?}");
    let keys = cluster.list_keys(first, "")?;
    ensure!(keys.iter().any(|key| key == "unit/web@.service"), "{keys:?}");
    ensure!(keys.iter().filter(|key| key.starts_with("file/")).count() == 1, "{keys:?}");

    cluster.step("two instances start on different machines and answer over HTTP");
    let started = cluster.run(first, "musterctl start web@1 web@2")?;
    cluster.report_duration("musterctl start web@1 web@2", started.took);
    let (one, two) = (cluster.host_of("web@1.service")?, cluster.host_of("web@2.service")?);
    ensure!(one.name() != two.name(), "both run on {}", one.name());
    answers(&cluster, one, 1)?;
    answers(&cluster, two, 2)?;

    cluster.step("of two more, one fits and the other is refused by each machine");
    let refused = cluster.run_failing(
        first,
        "musterctl start web@3 web@4",
        &["web@4.service: no machine can take it", "Conflicts=web@*"],
    )?;
    cluster.report_duration("musterctl start web@3 web@4", refused.took);
    for host in cluster.hosts() {
        let id = host.machine_id().get(..8).context("a machine id is short")?;
        ensure!(refused.stderr.contains(id), "{id} is not named: {}", refused.stderr);
    }
    let three = cluster.host_of("web@3.service")?;
    ensure!(![one.name(), two.name()].contains(&three.name()), "web@3 is on {}", three.name());
    answers(&cluster, three, 3)?;
    ensure!(cluster.active_on("web@4.service").is_empty(), "web@4 was refused and runs");

    cluster.step("status and journal, asked from another host");
    cluster.wait_for_condition("the same status here and there", || {
        let there =
            stable(&cluster.run(one, "systemctl status --full --no-pager web@1.service")?.stdout);
        let here = stable(&cluster.run(two, "musterctl status web@1")?.stdout);
        ensure!(here == there, "{}:\n{there}\n{}:\n{here}", one.name(), two.name());
        Ok(())
    })?;
    // A line may come in between the two looks.
    cluster.wait_for_condition("the same journal here and there", || {
        let there = "journalctl --no-pager --unit=web@1.service --lines=5 --output=short";
        let there = cluster.run(one, there)?.stdout;
        let here = cluster.run(two, "musterctl journal --lines=5 web@1")?.stdout;
        ensure!(here.contains("web@1.service"), "{here}");
        let last = there.lines().last().unwrap_or_default();
        let same = here.lines().last() == Some(last);
        ensure!(same, "{}:\n{there}\n{}:\n{here}", one.name(), two.name());
        Ok(())
    })?;

    cluster.step("the host of web@2 loses power: it runs elsewhere");
    cluster.run(first, "musterctl destroy web@3")?;
    let survivor = cluster.other_host(&[two])?;
    let before = cluster.invocation_id(one, "web@1.service")?;
    two.power_cut()?;
    let took = cluster.moves_away("web@2.service", &[two])?;
    cluster.report_duration("from the cut to running elsewhere", took);
    let moved = cluster.host_of("web@2.service")?;
    ensure!(moved.name() != one.name(), "web@2 runs beside web@1");
    cluster.wait_for_condition("web@2 to answer", || answers(&cluster, moved, 2))?;
    ensure!(cluster.machines(survivor)?.len() == 2, "the dead machine is still listed");

    cluster.step("the host comes back: three machines, and nothing moves");
    let running = cluster.list_running(is_web)?;
    two.power_on()?;
    cluster.wait_for_etcd()?;
    cluster.wait_for_machines(3)?;
    cluster.one_round()?;
    cluster.ensure_unchanged(&running, is_web)?;
    ensure!(cluster.invocation_id(one, "web@1.service")? == before, "web@1 was restarted");

    cluster.step("etcd is stopped everywhere: nothing stops or starts");
    cluster.wait_until_settled()?;
    cluster.for_each_host(|_, host| cluster.run(host, "systemctl stop etcd"))?;
    for host in cluster.hosts() {
        // Beyond the TTL: the daemon knows by its own clock that its lease has ended.
        let took = cluster.wait_until_unhealthy(host, "lease:")?;
        cluster.report_duration(&format!("{} counts its lease as lost", host.name()), took);
    }
    cluster.ensure_unchanged(&running, is_web)?;

    cluster.step("musterd is restarted in the outage: nothing stops or starts");
    cluster.for_each_host(|_, host| cluster.run(host, "systemctl restart musterd"))?;
    for host in cluster.hosts() {
        cluster.wait_until_unhealthy(host, "store:")?;
    }
    cluster.ensure_unchanged(&running, is_web)?;

    cluster.step("etcd is back: still nothing stops or starts");
    cluster.for_each_host(|_, host| cluster.run(host, "systemctl start etcd"))?;
    cluster.wait_for_etcd()?;
    cluster.wait_for_machines(3)?;
    cluster.wait_until_settled()?;
    cluster.one_round()?;
    cluster.ensure_unchanged(&running, is_web)?;

    cluster.step("destroyed is gone: from every host and from the store");
    let first = cluster.host(0)?;
    let gone = cluster.run(first, "musterctl destroy web@1 web@2 web@3 web@4 web@.service")?;
    ensure!(gone.stdout.contains("Destroyed web@1.service"), "{}", gone.stdout);
    for host in cluster.hosts() {
        let units = host.active_units(is_web);
        ensure!(units.is_empty(), "{} runs {units:?}", host.name());
        let files = cluster.run(host, "ls /run/systemd/system")?.stdout;
        ensure!(!files.contains("web@"), "{} has {files}", host.name());
    }
    ensure!(cluster.unit_files(first)?.is_empty(), "list-unit-files still lists something");
    cluster.wait_until_forgotten(first)?;
    cluster.assert_sound()?;
    cluster.tear_down()
}

/// An error unless an instance of the web server answers with its name from its host.
fn answers(cluster: &Cluster, host: &Host, instance: u16) -> Result<()> {
    // systemd calls it active once its shell has begun, a moment before it listens.
    cluster.wait_for_condition("an answer over HTTP", || {
        let answer = cluster.http_get(host, 8000 + instance, "/")?;
        let expected = format!("web@{instance}.service on {}\n", host.name());
        ensure!(answer.status == 200 && answer.body == expected, "{answer:?}");
        Ok(())
    })?;
    Ok(())
}

/// What systemctl says of a unit, without what changes from one moment to the next.
fn stable(status: &str) -> String {
    let passing = ["CPU:", "Memory:", "IO:", "IP:"];
    let lines =
        status.lines().filter(|line| !passing.iter().any(|word| line.trim().starts_with(word)));
    lines.map(|line| line.split("; ").next().unwrap_or(line)).collect::<Vec<_>>().join("\n")
}
