//! The role beside a daemon's core that has units to run: drained before, well after.

use muster_common::reboot::{HostStatus, Phase, SlotOutcome};
use muster_common::snapshot::Snapshot;
use muster_common::state::DesiredState;
use muster_store::Registry;

use crate::machine::{Machine, Running};
use crate::support::{self, Daemon, Machine as Cores, reported, request_unit, wait_until};

const WEB: &str = "[Service]\nExecStart=/bin/sleep infinity\n";

/// A machine alone in its cluster, with one unit, its core and its role.
struct Alone {
    registry: Registry,
    cores: Cores,
    machine: Machine,
    _disk: tempfile::TempDir,
}

impl Alone {
    /// The unit runs; then the machine is asked to reboot, and goes down with its unit.
    async fn goes_down() -> Self {
        let (registry, disk) = support::store();
        let machine = Machine::with(registry.clone(), "drain_timeout = \"1s\"");
        let mut cores = Cores::new("m1", "10.0.0.1");
        cores.settings.ttl = support::LONG;
        let mut alone = Self { registry, cores, machine, _disk: disk };
        alone.machine.agent = true;
        request_unit(&alone.registry, "web.service", WEB, DesiredState::Launched).await;
        let (core, role) = alone.starts();
        wait_until(&alone.registry, "it runs", runs).await;
        alone.machine.wish("anna", 1).await;
        // No other machine takes the unit: it goes down with this one.
        alone.machine.goes_down().await;
        assert!(alone.is_cordoned().await, "it goes down and takes units");
        role.kill().await;
        alone.cores.host.begin_shutdown();
        core.stop().await;
        alone.machine.boots();
        alone.cores.reboot();
        alone
    }

    fn starts(&mut self) -> (Daemon, Running) {
        let core = self.cores.start(&self.registry);
        self.machine.health = core.health.clone();
        let role = self.machine.start();
        (core, role)
    }

    async fn is_cordoned(&self) -> bool {
        self.registry.cordon_of(&self.machine.id()).await.unwrap().is_some()
    }
}

fn runs(snapshot: &Snapshot) -> bool {
    reported(snapshot, "web.service").is_some_and(|(active, _)| active == "active")
}

/// What keeps the slot, in words.
fn waits_text(status: &HostStatus) -> String {
    status.waits.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[tokio::test]
async fn the_slot_is_kept_until_every_unit_is_back() {
    let mut alone = Alone::goes_down().await;
    alone.cores.host.hold_starts("web.service", true);
    let (core, role) = alone.starts();
    let starting = |status: &HostStatus| {
        status.phase == Phase::Settling
            && waits_text(status).contains("web.service (is on its way)")
    };
    alone.machine.wait_until("waits for the unit", starting).await;
    assert_eq!(alone.machine.holders().await, ["m1"]);

    // Killed meanwhile: the next one waits for it as well.
    role.kill().await;
    let _role = alone.machine.start();
    alone.machine.wait_until("waits for the unit again", starting).await;
    alone.cores.host.hold_starts("web.service", false);
    alone.machine.comes_to_rest().await;
    assert!(
        runs(&alone.registry.read_snapshot().await.unwrap()),
        "the slot is free before it runs"
    );
    let history = alone.machine.history().await;
    let ended: Vec<_> = history.iter().map(|entry| entry.outcome.clone()).collect();
    assert_eq!(ended, [SlotOutcome::Rebooted]);
    assert!(!alone.is_cordoned().await);
    core.stop().await;
}

#[tokio::test]
async fn a_unit_that_fails_after_the_boot_keeps_the_slot() {
    let mut alone = Alone::goes_down().await;
    alone.cores.host.fail_starts("web.service");
    let (core, _role) = alone.starts();
    let failed = |status: &HostStatus| {
        waits_text(status) == "units are not well: web.service (start failed: exit status 1)"
    };
    alone.machine.wait_until("says what is wrong", failed).await;
    assert_eq!(alone.machine.holders().await, ["m1"]);

    // A person takes it away.
    request_unit(&alone.registry, "web.service", WEB, DesiredState::Inactive).await;
    alone.machine.comes_to_rest().await;
    core.stop().await;
}
