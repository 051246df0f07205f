//! Who counts where.
//!
//! Owns the load of machines and the tallies of conflicts: a unit counts on each machine where it is placed, and where the pass at
//! hand puts it.

use super::state::Index;
use crate::schedule::table::{MachineKey, PatternKey, UnitKey};

impl Index {
    /// Counts a unit on a machine, in the machine's load and in the conflicts it takes part in.
    pub(crate) fn count_unit(&mut self, unit: UnitKey, machine: MachineKey) {
        let Self { units, machines, patterns, rank, .. } = self;
        let row = &mut machines[machine];
        if row.record.is_some() {
            rank.remove(row.load, row.position);
            rank.insert(row.load + 1, row.position);
        }
        row.load += 1;
        let position = row.position;
        for key in &units[unit].matched {
            patterns.get_mut(*key).matching.add_unit(machine, position);
        }
        self.count_declared(unit, machine);
    }

    /// Takes back an [`Self::count_unit`].
    pub(crate) fn uncount_unit(&mut self, unit: UnitKey, machine: MachineKey) {
        let Self { units, machines, patterns, rank, .. } = self;
        let row = &mut machines[machine];
        if row.record.is_some() {
            rank.remove(row.load, row.position);
            rank.insert(row.load - 1, row.position);
        }
        row.load -= 1;
        let position = row.position;
        for key in &units[unit].matched {
            patterns.get_mut(*key).matching.remove_unit(machine, position);
        }
        self.uncount_declared(unit, machine);
    }

    /// Counts what a unit declares on a machine, without the unit itself.
    pub(crate) fn count_declared(&mut self, unit: UnitKey, machine: MachineKey) {
        let position = self.machines[machine].position;
        for key in self.units[unit].declared_patterns() {
            self.patterns.get_mut(*key).declaring.add_unit(machine, position);
        }
    }

    /// Takes back a [`Self::count_declared`].
    pub(crate) fn uncount_declared(&mut self, unit: UnitKey, machine: MachineKey) {
        let position = self.machines[machine].position;
        for key in self.units[unit].declared_patterns() {
            self.patterns.get_mut(*key).declaring.remove_unit(machine, position);
        }
    }

    /// True if a machine has another unit that conflicts with this one. `counted`: the unit itself is counted there.
    pub(crate) fn has_conflict(&self, unit: UnitKey, machine: MachineKey, counted: bool) -> bool {
        let row = &self.units[unit];
        // A unit that matches its own pattern counts itself once, where it is, on either side.
        let own =
            |other: &[PatternKey], key: &PatternKey| u32::from(counted && other.contains(key));
        row.declared_patterns()
            .iter()
            .any(|key| self.patterns.get(*key).matching.count_on(machine) > own(&row.matched, key))
            || row.matched.iter().any(|key| {
                self.patterns.get(*key).declaring.count_on(machine)
                    > own(row.declared_patterns(), key)
            })
    }

    /// The pattern by which two units conflict, and which of them declares it.
    pub(crate) fn conflict_between(
        &self,
        one: UnitKey,
        other: UnitKey,
    ) -> Option<(PatternKey, UnitKey)> {
        let declared_by = |declarer: UnitKey, matching: UnitKey| {
            let matched = &self.units[matching].matched;
            let declares = self.units[declarer].declared_patterns();
            declares.iter().find(|key| matched.contains(key)).map(|key| (*key, declarer))
        };
        if one == other {
            return None;
        }
        declared_by(one, other).or_else(|| declared_by(other, one))
    }
}
