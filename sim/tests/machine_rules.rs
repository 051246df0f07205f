//! Rules of a machine's daemon, on a host that does what a script says: each holds, and does not once it is left out.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

mod exam;
#[path = "../../agent/tests/support/machine.rs"]
mod machine;

use std::sync::Arc;
use std::time::Duration;

use exam::holds_unless;
use machine::{Machine, long_after, name, reported, request_unit, timed_store, wait_until};
use muster_common::state::DesiredState::{Launched, Loaded};
use muster_common::unit::{FileHash, UnitName};
use muster_doubles::{LossyDisk, StoreLine};
use muster_engine::machine::converge::{Desired, Observed, Step, next_steps};
use muster_store::Registry;
use musterd::machine::ledger::Ledger;
use musterd::machine::registration::{Registration, RegistrationLoop};
use musterd::telemetry::health::Health;
use tokio_util::sync::CancellationToken;

const UNIT: &str = "[Service]\nExecStart=/bin/true\n";

/// Runs a case in time of its own.
fn run_case(case: impl Future<Output = bool>) -> bool {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(case)
}

async fn launch_unit(registry: &Registry, unit: &str, text: &str) {
    request_unit(registry, unit, text, Launched).await;
    wait_until(registry, "active", |s| reported(s, unit).is_some_and(|(a, _)| a == "active")).await;
}

fn asked_for(machine: &Machine, what: &str) -> Option<usize> {
    machine.host.requests_made().iter().position(|asked| asked == what)
}

/// A machine on which one unit waits to be started until another has stopped, which takes its time. Both are told to it at once, by a
/// daemon that plans for the two together.
async fn machine_that_waits(registry: &Registry) -> (Machine, machine::Daemon) {
    let machine = Machine::new("m1", "10.0.0.1");
    let daemon = machine.start(registry);
    launch_unit(registry, "going.service", UNIT).await;
    daemon.kill().await;
    machine.host.stop_slowly("going.service", true);
    registry.destroy_units(&[name("going.service")]).await.unwrap();
    request_unit(registry, "coming.service", UNIT, Launched).await;
    let daemon = machine.start(registry);
    machine.host.until_asked("stop going.service").await;
    wait_until(registry, "placed", |s| s.places.contains_key(&name("coming.service"))).await;
    (machine, daemon)
}

#[test]
fn what_does_not_stop_stays_ours() {
    holds_unless("failed-stop-counts-as-done", || {
        run_case(async {
            let (registry, _disk) = timed_store();
            let machine = Machine::new("m1", "10.0.0.1");
            machine.host.refuse_to_stop("a.service", true);
            let daemon = machine.start(&registry);
            launch_unit(&registry, "a.service", UNIT).await;
            registry.destroy_units(&[name("a.service")]).await.unwrap();
            machine.host.until_asked("stop a.service").await;
            long_after().await;
            daemon.kill().await;
            asked_for(&machine, "remove a.service").is_none()
        })
    });
}

#[test]
fn what_was_given_up_is_hooked_into_nothing() {
    holds_unless("hooks-outlast-a-departure", || {
        run_case(async {
            let (registry, _disk) = timed_store();
            let machine = Machine::new("m1", "10.0.0.1");
            let daemon = machine.start(&registry);
            let hooked = format!("{UNIT}[Install]\nWantedBy=multi-user.target\n");
            launch_unit(&registry, "a.service", &hooked).await;
            machine.host.begin_shutdown();
            daemon.stop().await;
            asked_for(&machine, "disable a.service").is_some()
        })
    });
}

#[test]
fn nothing_is_started_once_the_units_are_given_up() {
    holds_unless("start-after-giving-up", || {
        run_case(async {
            let (registry, _disk) = timed_store();
            let (machine, daemon) = machine_that_waits(&registry).await;
            machine.host.until_asked("write coming.service").await;
            machine.host.begin_shutdown();
            let stopping = tokio::spawn(daemon.stop());
            machine.host.until_asked("stop coming.service").await;
            machine.host.stop_slowly("going.service", false);
            stopping.await.unwrap();
            asked_for(&machine, "start coming.service").is_none()
        })
    });
}

#[test]
fn a_start_that_nobody_wants_any_more_is_not_begun() {
    holds_unless("superseded-start-begun", || {
        run_case(async {
            let (registry, _disk) = timed_store();
            let (machine, daemon) = machine_that_waits(&registry).await;
            machine.host.until_asked("write coming.service").await;
            registry.destroy_units(&[name("coming.service")]).await.unwrap();
            wait_until(&registry, "nowhere", |s| s.places.is_empty()).await;
            machine.host.stop_slowly("going.service", false);
            long_after().await;
            daemon.kill().await;
            asked_for(&machine, "start coming.service").is_none()
        })
    });
}

