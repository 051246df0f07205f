//! Coming to a machine, and leaving all.
//!
//! Owns what becomes of units that are nowhere, or nowhere they may stay: the best machine that takes them all, or those of them that
//! ran before; and a refusal for the rest.

use muster_common::decision::MoveReason;

use crate::schedule::pass::PlanPass;
use crate::schedule::table::{MachineKey, UnitKey};

impl PlanPass<'_> {
    /// Places a group that is nowhere, or nowhere it may stay.
    pub(crate) fn place_new(&mut self, members: &[UnitKey]) {
        if self.wait_for_the_end(members) {
            return;
        }
        if let [unit] = members
            && self.take_place(*unit)
        {
            return;
        }
        if let Some(machine) = self.best_machine(members, None) {
            self.bring_all(members, machine);
            return;
        }
        // A follower that never ran must not keep those that did from coming back.
        let mut core: Vec<UnitKey> = Vec::new();
        for unit in members {
            let mut leaders =
                self.index.leaders_of(*unit).filter_map(|name| self.index.unit_keys.get(name));
            if !self.index.units[*unit].places.is_empty()
                && leaders.all(|leader| core.contains(leader))
            {
                core.push(*unit);
            }
        }
        let core_on = if core.is_empty() || core.len() == members.len() {
            None
        } else {
            self.best_machine(&core, None)
        };
        if let Some(machine) = core_on {
            self.bring_all(&core, machine);
        }
        for unit in members {
            if core_on.is_none() || !core.contains(unit) {
                self.refuse_unit(*unit);
            }
        }
    }

    /// Refused: it leaves where it must not be, and keeps the records of machines that are absent. One that may not run twice
    /// leaves once its machine has said how it stands.
    pub(crate) fn refuse_unit(&mut self, unit: UnitKey) {
        self.refuse_unit_for(unit, None);
    }

    /// The same of a unit that cannot be beside those that it belongs beside.
    pub(crate) fn refuse_tied_unit(&mut self, unit: UnitKey) {
        self.refuse_unit_for(unit, Some(MoveReason::MachineOf));
    }

    fn refuse_unit_for(&mut self, unit: UnitKey, reason: Option<MoveReason>) {
        self.refused.push(unit);
        if self.index.is_unheard_of(unit) {
            return;
        }
        // One that goes down comes back, and has it again then.
        let must_leave =
            |machine| self.index.is_live(machine) && !self.index.is_released(unit, machine);
        let decisions = self.remove_decisions(unit, must_leave);
        if !decisions.is_empty() {
            let reason = reason.unwrap_or_else(|| self.index.reason_to_leave(unit));
            self.push_move(unit, reason, decisions);
        }
    }

    pub(crate) fn bring_all(&mut self, members: &[UnitKey], machine: MachineKey) {
        for unit in members {
            self.count_planned(*unit, machine);
            self.bring_to(*unit, machine);
        }
    }

    /// Leaves a unit on this machine alone, where it is counted already. One that may not run twice and is not there yet
    /// comes when it has ended where it is.
    pub(crate) fn bring_to(&mut self, unit: UnitKey, machine: MachineKey) {
        if self.index.ends_first(unit, machine) {
            self.refuse_unit(unit);
            return;
        }
        let decisions = self.decisions_to_be_on(unit, machine);
        if !decisions.is_empty() {
            self.push_move(unit, self.index.reason_to_come(unit, machine), decisions);
        }
    }
}
