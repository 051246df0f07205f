//! What makes a reboot due, what holds it back, and with whom a host takes turns.

use anyhow::{Context, Result, bail, ensure};
use muster_tests::cluster::Cluster;
use muster_tests::lab::{API_PORT, Answer, Host, Request};
use muster_tests::reboots::{DEFAULT, Reboots, options_with};

const QUICK: &str = "settle = \"1s\"\nretry = \"1s\"";

/// Hooks and a check that note when they ran, in which boot, and what else was so then.
const NOTE: &str = r#"#!/bin/sh
echo "$1 $(cat /proc/sys/kernel/random/boot_id) $(systemctl is-active app.service)" >> /etc/ran
"#;

/// A FleetLock client of the default group, which asks this host's daemon.
fn fleet_lock(cluster: &Cluster, host: &Host, path: &str) -> Result<Answer> {
    let request = Request {
        method: "POST",
        path: &format!("/fleetlock/v1/{path}"),
        headers: &[("fleet-lock-protocol", "true")],
        body: r#"{"client_params":{"id":"c988d2509fdf5cdcbed39037c56406fb","group":"default"}}"#,
        ..Request::get("")
    };
    cluster.send_request(host, API_PORT, request)
}

#[test]
fn everything_in_the_way_of_a_reboot_is_told_and_holds_it_back() -> Result<()> {
    let cluster = Cluster::start(options_with(QUICK))?;
    let reboots = Reboots::for_lab(&cluster);
    reboots.count_boots()?;
    let (host, other) = (cluster.host(0)?, cluster.host(1)?);
    host.write_file("/etc/note", NOTE)?;
    cluster.run(host, "chmod +x /etc/note")?;
    let pinned = format!("MachineID={}", other.machine_id());
    cluster.write_sleeper(host, "app.service", "")?;
    cluster.run(host, "musterctl start app.service")?;

    cluster.step("a closed window, an inhibitor, a failed unit, no slot");
    let day = cluster.run(host, "LC_ALL=C date --date='3 days' +%a")?.stdout;
    let lines = |window: &str| {
        format!(
            "{QUICK}\n{window}block_on_failed_units = true\n\
             check = [\"/bin/sh\", \"-c\", \"/etc/note check && test -e /etc/fine\"]\n\
             before_drain = [\"/etc/note\", \"before-drain\"]\n\
             before_reboot = [\"/etc/note\", \"before-reboot\"]\n\
             after_boot = [\"/etc/note\", \"after-boot\"]"
        )
    };
    reboots.configure_host(host, &lines(&format!("windows = [\"{} 03:00 1h\"]\n", day.trim())))?;
    let fails = format!("[Service]\nExecStart=/bin/false\n\n[X-Fleet]\n{pinned}\n");
    cluster.write_unit(host, "bad.service", &fails)?;
    // It cannot be started, which is what it is for.
    cluster.run_shell(host, "musterctl start bad.service")?;
    let inhibit = "systemd-run --unit=update systemd-inhibit --what=shutdown --mode=block --who=update \
                   --why='half way through' sleep infinity";
    cluster.run(host, inhibit)?;
    let answer = fleet_lock(&cluster, other, "pre-reboot")?;
    ensure!(answer.status == 200, "{answer:?}");
    cluster.run(host, "musterctl reboot request")?;
    let reasons = ["window-closed", "inhibited", "units-failed", "slots-taken"];
    for reason in reasons {
        cluster.step(&format!("{}", reboots.wait_for_reason(host, reason)?));
    }
    cluster.wait_for_condition("all of it in the status", || {
        let reboot_status = cluster.run(other, "musterctl reboot status")?.stdout;
        for words in [
            "the window is closed",
            "update inhibits a shutdown: half way through",
            "units have failed: bad.service",
            "the slot of group default taken by",
        ] {
            ensure!(reboot_status.contains(words), "{words:?} is missing: {reboot_status}");
        }
        Ok(())
    })?;

    cluster.step("one after the other goes away, and the rest is still told");
    let gone = |reason: &str, left: &[&str]| {
        cluster.wait_for_condition(&format!("{reason} to be over"), || {
            let status = reboots.status(host)?;
            ensure!(status.phase == "waiting", "{status:?}");
            ensure!(status.wait(reason).is_none(), "{status:?}");
            for reason in left {
                ensure!(status.wait(reason).is_some(), "{status:?}");
            }
            Ok(())
        })
    };
    let answer = fleet_lock(&cluster, other, "steady-state")?;
    ensure!(answer.status == 200, "{answer:?}");
    gone("slots-taken", &["window-closed", "inhibited", "units-failed"])?;
    reboots.configure_host(host, &lines(""))?;
    gone("window-closed", &["inhibited", "units-failed"])?;
    cluster.run(host, "musterctl destroy bad.service")?;
    gone("units-failed", &["inhibited"])?;
    ensure!(host.read_file("/etc/ran").is_err(), "the check ran, and nothing asked for it");
    cluster.run(host, "systemctl stop update")?;
    gone("inhibited", &["check-refused"])?;
    let history = reboots.read_history(DEFAULT)?;
    ensure!(history.len() == 1, "another than the client has taken the slot: {history:?}");

    cluster.step("the check says yes: hooks run in their order around the reboot");
    host.write_file("/etc/fine", "")?;
    let history = reboots.wait_for_freed(DEFAULT, 2)?;
    ensure!(history.last().is_some_and(|entry| entry.outcome == "rebooted"), "{history:?}");
    let ran = host.read_file("/etc/ran")?;
    let mut ran: Vec<Vec<&str>> =
        ran.lines().map(|line| line.split_ascii_whitespace().collect()).collect();
    // The check is asked again and again; the last of it let the reboot begin.
    let checks = ran.iter().take_while(|line| line[0] == "check").count();
    ensure!(checks >= 2, "{ran:?}");
    let ran = ran.split_off(checks - 1);
    let order: Vec<&str> = ran.iter().map(|line| line[0]).collect();
    ensure!(order == ["check", "before-drain", "before-reboot", "after-boot"], "{ran:?}");
    ensure!(ran[1][1] == ran[2][1] && ran[2][1] != ran[3][1], "the boot was elsewhere: {ran:?}");
    cluster.host_of("app.service")?;
    cluster.assert_sound()?;
    cluster.tear_down()
}

