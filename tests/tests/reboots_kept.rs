//! Slots that are kept: by a host that does not come back, and by one that comes back unwell. The roll stops there, a
//! person is told of it, and can free it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use muster_tests::cluster::Cluster;
use muster_tests::lab::Host;
use muster_tests::reboots::{DEFAULT, Reboots, options_with};

/// The beginning of a machine's id, as lists and sentences have it.
fn short(host: &Host) -> Result<&str> {
    host.machine_id().get(..8).context("a machine id is short")
}

/// A host's wish to reboot.
fn request(cluster: &Cluster, host: &Host) -> Result<()> {
    cluster.run(host, "musterctl reboot request").map(|_| ())
}

/// `musterctl reboot status` as a host tells it, with each of these somewhere in it.
fn status_says(cluster: &Cluster, host: &Host, words: &[&str]) -> Result<()> {
    cluster.wait_for_condition(&format!("a status that says {words:?}"), || {
        let reboot_status = cluster.run(host, "musterctl reboot status")?.stdout;
        for word in words {
            ensure!(reboot_status.contains(word), "{word:?} is missing: {reboot_status}");
        }
        Ok(())
    })?;
    let reboot_status = cluster.run(host, "musterctl reboot status")?.stdout;
    cluster.step(&format!("musterctl reboot status on {}:\n{reboot_status}", host.name()));
    Ok(())
}

#[test]
fn a_host_that_does_not_come_back_stops_the_roll_until_it_is_unlocked() -> Result<()> {
    let cluster = Cluster::start(options_with("settle = \"1s\""))?;
    let reboots = Reboots::for_lab(&cluster);
    reboots.count_boots()?;
    let (first, lost, third) = (cluster.host(0)?, cluster.host(1)?, cluster.host(2)?);

    cluster.step("a bad update: n2 reboots and is not seen again");
    lost.stay_down(true)?;
    request(&cluster, lost)?;
    lost.wait_for_the_end(Duration::from_secs(60))?;
    for host in [first, third] {
        request(&cluster, host)?;
    }

    cluster.step("the others wait, and say for whom");
    for host in [first, third] {
        let wait = reboots.wait_for_reason(host, "slots-taken")?;
        ensure!(wait["holders"][0] == lost.machine_id(), "{wait}");
    }
    cluster.wait_for_machines(2)?;
    status_says(&cluster, first, &["Available: 0", "Max: 1", lost.machine_id(), "rebooting"])?;
    let named = [short(first)?, short(third)?, short(lost)?];
    status_says(&cluster, third, &named)?;
    ensure!(
        reboots.list_holders(DEFAULT)?.contains(lost.name()),
        "{:?}",
        reboots.list_holders(DEFAULT)?
    );

    cluster.step("its slot is taken away: the others go on");
    cluster.run(first, &format!("musterctl reboot unlock {}", lost.machine_id()))?;
    let history = reboots.wait_for_freed(DEFAULT, 3)?;
    let outcomes: Vec<&str> = history.iter().map(|entry| entry.outcome.as_str()).collect();
    ensure!(outcomes == ["unlocked", "rebooted", "rebooted"], "{history:?}");
    ensure!(history.first().is_some_and(|entry| entry.id == lost.machine_id()), "{history:?}");

    cluster.step("it comes back after all: it takes no slot, and takes units again");
    lost.stay_down(false)?;
    lost.power_on()?;
    cluster.wait_for_machines(3)?;
    reboots.wait_for_phase(lost, "idle")?;
    ensure!(reboots.read_history(DEFAULT)?.len() == 3, "{:?}", reboots.read_history(DEFAULT)?);
    let boots = reboots.boot_counts()?;
    ensure!(boots.values().all(|count| *count == 1), "{boots:?}");
    let cordons = cluster.list_keys(first, "cordon/")?;
    ensure!(cordons.is_empty(), "{cordons:?}");
    cluster.assert_sound()?;
    cluster.tear_down()
}

#[test]
fn a_host_whose_unit_is_unwell_after_the_boot_keeps_its_slot_until_it_is_mended() -> Result<()> {
    let cluster = Cluster::start(options_with("settle = \"1s\""))?;
    let reboots = Reboots::for_lab(&cluster);
    reboots.count_boots()?;
    let (first, second) = (cluster.host(0)?, cluster.host(1)?);
    let text = format!(
        "[Service]\nExecStartPre=/bin/sh -c '! test -e /etc/broken'\nExecStart=/bin/sleep infinity\n\n\
         [X-Fleet]\nMachineID={}\n",
        first.machine_id()
    );
    cluster.write_unit(first, "app.service", &text)?;
    cluster.run(first, "musterctl start app.service")?;

    cluster.step("an update breaks a unit, which shows at its next start");
    first.write_file("/etc/broken", "")?;
    request(&cluster, first)?;
    let wait = reboots.wait_for_reason(first, "units-unhealthy")?;
    ensure!(wait["units"][0]["unit"] == "app.service", "{wait}");
    reboots.wait_for_phase(first, "settling")?;

    cluster.step("the slot is kept, and the next host waits");
    request(&cluster, second)?;
    reboots.wait_for_reason(second, "slots-taken")?;
    let words = [short(first)?, "settling", "app.service", short(second)?];
    status_says(&cluster, second, &words)?;
    cluster.one_round()?;
    let status = reboots.status(first)?;
    ensure!(status.wait("units-unhealthy").is_some(), "{status:?}");
    ensure!(reboots.read_history(DEFAULT)?.is_empty(), "{:?}", reboots.read_history(DEFAULT)?);
    let boots = reboots.boot_counts()?;
    ensure!(boots.values().sum::<usize>() == 1, "{boots:?}");

    cluster.step(
        "it is mended: after the settling time the slot is given back, and the next host goes",
    );
    cluster.run(first, "rm /etc/broken && systemctl start app.service")?;
    let history = reboots.wait_for_freed(DEFAULT, 2)?;
    let ids: Vec<&str> = history.iter().map(|entry| entry.id.as_str()).collect();
    ensure!(ids == [first.machine_id(), second.machine_id()], "{history:?}");
    ensure!(history.iter().all(|entry| entry.outcome == "rebooted"), "{history:?}");
    cluster.host_of("app.service")?;
    cluster.assert_sound()?;
    cluster.tear_down()
}
