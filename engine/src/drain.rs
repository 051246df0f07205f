//! How far a drain has come.
//!
//! Owns the account of each unit on a machine that is emptied, or would be: where it goes, or why it cannot. It decides
//! nothing: [`crate::schedule`] does, and what is told here is what its next plans would do as things stand.

use muster_common::drain::{Course, Progress};
use muster_common::machine::MachineId;
use muster_common::snapshot::{Snapshot, Unit};
use muster_common::state::DesiredState;
use muster_common::unit::{Requirements, UnitName};

/// What becomes of each unit on a machine. Of a machine that is not drained: that all stay.
pub fn progress(snapshot: &Snapshot, machine: &MachineId) -> Progress {
    let cordon = snapshot.cordons.get(machine).cloned();
    let draining = cordon.as_ref().is_some_and(muster_common::cordon::Cordon::is_draining);
    let mut progress = Progress { machine: machine.clone(), cordon, units: [].into() };
    for (name, places) in &snapshot.places {
        if places.contains_key(machine) {
            let course = course(snapshot, machine, name, draining);
            progress.units.insert(name.clone(), course);
        }
    }
    for (name, states) in &snapshot.states {
        if states.contains_key(machine) && !progress.units.contains_key(name) {
            progress.units.insert(name.clone(), Course::Stopping);
        }
    }
    progress
}

fn course(snapshot: &Snapshot, machine: &MachineId, name: &UnitName, draining: bool) -> Course {
    let Some(unit) = snapshot.units.get(name).filter(|unit| is_wanted(unit)) else {
        return Course::Stopping;
    };
    let asked = snapshot.files.get(&unit.file).and_then(|file| Requirements::of(name, file).ok());
    if asked.as_ref().is_some_and(|asked| asked.global) {
        return Course::Global;
    }
    if !draining {
        return Course::Stays;
    }
    let places = snapshot.places.get(name).into_iter().flatten();
    for (to, placement) in places {
        if placement.handover.takes_over.as_ref() == Some(machine) {
            return Course::Moving { to: to.clone() };
        }
    }
    match asked.and_then(|asked| asked.machine_id) {
        Some(id) if id == machine.as_str() => Course::Pinned,
        _ => Course::Queued { to: None, stops_first: false },
    }
}

fn is_wanted(unit: &Unit) -> bool {
    unit.desired != DesiredState::Inactive
}
