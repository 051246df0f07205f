//! `Conflicts=`, in both directions: a machine does not take a unit that conflicts with one there. Of two that are together all
//! the same, because a file was replaced, the later by name leaves.

use muster_common::probe::is_planted;
use muster_common::refusal::MachineReason;

use super::contract::NeighborFilter;
use crate::schedule::index::Index;
use crate::schedule::table::{Bits, MachineKey, UnitKey};

pub(crate) struct Conflicts;

impl NeighborFilter for Conflicts {
    fn add_blocked(&self, index: &Index, unit: UnitKey, blocked: &mut Bits) {
        let row = &index.units[unit];
        for key in row.declared_patterns() {
            blocked.unite_with(index.patterns.get(*key).matching.machine_set());
        }
        for key in &row.matched {
            blocked.unite_with(index.patterns.get(*key).declaring.machine_set());
        }
    }

    fn may_come(&self, index: &Index, unit: UnitKey, machine: MachineKey) -> bool {
        is_planted("conflict-overlooked") || !index.has_conflict(unit, machine, false)
    }

    fn may_stay(&self, index: &Index, unit: UnitKey, machine: MachineKey) -> bool {
        if !index.has_conflict(unit, machine, true) {
            return true;
        }
        !index.machines[machine].units.iter().any(|other| {
            let row = &index.units[*other];
            // One that is about to leave is no reason to go.
            (row.is_wanted() || row.unreadable_records > 0)
                && (row.name < index.units[unit].name || !index.is_placeable(*other))
                && index.conflict_between(unit, *other).is_some()
        })
    }

    fn explain_refusal(
        &self,
        index: &Index,
        unit: UnitKey,
        machine: MachineKey,
    ) -> Option<MachineReason> {
        let row = &index.machines[machine];
        let conflicts = row.units.iter().chain(&row.planned).filter_map(|other| {
            let (pattern, declarer) = index.conflict_between(unit, *other)?;
            Some((&index.units[*other].name, pattern, declarer))
        });
        let (with, pattern, declarer) = conflicts.min_by_key(|(name, ..)| *name)?;
        Some(MachineReason::Conflict {
            with: with.clone(),
            pattern: index.patterns.get(pattern).glob.as_str().to_owned(),
            declared_by: index.units[declarer].name.clone(),
        })
    }
}
