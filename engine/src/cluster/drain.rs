//! How far a drain has come.
//!
//! Owns the account of each unit on a machine that is emptied, or would be: where it goes, or why it cannot. It decides
//! nothing: [`crate::schedule`] does, and what is told here is what its next plans would do as things stand.

use muster_common::drain::DrainProgress;
use muster_common::machine::MachineId;
use muster_common::snapshot::Snapshot;

use crate::schedule::Scheduler;

/// What becomes of each unit on a machine. Of a machine that is not drained: that all stay. The cost is that of a full
/// plan; who asks often keeps a [`Scheduler`] and asks [`Scheduler::drain`].
pub fn progress(snapshot: &Snapshot, machine: &MachineId) -> DrainProgress {
    tell(snapshot, machine, &mut scheduler(snapshot))
}

/// The same, asked of a scheduler that has followed the cluster to this snapshot.
pub fn tell(snapshot: &Snapshot, machine: &MachineId, scheduler: &mut Scheduler) -> DrainProgress {
    let cordon = snapshot.cordons.get(machine).cloned();
    DrainProgress { machine: machine.clone(), cordon, units: scheduler.drain(machine) }
}

/// What would become of each unit were the machine drained now.
pub fn rehearse(snapshot: &Snapshot, machine: &MachineId, scheduler: &Scheduler) -> DrainProgress {
    let cordon = snapshot.cordons.get(machine).cloned();
    DrainProgress { machine: machine.clone(), cordon, units: scheduler.rehearse_drain(machine) }
}

fn scheduler(snapshot: &Snapshot) -> Scheduler {
    let mut scheduler = Scheduler::new(snapshot);
    let held = snapshot.leader.as_ref().map(|leader| leader.held.clone());
    scheduler.hold(held.unwrap_or_default());
    scheduler
}