#[test]
fn hosts_of_every_kind_take_turns() -> Result<()> {
    let cluster = Cluster::start(options_with(QUICK))?;
    let reboots = Reboots::for_lab(&cluster);
    reboots.count_boots()?;
    let (first, second, alone) = (cluster.host(0)?, cluster.host(1)?, cluster.host(2)?);

    cluster.step("n3 runs nothing of Muster but the reboot role");
    let unit = "[Service]\nExecStart=\nExecStart=/usr/bin/musterd --roles reboot\n";
    alone.write_file("/etc/systemd/system/musterd.service.d/roles.conf", unit)?;
    cluster.run(alone, "systemctl daemon-reload && systemctl restart musterd")?;
    cluster.wait_for_condition("two machines", || {
        let machines = cluster.machines(first)?;
        ensure!(machines.len() == 2, "{machines:?}");
        Ok(())
    })?;

    cluster.step("a FleetLock client has the slot: the package manager's mark makes n1 and n3 due, and they wait");
    let answer = fleet_lock(&cluster, second, "pre-reboot")?;
    ensure!(answer.status == 200, "{answer:?}");
    for host in [first, alone] {
        host.write_file("/run/reboot-required.pkgs", "linux-base\n")?;
        host.write_file("/run/reboot-required", "*** System restart required ***\n")?;
    }
    for host in [first, alone] {
        let wait = reboots.wait_for_reason(host, "slots-taken")?;
        ensure!(wait["holders"][0] == "c988d2509fdf5cdcbed39037c56406fb", "{wait}");
        let due = reboots.status(host)?.due;
        ensure!(due[0]["source"] == "reboot-required", "{due:?}");
        ensure!(due[0]["packages"][0] == "linux-base", "{due:?}");
    }

    cluster.step(
        "it gives it back: they go, one after the other, and the client is refused meanwhile",
    );
    let answer = fleet_lock(&cluster, second, "steady-state")?;
    ensure!(answer.status == 200, "{answer:?}");
    let mut refused = None;
    cluster.wait_for_condition("a refusal", || {
        let answer = fleet_lock(&cluster, second, "pre-reboot")?;
        match answer.status {
            500 if answer.body.contains("failed_lock") => refused = Some(answer.body),
            200 => {
                // It was quicker; then a host waits for it as before.
                fleet_lock(&cluster, second, "steady-state")?;
                bail!("granted");
            }
            status => bail!("{status} {}", answer.body),
        }
        Ok(())
    })?;
    let refused = refused.context("no refusal")?;
    let named = [first, alone].iter().any(|host| refused.contains(host.machine_id()));
    ensure!(named, "who holds the slot is not said: {refused}");
    cluster.wait_for_condition("both to have rebooted", || {
        let history = reboots.read_history(DEFAULT)?;
        let rebooted = history.iter().filter(|entry| entry.outcome == "rebooted").count();
        ensure!(rebooted == 2, "{history:?}");
        Ok(())
    })?;
    for host in [first, alone] {
        reboots.wait_for_phase(host, "idle")?;
        ensure!(
            reboots.boot_counts()?.get(host.name()) == Some(&1),
            "{:?}",
            reboots.boot_counts()?
        );
        ensure!(host.read_file("/run/reboot-required").is_err(), "the mark is gone with the boot");
    }
    cluster.wait_for_condition("the client's turn", || {
        let answer = fleet_lock(&cluster, second, "pre-reboot")?;
        ensure!(answer.status == 200, "{answer:?}");
        Ok(())
    })?;
    let answer = fleet_lock(&cluster, second, "steady-state")?;
    ensure!(answer.status == 200, "{answer:?}");

    cluster.step("what runs alone neither leads nor takes units");
    ensure!(cluster.machines(first)?.len() == 2, "{:?}", cluster.machines(first)?);
    cluster.write_sleeper(first, "all.service", "Global=true")?;
    cluster.run(first, "musterctl start all.service")?;
    cluster.wait_for_condition("a global unit on both", || {
        let on = cluster.active_on("all.service").len();
        ensure!(on == 2, "{on}");
        Ok(())
    })?;
    ensure!(!alone.is_active("all.service"), "n3 was given a unit");
    cluster.tear_down()
}
