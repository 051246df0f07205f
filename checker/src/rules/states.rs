//! What machines have reported, against what is placed on them and what they say when they are asked.

use muster_common::machine::MachineId;
use muster_common::snapshot::Placement;
use muster_common::state::{ActiveState, DesiredState, ObservedState};
use muster_common::unit::UnitName;

use crate::picture::{ClusterPicture, RecordPicture};
use crate::violation::Violation;

/// There is a state for each placement on a registered machine, of what is asked there, and none beside.
pub(super) fn check_states(
    picture: &ClusterPicture,
    records: &RecordPicture,
    found: &mut Vec<Violation>,
) {
    let snapshot = &records.snapshot;
    let mut strays: std::collections::BTreeMap<&MachineId, usize> =
        std::collections::BTreeMap::new();
    for (unit, reports) in &snapshot.states {
        for (machine, state) in reports {
            let is_placed = snapshot.places.get(unit).is_some_and(|p| p.contains_key(machine));
            let key = format!("place/{machine}/{unit}");
            if !snapshot.machines.contains_key(machine) {
                *strays.entry(machine).or_default() += 1;
            } else if !is_placed && !records.is_unreadable(&key) {
                let (unit, machine) = (unit.clone(), machine.clone());
                found.push(Violation::StateOfNobody {
                    unit,
                    machine,
                    active: state.active.clone(),
                });
            } else {
                found.extend(compare_with_runner(picture, unit, machine, state));
            }
        }
    }
    for (machine, units) in strays {
        if !records.is_unreadable(&format!("machine/{machine}")) {
            found.push(Violation::StateWithoutMachine { machine: machine.clone(), units });
        }
    }
    for (unit, places) in &snapshot.places {
        for (machine, placement) in places {
            // One that goes down takes its reports back as its units end.
            if snapshot.machines.get(machine).is_some_and(|machine| !machine.leaving)
                && !records.is_unreadable(&format!("state/{machine}/{unit}"))
            {
                let state = snapshot.states.get(unit).and_then(|reports| reports.get(machine));
                found.extend(compare_with_placement(unit, machine, placement, state));
            }
        }
    }
}

fn compare_with_placement(
    unit: &UnitName,
    machine: &MachineId,
    placement: &Placement,
    state: Option<&ObservedState>,
) -> Option<Violation> {
    let (unit, machine) = (unit.clone(), machine.clone());
    let Some(state) = state else { return Some(Violation::StateMissing { unit, machine }) };
    let is_done = state.generation >= placement.generation && state.desired == placement.desired;
    if let Some(problem) = &state.problem {
        return Some(Violation::UnitFailed { unit, machine, problem: problem.clone() });
    }
    // A start takes its time: an image is fetched, a service gets ready. It says so.
    let is_starting = state.active == ActiveState::Activating;
    // A state without a file is of a machine that runs another than the cluster knows.
    if !is_done && !is_starting || state.file.is_some_and(|file| file != placement.file) {
        return Some(Violation::NotCarriedOut { unit, machine });
    }
    if state.active == ActiveState::Failed && placement.desired == DesiredState::Launched {
        let problem = if state.remark.is_empty() { "it has failed" } else { &state.remark };
        return Some(Violation::UnitFailed { unit, machine, problem: problem.to_owned() });
    }
    None
}

/// Only states that units rest in are compared: a unit that starts again and again is seen otherwise by each look.
fn compare_with_runner(
    picture: &ClusterPicture,
    unit: &UnitName,
    machine: &MachineId,
    state: &ObservedState,
) -> Option<Violation> {
    let run = picture.report_of(machine)?.runs.get(unit)?;
    let differs =
        run.active != state.active && run.active.is_settled() && state.active.is_settled();
    // Those of the host's own are reported as what they are.
    (differs && !run.foreign).then(|| Violation::StaleState {
        unit: unit.clone(),
        machine: machine.clone(),
        told: state.active.clone(),
        active: run.active.clone(),
    })
}
