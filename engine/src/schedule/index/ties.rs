//! Who is tied to whom, by `MachineOf=` and by `Replaces=`.
//!
//! Owns the relations as the files of the units say them, and which of them are heeded: a circle of replacements, of two units or
//! more, is ignored, and so is the replacement of a global unit, which has nowhere to go.

use std::collections::BTreeSet;
use std::ops::Bound;

use muster_common::unit::{Glob, UnitName};

use super::state::Index;
use crate::schedule::table::{MachineKey, UnitKey};

impl Index {
    /// True if a unit is tied to any other.
    pub(crate) fn is_tied(&self, unit: UnitKey) -> bool {
        let row = &self.units[unit];
        row.requirements().is_some_and(|r| !r.machine_of.is_empty())
            || (!self.followers.is_empty() && self.followers.contains_key(&row.name))
    }

    pub(crate) fn leaders_of(&self, unit: UnitKey) -> impl Iterator<Item = &UnitName> {
        self.units[unit].requirements().map(|r| &r.machine_of).into_iter().flatten()
    }

    pub(crate) fn followers_of(&self, unit: UnitKey) -> impl Iterator<Item = UnitKey> + '_ {
        self.followers.get(&self.units[unit].name).into_iter().flatten().copied()
    }

    /// The global units that a unit belongs beside.
    pub(crate) fn global_leaders(&self, unit: UnitKey) -> Vec<UnitKey> {
        self.leaders_of(unit)
            .filter_map(|name| self.unit_keys.get(name).copied())
            .filter(|leader| self.is_global_leader(*leader))
            .collect()
    }

    /// True if any unit replaces another.
    pub(crate) fn has_replacers(&self) -> bool {
        !self.replacers.is_empty() || !self.pattern_replacers.is_empty()
    }

    /// The known units that this one names in `Replaces=`, whether that is heeded or not. Never itself.
    pub(crate) fn named_replaced(&self, unit: UnitKey) -> Vec<UnitKey> {
        let Some(requirements) = self.units[unit].requirements() else { return Vec::new() };
        let names = requirements.replaces.iter();
        let mut named: Vec<UnitKey> =
            names.filter_map(|name| self.unit_keys.get(name).copied()).collect();
        for pattern in &requirements.replaces_matching {
            for other in self.units_matching(pattern) {
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
    pub(crate) fn units_replaced_by(&self, unit: UnitKey) -> Vec<UnitKey> {
        let mut replaced = self.named_replaced(unit);
        replaced.retain(|other| self.is_replacement_heeded(unit, *other));
        replaced.sort_by_key(|other| &self.units[*other].name);
        replaced
    }

    /// The units this one makes room for.
    pub(crate) fn units_replacing(&self, unit: UnitKey) -> Vec<UnitKey> {
        if !self.has_replacers() {
            return Vec::new();
        }
        let mut replacing = self.named_replacers(unit);
        replacing.retain(|other| self.is_replacement_heeded(*other, unit));
        replacing.sort_by_key(|other| &self.units[*other].name);
        replacing
    }

    /// True if a unit that names another in `Replaces=` is to be heeded.
    fn is_replacement_heeded(&self, unit: UnitKey, other: UnitKey) -> bool {
        self.is_placeable(unit)
            && self.is_placeable(other)
            && !self.leads_to(other, &self.units[unit].name)
    }

    /// True if a unit replaces another, or one that replaces one that does, and so on.
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

    /// True if a unit on a machine has to make room for another that is there.
    pub(crate) fn is_displaced(&self, unit: UnitKey, machine: MachineKey) -> bool {
        self.units_replacing(unit).into_iter().any(|other| self.is_or_comes_to(other, machine))
    }

    /// The known units whose name a pattern matches.
    pub(crate) fn units_matching(&self, pattern: &Glob) -> Vec<UnitKey> {
        let mut units = self.units_beginning_with(pattern.literal_prefix());
        units.retain(|unit| pattern.matches_name(self.units[*unit].name.as_str()));
        units
    }

    pub(crate) fn units_beginning_with(&self, prefix: &str) -> Vec<UnitKey> {
        // Names are ordered as their text is, so those with a common beginning stand together.
        self.unit_keys
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(|(name, _)| name.as_str().starts_with(prefix))
            .map(|(_, key)| *key)
            .collect()
    }
}
