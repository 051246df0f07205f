//! The gate that a machine passes after its boot before its slot is given back.
//!
//! Owns the meaning of "well": the slot is given back, and the next machine goes down, when this one has proven itself. It
//! has when
//!
//! - it is registered with the cluster in this very boot, and its daemon has reported on every unit placed on it, so that
//!   nothing is known of before the boot;
//! - every unit placed on it is as it was asked to be: up, or ended well, or loaded if that is all that was asked;
//! - the leader has nothing more to bring here or take from here. Right after the boot the cordon has just gone and no unit
//!   may be placed here yet; what the engine would place here, as the cluster stands, is missing as much as a unit that has
//!   failed.

use std::collections::BTreeMap;

use muster_common::decision::Decision;
use muster_common::machine::{Machine, MachineId};
use muster_common::probe::is_planted;
use muster_common::reboot::StuckUnit;
use muster_common::snapshot::{Placement, Snapshot};
use muster_common::state::{ActiveState, DesiredState, ObservedState};
use muster_common::unit::UnitName;

use crate::cluster::Cluster;
use crate::machine::arrival::{Arrival, PlacementReport};

/// The health of a machine after its boot. By default it is not known, which is as bad.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HealthGate {
    /// True if the machine is registered, in this boot.
    pub registered: bool,
    /// Units that are not as they should be.
    pub unhealthy: Vec<StuckUnit>,
}

/// Looks at the cluster whether a machine has come back in this boot, and which of its units are not as they should be.
pub fn check_gate(cluster: &mut Cluster, machine: &MachineId, boot: &str) -> HealthGate {
    let snapshot = cluster.current_snapshot();
    let is_this_boot =
        |found: &Machine| found.boot == boot || is_planted("health-of-an-earlier-boot");
    let registered = snapshot.machines.get(machine).is_some_and(is_this_boot);
    let mut unhealthy: BTreeMap<UnitName, String> = placed_units(snapshot, machine)
        .filter_map(|(name, place, state)| Some((name.clone(), problem_of(place, state)?)))
        .collect();
    for decision in cluster.plan().moves.iter().flat_map(|step| &step.decisions) {
        let (unit, why) = match decision {
            Decision::Place { machine: to, unit, .. } if to == machine => {
                (unit, "is about to be placed here")
            }
            Decision::Remove { machine: from, unit, .. } if from == machine => {
                (unit, "is about to leave")
            }
            _ => continue,
        };
        unhealthy.entry(unit.clone()).or_insert_with(|| why.to_owned());
    }
    if is_planted("slot-freed-before-units-are-well") {
        unhealthy.clear();
    }
    let unhealthy = unhealthy.into_iter().map(|(unit, why)| StuckUnit { unit, why }).collect();
    HealthGate { registered, unhealthy }
}

/// Units of the cluster that have failed somewhere and are still wanted.
pub fn failed_units(snapshot: &Snapshot) -> Vec<UnitName> {
    let wanted = |name: &UnitName| {
        snapshot.units.get(name).is_some_and(|unit| unit.desired == DesiredState::Launched)
    };
    let failed = snapshot.states.iter().filter(|(name, states)| {
        states.values().any(|s| s.active == ActiveState::Failed) && wanted(name)
    });
    failed.map(|(name, _)| name.clone()).collect()
}

/// The units placed on the machine, each with its report.
fn placed_units<'a>(
    snapshot: &'a Snapshot,
    machine: &'a MachineId,
) -> impl Iterator<Item = (&'a UnitName, &'a Placement, Option<&'a ObservedState>)> {
    snapshot.places.iter().filter_map(move |(name, places)| {
        let state = snapshot.states.get(name).and_then(|states| states.get(machine));
        Some((name, places.get(machine)?, state))
    })
}

/// Tells whether a unit runs, from the file it should and as it was asked to, although our start of it had failed: somebody has mended it
/// on the machine itself and started it there. What failed before says nothing any more.
fn is_up_after_all(place: &Placement, state: &ObservedState) -> bool {
    let asked = state.generation >= place.generation && state.desired == place.desired;
    let ours = state.file == Some(place.file);
    state.active.is_up() && asked && ours && place.desired == DesiredState::Launched
}

/// The problem with a unit; `None`: there is none.
fn problem_of(place: &Placement, state: Option<&ObservedState>) -> Option<String> {
    let Some(state) = state else { return Some("is not reported yet".to_owned()) };
    if is_up_after_all(place, state) {
        return None;
    }
    match PlacementReport::from_state(state).arrival_at(place, place.desired) {
        Arrival::Here => None,
        Arrival::Failed(problem) => Some(problem),
        Arrival::Pending => Some("is on its way".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use muster_common::snapshot::Handover;
    use muster_common::unit::FileHash;

    use super::*;

    fn failed_to_start() -> (Placement, ObservedState) {
        let (file, desired) = (FileHash::of_text("ours"), DesiredState::Launched);
        let place =
            Placement { file, desired, generation: 2, handover: Handover::default(), revision: 1 };
        let state = ObservedState {
            load: "loaded".to_owned(),
            active: ActiveState::Failed,
            sub: "failed".to_owned(),
            file: Some(file),
            hash: String::new(),
            generation: 2,
            desired,
            since: 0,
            invocation: String::new(),
            problem: Some("start failed: exit status 1".to_owned()),
            remark: String::new(),
        };
        (place, state)
    }

    #[test]
    fn a_unit_that_a_person_has_started_after_our_start_failed_is_well() {
        let (place, mut state) = failed_to_start();
        let problem = problem_of(&place, Some(&state));
        assert_eq!(problem.as_deref(), Some("start failed: exit status 1"));
        for (active, sub) in
            [("activating", "start-pre"), ("failed", "failed"), ("inactive", "dead")]
        {
            (state.active, state.sub) = (active.into(), sub.to_owned());
            assert!(problem_of(&place, Some(&state)).is_some(), "{active}");
        }
        (state.active, state.sub) = (ActiveState::Active, "running".to_owned());
        assert_eq!(problem_of(&place, Some(&state)), None);
    }

    #[test]
    fn another_unit_of_that_name_or_an_older_one_is_not() {
        let (place, mut state) = failed_to_start();
        (state.active, state.sub) = (ActiveState::Active, "running".to_owned());
        for other in [None, Some(FileHash::of_text("theirs"))] {
            let theirs = ObservedState { file: other, ..state.clone() };
            assert!(problem_of(&place, Some(&theirs)).is_some(), "{other:?}");
        }
        let older = ObservedState { generation: 1, ..state };
        assert!(problem_of(&place, Some(&older)).is_some());
    }
}
