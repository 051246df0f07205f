//! Drains that cannot finish: the attempt is given up, or the host reboots all the same, as configured.

use anyhow::{Result, ensure};
use muster_tests::cluster::Cluster;
use muster_tests::lab::{Host, Options};
use muster_tests::reboots::{DEFAULT, Entry, Reboots, options_with};

const GIVE_UP: &str =
    "settle = \"1s\"\ndrain_timeout = \"3s\"\nat_deadline = \"give-up\"\nretry = \"1h\"";
const FORCE: &str = "settle = \"1s\"\ndrain_timeout = \"3s\"\nat_deadline = \"force\"";

/// A reboot that is given up: its entry in the history.
fn gives_up(cluster: &Cluster, reboots: &Reboots<'_>, host: &Host, before: usize) -> Result<Entry> {
    cluster.run(host, "musterctl reboot request --because 'new kernel'")?;
    let retry = reboots.wait_for_reason(host, "retry")?;
    cluster.step(&format!("given up: {retry}"));
    let mut history = reboots.wait_for_freed(DEFAULT, before + 1)?;
    let cordons = cluster.list_keys(host, "cordon/")?;
    ensure!(cordons.is_empty(), "it takes no units: {cordons:?}");
    // A wish that is withdrawn ends the attempt, and with it the time it is left be.
    cluster.run(host, "musterctl reboot cancel")?;
    reboots.wait_for_phase(host, "idle")?;
    history.pop().ok_or_else(|| anyhow::anyhow!("nothing is remembered"))
}

#[test]
fn a_drain_that_cannot_finish_is_given_up_or_forced() -> Result<()> {
    let metadata = vec![vec!["disk=ssd".to_owned()]];
    let cluster = Cluster::start(Options { metadata, ..options_with(GIVE_UP) })?;
    let reboots = Reboots::for_lab(&cluster);
    reboots.count_boots()?;
    let (first, second) = (cluster.host(0)?, cluster.host(1)?);
    let ours = |unit: &str| unit.starts_with("app");

    cluster.step("a unit that no other machine can take");
    cluster.write_sleeper(first, "app-disk.service", "MachineMetadata=disk=ssd")?;
    cluster.run(first, "musterctl start app-disk.service")?;
    let running = cluster.list_running(ours)?;
    let entry = gives_up(&cluster, &reboots, first, 0)?;
    ensure!(entry.outcome == "gave-up" && entry.problem.contains("app-disk.service"), "{entry:?}");
    cluster.ensure_unchanged(&running, ours)?;

    cluster.step("a unit that does not become ready anywhere else in time");
    // Placed by its metadata before the others may have it too.
    let ready = "[Service]\nType=notify\nNotifyAccess=all\nTimeoutStartSec=infinity\n\
                 ExecStart=/bin/sh -c 'if test -e /etc/ready; then systemd-notify --ready; fi; exec sleep infinity'\n";
    cluster.write_unit(second, "app-slow.service", ready)?;
    cluster.for_each_host(|_, host| host.write_file("/etc/ready", ""))?;
    cluster.run(second, "musterctl start app-slow.service")?;
    let home = cluster.host_of("app-slow.service")?;
    for host in cluster.hosts().iter().filter(|host| host.name() != home.name()) {
        cluster.run(host, "rm /etc/ready")?;
    }
    if home.name() == first.name() {
        // Beside the other one: what is stuck and what is slow would be told together.
        cluster.run(first, "musterctl destroy app-disk.service")?;
    }
    let running = cluster.list_running(ours)?;
    let entry = gives_up(&cluster, &reboots, home, 1)?;
    ensure!(entry.outcome == "gave-up", "{entry:?}");
    cluster.wait_for_condition("the unit where it was, and nowhere else", || {
        cluster.ensure_unchanged(&running, ours)
    })?;
    let boots = reboots.boot_counts()?;
    ensure!(boots.values().all(|count| *count == 0), "nobody should have booted: {boots:?}");

    cluster.step("with force it reboots all the same, and its units are there again after");
    reboots.configure_host(home, FORCE)?;
    cluster.run(home, "musterctl reboot request")?;
    let history = reboots.wait_for_freed(DEFAULT, 3)?;
    ensure!(history.last().is_some_and(|entry| entry.outcome == "rebooted"), "{history:?}");
    ensure!(reboots.boot_counts()?.get(home.name()) == Some(&1), "{:?}", reboots.boot_counts()?);
    cluster
        .wait_for_condition("the slow unit", || cluster.host_of("app-slow.service").map(|_| ()))?;
    cluster.assert_sound()?;
    cluster.tear_down()
}
