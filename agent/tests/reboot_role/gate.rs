//! The role beside a daemon's core that has units to run: drained before, well after.

use muster_common::reboot::{Outcome, Phase};
use muster_common::state::DesiredState;

use crate::machine::Machine;
use crate::support::{self, Machine as Cores, ask, reported, until};

const WEB: &str = "[Service]\nExecStart=/bin/sleep infinity\n";

#[tokio::test]
async fn the_slot_is_kept_until_every_unit_is_back() {
    let (registry, _disk) = support::store();
    let cores = Cores::new("m1", "10.0.0.1");
    let mut machine = Machine::with(registry.clone(), "drain_timeout = \"1s\"");
    machine.agent = true;
    ask(&registry, "web.service", WEB, DesiredState::Launched).await;
    let core = cores.start(&registry);
    machine.health = core.health.clone();
    let runs = |snapshot: &muster_common::snapshot::Snapshot| {
        reported(snapshot, "web.service").is_some_and(|(active, _)| active == "active")
    };
    until(&registry, "it runs", runs).await;

    machine.wish("anna", 1).await;
    let role = machine.start();
    // There is no other machine: the unit stays until the deadline and goes down with the machine.
    machine.goes_down().await;
    let cordon = registry.cordon_of(&machine.id()).await.unwrap();
    assert!(cordon.is_some(), "it goes down without a cordon");
    role.kill().await;
    cores.host.shutting_down();
    core.stop().await;

    machine.boots();
    cores.reboot();
    cores.host.slow("web.service", true);
    let core = cores.start(&registry);
    machine.health = core.health.clone();
    let role = machine.start();
    let starting = |status: &muster_common::reboot::HostStatus| {
        let told = status.waits.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        status.phase == Phase::Settling && told.contains("web.service (is on its way)")
    };
    machine.until("waits for the unit", starting).await;
    assert_eq!(machine.holders().await, ["m1"]);

    // Killed meanwhile: the next one waits for it as well.
    role.kill().await;
    let _role = machine.start();
    machine.until("waits for the unit again", starting).await;
    cores.host.slow("web.service", false);
    machine.comes_to_rest().await;
    until(&registry, "it runs again", runs).await;
    let history = machine.history().await;
    let ended: Vec<_> = history.iter().map(|entry| entry.outcome.clone()).collect();
    assert_eq!(ended, [Outcome::Rebooted]);
    assert_eq!(registry.cordon_of(&machine.id()).await.unwrap(), None);
    core.stop().await;
}

#[tokio::test]
async fn a_unit_that_fails_after_the_boot_keeps_the_slot() {
    let (registry, _disk) = support::store();
    let cores = Cores::new("m1", "10.0.0.1");
    let mut machine = Machine::with(registry.clone(), "drain_timeout = \"1s\"");
    machine.agent = true;
    ask(&registry, "web.service", WEB, DesiredState::Launched).await;
    let core = cores.start(&registry);
    machine.health = core.health.clone();
    until(&registry, "it runs", |s| reported(s, "web.service").is_some()).await;
    machine.wish("anna", 1).await;
    let role = machine.start();
    machine.goes_down().await;
    role.kill().await;
    cores.host.shutting_down();
    core.stop().await;

    machine.boots();
    cores.reboot();
    cores.host.fail("web.service");
    let core = cores.start(&registry);
    machine.health = core.health.clone();
    let _role = machine.start();
    let failed = |status: &muster_common::reboot::HostStatus| {
        let told = status.waits.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        told.contains("units are not well: web.service (start failed: exit status 1)")
    };
    machine.until("says what is wrong", failed).await;
    assert_eq!(machine.holders().await, ["m1"]);

    // A person mends it.
    ask(&registry, "web.service", WEB, DesiredState::Inactive).await;
    machine.comes_to_rest().await;
    core.stop().await;
}
