//! What a removal guarantees, on real hosts: nothing of a file that is gone or replaced is started any more, whatever refers to the
//! unit; and what does not stop is not gone.

use anyhow::{Context as _, Result, ensure};
use muster_tests::cluster::{Cluster, LONG_TTL};
use muster_tests::lab::Host;

/// A service that writes a line for each of its starts, and runs on.
fn service(mark: &str) -> String {
    format!(
        "[Service]\nExecStart=/bin/sh -c 'echo {mark} >>/run/app-starts; exec sleep infinity'\n"
    )
}

/// The marks of the starts on a host, in order.
fn starts(host: &Host) -> Vec<String> {
    let text = host.read_file("/run/app-starts").unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn nothing_of_a_removed_file_is_started_again() -> Result<()> {
    let cluster = Cluster::with_ttl(LONG_TTL)?;
    let first = cluster.host(0)?;

    cluster.step("a timer and a unit that is ordered after it refer to a service");
    cluster.write_unit(first, "app.service", &service("old"))?;
    cluster.run(first, "musterctl start app.service")?;
    let home = cluster.host_of("app.service")?;
    let id = home.machine_id();
    let here = format!("[X-Fleet]\nMachineID={id}\n");
    let web =
        format!("[Unit]\nAfter=app.service\n[Service]\nExecStart=/bin/sleep infinity\n{here}");
    cluster.write_unit(first, "web.service", &web)?;
    let timer = format!(
        "[Timer]\nOnActiveSec=1s\nOnUnitActiveSec=1s\nOnUnitInactiveSec=1s\nAccuracySec=100ms\nUnit=app.service\n{here}"
    );
    cluster.write_unit(first, "tick.timer", &timer)?;
    let socket = format!("[Socket]\nListenStream=127.0.0.1:7999\nService=app.service\n{here}");
    cluster.write_unit(first, "app-door.socket", &socket)?;
    cluster.run(first, "musterctl start web.service tick.timer")?;

    cluster.step("the service is destroyed: nothing starts it any more");
    cluster.run(first, "musterctl destroy app.service")?;
    let load = cluster.unit_property(home, "app.service", "LoadState")?;
    ensure!(load == "not-found", "systemd still knows it: {load}");
    let before = starts(home);
    // Longer than the timer takes to elapse several times. It fails at the first: its unit is not there.
    cluster.one_round()?;
    cluster.one_round()?;
    ensure!(!home.is_active("app.service"), "it runs");
    ensure!(starts(home) == before, "it was started: {:?}", starts(home));

    cluster.step("another file of that name is what runs");
    cluster.write_unit(first, "app.service", &format!("{}{here}", service("new")))?;
    cluster.run(first, "musterctl start app.service")?;
    let marks = starts(home);
    ensure!(marks.last().is_some_and(|mark| mark == "new"), "{marks:?}");
    ensure!(marks.iter().skip(before.len()).all(|mark| mark == "new"), "{marks:?}");

    cluster.step("a socket starts nothing of it either");
    cluster.run(first, "musterctl stop tick.timer app.service")?;
    cluster.run(first, "musterctl start app-door.socket")?;
    cluster.run(first, "musterctl destroy app.service")?;
    let before = starts(home);
    // Whoever connects is let down: the socket has nothing to start.
    let knock = "timeout 2 bash -c ': </dev/tcp/127.0.0.1/7999' || true";
    cluster.run_shell(home, knock)?;
    cluster.one_round()?;
    ensure!(starts(home) == before, "it was started: {:?}", starts(home));
    cluster.run(first, "musterctl destroy web.service tick.timer app-door.socket")?;

    cluster.step("what a global unit wants is not started where it was once");
    let near = format!("{}[X-Fleet]\nMachineID={id}\n", service("side"));
    cluster.write_unit(first, "side.service", &near)?;
    cluster.run(first, "musterctl start side.service")?;
    let global = "[Unit]\nWants=side.service\nAfter=side.service\n[Service]\nExecStart=/bin/sleep infinity\n\
                  [X-Fleet]\nGlobal=true\n";
    cluster.write_unit(first, "everywhere.service", global)?;
    cluster.run(first, "musterctl start everywhere.service")?;
    cluster.run(first, "musterctl destroy side.service")?;
    let before = starts(home);
    cluster.run(first, "musterctl restart everywhere.service")?;
    cluster.one_round()?;
    ensure!(starts(home) == before, "it was started: {:?}", starts(home));
    ensure!(cluster.active_on("side.service").is_empty(), "it runs");
    cluster.tear_down()
}

#[test]
fn what_does_not_stop_is_not_destroyed() -> Result<()> {
    let cluster = Cluster::with_ttl(LONG_TTL)?;
    let first = cluster.host(0)?;
    for (unit, text) in [
        (
            "stays.service",
            "[Unit]\nRefuseManualStop=yes\n[Service]\nExecStart=/bin/sleep infinity\n",
        ),
        (
            "stays.timer",
            "[Unit]\nRefuseManualStop=yes\n[Timer]\nOnActiveSec=1h\nUnit=stays.service\n[X-Fleet]\nMachineOf=stays.service\n",
        ),
    ] {
        cluster.write_unit(first, unit, text)?;
        cluster.run(first, &format!("musterctl start {unit}"))?;
    }
    let home = cluster.host_of("stays.service")?;

    for unit in ["stays.timer", "stays.service"] {
        cluster.step(&format!("{unit} does not stop, and destroy says so"));
        cluster.run_failing(first, &format!("musterctl destroy {unit}"), &["does not stop it"])?;
        let active = cluster.unit_property(home, unit, "ActiveState")?;
        ensure!(active == "active", "it does not run: {active}");
        let file = format!("/run/systemd/system/{unit}");
        ensure!(home.read_file(&file).is_ok(), "its file is gone, and it is not");
        let rows = cluster.list_states(first)?;
        let row = rows.iter().find(|row| row.unit == unit).context("it is not listed")?;
        ensure!(row.active.as_deref() == Some("active"), "{row:?}");
    }

    cluster.step("it goes once somebody on the machine lets it");
    for unit in ["stays.timer", "stays.service"] {
        let file = format!("/run/systemd/system/{unit}");
        cluster.run_shell(
            home,
            &format!("sed -i /RefuseManualStop/d {file}; systemctl daemon-reload"),
        )?;
    }
    cluster.wait_for_condition("both to be gone", || {
        ensure!(cluster.list_states(first)?.is_empty(), "they are listed");
        Ok(())
    })?;
    for unit in ["stays.timer", "stays.service"] {
        let active = cluster.unit_property(home, unit, "ActiveState")?;
        ensure!(active == "inactive", "{unit}: {active}");
    }
    cluster.tear_down()
}
