//! Why a unit leaves: its machine is drained.
//!
//! Owns who goes and when, and what is said of those who are to go. Where to and how they get there is the handover's
//! ([`super::handover`]).

use super::verdict::DrainVerdict;
use crate::schedule::group::Group;
use crate::schedule::pass::PlanPass;
use crate::schedule::table::{MachineKey, UnitKey};

impl PlanPass<'_> {
    /// Begins to move a group away from a machine that is drained; false when it stays for now.
    pub(crate) fn begin_move(&mut self, group: &Group, home: MachineKey) -> bool {
        if !self.index.draining.contains(&home) {
            return false;
        }
        let here = |unit: &UnitKey| self.index.units[*unit].place_on(home).is_some();
        let leaving: Vec<UnitKey> = group.members.iter().copied().filter(here).collect();
        if leaving.iter().any(|unit| !self.index.may_stay(*unit, home)) {
            return false;
        }
        if self.moves_left == 0 {
            return false;
        }
        let Some(target) = self.find_destination(group, &leaving, home) else {
            self.note_verdict(&leaving, home, &DrainVerdict::Stuck);
            return false;
        };
        let stops_first = leaving.iter().any(|unit| self.index.is_single(*unit));
        self.note_verdict(&leaving, home, &DrainVerdict::Goes { to: target, stops_first });
        self.begin_handover(group, &leaving, home, target)
    }

    pub(crate) fn note_verdict(
        &mut self,
        units: &[UnitKey],
        on: MachineKey,
        verdict: &DrainVerdict,
    ) {
        if self.index.draining.contains(&on) {
            for unit in units {
                self.verdicts.insert((*unit, on), verdict.clone());
            }
        }
    }
}
