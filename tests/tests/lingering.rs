//! Units whose processes outlive their stop, whatever keeps them: they hold their place until the last one is gone.

use anyhow::{Context as _, Result, ensure};
use muster_tests::cluster::{Cluster, LONG_TTL, StateRow};
use muster_tests::lab::Host;

/// Runs until a file is there, and is not killed before.
const SPARED: &str = "\
[Service]
KillMode=none
ExecStart=/bin/sh -c 'until test -e /run/let-go; do sleep 0.2; done'
";

/// Ends at once, and leaves a process behind that runs until a file is there.
const LEAVING: &str = "\
[Service]
Type=oneshot
KillMode=process
ExecStart=/bin/sh -c '(until test -e /run/let-go; do sleep 0.2; done) >/dev/null 2>&1 &'
";

#[test]
fn a_unit_that_is_not_empty_holds_its_place() -> Result<()> {
    let cluster = Cluster::with_ttl(LONG_TTL)?;
    let first = cluster.host(0)?;

    cluster.step("a drain waits for the last process, and nothing runs twice");
    let single = format!("{SPARED}\n[X-Fleet]\nConflicts=spared.service\n");
    cluster.write_unit(first, "spared.service", &single)?;
    cluster.run(first, "musterctl start spared.service")?;
    let home = cluster.host_of("spared.service")?;
    let id = home.machine_id();
    cluster.run(first, &format!("musterctl drain --no-block {id}"))?;
    lingers(&cluster, "spared.service", home)?;
    decide(&cluster, first, "first.service")?;
    ensure!(cluster.host_of("spared.service")?.name() == home.name(), "it runs elsewhere");

    cluster.step("a daemon that starts again goes on waiting");
    cluster.run(home, "systemctl restart musterd")?;
    cluster.wait_until_healthy(home)?;
    decide(&cluster, first, "second.service")?;
    lingers(&cluster, "spared.service", home)?;
    let file = "/run/systemd/system/spared.service";
    ensure!(home.read_file(file).is_ok(), "its file is gone, and it is not");
    ensure!(cluster.host_of("spared.service")?.name() == home.name(), "it runs elsewhere");

    cluster.step("it goes, and comes up elsewhere");
    cluster.run(home, "touch /run/let-go")?;
    cluster.moves_away("spared.service", &[home])?;
    cluster.run(home, "rm /run/let-go")?;
    cluster.run(first, &format!("musterctl uncordon {id}"))?;

    cluster.step("a stop that is taken back does not wait");
    let home = cluster.host_of("spared.service")?;
    cluster.wait_for_condition("it to count as started", || {
        let list = "musterctl list-unit-files --no-legend --fields=unit,state spared.service";
        let listed = cluster.run(first, list)?.stdout;
        ensure!(listed.contains("launched"), "{listed}");
        Ok(())
    })?;
    cluster.run(first, "musterctl stop --no-block spared.service")?;
    lingers(&cluster, "spared.service", home)?;
    cluster.run(first, "musterctl start spared.service")?;
    ensure!(cluster.unit_property(home, "spared.service", "ActiveState")? == "active");
    cluster.run(home, "touch /run/let-go")?;
    cluster.wait_for_condition("it to be gone", || {
        ensure!(cluster.active_on("spared.service").is_empty(), "it runs");
        Ok(())
    })?;
    cluster.run(home, "rm /run/let-go")?;
    cluster.run(first, "musterctl destroy spared.service")?;

    cluster
        .step("one that ends by itself and leaves a process behind is not destroyed before that");
    cluster.write_unit(first, "leaving.service", LEAVING)?;
    cluster.run(first, "musterctl start leaving.service")?;
    let home = cluster.host_of("leaving.service")?;
    lingers(&cluster, "leaving.service", home)?;
    cluster.run(first, "musterctl destroy --no-block leaving.service")?;
    cluster.one_round()?;
    lingers(&cluster, "leaving.service", home)?;
    cluster.run(home, "touch /run/let-go")?;
    cluster.wait_for_condition("it to be gone", || {
        let rows = cluster.list_states(first)?;
        ensure!(rows.iter().all(|row| row.unit != "leaving.service"), "{rows:?}");
        Ok(())
    })?;
    ensure!(home.read_file("/run/systemd/system/leaving.service").is_err(), "its file is left");
    cluster.assert_sound()?;
    cluster.tear_down()
}

/// Has the leader decide something: it has looked at all the rest by then.
fn decide(cluster: &Cluster, host: &Host, unit: &str) -> Result<()> {
    cluster.write_sleeper(host, unit, "")?;
    cluster.run(host, &format!("musterctl start {unit}"))?;
    cluster.host_of(unit).map(|_| ())
}

/// Waits until the unit is shown on this host as on its way down, with the numbers of its processes.
fn lingers(cluster: &Cluster, unit: &str, host: &Host) -> Result<()> {
    cluster.wait_for_condition(&format!("{unit} to be shown as not empty"), || {
        let rows = cluster.list_states(host)?;
        let is_there =
            |row: &&StateRow| row.unit == unit && row.machine.as_deref() == Some(host.machine_id());
        let row = rows.iter().find(is_there).context("it is not listed")?;
        ensure!(row.active.as_deref() == Some("deactivating"), "{row:?}");
        let remark = row.remark.as_deref().unwrap_or_default();
        ensure!(remark.contains("left behind: "), "{row:?}");
        Ok(())
    })?;
    Ok(())
}
