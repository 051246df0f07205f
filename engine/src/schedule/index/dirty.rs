//! Which units have to be looked at again.
//!
//! Owns the list: whatever changes for a unit marks it, and those whose lot depends on it. A unit that nothing has marked is where
//! the last plan left it.

use std::collections::BTreeSet;

use muster_common::unit::Requirements;

use super::rows::UnitRow;
use super::state::Index;
use crate::schedule::table::{MachineKey, UnitKey};

impl Index {
    /// Puts a unit on the list of those to look at.
    pub(crate) fn mark_dirty(&mut self, unit: UnitKey) {
        let row = &mut self.units[unit];
        if !row.dirty {
            row.dirty = true;
            self.dirty.push(unit);
        }
    }

    pub(crate) fn mark_units_on(&mut self, key: MachineKey) {
        self.recheck_refused = true;
        for unit in self.machines[key].units.iter().copied().collect::<Vec<_>>() {
            self.mark_dirty(unit);
        }
    }

    /// Marks those with whom a unit conflicts where it is. They may stay or have to go by whether it stays: when that changes,
    /// all on its machines have to be looked at too.
    pub(crate) fn mark_conflicting(&mut self, unit: UnitKey) {
        let machines: Vec<MachineKey> =
            self.units[unit].places.iter().map(|place| place.machine).collect();
        for machine in machines {
            if self.has_conflict(unit, machine, true) {
                self.mark_units_on(machine);
            }
        }
    }

    /// Units tied to this one by `Replaces=`, in either direction, have to be looked at too.
    pub(crate) fn mark_replace_ties(&mut self, unit: UnitKey) {
        if !self.has_replacers() {
            return;
        }
        let mut tied = self.named_replaced(unit);
        tied.extend(self.named_replacers(unit));
        if !tied.is_empty() {
            self.recheck_refused = true;
        }
        for unit in tied {
            self.mark_dirty(unit);
        }
    }

    /// Marks the ends of every way of replacements through a unit. One unit replaces another by all that lie between the two: when one gets
    /// another file, the ends have to be looked at too.
    pub(crate) fn mark_replace_chain(&mut self, unit: UnitKey) {
        let replaces = |row: &UnitRow| row.requirements().is_some_and(Requirements::replaces_any);
        if !replaces(&self.units[unit]) {
            return;
        }
        let mut found: BTreeSet<UnitKey> = BTreeSet::new();
        let mut next = vec![unit];
        while let Some(unit) = next.pop() {
            if found.insert(unit) {
                next.extend(self.named_replaced(unit));
                next.extend(self.named_replacers(unit));
            }
        }
        for unit in found {
            self.mark_dirty(unit);
        }
    }

    /// Puts the units on the list that draining has to do with: what becomes of them depends on more than themselves.
    pub(crate) fn mark_draining(&mut self) {
        if self.draining.is_empty() && self.moving.is_empty() {
            return;
        }
        let on = self.draining.iter().flat_map(|machine| &self.machines[*machine].units);
        let units: Vec<UnitKey> = on.chain(&self.moving).copied().collect();
        for unit in units {
            self.mark_dirty(unit);
        }
    }

    /// True if a unit is on its way from one machine to another: it has two placements, or none and has yet to end somewhere.
    pub(crate) fn is_on_the_move(&self, unit: UnitKey) -> bool {
        let row = &self.units[unit];
        let two = || row.places.iter().any(|p| p.placement.handover.takes_over.is_some());
        let none = || {
            let ending = row.places.is_empty() && !row.reports.is_empty() && row.is_wanted();
            ending && self.is_single(unit)
        };
        two() || none()
    }

    /// Notes whether a unit is on its way from one machine to another.
    pub(crate) fn note_moving(&mut self, unit: UnitKey) {
        if self.is_on_the_move(unit) {
            self.moving.insert(unit);
        } else if self.moving.remove(&unit) {
            self.recheck_refused = true;
        }
    }
}
