//! The daemon comes and goes, its units do not; a host that goes for good gives them up.
//!
//! The time to live is long here: whatever moves before it has ended was given up, not missed.

use std::time::Duration;

use anyhow::{Result, ensure};
use muster_tests::cluster::Cluster;
use muster_tests::lab::{Host, Signal, wait_until};

/// A machine is forgotten three fifths of it after it was last heard of.
const TTL: &str = "100s";

/// Below what is left of a lease after a shutdown, far above what it takes to place units elsewhere.
const BEFORE_THE_LEASE_ENDS: Duration = Duration::from_secs(40);

fn ours(unit: &str) -> bool {
    unit.starts_with("app")
}

#[test]
fn units_outlive_the_daemon_and_leave_a_host_that_shuts_down() -> Result<()> {
    let cluster = Cluster::with_ttl(TTL)?;
    let first = cluster.host(0)?;
    let apps: Vec<String> = (1..=6).map(|number| format!("app{number}.service")).collect();
    for app in &apps {
        cluster.write_sleeper(first, app, "")?;
    }
    cluster.run(first, &format!("musterctl start {}", apps.join(" ")))?;
    let running = cluster.list_running(ours)?;
    ensure!(running.len() == 6, "{}", Cluster::format_running(&running));
    for host in cluster.hosts() {
        let units = host.active_units(ours);
        ensure!(units.len() == 2, "{} runs {units:?}", host.name());
    }

    cluster.step("musterd is restarted on every host");
    cluster.for_each_host(|_, host| cluster.run(host, "systemctl restart musterd"))?;
    adopted(&cluster)?;
    cluster.ensure_unchanged(&running, ours)?;

    cluster.step("musterd is killed on every host");
    for host in cluster.hosts() {
        kill(&cluster, host)?;
    }
    adopted(&cluster)?;
    cluster.ensure_unchanged(&running, ours)?;

    cluster.step("musterd is killed again and again on one host, and the binary is replaced");
    let host = cluster.find_leader()?;
    for _ in 0..3 {
        kill(&cluster, host)?;
    }
    let replace = "cp /usr/bin/musterd /usr/bin/musterd.new && printf new >> /usr/bin/musterd.new \
                   && mv /usr/bin/musterd.new /usr/bin/musterd && systemctl restart musterd";
    cluster.run(host, replace)?;
    adopted(&cluster)?;
    cluster.ensure_unchanged(&running, ours)?;

    cluster.step("musterd is stopped: its units run on; started again: they are its own");
    let host = cluster.other_host(&[cluster.find_leader()?])?;
    cluster.run(host, "systemctl stop musterd")?;
    ensure!(!host.is_active("musterd.service"), "musterd still runs");
    cluster.ensure_unchanged(&running, ours)?;
    cluster.run(host, "systemctl start musterd")?;
    adopted(&cluster)?;
    cluster.ensure_unchanged(&running, ours)?;

    cluster.step("systemd is executed anew under musterd");
    cluster.run(host, "systemctl daemon-reexec")?;
    takes_a_unit(&cluster, host)?;
    cluster.ensure_unchanged(&running, ours)?;

    cluster.step("the message bus is restarted under musterd");
    cluster.run(host, "systemctl restart dbus.service")?;
    takes_a_unit(&cluster, host)?;
    cluster.ensure_unchanged(&running, ours)?;

    cluster.step("a host is powered off: its units run elsewhere before its lease could end");
    leaves(&cluster, host, Host::shutdown)?;
    host.power_on()?;
    cluster.wait_for_etcd()?;
    stays_away(&cluster, host)?;

    cluster.step("the leader's host is rebooted: likewise");
    let host = cluster.find_leader()?;
    leaves(&cluster, host, Host::reboot)?;
    cluster.wait_for_etcd()?;
    stays_away(&cluster, host)?;

    cluster.assert_sound()?;
    cluster.tear_down()
}

/// Waits until the daemons have taken up their work again, all of it.
fn adopted(cluster: &Cluster) -> Result<()> {
    cluster.wait_for_daemons()?;
    cluster.wait_for_machines(3)?;
    cluster.wait_until_settled()?;
    cluster.one_round()
}

/// Kills the daemon and waits for the next one.
fn kill(cluster: &Cluster, host: &Host) -> Result<()> {
    let before = cluster.unit_property(host, "musterd.service", "MainPID")?;
    host.signal_unit("musterd.service", Signal::KILL)?;
    cluster.wait_for_condition("another musterd", || {
        let now = cluster.unit_property(host, "musterd.service", "MainPID")?;
        ensure!(now != before && now != "0", "MainPID={now}");
        let state = cluster.unit_property(host, "musterd.service", "ActiveState")?;
        ensure!(state == "active", "{state}");
        Ok(())
    })?;
    Ok(())
}

/// An error unless this host's daemon can start and stop a unit.
fn takes_a_unit(cluster: &Cluster, host: &Host) -> Result<()> {
    cluster.write_sleeper(host, "probe.service", &format!("MachineID={}", host.machine_id()))?;
    // Beyond this the client's own limit would tell less.
    cluster.run(host, "musterctl start --timeout 60 probe.service")?;
    ensure!(cluster.host_of("probe.service")?.name() == host.name(), "it runs elsewhere");
    cluster.run(host, "musterctl destroy --timeout 60 probe.service")?;
    ensure!(cluster.active_on("probe.service").is_empty(), "it was destroyed and runs");
    Ok(())
}

/// Takes a host away and sees its units run elsewhere.
fn leaves(cluster: &Cluster, host: &Host, go: impl Fn(&Host) -> Result<Duration>) -> Result<()> {
    let units = host.active_units(ours);
    ensure!(!units.is_empty(), "{} runs nothing", host.name());
    let took = go(host)?;
    cluster.report_duration(&format!("{} goes", host.name()), took);
    let what = format!("{units:?} to run elsewhere");
    let took = wait_until(&what, BEFORE_THE_LEASE_ENDS, || {
        for unit in &units {
            let home = cluster.host_of(unit)?;
            ensure!(home.name() != host.name(), "{unit} is still there");
        }
        Ok(())
    })?;
    cluster.report_duration("its units run elsewhere", took);
    Ok(())
}

/// A host that came back gets nothing by itself.
fn stays_away(cluster: &Cluster, host: &Host) -> Result<()> {
    let before = cluster.list_running(ours)?;
    adopted(cluster)?;
    cluster.ensure_unchanged(&before, ours)?;
    let units = host.active_units(ours);
    ensure!(units.is_empty(), "{} runs {units:?} again", host.name());
    ensure!(before.len() == 6, "{}", Cluster::format_running(&before));
    Ok(())
}
