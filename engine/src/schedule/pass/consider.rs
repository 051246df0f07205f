//! What becomes of each unit that has to be looked at.
//!
//! Owns the decisions themselves, and in which order units have theirs. Room that a removal makes is used by the next plan,
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
//! - It leaves a machine that is drained when it is up elsewhere ([`crate::schedule::moves`]).
//! - A job that may have been begun stays where that was, though its machine be drained, lost or no longer right.

use muster_common::decision::MoveReason;
use muster_common::unit::FileHash;

use super::state::PlanPass;
use crate::schedule::group::Group;
use crate::schedule::table::{Bits, MachineKey, UnitKey};

impl PlanPass<'_> {
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
        if !self.mark_seen(unit) {
            return;
        }
        if self.index.is_tied(unit) && self.index.is_placeable(unit) {
            // Those tied to it that do not share its lot are looked at by themselves.
            let component = self.index.tied_component(unit);
            let members = component.groups.iter().flat_map(|group| &group.members);
            for leader in
                members.flat_map(|member| self.index.global_leaders(*member)).collect::<Vec<_>>()
            {
                self.consider_unit(leader);
            }
            let mut groups = component.groups.iter();
            if let Some(group) = groups.find(|group| group.members.contains(&unit)) {
                for member in &group.members {
                    self.mark_seen(*member);
                }
                self.settle_group(group);
            } else if self.is_frozen(unit) {
                self.refused.push(unit);
            } else {
                self.refuse_tied_unit(unit);
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
            self.settle_group(&Group { members: vec![unit], fixed: Vec::new() });
        }
    }

    pub(crate) fn is_frozen(&self, unit: UnitKey) -> bool {
        self.index.units[unit].places.iter().any(|place| self.index.is_held(place.machine))
    }

    /// No longer wanted: every placement goes, wherever it is. Each goes by itself, for a global unit has as many as
    /// there are machines, and the store limits what is written together.
    fn remove(&mut self, unit: UnitKey) {
        for decision in self.remove_decisions(unit, |_| true) {
            self.push_move(unit, MoveReason::NotWanted, vec![decision]);
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
            self.push_move(unit, MoveReason::Update, decision.into_iter().collect());
        }
    }

    /// A job that may have been begun stays with its machine, whatever becomes of that: elsewhere it would be begun again.
    fn keep_job(&mut self, unit: UnitKey, machine: MachineKey) {
        let mut decisions = self.remove_decisions(unit, |at| at != machine);
        if self.index.is_live(machine) {
            let file = self.index.units[unit].record.as_ref().map(|record| record.file);
            decisions.extend(file.and_then(|file| self.update_decision(unit, machine, file)));
        }
        self.push_move(unit, MoveReason::Update, decisions);
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
            let (reason, decisions) = if self.index.may_stay(unit, *machine) {
                stays += 1;
                settled.insert(self.index.machines[*machine].position);
                (MoveReason::Update, self.place_decision(unit, *machine).into_iter().collect())
            } else {
                let reason = MoveReason::Unsuitable { machine: self.id(*machine) };
                (reason, self.remove_decisions(unit, |at| at == *machine))
            };
            self.push_move(unit, reason, decisions);
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
                self.count_planned(unit, machine);
                let decisions = self.place_decision(unit, machine).into_iter().collect();
                self.push_move(unit, MoveReason::Place, decisions);
            }
        }
        self.index.note_global_machines(unit, settled.clone());
        self.index.units[unit].partially_placed =
            self.index.classes.eligible_machines(class).iter().any(|bit| !settled.contains(bit));
        if stays == 0 {
            self.refused.push(unit);
        }
    }

    fn settle_group(&mut self, group: &Group) {
        if group.members.iter().any(|unit| self.is_frozen(*unit)) {
            for unit in &group.members {
                self.keep_frozen(*unit);
            }
            return;
        }
        if self.advance_move(group) {
            return;
        }
        match self.home_of(group) {
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
            self.push_move(unit, MoveReason::Update, decision.into_iter().collect());
        }
    }
}
