//! `MachineOf=` a global unit: beside it, wherever it is.

use muster_common::refusal::MachineReason;

use super::contract::NeighborFilter;
use crate::schedule::index::Index;
use crate::schedule::table::{Bits, MachineKey, UnitKey};

pub(crate) struct BesideGlobal;

impl BesideGlobal {
    /// A global unit that a unit belongs beside and that is not on this machine.
    fn missing_leader(index: &Index, unit: UnitKey, machine: MachineKey) -> Option<UnitKey> {
        let position = index.machines[machine].position;
        let mut leaders = index.global_leaders(unit).into_iter();
        leaders.find(|leader| !index.units[*leader].global_machines.contains(position))
    }
}

impl NeighborFilter for BesideGlobal {
    fn add_blocked(&self, index: &Index, unit: UnitKey, blocked: &mut Bits) {
        for leader in index.global_leaders(unit) {
            let beside = &index.units[leader].global_machines;
            let positions = index.order.iter().map(|machine| index.machines[*machine].position);
            for position in positions.filter(|position| !beside.contains(*position)) {
                blocked.insert(position);
            }
        }
    }

    fn may_come(&self, index: &Index, unit: UnitKey, machine: MachineKey) -> bool {
        Self::missing_leader(index, unit, machine).is_none()
    }

    fn may_stay(&self, index: &Index, unit: UnitKey, machine: MachineKey) -> bool {
        Self::missing_leader(index, unit, machine).is_none()
    }

    fn explain_refusal(
        &self,
        index: &Index,
        unit: UnitKey,
        machine: MachineKey,
    ) -> Option<MachineReason> {
        let leader = Self::missing_leader(index, unit, machine)?;
        Some(MachineReason::NotBesideGlobal { unit: index.units[leader].name.clone() })
    }
}
