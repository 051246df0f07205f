//! The machines a unit is on, for those who ask one of them.
//!
//! Owns the choice of the machine whose status and journal of a unit are shown, and what of a unit may be shown on a machine: what
//! Muster has put there. What a machine has of its own is its administrator's to show.

use muster_common::machine::MachineId;
use muster_common::snapshot::{Snapshot, home_placements};
use muster_common::state::DesiredState;
use muster_common::unit::UnitName;

/// A unit as one machine may have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitPresence {
    /// The machine has it, or is giving it up.
    Here,
    /// The machine has it no more.
    Left,
    /// Nor does the cluster.
    Destroyed,
}

/// Why no machine can be asked about a unit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoMachine {
    /// The machine that was named has no live lease.
    #[error("machine {0} is not registered now")]
    NotRegistered(MachineId),
    /// The unit exists and is nowhere.
    #[error("unit {unit} is on no machine; it is wanted {desired}{}", way_on(*desired))]
    Nowhere {
        /// The unit.
        unit: UnitName,
        /// The state its user wants.
        desired: DesiredState,
    },
    /// There is no such unit.
    #[error("unit {0} does not exist")]
    NoUnit(UnitName),
}

/// Where to read on about a unit that is on no machine.
fn way_on(desired: DesiredState) -> &'static str {
    if desired == DesiredState::Inactive { "" } else { ", and `musterctl plan` says what keeps it" }
}

/// Why a unit is not shown on a machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotOurs {
    /// The machine says why it does not have it.
    #[error("unit {unit} is not on this machine: {problem}")]
    Refused {
        /// The unit.
        unit: UnitName,
        /// The machine's own words.
        problem: String,
    },
    /// The cluster knows the unit, and the machine does not have it.
    #[error("unit {0} is not on this machine")]
    NotHere(UnitName),
    /// The unit is nobody's, or the machine's own.
    #[error("unit {0} is not known to Muster")]
    Unknown(UnitName),
}

/// The presence of a unit on a machine.
pub fn presence_on(snapshot: &Snapshot, name: &UnitName, machine: &MachineId) -> UnitPresence {
    let placed = snapshot.places.get(name).is_some_and(|places| places.contains_key(machine));
    let reported = snapshot.states.get(name).is_some_and(|states| states.contains_key(machine));
    match (placed || reported, snapshot.units.contains_key(name)) {
        (true, _) => UnitPresence::Here,
        (false, true) => UnitPresence::Left,
        (false, false) => UnitPresence::Destroyed,
    }
}

/// A unit that exists is on no machine.
pub fn is_nowhere(snapshot: &Snapshot, name: &UnitName) -> bool {
    let somewhere = snapshot.places.contains_key(name) || snapshot.states.contains_key(name);
    snapshot.units.contains_key(name) && !somewhere
}

/// Something is known of a machine: it is here, or was, or somebody has written of it.
pub fn is_known_machine(snapshot: &Snapshot, machine: &MachineId) -> bool {
    snapshot.machines.contains_key(machine)
        || snapshot.metadata.contains_key(machine)
        || snapshot.cordons.contains_key(machine)
        || snapshot.unreadable.contains_key(&format!("cordon/{machine}"))
        || snapshot.places.values().any(|places| places.contains_key(machine))
}

/// The machine to ask about a unit: the one that is named; else the preferred one if it has the unit; else one that has it, `own` before
/// others.
///
/// # Errors
///
/// No machine can be asked.
pub fn machine_to_ask(
    snapshot: &Snapshot,
    name: &UnitName,
    own: &MachineId,
    named: Option<&MachineId>,
    preferred: Option<&MachineId>,
) -> Result<MachineId, NoMachine> {
    if let Some(id) = named {
        let registered = snapshot.machines.contains_key(id);
        return if registered { Ok(id.clone()) } else { Err(NoMachine::NotRegistered(id.clone())) };
    }
    let still = preferred.filter(|id| {
        snapshot.machines.contains_key(*id) && presence_on(snapshot, name, id) == UnitPresence::Here
    });
    if let Some(id) = still {
        return Ok(id.clone());
    }
    let placed = snapshot.places.get(name).into_iter().flat_map(home_placements).map(|(id, _)| id);
    let reported = snapshot.states.get(name).into_iter().flatten().map(|(id, _)| id);
    if let Some(id) = placed.chain(reported).min_by_key(|id| *id != own) {
        return Ok(id.clone());
    }
    Err(match snapshot.units.get(name) {
        Some(unit) => NoMachine::Nowhere { unit: name.clone(), desired: unit.desired },
        None => NoMachine::NoUnit(name.clone()),
    })
}

