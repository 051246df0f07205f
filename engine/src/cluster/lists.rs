//! The tables of the API, computed from a snapshot.
//!
//! Owns the meaning of each column. Pure.

use std::collections::{BTreeMap, BTreeSet};

use muster_common::api::v1::{Machines, ReportedState, States, UnitSummary, Units};
use muster_common::machine::{Machine, MachineId};
use muster_common::snapshot::{self, Snapshot, Unreadable};
use muster_common::state::{DesiredState, ObservedState};
use muster_common::unit::{FileHash, Requirements, UnitName};

/// The part of a unit's row that its file decides; computed once for all units that share it.
#[derive(Clone, Default)]
struct FileFacts {
    hash: String,
    description: String,
    global: bool,
}

/// The rows of units in the API's lists, sharing what depends on their files alone.
pub struct UnitRows<'a> {
    snapshot: &'a Snapshot,
    files: BTreeMap<FileHash, FileFacts>,
}

impl<'a> UnitRows<'a> {
    /// Rows of the units of a snapshot.
    pub fn new(snapshot: &'a Snapshot) -> Self {
        Self { snapshot, files: BTreeMap::new() }
    }

    /// One unit's row.
    pub fn summarize_unit(&mut self, unit: &snapshot::Unit) -> UnitSummary {
        let facts = self.files.entry(unit.file).or_insert_with(|| {
            self.snapshot.files.get(&unit.file).map_or_else(FileFacts::default, |file| FileFacts {
                hash: file.fleet_hash(),
                description: file.description().into_owned(),
                global: Requirements::from_file(&unit.name, file).is_ok_and(|r| r.global),
            })
        });
        UnitSummary {
            name: unit.name.clone(),
            hash: facts.hash.clone(),
            description: facts.description.clone(),
            global: facts.global,
            desired: unit.desired,
            current: current_state(self.snapshot, &unit.name),
            generation: unit.generation,
            machines: placed_on(self.snapshot, &unit.name),
        }
    }
}

/// A unit's progress: the least that any machine it is placed on, or that still reports it, has reached.
pub fn current_state(snapshot: &Snapshot, name: &UnitName) -> DesiredState {
    let places = snapshot.places.get(name);
    let states = snapshot.states.get(name);
    let placed = places.into_iter().flat_map(snapshot::home_placements).map(|(machine, _)| {
        states.and_then(|s| s.get(machine)).map_or(DesiredState::Inactive, reached_state)
    });
    // A machine that is to give the unit up and still has it.
    let leaving = states
        .into_iter()
        .flatten()
        .filter(|(machine, _)| !places.is_some_and(|p| p.contains_key(*machine)))
        .map(|(_, state)| reached_state(state).min(DesiredState::Loaded));
    placed.chain(leaving).min().unwrap_or(DesiredState::Inactive)
}

/// The state that a machine has brought a unit to. One whose file it would not even put in place is not loaded there.
fn reached_state(state: &ObservedState) -> DesiredState {
    if state.problem.is_some() && state.file.is_none() {
        DesiredState::Inactive
    } else {
        state.desired
    }
}

fn placed_on(snapshot: &Snapshot, name: &UnitName) -> Vec<MachineId> {
    snapshot.places.get(name).map(|p| p.keys().cloned().collect()).unwrap_or_default()
}

/// A machine with the metadata constraints see; one that is gone is known by its id alone.
pub fn machine_with_metadata(snapshot: &Snapshot, id: &MachineId) -> Machine {
    let mut machine = snapshot.machines.get(id).cloned().unwrap_or_else(|| machine_by_id(id));
    machine.metadata = snapshot.metadata_of(id);
    machine
}

/// A machine of which nothing but its id is known.
pub fn machine_by_id(id: &MachineId) -> Machine {
    Machine {
        id: id.clone(),
        host: String::new(),
        address: String::new(),
        api: None,
        metadata: BTreeMap::new(),
        version: String::new(),
        runners: BTreeSet::new(),
        container_runner: None,
        containers_lost: None,
        leaving: false,
        boot: String::new(),
        created: 0,
        revision: 0,
    }
}

