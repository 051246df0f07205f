//! Timers and sockets that start what they name: on a host that reboots and a daemon that restarts they are there again, and what they
//! started is theirs to start, and nobody's to stop.

use anyhow::{Result, ensure};
use muster_tests::cluster::{Cluster, LONG_TTL};
use muster_tests::lab::Host;

/// A line for each of its starts.
const COUNTED: &str =
    "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo tick >>/run/app-ticks'\n";

/// Answers whoever knocks, and runs on.
const DOOR: &str = "[Service]\nExecStart=/bin/sleep infinity\n";

fn count_ticks(host: &Host) -> usize {
    host.read_file("/run/app-ticks").unwrap_or_default().lines().count()
}

/// The timer goes on starting its service, and the socket starts its own when somebody knocks.
fn both_work(cluster: &Cluster, home: &Host) -> Result<()> {
    let before = count_ticks(home);
    cluster.wait_for_condition("the timer to start its service", || {
        let now = count_ticks(home);
        ensure!(now > before, "{now} starts, as before");
        Ok(())
    })?;
    cluster.wait_for_condition("the socket to start its service", || {
        cluster.run_shell(home, "timeout 2 bash -c ': </dev/tcp/127.0.0.1/7998'")?;
        let active = cluster.unit_property(home, "app-door.service", "ActiveState")?;
        ensure!(active == "active", "{active}");
        Ok(())
    })?;
    Ok(())
}

#[test]
fn timers_and_sockets_outlive_daemons_and_reboots() -> Result<()> {
    let cluster = Cluster::with_ttl(LONG_TTL)?;
    let first = cluster.host(0)?;
    let home = cluster.other_host(&[cluster.find_leader()?])?;
    let here = format!("\n[X-Fleet]\nMachineID={}\n", home.machine_id());
    let timer = format!(
        "[Timer]\nOnActiveSec=1s\nOnUnitActiveSec=1s\nOnUnitInactiveSec=1s\nAccuracySec=100ms\n{here}"
    );
    let socket = format!("[Socket]\nListenStream=127.0.0.1:7998\n{here}");
    for (unit, text) in [
        ("app-tick.service", format!("{COUNTED}{here}")),
        ("app-tick.timer", timer),
        ("app-door.service", format!("{DOOR}{here}")),
        ("app-door.socket", socket),
    ] {
        cluster.write_unit(first, unit, &text)?;
    }

    cluster.step("services are loaded; their timer and socket start them");
    cluster.run(first, "musterctl load app-tick.service app-door.service")?;
    cluster.run(first, "musterctl start app-tick.timer app-door.socket")?;
    both_work(&cluster, home)?;
    let door = cluster.invocation_id(home, "app-door.service")?;

    cluster.step(
        "what the socket started is nobody's to stop: rounds, a restarted daemon, systemd anew",
    );
    cluster.one_round()?;
    cluster.run(home, "systemctl restart musterd")?;
    cluster.wait_until_healthy(home)?;
    cluster.run(home, "systemctl daemon-reexec")?;
    cluster.one_round()?;
    ensure!(cluster.invocation_id(home, "app-door.service")? == door, "it was stopped");
    both_work(&cluster, home)?;

    cluster.step("their host reboots: timer and socket are there again");
    home.reboot()?;
    cluster.wait_for_etcd()?;
    cluster.wait_for_machines(3)?;
    for unit in ["app-tick.timer", "app-door.socket"] {
        cluster.wait_for_condition(unit, || {
            let active = cluster.unit_property(home, unit, "ActiveState")?;
            ensure!(active == "active", "{active}");
            Ok(())
        })?;
    }
    both_work(&cluster, home)?;

    cluster.step("the timer and the socket are stopped: nothing starts any more");
    cluster.run(first, "musterctl stop app-tick.timer app-door.socket app-door.service")?;
    let before = count_ticks(home);
    cluster.one_round()?;
    cluster.one_round()?;
    // One that had been started just before may have ended since.
    ensure!(count_ticks(home) <= before + 1, "{} starts after {before}", count_ticks(home));
    cluster.run(
        first,
        "musterctl destroy app-tick.timer app-door.socket app-tick.service app-door.service",
    )?;
    cluster.assert_sound()?;
    cluster.tear_down()
}