/// Checks that a unit on a machine is Muster's. `owns`: what the machine's own records say, where they are known already.
///
/// # Errors
///
/// It is not, with whose it is.
pub fn check_ours(
    snapshot: &Snapshot,
    name: &UnitName,
    machine: &MachineId,
    owns: Option<bool>,
) -> Result<(), NotOurs> {
    let placed = snapshot.places.get(name).is_some_and(|places| places.contains_key(machine));
    let reported = snapshot.states.get(name).and_then(|states| states.get(machine));
    let known_here = owns.is_none() && (placed || reported.is_some());
    if owns == Some(true) || known_here {
        return Ok(());
    }
    if let Some(problem) = reported.and_then(|state| state.problem.as_ref()) {
        return Err(NotOurs::Refused { unit: name.clone(), problem: problem.clone() });
    }
    Err(if placed || snapshot.units.contains_key(name) {
        NotOurs::NotHere(name.clone())
    } else {
        NotOurs::Unknown(name.clone())
    })
}

#[cfg(test)]
mod tests {
    use muster_common::snapshot::{Change, Handover, Placement};
    use muster_common::unit::FileHash;

    use super::*;
    use crate::cluster::lists::machine_with_metadata;

    fn name() -> UnitName {
        "a.service".parse().unwrap()
    }

    fn id(machine: &str) -> MachineId {
        machine.parse().unwrap()
    }

    /// A cluster in which the unit is placed on these machines, all of which are registered.
    fn placed_on(machines: &[&str]) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for machine in machines {
            let placement = Placement {
                file: FileHash::of_text(""),
                desired: DesiredState::Launched,
                generation: 1,
                handover: Handover::default(),
                revision: 1,
            };
            let record = machine_with_metadata(&snapshot, &id(machine));
            snapshot.apply(Change::Machine(id(machine), Some(record)));
            snapshot.apply(Change::Place(id(machine), name(), Some(placement)));
        }
        snapshot
    }

    fn asked(snapshot: &Snapshot, named: Option<&str>, preferred: Option<&str>) -> String {
        let (named, preferred) = (named.map(id), preferred.map(id));
        let asked =
            machine_to_ask(snapshot, &name(), &id("m2"), named.as_ref(), preferred.as_ref());
        asked.map_or_else(|problem| problem.to_string(), |id| id.to_string())
    }

    #[test]
    fn the_named_machine_counts_then_the_preferred_one_then_ones_own() {
        let snapshot = placed_on(&["m1", "m2", "m3"]);
        assert_eq!(asked(&snapshot, Some("m3"), Some("m1")), "m3");
        assert_eq!(asked(&snapshot, Some("m9"), None), "machine m9 is not registered now");
        assert_eq!(asked(&snapshot, None, Some("m3")), "m3");
        assert_eq!(asked(&snapshot, None, Some("m9")), "m2", "it has not got the unit");
        assert_eq!(asked(&placed_on(&["m3", "m1"]), None, None), "m1");
        assert_eq!(asked(&placed_on(&[]), None, None), "unit a.service does not exist");
    }

    #[test]
    fn what_a_machine_has_of_its_own_is_not_shown() {
        let snapshot = placed_on(&["m1"]);
        let check = |machine: &str, owns| {
            check_ours(&snapshot, &name(), &id(machine), owns).map_err(|error| error.to_string())
        };
        assert_eq!(check("m1", None), Ok(()));
        assert_eq!(check("m2", Some(true)), Ok(()));
        let not_here = Err("unit a.service is not on this machine".to_owned());
        assert_eq!(check("m1", Some(false)), not_here, "its own records count");
        let unknown = Err("unit a.service is not known to Muster".to_owned());
        assert_eq!(check("m2", None), unknown);
    }
}
