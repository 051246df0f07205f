//! One pass over the units that have to be looked at.
//!
//! Owns the decisions themselves. What a pass decides is counted at once, so that the next unit sees it, and is taken
//! back at the end: the index follows the cluster, not the plan. Room that a removal makes is used by the next plan,
//! once the removal has been written; were it used in the same plan, a removal that fails to be written would leave two
//! units that conflict on one machine.
//!
//! What a placed unit may rely on:
//!
//! - It stays while its machine is live and still has the metadata and id it asks for.
//! - When two units on one machine conflict, because a file was replaced, the later by name moves.
//! - When it has to go and no machine takes it, it is taken off: constraints hold, as they do in fleet.
//! - When its machine is gone and no other takes it, its record stays: should the machine come back, it is at home.
//! - What cannot be read is left alone, and so is what is held.
//! - It leaves a machine that is drained when it is up elsewhere ([`super::handover`]).
//! - A job that may have been begun stays where that was, though its machine be drained, lost or no longer right.

use std::collections::BTreeMap;

use muster_common::decision::{Decision, Move};
use muster_common::unit::FileHash;

use super::drain_status::Verdict;
use super::group::Group;
use super::index::Index;
use super::table::{Bits, MachineKey, UnitKey};

/// How many units move away from drained machines at a time: enough to keep several machines busy, and few enough that
/// one that does not start where it goes to is noticed before all have been tried there.
const MOVING: usize = 10;

/// A pass under way.
pub(crate) struct Pass<'a> {
    pub(crate) index: &'a mut Index,
    /// Distinguishes units this pass has looked at.
    stamp: u64,
    pub(crate) moves: Vec<Move>,
    /// Units that moves are about, replaced ones included.
    pub(crate) moved: Vec<UnitKey>,
    /// Units looked at.
    pub(crate) seen: Vec<UnitKey>,
    /// Units that should be placed and cannot be.
    pub(crate) refused: Vec<UnitKey>,
    /// What was counted and has to be taken back.
    pub(crate) counted: Vec<(UnitKey, MachineKey)>,
    /// How many more units may begin to move away from drained machines.
    pub(crate) room: usize,
    /// What became of the units on drained machines.
    pub(crate) verdicts: BTreeMap<(UnitKey, MachineKey), Verdict>,
}

impl<'a> Pass<'a> {
    pub(crate) fn new(index: &'a mut Index, stamp: u64) -> Self {
        let room = MOVING.saturating_sub(index.moving.len());
        Self {
            index,
            stamp,
            moves: Vec::new(),
            moved: Vec::new(),
            seen: Vec::new(),
            refused: Vec::new(),
            counted: Vec::new(),
            room,
            verdicts: BTreeMap::new(),
        }
    }

    /// Looks at units, in the order of [`Self::in_order`].
    pub(crate) fn consider_units(&mut self, units: &[UnitKey]) {
        for unit in self.in_order(units) {
            self.consider_unit(unit);
        }
    }

    /// Units in the order in which they are decided on: what goes, so that others find its room; what is on its way already;
    /// what has to be on many machines; what takes another's place; the rest. Among equals the order given.
    pub(crate) fn in_order(&self, units: &[UnitKey]) -> Vec<UnitKey> {
        let mut order = units.to_vec();
        order.sort_by_key(|unit| {
            let row = &self.index.units[*unit];
            match row.requirements() {
                _ if !row.is_wanted() || row.unreadable_records > 0 => 0,
                _ if self.index.moving.contains(unit) => 1,
                Some(requirements) if requirements.global => 2,
                Some(requirements) if requirements.replaces_any() => 3,
                _ => 4,
            }
        });
        order
    }

    /// Looks at one unit, and at those tied to it.
    pub(crate) fn consider_unit(&mut self, unit: UnitKey) {
        if !self.visit(unit) {
            return;
        }
        if self.index.is_tied(unit) && self.index.is_placeable(unit) {
            // Those tied to it that do not share its lot are looked at by themselves.
            let component = self.index.tied_component(unit);
            let members = component.groups.iter().flat_map(|group| &group.members);
            for ground in
                members.flat_map(|member| self.index.global_leaders(*member)).collect::<Vec<_>>()
            {
                self.consider_unit(ground);
            }
            let mut groups = component.groups.iter();
            if let Some(group) = groups.find(|group| group.members.contains(&unit)) {
                for member in &group.members {
                    self.visit(*member);
                }
                self.settle(group);
            } else if self.is_frozen(unit) {
                self.refused.push(unit);
            } else {
                self.refuse_unit(unit);
            }
            return;
        }
        let row = &self.index.units[unit];
        if row.unreadable_records > 0 {
            if row.is_wanted() && row.places.is_empty() {
                self.refused.push(unit);
            }
        } else if !row.is_wanted() {
            self.remove(unit);
        } else if row.spec_ok().is_none() {
            self.keep_unreadable(unit);
        } else if row.is_global() {
            self.place_global(unit);
        } else if let Some(machine) = self.index.begun_job(unit) {
            self.keep_job(unit, machine);
        } else {
            self.settle(&Group { members: vec![unit], fixed: Vec::new() });
        }
    }

