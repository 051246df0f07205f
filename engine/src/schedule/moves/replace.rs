//! `Replaces=`: a unit that takes another's place.
//!
//! Owns where the units that make room go. A unit that replaces another, by name or by a pattern, goes where that one is,
//! if it can run there and the other can move elsewhere; both happen in one move. Afterwards the two keep apart: neither is
//! placed beside the other. A circle of replacements, of two units or more, is ignored, and so is the replacement of a
//! global unit, which has nowhere to go. A unit tied to others by `MachineOf=` moves with its group, never alone, so it
//! makes room for nobody.

use std::collections::BTreeSet;

use muster_common::unit::{Glob, UnitName};

use crate::schedule::index::Index;
use crate::schedule::pass::Pass;
use crate::schedule::table::{Bits, MachineKey, UnitKey};

impl Index {
    /// Whether any unit replaces another.
    pub(crate) fn has_replacers(&self) -> bool {
        !self.replacers.is_empty() || !self.pattern_replacers.is_empty()
    }

    /// The known units whose name a pattern matches.
    pub(crate) fn matching(&self, pattern: &Glob) -> Vec<UnitKey> {
        let mut units = self.beginning_with(pattern.literal_prefix());
        units.retain(|unit| pattern.matches(self.units[*unit].name.as_str()));
        units
    }

    /// The known units that this one names in `Replaces=`, whether that is heeded or not. Never itself.
    pub(crate) fn named_replaced(&self, unit: UnitKey) -> Vec<UnitKey> {
        let Some(requirements) = self.units[unit].requirements() else { return Vec::new() };
        let names = requirements.replaces.iter();
        let mut named: Vec<UnitKey> =
            names.filter_map(|name| self.unit_keys.get(name).copied()).collect();
        for pattern in &requirements.replaces_matching {
            for other in self.matching(pattern) {
                if other != unit && !named.contains(&other) {
                    named.push(other);
                }
            }
        }
        named
    }

    /// The units that name this one in `Replaces=`, whether that is heeded or not.
    pub(crate) fn named_replacers(&self, unit: UnitKey) -> Vec<UnitKey> {
        let name = &self.units[unit].name;
        let mut naming: Vec<UnitKey> =
            self.replacers.get(name).into_iter().flatten().copied().collect();
        let matching = self.pattern_replacers.iter().copied().filter(|other| {
            let requirements = self.units[*other].requirements();
            *other != unit && requirements.is_some_and(|r| r.replaces_unit(name))
        });
        for other in matching {
            if !naming.contains(&other) {
                naming.push(other);
            }
        }
        naming
    }

    /// The units that make room for this one.
    pub(crate) fn replaced(&self, unit: UnitKey) -> Vec<UnitKey> {
        let mut replaced = self.named_replaced(unit);
        replaced.retain(|other| self.replaces(unit, *other));
        replaced.sort_by_key(|other| &self.units[*other].name);
        replaced
    }

    /// The units this one makes room for.
    pub(crate) fn replacing(&self, unit: UnitKey) -> Vec<UnitKey> {
        if !self.has_replacers() {
            return Vec::new();
        }
        let mut replacing = self.named_replacers(unit);
        replacing.retain(|other| self.replaces(*other, unit));
        replacing.sort_by_key(|other| &self.units[*other].name);
        replacing
    }

    /// Whether a unit that names another in `Replaces=` is to be heeded.
    fn replaces(&self, unit: UnitKey, other: UnitKey) -> bool {
        self.is_placeable(unit)
            && self.is_placeable(other)
            && !self.leads_to(other, &self.units[unit].name)
    }

    /// Whether a unit replaces another, or one that replaces one that does, and so on.
    fn leads_to(&self, from: UnitKey, goal: &UnitName) -> bool {
        let mut seen: BTreeSet<UnitKey> = BTreeSet::new();
        let mut next = vec![from];
        while let Some(unit) = next.pop() {
            if !seen.insert(unit) {
                continue;
            }
            let Some(requirements) = self.units[unit].requirements() else { continue };
            if !requirements.replaces_any() {
                continue;
            }
            if requirements.replaces_unit(goal) {
                return true;
            }
            next.extend(self.named_replaced(unit));
        }
        false
    }

    /// Where a unit is, or will be once the plan at hand is applied.
    fn locations(&self, unit: UnitKey) -> impl Iterator<Item = MachineKey> + '_ {
        let row = &self.units[unit];
        row.places.iter().map(|place| place.machine).chain(row.planned)
    }

    /// Adds the machines where a unit would be beside one it replaces or makes room for.
    pub(crate) fn keep_apart(&self, unit: UnitKey, blocked: &mut Bits) {
        if !self.has_replacers() {
            return;
        }
        for other in self.replaced(unit).into_iter().chain(self.replacing(unit)) {
            for machine in self.locations(other) {
                blocked.insert(self.machines[machine].position);
            }
        }
    }

    /// The unit on a machine that this one replaces, or else the one it makes room for there.
    pub(crate) fn beside_replaced(&self, unit: UnitKey, machine: MachineKey) -> Option<UnitKey> {
        if !self.has_replacers() {
            return None;
        }
        self.replaced(unit)
            .into_iter()
            .chain(self.replacing(unit))
            .find(|other| self.locations(*other).any(|at| at == machine))
    }

    /// Whether a unit on a machine has to make room for another that is there.
    pub(crate) fn must_make_room(&self, unit: UnitKey, machine: MachineKey) -> bool {
        self.replacing(unit).into_iter().any(|other| self.locations(other).any(|at| at == machine))
    }
}

impl Pass<'_> {
    /// Puts a unit where one is that it replaces, and that one elsewhere; false when there is no such place.
    pub(crate) fn take_place(&mut self, unit: UnitKey) -> bool {
        if self.index.units[unit].requirements().is_none_or(|r| !r.replaces_any()) {
            return false;
        }
        let replaced = self.index.replaced(unit);
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
        let Some(class) = self.index.units[unit].good().map(|good| good.class) else {
            return false;
        };
        let position = self.index.machines[machine].position;
        if !self.index.eligible(class).contains(position)
            || self.index.strays(unit, machine).is_some()
            || self.index.crowded(unit, machine, false)
            || self.index.must_make_room(unit, machine)
        {
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
            let Some(elsewhere) = self.pick(&[*other], Some(machine)) else {
                self.take_back(before);
                return false;
            };
            let ends_first = self.index.ends_first(*other, elsewhere);
            if ends_first && !self.stays(*other, machine) {
                // It is on its way out by itself, whether this unit is looked at or not.
                self.take_back(before);
                return false;
            }
            self.count(*other, elsewhere);
            if ends_first {
                decisions.extend(self.removals(*other, |at| self.index.is_live(at)));
                waiting.push(*other);
            } else {
                decisions.extend(self.moving(*other, elsewhere));
            }
        }
        self.refused.extend(waiting);
        for other in here {
            self.visit(other);
            self.moved.push(other);
        }
        self.count(unit, machine);
        decisions.extend(self.moving(unit, machine));
        self.push(unit, decisions);
        true
    }
}
