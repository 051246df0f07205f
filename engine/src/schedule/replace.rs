//! `Replaces=`: a unit that takes another's place.
//!
//! Owns where the units that make room go. A unit that replaces another goes where that one is, if it can run there and
//! the other can move elsewhere; both happen in one move. Afterwards the two keep apart: neither is placed beside the
//! other. A circle of replacements is ignored, and so is the replacement of a global unit, which has nowhere to go. A
//! unit tied to others by `MachineOf=` moves with its group, never alone, so it makes room for nobody.

use std::collections::BTreeSet;

use muster_common::unit::UnitName;

use super::index::Index;
use super::table::{Bits, MachineKey, UnitKey};

impl Index {
    /// The units that make room for this one.
    pub(super) fn replaced(&self, unit: UnitKey) -> Vec<UnitKey> {
        let Some(requirements) = self.units[unit].requirements() else { return Vec::new() };
        requirements
            .replaces
            .iter()
            .filter_map(|name| self.unit_keys.get(name).copied())
            .filter(|other| self.replaces(unit, *other))
            .collect()
    }

    /// The units this one makes room for.
    pub(super) fn replacing(&self, unit: UnitKey) -> Vec<UnitKey> {
        if self.replacers.is_empty() {
            return Vec::new();
        }
        let replacers = self.replacers.get(&self.units[unit].name).into_iter().flatten();
        let mut replacing: Vec<UnitKey> =
            replacers.copied().filter(|other| self.replaces(*other, unit)).collect();
        replacing.sort_by_key(|other| &self.units[*other].name);
        replacing
    }

    /// Whether a unit that names another in `Replaces=` is to be heeded.
    fn replaces(&self, unit: UnitKey, other: UnitKey) -> bool {
        self.is_placeable(unit)
            && self.is_placeable(other)
            && !self.leads_to(other, &self.units[unit].name)
    }

    fn leads_to(&self, from: UnitKey, goal: &UnitName) -> bool {
        let mut seen: BTreeSet<UnitKey> = BTreeSet::new();
        let mut next = vec![from];
        while let Some(unit) = next.pop() {
            if !seen.insert(unit) {
                continue;
            }
            for name in self.units[unit].requirements().map(|r| &r.replaces).into_iter().flatten() {
                if name == goal {
                    return true;
                }
                next.extend(self.unit_keys.get(name));
            }
        }
        false
    }

    /// Where a unit is, or will be once the plan at hand is applied.
    fn locations(&self, unit: UnitKey) -> impl Iterator<Item = MachineKey> + '_ {
        let row = &self.units[unit];
        row.places.iter().map(|place| place.machine).chain(row.planned)
    }

    /// Adds the machines where a unit would be beside one it replaces or makes room for.
    pub(super) fn keep_apart(&self, unit: UnitKey, blocked: &mut Bits) {
        if self.replacers.is_empty() {
            return;
        }
        for other in self.replaced(unit).into_iter().chain(self.replacing(unit)) {
            for machine in self.locations(other) {
                blocked.insert(self.machines[machine].position);
            }
        }
    }

    /// The unit on a machine that this one replaces, or else the one it makes room for there.
    pub(super) fn beside_replaced(&self, unit: UnitKey, machine: MachineKey) -> Option<UnitKey> {
        if self.replacers.is_empty() {
            return None;
        }
        self.replaced(unit)
            .into_iter()
            .chain(self.replacing(unit))
            .find(|other| self.locations(*other).any(|at| at == machine))
    }

    /// Whether a unit on a machine has to make room for another that is there.
    pub(super) fn must_make_room(&self, unit: UnitKey, machine: MachineKey) -> bool {
        self.replacing(unit).into_iter().any(|other| self.locations(other).any(|at| at == machine))
    }
}
