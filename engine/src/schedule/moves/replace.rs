//! `Replaces=`: a unit that takes another's place.
//!
//! Owns where the units that make room go. A unit that replaces another, by name or by a pattern, goes where that one is,
//! if it can run there and the other can move elsewhere; both happen in one move. Afterwards the two keep apart: neither is
//! placed beside the other. A circle of replacements, of two units or more, is ignored, and so is the replacement of a
//! global unit, which has nowhere to go. A unit tied to others by `MachineOf=` moves with its group, never alone, so it
//! makes room for nobody.

use muster_common::decision::MoveReason;

use crate::schedule::pass::PlanPass;
use crate::schedule::table::{MachineKey, UnitKey};

impl PlanPass<'_> {
    /// Puts a unit where one is that it replaces, and that one elsewhere; false when there is no such place.
    pub(crate) fn take_place(&mut self, unit: UnitKey) -> bool {
        if self.index.units[unit].requirements().is_none_or(|r| !r.replaces_any()) {
            return false;
        }
        let replaced = self.index.units_replaced_by(unit);
        let mut machines: Vec<MachineKey> = replaced
            .iter()
            .flat_map(|other| &self.index.units[*other].places)
            .map(|place| place.machine)
            .filter(|machine| self.index.is_live(*machine))
            .collect();
        machines.sort_by_key(|machine| {
            let row = &self.index.machines[*machine];
            (row.load, row.position)
        });
        machines.dedup();
        machines.into_iter().any(|machine| self.take_place_on(unit, machine, &replaced))
    }

    fn take_place_on(&mut self, unit: UnitKey, machine: MachineKey, replaced: &[UnitKey]) -> bool {
        if !self.index.may_take_place(unit, machine) {
            return false;
        }
        let here: Vec<UnitKey> = replaced
            .iter()
            .copied()
            .filter(|other| {
                let row = &self.index.units[*other];
                row.place_on(machine).is_some() || row.planned == Some(machine)
            })
            .collect();
        // One record takes one decision a plan.
        if here.iter().any(|other| {
            self.moved.contains(other)
                || self.index.moving.contains(other)
                || self.index.is_unheard_of(*other)
                || self.index.is_tied(*other)
                || self.is_frozen(*other)
        }) {
            return false;
        }
        let before = self.counted.len();
        let (mut decisions, mut waiting) = (Vec::new(), Vec::new());
        for other in &here {
            let Some(elsewhere) = self.best_machine(&[*other], Some(machine)) else {
                self.uncount_after(before);
                return false;
            };
            let ends_first = self.index.ends_first(*other, elsewhere);
            if ends_first && !self.index.may_stay(*other, machine) {
                // It is on its way out by itself, whether this unit is looked at or not.
                self.uncount_after(before);
                return false;
            }
            self.count_planned(*other, elsewhere);
            if ends_first {
                decisions.extend(self.remove_decisions(*other, |at| self.index.is_live(at)));
                waiting.push(*other);
            } else {
                decisions.extend(self.decisions_to_be_on(*other, elsewhere));
            }
        }
        self.refused.extend(waiting);
        let names = here.iter().map(|other| self.index.units[*other].name.clone());
        let reason = MoveReason::Replace { units: names.collect() };
        for other in here {
            self.mark_seen(other);
            self.moved.push(other);
        }
        self.count_planned(unit, machine);
        decisions.extend(self.decisions_to_be_on(unit, machine));
        self.push_move(unit, reason, decisions);
        true
    }
}