    /// Takes back what was counted, so that the index follows the cluster again. Where the pass puts units stays on
    /// record, for explanations; it is answered too, to be forgotten before the next pass.
    pub(crate) fn rollback(&mut self) -> Vec<(UnitKey, MachineKey)> {
        for (unit, machine) in self.counted.iter().rev() {
            self.index.uncount_unit(*unit, *machine);
        }
        std::mem::take(&mut self.counted)
    }

    /// Gives up what was counted after the first `keep`: it is not what the pass decides.
    pub(crate) fn uncount_after(&mut self, keep: usize) {
        for (unit, machine) in self.counted.drain(keep..).rev() {
            self.index.uncount_unit(unit, machine);
            self.index.machines[machine].planned.pop();
            self.index.units[unit].planned = None;
        }
    }

    /// Marks a unit as looked at; false when it already was.
    pub(crate) fn visit(&mut self, unit: UnitKey) -> bool {
        let stamp = self.stamp;
        let row = &mut self.index.units[unit];
        if row.visited == stamp {
            return false;
        }
        row.visited = stamp;
        self.seen.push(unit);
        true
    }

    pub(crate) fn is_frozen(&self, unit: UnitKey) -> bool {
        self.index.units[unit].places.iter().any(|place| self.index.is_held(place.machine))
    }

    /// No longer wanted: every placement goes, wherever it is. Each goes by itself, for a global unit has as many as
    /// there are machines, and the store limits what is written together.
    fn remove(&mut self, unit: UnitKey) {
        for decision in self.remove_decisions(unit, |_| true) {
            self.push(unit, vec![decision]);
        }
    }

    /// Wanted, but not understood: what is placed stays as it is, with what the user wants of it.
    fn keep_unreadable(&mut self, unit: UnitKey) {
        let row = &self.index.units[unit];
        let live: Vec<(MachineKey, FileHash)> = row
            .places
            .iter()
            .filter(|place| self.index.is_live(place.machine))
            .map(|place| (place.machine, place.placement.file))
            .collect();
        if live.is_empty() {
            self.refused.push(unit);
        }
        for (machine, file) in live {
            let decision = self.update_decision(unit, machine, file);
            self.push(unit, decision.into_iter().collect());
        }
    }

    /// A job that may have been begun stays with its machine, whatever becomes of that: elsewhere it would be begun again.
    fn keep_job(&mut self, unit: UnitKey, machine: MachineKey) {
        let mut decisions = self.remove_decisions(unit, |at| at != machine);
        if self.index.is_live(machine) {
            let file = self.index.units[unit].record.as_ref().map(|record| record.file);
            decisions.extend(file.and_then(|file| self.update_decision(unit, machine, file)));
        }
        self.push(unit, decisions);
    }

    fn place_global(&mut self, unit: UnitKey) {
        let Some(class) = self.index.units[unit].spec_ok().map(|spec| spec.class) else { return };
        let places: Vec<MachineKey> =
            self.index.units[unit].places.iter().map(|place| place.machine).collect();
        let mut here = Bits::default();
        let mut settled = Bits::default();
        let mut stays = 0;
        for machine in &places {
            here.insert(self.index.machines[*machine].position);
            // An absent machine keeps its record: it may still run the unit, and must find it when it returns.
            if !self.index.is_live(*machine) {
                continue;
            }
            let decisions = if self.index.may_stay(unit, *machine) {
                stays += 1;
                settled.insert(self.index.machines[*machine].position);
                self.place_decision(unit, *machine).into_iter().collect()
            } else {
                self.remove_decisions(unit, |at| at == *machine)
            };
            self.push(unit, decisions);
        }
        self.index.add_blocked(unit, &mut here);
        let blocked = here;
        let free: Vec<u32> = self
            .index
            .eligible_machines(class)
            .iter()
            .filter(|bit| !blocked.contains(*bit))
            .collect();
        for position in free {
            if let Some(machine) = self.index.order.get(position as usize).copied() {
                stays += 1;
                settled.insert(position);
                self.count(unit, machine);
                let decisions = self.place_decision(unit, machine).into_iter().collect();
                self.push(unit, decisions);
            }
        }
        self.index.note_global_machines(unit, settled.clone());
        self.index.units[unit].partially_placed =
            self.index.classes.eligible_machines(class).iter().any(|bit| !settled.contains(bit));
        if stays == 0 {
            self.refused.push(unit);
        }
    }

