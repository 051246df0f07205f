//! `Replaces=`: who has taken another's place is not beside it, in neither direction. Of two that are together it is the one that
//! was replaced that leaves.

use muster_common::refusal::MachineReason;

use super::contract::NeighborFilter;
use crate::schedule::index::Index;
use crate::schedule::table::{Bits, MachineKey, UnitKey};

pub(crate) struct Replaces;

impl Replaces {
    /// The unit on a machine that this one replaces, or else the one it makes room for there; and whether it is the former.
    fn find_beside(index: &Index, unit: UnitKey, machine: MachineKey) -> Option<(UnitKey, bool)> {
        if !index.has_replacers() {
            return None;
        }
        let replaced = index.units_replaced_by(unit).into_iter().map(|other| (other, true));
        let replacing = index.units_replacing(unit).into_iter().map(|other| (other, false));
        replaced.chain(replacing).find(|(other, _)| index.is_or_comes_to(*other, machine))
    }
}

impl NeighborFilter for Replaces {
    fn add_blocked(&self, index: &Index, unit: UnitKey, blocked: &mut Bits) {
        if !index.has_replacers() {
            return;
        }
        let others = index.units_replaced_by(unit).into_iter().chain(index.units_replacing(unit));
        for machine in others.flat_map(|other| index.current_and_planned(other)) {
            blocked.insert(index.machines[machine].position);
        }
    }

    fn may_come(&self, index: &Index, unit: UnitKey, machine: MachineKey) -> bool {
        Self::find_beside(index, unit, machine).is_none()
    }

    fn may_stay(&self, index: &Index, unit: UnitKey, machine: MachineKey) -> bool {
        !index.is_displaced(unit, machine)
    }

    fn explain_refusal(
        &self,
        index: &Index,
        unit: UnitKey,
        machine: MachineKey,
    ) -> Option<MachineReason> {
        let (other, is_replaced) = Self::find_beside(index, unit, machine)?;
        let unit = index.units[other].name.clone();
        Some(if is_replaced {
            MachineReason::Replaced { unit }
        } else {
            MachineReason::ReplacedBy { unit }
        })
    }
}
