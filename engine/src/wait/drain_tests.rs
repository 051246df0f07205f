//! When a client has been told all there is of a drain.

use muster_common::cordon::{AtDeadline, Cordon, CordonHolder, Drain, Hold};
use muster_common::drain::DrainStatus;
use muster_common::probe::plant_fault;

use super::*;

/// A wait that was told of a drain which ended at its deadline while a unit was on its way down.
fn wait_after(end: DrainEnd) -> DrainWait {
    let then = match end {
        DrainEnd::Forced => AtDeadline::Force,
        DrainEnd::GaveUp => AtDeadline::GiveUp,
    };
    let drain = Drain { began: 0, deadline: Some(60), then, ended: Some(end) };
    let hold = Hold { drain: Some(drain), ..Hold::default() };
    let cordon = Cordon { holds: [(CordonHolder::Person, hold)].into(), ..Cordon::default() };
    let machine: MachineId = "m1".parse().unwrap();
    let units = [("a.service".parse().unwrap(), DrainStatus::Stopping)].into();
    let mut wait = DrainWait::new(machine.clone());
    wait.told = Some(DrainProgress { machine, cordon: Some(cordon), units });
    wait
}

fn the_wait_for_a_drain_that_was_given_up_is_over() {
    assert!(wait_after(DrainEnd::GaveUp).is_over(), "the unit may take as long as it likes");
    assert!(!wait_after(DrainEnd::Forced).is_over(), "the unit is being stopped by it");
}

#[test]
fn a_drain_is_over_at_its_deadline() {
    the_wait_for_a_drain_that_was_given_up_is_over();
    let fails_without = |planted| {
        plant_fault(Some(planted));
        let passed = std::panic::catch_unwind(the_wait_for_a_drain_that_was_given_up_is_over);
        plant_fault(None);
        passed.is_err()
    };
    assert!(fails_without("drain-outlives-deadline"));
}

fn a_drain_is_over_only_where_the_store_is_seen() {
    let mut cluster = Cluster::default();
    let mut wait = DrainWait::new("m1".parse().unwrap());
    cluster.mark_lost("no answer".to_owned());
    let away = wait.update(Duration::ZERO, &mut cluster);
    assert!(matches!(&away[..], [DrainEvent::Degraded { .. }]), "{away:?}");
    assert!(!wait.is_over());
    cluster.reset(Snapshot::default(), Duration::ZERO);
    let back = wait.update(Duration::ZERO, &mut cluster);
    assert!(matches!(&back[..], [DrainEvent::Progress { .. }]), "{back:?}");
    assert!(wait.is_over());
}

#[test]
fn no_drain_is_over_while_the_store_is_away() {
    a_drain_is_over_only_where_the_store_is_seen();
    plant_fault(Some("wait-ends-without-the-store"));
    let passed = std::panic::catch_unwind(a_drain_is_over_only_where_the_store_is_seen);
    plant_fault(None);
    assert!(passed.is_err());
}