fn machines_of<'a>(
    snapshot: &Snapshot,
    ids: impl IntoIterator<Item = &'a MachineId>,
) -> Vec<Machine> {
    let ids: BTreeSet<&MachineId> = ids.into_iter().collect();
    ids.into_iter().map(|id| machine_with_metadata(snapshot, id)).collect()
}

fn unreadable_records(snapshot: &Snapshot) -> Vec<Unreadable> {
    snapshot.unreadable.values().cloned().collect()
}

/// `list-unit-files`.
pub fn list_units(snapshot: &Snapshot) -> Units {
    let mut rows = UnitRows::new(snapshot);
    let units: Vec<UnitSummary> =
        snapshot.units.values().map(|unit| rows.summarize_unit(unit)).collect();
    let machines = machines_of(snapshot, units.iter().flat_map(|u| &u.machines));
    Units { units, machines, unreadable: unreadable_records(snapshot) }
}

/// `list-units`.
pub fn list_states(snapshot: &Snapshot) -> States {
    let mut states = Vec::new();
    for (name, reports) in &snapshot.states {
        for (machine, state) in reports {
            let (name, machine) = (name.clone(), machine.clone());
            states.push(ReportedState { name, machine, state: state.clone() });
        }
    }
    let wanted = snapshot.units.values().filter(|unit| {
        !unit.name.is_template()
            && (unit.desired > DesiredState::Inactive || snapshot.places.contains_key(&unit.name))
    });
    let silent: Vec<UnitName> = wanted
        .filter(|unit| !snapshot.states.contains_key(&unit.name))
        .map(|unit| unit.name.clone())
        .collect();
    let lost = silent.iter().filter_map(|name| {
        let placed = placed_on(snapshot, name).into_iter();
        let lost: Vec<_> = placed.filter(|id| !snapshot.machines.contains_key(id)).collect();
        (!lost.is_empty()).then(|| (name.clone(), lost))
    });
    let lost: BTreeMap<UnitName, Vec<MachineId>> = lost.collect();
    let machines = machines_of(snapshot, states.iter().map(|s| &s.machine));
    States { states, silent, lost, machines, unreadable: unreadable_records(snapshot) }
}

/// `list-machines`.
pub fn list_machines(snapshot: &Snapshot) -> Machines {
    Machines {
        machines: snapshot.machines.keys().map(|id| machine_with_metadata(snapshot, id)).collect(),
        cordons: snapshot.cordons.clone(),
        leader: snapshot.leader.as_ref().map(|leader| leader.machine.clone()),
        unreadable: unreadable_records(snapshot),
    }
}

#[cfg(test)]
mod tests {
    use muster_common::snapshot::{Handover, Placement};

    use super::*;

    #[test]
    fn what_a_lost_machine_has_is_said_to_be_there() {
        let (unit, machine): (UnitName, MachineId) =
            ("job.service".parse().unwrap(), "m1".parse().unwrap());
        let file = FileHash::of_text("job");
        let desired = DesiredState::Launched;
        let placement =
            Placement { file, desired, generation: 1, handover: Handover::default(), revision: 1 };
        let record =
            snapshot::Unit { name: unit.clone(), file, desired, generation: 1, revision: 1 };
        let mut snapshot = Snapshot::default();
        snapshot.units.insert(unit.clone(), record);
        snapshot.places.insert(unit.clone(), BTreeMap::from([(machine.clone(), placement)]));
        let listed = list_states(&snapshot);
        assert_eq!(listed.silent, std::slice::from_ref(&unit));
        assert_eq!(listed.lost, BTreeMap::from([(unit, vec![machine.clone()])]));
        let back = super::machine_with_metadata(&snapshot, &machine);
        snapshot.machines.insert(machine, back);
        assert_eq!(list_states(&snapshot).lost, BTreeMap::new());
    }
}
