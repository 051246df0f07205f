//! Where a `MachineOf=` group comes together.
//!
//! Owns the choice of its home, who of it comes there, and what becomes of the others: what runs is not ended, and not
//! taken from those beside it, for a tie of others. It never moves anything away from a drained machine
//! ([`super::handover`]).

use std::collections::BTreeSet;

use crate::schedule::group::Group;
use crate::schedule::pass::PlanPass;
use crate::schedule::table::{MachineKey, UnitKey};

impl PlanPass<'_> {
    /// The machine where the group is: where its first leader still is, and may be.
    pub(crate) fn home_of(&self, group: &Group) -> Option<MachineKey> {
        let fixed = group.fixed.iter().flat_map(|unit| &self.index.units[*unit].places);
        let fixed: Vec<MachineKey> = fixed
            .map(|place| place.machine)
            .filter(|machine| self.index.is_live(*machine))
            .collect();
        // One that cannot be read may be a global one, with places of which any will do: the first leader's then.
        let here = |unit: &UnitKey| {
            let row = &self.index.units[*unit];
            fixed.iter().copied().find(|machine| row.place_on(*machine).is_some())
        };
        if let Some(machine) = group.members.iter().find_map(here).or(fixed.first().copied()) {
            return Some(machine);
        }
        group.members.iter().find_map(|unit| {
            let places = self.index.units[*unit].places.iter();
            places.map(|place| place.machine).find(|machine| self.index.may_stay(*unit, *machine))
        })
    }

    /// Gathers a group at its home. A newcomer that does not fit there is refused, for its leader stays. When a member
    /// that was there no longer fits, the whole group moves where all fit; only when there is no such machine it leaves
    /// that member behind.
    pub(crate) fn gather_at(&mut self, group: &Group, home: MachineKey) {
        let before = self.counted.len();
        let (stay, leave, outgrown) = self.fit_together(&group.members, home);
        if outgrown && group.fixed.is_empty() {
            self.uncount_after(before);
            if let Some(machine) = self.best_machine(&group.members, Some(home)) {
                if !self.wait_for_the_end(&group.members) {
                    self.bring_all(&group.members, machine);
                }
                return;
            }
            for unit in &stay {
                if self.index.units[*unit].place_on(home).is_none() {
                    self.count_planned(*unit, home);
                }
            }
        }
        for unit in stay {
            self.bring_to(unit, home);
        }
        self.leave_where_they_are(&leave, home);
    }

    /// Members that do not fit where their group is gathered. One that may stay where it is stays, beside those of them that
    /// lead it: what runs does not end for a tie of others. The rest is refused.
    pub(crate) fn leave_where_they_are(&mut self, members: &[UnitKey], home: MachineKey) {
        let mut kept: Vec<(UnitKey, MachineKey)> = Vec::new();
        for unit in members {
            let leaders: Vec<UnitKey> = self
                .index
                .leaders_of(*unit)
                .filter_map(|name| self.index.unit_keys.get(name).copied())
                .filter(|leader| !self.index.is_global_leader(*leader))
                .collect();
            let places = self.index.units[*unit].places.iter().map(|place| place.machine);
            let stays = places.filter(|at| *at != home).find(|at| {
                self.index.may_stay(*unit, *at)
                    && leaders.iter().all(|leader| kept.contains(&(*leader, *at)))
            });
            match stays {
                Some(at) => kept.push((*unit, at)),
                None => self.refuse_unit(*unit),
            }
        }
        let machines: BTreeSet<MachineKey> = kept.iter().map(|(_, at)| *at).collect();
        for at in machines {
            let here = kept.iter().filter(|(_, kept_at)| *kept_at == at).map(|(unit, _)| *unit);
            let group = Group { members: here.collect(), fixed: Vec::new() };
            if !self.begin_move(&group, at) {
                for unit in group.members {
                    self.bring_to(unit, at);
                }
            }
        }
    }

    /// The same as [`Self::part_by_fit`], but a leader that runs elsewhere does not come when a follower beside it cannot come along:
    /// that one would end for a tie of others.
    fn fit_together(
        &mut self,
        members: &[UnitKey],
        home: MachineKey,
    ) -> (Vec<UnitKey>, Vec<UnitKey>, bool) {
        let mut kept: BTreeSet<UnitKey> = BTreeSet::new();
        loop {
            let before = self.counted.len();
            let fitted = self.part_by_fit(members, home, &kept);
            let (stay, leave, _) = &fitted;
            let needed: Vec<UnitKey> = stay
                .iter()
                .copied()
                .filter(|unit| self.is_needed_elsewhere(*unit, leave, home))
                .collect();
            if needed.is_empty() {
                return fitted;
            }
            self.uncount_after(before);
            kept.extend(needed);
        }
    }

    /// True if a unit runs elsewhere with one beside it that follows it and leaves.
    fn is_needed_elsewhere(&self, unit: UnitKey, leaving: &[UnitKey], home: MachineKey) -> bool {
        let row = &self.index.units[unit];
        let runs = |unit: UnitKey, at| {
            self.index.units[unit].place_on(at).is_some() && self.index.may_stay(unit, at)
        };
        let follows = |other: UnitKey| self.index.leaders_of(other).any(|name| *name == row.name);
        row.place_on(home).is_none()
            && row.places.iter().map(|place| place.machine).any(|at| {
                runs(unit, at) && leaving.iter().any(|other| follows(*other) && runs(*other, at))
            })
    }

    /// Parts members into those that fit at a machine, which are counted there, and the others, with all who follow them;
    /// and says whether one that is there no longer fits. `kept`: members that are not to come.
    fn part_by_fit(
        &mut self,
        members: &[UnitKey],
        home: MachineKey,
        kept: &BTreeSet<UnitKey>,
    ) -> (Vec<UnitKey>, Vec<UnitKey>, bool) {
        let (mut stay, mut leave, mut outgrown) = (Vec::new(), Vec::new(), false);
        for unit in members {
            let here = self.index.units[*unit].place_on(home).is_some();
            let stranded = self
                .index
                .leaders_of(*unit)
                .filter_map(|name| self.index.unit_keys.get(name))
                .any(|leader| leave.contains(leader));
            let fits = if here {
                self.index.may_stay(*unit, home)
            } else {
                !kept.contains(unit) && self.index.may_come(*unit, home)
            };
            if stranded || !fits {
                outgrown |= here && !fits;
                leave.push(*unit);
                continue;
            }
            if !here {
                self.count_planned(*unit, home);
            }
            stay.push(*unit);
        }
        (stay, leave, outgrown)
    }
}