#[test]
fn a_start_that_hangs_is_ended_by_a_stop() {
    holds_unless("superseded-chain-goes-on", || {
        run_case(async {
            let (registry, _disk) = timed_store();
            let machine = Machine::new("m1", "10.0.0.1");
            machine.host.hold_starts("slow.service", true);
            let daemon = machine.start(&registry);
            request_unit(&registry, "slow.service", UNIT, Launched).await;
            machine.host.until_asked("start slow.service").await;
            request_unit(&registry, "slow.service", UNIT, Loaded).await;
            long_after().await;
            daemon.kill().await;
            asked_for(&machine, "stop slow.service").is_some()
        })
    });
}

#[test]
fn a_daemon_that_comes_back_goes_on_under_its_lease() {
    holds_unless("lease-not-remembered", || {
        run_case(async {
            let (registry, _disk) = timed_store();
            let machine = Machine::new("m1", "10.0.0.1");
            let id = "m1".parse().unwrap();
            let daemon = machine.start(&registry);
            launch_unit(&registry, "a.service", UNIT).await;
            let before = registry.read_registration(&id).await.unwrap().unwrap().lease;
            daemon.kill().await;
            let daemon = machine.start(&registry);
            launch_unit(&registry, "b.service", UNIT).await;
            let after = registry.read_registration(&id).await.unwrap().unwrap().lease;
            daemon.kill().await;
            before.is_some() && before == after
        })
    });
}

#[test]
fn what_was_down_before_its_start_is_not_started_again_once_it_runs() {
    holds_unless("start-rests-on-run-before", || {
        run_case(async {
            let (registry, _disk) = timed_store();
            let machine = Machine::new("m1", "10.0.0.1");
            let daemon = machine.start(&registry);
            launch_unit(&registry, "a.service", UNIT).await;
            machine.host.crash_unit("a.service");
            machine.host.hold_starts("a.service", true);
            let other = format!("{UNIT}# Another.\n");
            request_unit(&registry, "a.service", &other, Launched).await;
            machine.host.until_asked("start a.service").await;
            machine.host.until_state(|state| state == Some("activating"), "a.service").await;
            // Whoever asked for the start does not learn how it ended.
            daemon.kill().await;
            let daemon = machine.start(&registry);
            long_after().await;
            daemon.kill().await;
            asked_for(&machine, "restart a.service").is_none()
        })
    });
}

#[test]
fn a_file_that_was_replaced_is_taken_up_though_its_restart_was_cut_off() {
    holds_unless("replaced-file-not-taken-up", || {
        let unit: UnitName = name("a.service");
        let (old, new) = (FileHash::of_text("old"), FileHash::of_text("new"));
        let mut ledger = Ledger::open(Arc::new(LossyDisk::new()), "/ledger".into()).unwrap();
        ledger.record_file(&unit, old).unwrap();
        ledger.record_settled(&unit, 3, Launched, None).unwrap();
        // A restored store gives generation 3 out again, for another file.
        ledger.record_replacement(&unit, new).unwrap();
        ledger.mark_begun(&unit);
        ledger.mark_unsure(&unit);
        let owned = ledger.get(&unit).unwrap().for_decision();
        let wish = Desired { file: new, desired: Launched, generation: 3, install: false };
        let seen = Observed { active: "active".into(), file: Some(new), ..Observed::default() };
        let next = next_steps(
            &[(unit.clone(), wish)].into(),
            &[(unit.clone(), seen)].into(),
            &[(unit.clone(), owned)].into(),
        );
        let mut steps = next.others.into_iter().flat_map(|chain| chain.steps);
        steps.next() == Some(Step::Restart { generation: 3 })
    });
}

/// True if a machine notes an outage that begins when it has registered under a lease and has not been told its placements under it.
async fn notes_outage_before_it_is_told() -> bool {
    let (registry, line, _store) = StoreLine::on_test_time();
    let disk = tempfile::tempdir().unwrap();
    let machine = serde_json::json!({"id": "m1", "address": "10.0.0.1", "runners": ["systemd"]});
    let machine = serde_json::from_value(machine).unwrap();
    let (ttl, health) = (Duration::from_secs(5), Health::new());
    let registration = RegistrationLoop::new(machine, ttl, registry, disk.path(), health.clone());
    let mut stands = registration.watch_registration();
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(registration.run(shutdown.clone()));
    stands.wait_for(|now| matches!(now, Registration::Registered(_))).await.unwrap();
    line.set_cut(true);
    let is_over = |problem: &String| problem.contains("has run out");
    let mut health = health.subscribe();
    health.wait_for(|now| now.lease.problem.as_ref().is_some_and(is_over)).await.unwrap();
    long_after().await;
    shutdown.cancel();
    running.await.unwrap();
    disk.path().join("outage.json").exists()
}

#[test]
fn nobody_vouches_for_placements_of_an_earlier_lease() {
    holds_unless("note-vouches-for-an-earlier-lease", || {
        run_case(async { !notes_outage_before_it_is_told().await })
    });
}