    fn settle(&mut self, group: &Group) {
        if group.members.iter().any(|unit| self.is_frozen(*unit)) {
            for unit in &group.members {
                self.keep_frozen(*unit);
            }
            return;
        }
        if self.advance_move(group) {
            return;
        }
        match self.home(group) {
            Some(home) if self.begin_move(group, home) => {}
            Some(home) => self.gather_at(group, home),
            None => self.place_new(&group.members),
        }
    }

    /// It stays where it is, with what the user wants of it.
    fn keep_frozen(&mut self, unit: UnitKey) {
        let row = &self.index.units[unit];
        let file = row.record.as_ref().map(|record| record.file);
        let places = row.places.iter().map(|place| place.machine);
        let live: Vec<MachineKey> = places.filter(|machine| self.index.is_live(*machine)).collect();
        if live.is_empty() {
            self.refused.push(unit);
        }
        for machine in live {
            let decision = file.and_then(|file| self.update_decision(unit, machine, file));
            self.push(unit, decision.into_iter().collect());
        }
    }

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
        self.refused.push(unit);
        if self.index.is_unheard_of(unit) {
            return;
        }
        let live: Vec<MachineKey> = self.index.units[unit]
            .places
            .iter()
            .map(|place| place.machine)
            .filter(|machine| self.index.is_live(*machine))
            .collect();
        let decisions = self.remove_decisions(unit, |machine| live.contains(&machine));
        self.push(unit, decisions);
    }

    pub(crate) fn bring_all(&mut self, members: &[UnitKey], machine: MachineKey) {
        for unit in members {
            self.count(*unit, machine);
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
        let decisions = self.moving(unit, machine);
        self.push(unit, decisions);
    }

    /// The best machine that takes all these units.
    pub(crate) fn best_machine(
        &mut self,
        members: &[UnitKey],
        except: impl IntoIterator<Item = MachineKey>,
    ) -> Option<MachineKey> {
        let mut blocked = Bits::default();
        let mut together: Option<Bits> = None;
        let mut last = None;
        for unit in members {
            let class = self.index.units[*unit].spec_ok()?.class;
            let eligible = self.index.eligible_machines(class);
            if members.len() > 1 {
                match &mut together {
                    Some(together) => together.intersect_with(eligible),
                    None => together = Some(eligible.clone()),
                }
            }
            last = Some(class);
            self.index.add_blocked(*unit, &mut blocked);
        }
        if members.len() > 1 && self.index.find_contradiction(members).is_some() {
            return None;
        }
        for machine in except {
            blocked.insert(self.index.machines[machine].position);
        }
        let eligible = match &together {
            Some(together) => together,
            None => self.index.classes.eligible_machines(last?),
        };
        let position = self.index.rank.best_of(eligible, &blocked)?;
        self.index.order.get(position as usize).copied()
    }

    pub(crate) fn count(&mut self, unit: UnitKey, machine: MachineKey) {
        self.index.count_unit(unit, machine);
        self.index.machines[machine].planned.push(unit);
        if !self.index.units[unit].is_global() {
            self.index.units[unit].planned = Some(machine);
        }
        self.counted.push((unit, machine));
    }

    /// Decides, unless that would let a unit run twice that may not: whatever led here, it comes to no machine while another
    /// may run it, and leaves none that has not said how it stands.
    pub(crate) fn push(&mut self, unit: UnitKey, mut decisions: Vec<Decision>) {
        decisions.retain(|decision| {
            let twice = self.index.would_run_twice(unit, decision);
            self.refused.extend(twice.filter(|unit| !self.refused.contains(unit)));
            twice.is_none()
        });
        if !decisions.is_empty() {
            let name = self.index.units[unit].name.clone();
            self.moves.push(Move { unit: name, decisions });
            self.moved.push(unit);
        }
    }
}
