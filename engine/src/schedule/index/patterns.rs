//! `Conflicts=`, in both directions.
//!
//! Owns which patterns there are, which units match them, and how many units on each machine declare or match each.
//! Two units conflict when one declares a pattern that the other matches; so a machine is out of the question when it
//! has a unit matching what the newcomer declares, or declaring what the newcomer matches. Both are sets of machines
//! kept per pattern: deciding unites a few of them instead of comparing units with units.
//!
//! A name is looked up only under patterns whose literal beginning it has. Patterns that begin with a star share the
//! empty beginning and are all tried, once for each new name.

use std::collections::{BTreeMap, BTreeSet};

use muster_common::unit::{Glob, UnitName};

use crate::schedule::table::{Bits, Key as _, MachineKey, PatternKey, Table};

/// The number of units of a kind on each machine, and the set of machines that have any, by position.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    counts: BTreeMap<MachineKey, u32>,
    machines: Bits,
}

impl Tally {
    pub(crate) fn count_on(&self, machine: MachineKey) -> u32 {
        self.counts.get(&machine).copied().unwrap_or(0)
    }

    pub(crate) fn counts_by_machine(&self) -> &BTreeMap<MachineKey, u32> {
        &self.counts
    }

    pub(crate) fn machine_set(&self) -> &Bits {
        &self.machines
    }

    pub(crate) fn add_unit(&mut self, machine: MachineKey, position: u32) {
        *self.counts.entry(machine).or_insert(0) += 1;
        self.machines.insert(position);
    }

    pub(crate) fn remove_unit(&mut self, machine: MachineKey, position: u32) {
        // Whoever leaves has come: a tally below what is there would let two that conflict meet.
        debug_assert!(self.counts.contains_key(&machine), "nobody is counted there");
        if let Some(count) = self.counts.get_mut(&machine) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&machine);
                self.machines.remove(position);
            }
        }
    }

    fn renumber_machines(&mut self, position: &impl Fn(MachineKey) -> u32) {
        self.machines = self.counts.keys().map(|machine| position(*machine)).collect();
    }
}

/// One pattern.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    pub(crate) glob: Glob,
    /// Units that declare it, placed or not.
    users: u32,
    /// Placed units that match it.
    pub(crate) matching: Tally,
    /// Placed units that declare it.
    pub(crate) declaring: Tally,
}

/// Every pattern some unit declares.
#[derive(Debug, Clone)]
pub(crate) struct Patterns {
    table: Table<PatternKey, Pattern>,
    by_text: BTreeMap<String, PatternKey>,
    /// Literal beginnings in use, with their patterns.
    by_prefix: BTreeMap<String, BTreeSet<PatternKey>>,
    /// Lengths of those beginnings, with how many beginnings have each.
    lengths: BTreeMap<usize, usize>,
}

impl Patterns {
    pub(crate) fn new() -> Self {
        Self {
            table: Table::new(),
            by_text: BTreeMap::new(),
            by_prefix: BTreeMap::new(),
            lengths: BTreeMap::new(),
        }
    }

    pub(crate) fn get(&self, key: PatternKey) -> &Pattern {
        &self.table[key]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (PatternKey, &Pattern)> {
        self.by_text.values().map(|key| (*key, &self.table[*key]))
    }

    pub(crate) fn get_mut(&mut self, key: PatternKey) -> &mut Pattern {
        &mut self.table[key]
    }

    /// One more unit declares a pattern. The second answer is whether it is new, so that names must be matched with it.
    pub(crate) fn acquire_pattern(&mut self, glob: &Glob) -> (PatternKey, bool) {
        if let Some(key) = self.by_text.get(glob.as_str()) {
            self.table[*key].users += 1;
            return (*key, false);
        }
        let key = self.table.insert(Pattern {
            glob: glob.clone(),
            users: 1,
            matching: Tally::default(),
            declaring: Tally::default(),
        });
        self.by_text.insert(glob.as_str().to_owned(), key);
        let prefix = glob.literal_prefix();
        if let Some(patterns) = self.by_prefix.get_mut(prefix) {
            patterns.insert(key);
        } else {
            self.by_prefix.insert(prefix.to_owned(), BTreeSet::from([key]));
            *self.lengths.entry(prefix.len()).or_insert(0) += 1;
        }
        (key, true)
    }

    /// One unit less declares a pattern. The answer is whether it was the last, so that names must forget it.
    pub(crate) fn release_pattern(&mut self, key: PatternKey) -> bool {
        let pattern = &mut self.table[key];
        pattern.users -= 1;
        if pattern.users > 0 {
            return false;
        }
        let glob = pattern.glob.clone();
        self.by_text.remove(glob.as_str());
        let prefix = glob.literal_prefix();
        if let Some(patterns) = self.by_prefix.get_mut(prefix) {
            patterns.remove(&key);
            if patterns.is_empty() {
                self.by_prefix.remove(prefix);
                if let Some(count) = self.lengths.get_mut(&prefix.len()) {
                    *count -= 1;
                    if *count == 0 {
                        self.lengths.remove(&prefix.len());
                    }
                }
            }
        }
        self.table.release_row(key);
        true
    }

    /// The patterns a name matches, in ascending order of their keys.
    pub(crate) fn matching_name(&self, name: &UnitName) -> Vec<PatternKey> {
        let name = name.as_str();
        let mut found: Vec<PatternKey> = self
            .lengths
            .keys()
            .filter_map(|length| self.by_prefix.get(name.get(..*length)?))
            .flatten()
            .copied()
            .filter(|key| self.table[*key].glob.matches_name(name))
            .collect();
        found.sort_unstable_by_key(|key| key.row_number());
        found
    }

    /// Machines have new positions.
    pub(crate) fn renumber_machines(&mut self, position: &impl Fn(MachineKey) -> u32) {
        for pattern in self.table.rows_mut() {
            pattern.matching.renumber_machines(position);
            pattern.declaring.renumber_machines(position);
        }
    }
}
