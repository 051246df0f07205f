//! Units that may not run twice at a time: stopped first, then started elsewhere.
//!
//! Owns the one rule that keeps such a unit ([`crate::single`]) from a machine while another may run it, and on the machine that has
//! not said how it stands. It holds for every decision of a plan, whatever led there; what a lost machine still runs nobody can say.

use muster_common::decision::Decision;
use muster_common::probe::is_planted;

use crate::schedule::index::Index;
use crate::schedule::pass::PlanPass;
use crate::schedule::table::{MachineKey, UnitKey};

impl Index {
    /// A machine that may still run a unit which may not run twice, and is not to keep it.
    pub(crate) fn lingering_machine(&self, unit: UnitKey) -> Option<MachineKey> {
        let row = &self.units[unit];
        if !self.is_single(unit) || is_planted("single-moves-at-once") {
            return None;
        }
        let reporting = row.reports.iter().map(|(machine, _)| *machine);
        let reporting = reporting.filter(|machine| row.place_on(*machine).is_none());
        let placed = row.places.iter().map(|place| place.machine);
        let placed = placed.filter(|machine| !self.is_released(unit, *machine));
        placed.chain(reporting).find(|machine| self.is_live(*machine))
    }

    /// True if a unit that may not run twice is placed on a live machine that has not said a word of it. Such a machine may be
    /// about to start it, and would be thought to have ended it were it taken from there now.
    pub(crate) fn is_unheard_of(&self, unit: UnitKey) -> bool {
        let row = &self.units[unit];
        let unheard = |machine| {
            self.is_live(machine)
                && row.report_of(machine).is_none()
                && !self.is_released(unit, machine)
        };
        self.is_single(unit)
            && row.places.iter().any(|place| unheard(place.machine))
            && !is_planted("unheard-single-taken")
    }

    /// True if a unit that may not run twice has to end elsewhere before it comes to a machine.
    pub(crate) fn ends_first(&self, unit: UnitKey, machine: MachineKey) -> bool {
        let row = &self.units[unit];
        row.place_on(machine).is_none() && self.lingering_machine(unit).is_some()
    }

    /// The unit that a decision would let run twice though it may not, by coming to a machine or leaving one too early.
    /// `about`: the unit that it is most likely about.
    pub(crate) fn would_run_twice(&self, about: UnitKey, decision: &Decision) -> Option<UnitKey> {
        let (Decision::Place { machine, unit, .. } | Decision::Remove { machine, unit, .. }) =
            decision;
        let known = (self.units[about].name == *unit).then_some(about);
        let unit = known.or_else(|| self.unit_keys.get(unit).copied())?;
        let row = &self.units[unit];
        if !self.is_single(unit) {
            return None;
        }
        let twice = match decision {
            Decision::Place { .. } => self.ends_first(unit, *self.machine_keys.get(machine)?),
            Decision::Remove { .. } => {
                row.is_wanted() && row.places.len() == 1 && self.is_unheard_of(unit)
            }
        };
        twice.then_some(unit)
    }
}

impl PlanPass<'_> {
    /// Keeps units away from every machine while one of them, which may not run twice, has not ended where it was; false
    /// when there is nothing to wait for.
    pub(crate) fn wait_for_the_end(&mut self, members: &[UnitKey]) -> bool {
        if members.iter().all(|unit| self.index.lingering_machine(*unit).is_none()) {
            return false;
        }
        // Their room is kept for them; whether those that are not heard of need any shows later.
        let heard = !members.iter().any(|unit| self.index.is_unheard_of(*unit));
        if let Some(machine) = self.best_machine(members, None).filter(|_| heard) {
            for unit in members {
                self.count_planned(*unit, machine);
            }
        }
        for unit in members {
            self.refuse_unit(*unit);
        }
        true
    }
}
