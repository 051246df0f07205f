//! Why a unit comes to a machine or leaves one, as data.
//!
//! Owns the reasons that follow from where a unit is. Those who move it for a reason of their own name that themselves.

use muster_common::decision::MoveReason;

use crate::schedule::index::Index;
use crate::schedule::table::{MachineKey, UnitKey};

impl Index {
    /// The reason why a unit is to be on this machine alone.
    pub(crate) fn reason_to_come(&self, unit: UnitKey, machine: MachineKey) -> MoveReason {
        let row = &self.units[unit];
        match self.handover_of(unit) {
            // It has arrived.
            Some((source, target)) if target == machine => {
                MoveReason::Drain { machine: self.machines[source].id.clone() }
            }
            _ if row.place_on(machine).is_some() => MoveReason::Update,
            _ if row.places.is_empty() => MoveReason::Place,
            _ => self.reason_to_leave(unit),
        }
    }

    /// The reason why a unit is to be on none of its machines any more.
    pub(crate) fn reason_to_leave(&self, unit: UnitKey) -> MoveReason {
        let on = || self.units[unit].places.iter().map(|place| place.machine);
        let id = |machine: MachineKey| self.machines[machine].id.clone();
        let unsuitable =
            |machine: &MachineKey| self.is_live(*machine) && !self.may_stay(unit, *machine);
        if let Some(machine) = on().find(unsuitable) {
            return MoveReason::Unsuitable { machine: id(machine) };
        }
        match on().find(|machine| !self.is_live(*machine)) {
            Some(machine) => MoveReason::Lost { machine: id(machine) },
            None => MoveReason::MachineOf,
        }
    }
}
