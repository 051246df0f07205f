//! The progress of a drain.
//!
//! Owns the account of each unit on a machine that is emptied, or would be: where it goes, or why it cannot. It decides
//! nothing: [`crate::schedule`] does, and what is told here is what its next plans would do as things stand.

use muster_common::drain::DrainProgress;
use muster_common::machine::MachineId;
use muster_common::snapshot::Snapshot;

use crate::schedule::Scheduler;

/// The account of each unit on a machine; on one that is not drained all of them stay. The cost is that of a full
/// plan; who asks often keeps a [`Scheduler`] and asks [`Scheduler::drain_status`].
pub fn drain_progress(snapshot: &Snapshot, machine: &MachineId) -> DrainProgress {
    drain_progress_by(snapshot, machine, &mut scheduler_of(snapshot))
}

/// The same, asked of a scheduler that has followed the cluster to this snapshot.
pub fn drain_progress_by(
    snapshot: &Snapshot,
    machine: &MachineId,
    scheduler: &mut Scheduler,
) -> DrainProgress {
    let cordon = snapshot.cordons.get(machine).cloned();
    DrainProgress { machine: machine.clone(), cordon, units: scheduler.drain_status(machine) }
}

/// The account of each unit as it would be were the machine drained now.
pub fn rehearse_drain(
    snapshot: &Snapshot,
    machine: &MachineId,
    scheduler: &Scheduler,
) -> DrainProgress {
    let cordon = snapshot.cordons.get(machine).cloned();
    DrainProgress { machine: machine.clone(), cordon, units: scheduler.rehearse_drain(machine) }
}

/// A scheduler that knows the cluster as a snapshot has it, with the machines that are held.
pub(super) fn scheduler_of(snapshot: &Snapshot) -> Scheduler {
    let mut scheduler = Scheduler::new(snapshot);
    let held = snapshot.leader.as_ref().map(|leader| leader.held.clone());
    scheduler.hold_machines(held.unwrap_or_default());
    scheduler
}
