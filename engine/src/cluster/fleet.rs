//! Units and their states as fleet's API has them.
//!
//! Owns the difference between what Muster knows and what fleetctl waits for.
//!
//! | wanted | carried out | told |
//! | --- | --- | --- |
//! | launched | launched, but an earlier request | `loaded`, until it has started anew |
//! | loaded | loaded, a moment ago still launched | `launched`; see [`super::recent_stops`] |
//! | else | | what has been carried out |

use std::time::Duration;

use muster_common::api::fleet::{FleetMachine, FleetUnit, UnitState};
use muster_common::machine::{Machine, MachineId};
use muster_common::snapshot::{self, Snapshot, Unit};
use muster_common::state::{DesiredState, ObservedState};
use muster_common::unit::{Requirements, UnitName};

use super::{Cluster, lists};

/// A unit, for lists.
pub fn fleet_unit(snapshot: &Snapshot, unit: &Unit) -> FleetUnit {
    let file = snapshot.files.get(&unit.file);
    let global =
        file.is_some_and(|file| Requirements::from_file(&unit.name, file).is_ok_and(|r| r.global));
    // A global unit is on many machines, so fleet names none.
    let places = snapshot.places.get(&unit.name).filter(|_| !global);
    let machine =
        places.and_then(|places| snapshot::home_placements(places).next()).map(|(id, _)| id);
    FleetUnit {
        name: unit.name.to_string(),
        options: file.map(|file| file.options().to_vec()).unwrap_or_default(),
        desired_state: unit.desired.to_string(),
        current_state: current_state(snapshot, unit).to_string(),
        machine_id: machine.map(ToString::to_string).unwrap_or_default(),
    }
}

/// A unit for whoever waits for it, if it exists. `now` is the engine's time.
pub fn awaited_unit(cluster: &mut Cluster, name: &UnitName, now: Duration) -> Option<FleetUnit> {
    let snapshot = cluster.current_snapshot();
    let record = snapshot.units.get(name)?;
    let (current, desired) = (current_state(snapshot, record), record.desired);
    let unit = fleet_unit(snapshot, record);
    let current = awaited_state(current, desired, || cluster.was_launched(name, now));
    Some(FleetUnit { current_state: current.to_string(), ..unit })
}

/// The state of one unit: of a machine it is placed on, if it is reported from several. fleetctl asks for nothing but units it has just
/// started and goes on with the answer unseen, so a known unit always has one, of empty words if no machine reports it.
pub fn unit_state(snapshot: &Snapshot, name: &UnitName) -> Option<UnitState> {
    let reports = snapshot.states.get(name);
    let homes = snapshot.places.get(name).into_iter().flat_map(snapshot::home_placements);
    let at_home = homes.map(|(id, _)| id).find_map(|id| reports?.get_key_value(id));
    // One that was destroyed and has yet to stop is still somewhere.
    let report = at_home.or_else(|| reports?.first_key_value());
    match report {
        Some((id, state)) => Some(reported_state(name, id, state)),
        None => snapshot
            .units
            .contains_key(name)
            .then(|| UnitState { name: name.to_string(), ..UnitState::default() }),
    }
}

/// One machine's report of a unit.
pub fn reported_state(name: &UnitName, id: &MachineId, state: &ObservedState) -> UnitState {
    UnitState {
        name: name.to_string(),
        hash: state.hash.clone(),
        machine_id: id.to_string(),
        systemd_load_state: state.load.clone(),
        systemd_active_state: state.active.to_string(),
        systemd_sub_state: state.sub.clone(),
    }
}

/// A machine, with the metadata constraints see.
pub fn fleet_machine(snapshot: &Snapshot, machine: &Machine) -> FleetMachine {
    FleetMachine {
        id: machine.id.to_string(),
        primary_ip: machine.address.clone(),
        metadata: snapshot.metadata_of(&machine.id),
    }
}

/// A unit's progress, for lists.
fn current_state(snapshot: &Snapshot, unit: &Unit) -> DesiredState {
    let current = lists::current_state(snapshot, &unit.name);
    if unit.desired == DesiredState::Launched && is_behind(snapshot, unit) {
        return current.min(DesiredState::Loaded);
    }
    current
}

/// The same for whoever waits for one unit. `was_launched` is asked only where it matters.
fn awaited_state(
    current: DesiredState,
    desired: DesiredState,
    was_launched: impl FnOnce() -> bool,
) -> DesiredState {
    let stopped = desired == DesiredState::Loaded && current == DesiredState::Loaded;
    if stopped && was_launched() { DesiredState::Launched } else { current }
}

/// A machine has yet to carry out the last request to start the unit.
fn is_behind(snapshot: &Snapshot, unit: &Unit) -> bool {
    let Some(places) = snapshot.places.get(&unit.name) else { return false };
    let states = snapshot.states.get(&unit.name);
    snapshot::home_placements(places).any(|(machine, _)| {
        let state = states.and_then(|states| states.get(machine));
        state.is_some_and(|state| state.generation < unit.generation)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_unit_that_was_stopped_is_told_as_it_was() {
        use DesiredState::{Inactive, Launched, Loaded};
        assert_eq!(awaited_state(Loaded, Loaded, || true), Launched);
        assert_eq!(awaited_state(Loaded, Loaded, || false), Loaded);
        for (current, desired) in
            [(Loaded, Launched), (Loaded, Inactive), (Inactive, Loaded), (Launched, Loaded)]
        {
            assert_eq!(awaited_state(current, desired, || panic!("it does not matter")), current);
        }
    }
}
