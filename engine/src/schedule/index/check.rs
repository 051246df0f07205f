//! Whether the indexes say what the rows say.
//!
//! Owns the comparison of every index with the one that is made afresh from the rows. It runs in builds with debug assertions, which
//! all tests are, and on behalf of tests that ask for it; it changes nothing.
//!
//! What holds whenever no pass is under way:
//!
//! - units and machines are found by their names, and machines are numbered in the order of their ids;
//! - a placement or a report is of a machine that knows of it, and the load of a machine is how many units are placed there;
//! - live machines are ranked by that load, and found by runner, metadata, cordon and drain as their records say;
//! - each pattern is tallied where the units are that match it, and where those are that declare it;
//! - units are found by whom they follow and replace, as their files say, and those that move as their placements say.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use muster_common::machine::Machine;

use super::rows::UnitSpec;
use super::state::Index;
use crate::schedule::table::{Bits, MachineKey, PatternKey, UnitKey};

/// After how many changes the indexes are compared at the earliest: a cluster of a few units is compared often enough, and tests
/// that make thousands of them stay quick.
const CHECK_AFTER: usize = 16;

impl Index {
    /// Compares the indexes with the rows now and then, so that what it costs is in proportion to the changes. Does nothing in a
    /// build without debug assertions.
    pub(crate) fn check_sometimes(&mut self) {
        if !cfg!(debug_assertions) {
            return;
        }
        self.unchecked_changes += 1;
        let size = self.unit_keys.len() + self.machine_keys.len();
        if self.unchecked_changes >= size.max(CHECK_AFTER) {
            self.unchecked_changes = 0;
            let problems = self.find_index_problems();
            // Decisions rest on the indexes alone: one that has gone astray would move units for no reason.
            debug_assert!(
                problems.is_empty(),
                "the index is not what it was made from: {problems:#?}"
            );
        }
    }

    /// Sentences on each index that differs from the one made afresh.
    pub(crate) fn find_index_problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        self.check_names(&mut problems);
        self.check_machines(&mut problems);
        self.check_placements(&mut problems);
        self.check_patterns(&mut problems);
        self.check_ties(&mut problems);
        problems
    }

    fn check_names(&self, problems: &mut Vec<String>) {
        for (name, key) in &self.unit_keys {
            compare_index(problems, "a unit's name", name, &self.units[*key].name);
        }
        for (id, key) in &self.machine_keys {
            compare_index(problems, "a machine's id", id, &self.machines[*key].id);
        }
        let order: Vec<MachineKey> = self.machine_keys.values().copied().collect();
        compare_index(problems, "the order of machines", &order, &self.order);
        for (position, key) in (0u32..).zip(&self.order) {
            compare_index(
                problems,
                "a machine's position",
                &position,
                &self.machines[*key].position,
            );
        }
    }

    fn check_machines(&self, problems: &mut Vec<String>) {
        let rows = || self.machine_keys.values().map(|key| (*key, &self.machines[*key]));
        let live = || rows().filter(|(_, row)| row.record.is_some());
        let positions: Bits = live().map(|(_, row)| row.position).collect();
        compare_index(problems, "live machines", &in_order(&positions), &in_order(&self.live));
        compare_index(problems, "how many are live", &live().count(), &self.live_count);
        let ranked: BTreeSet<(u32, u32)> =
            live().map(|(_, row)| (row.load, row.position)).collect();
        compare_index(
            problems,
            "the ranks of machines",
            &ranked,
            &self.rank.ranked_machines().collect(),
        );

        let leaving =
            rows().filter(|(_, row)| row.record.as_ref().is_some_and(|record| record.leaving));
        compare_index(problems, "leaving machines", &keys_of(leaving), &self.leaving);
        let cordoned = rows().filter(|(_, row)| row.cordon.is_some() || row.cordon_unreadable);
        compare_index(problems, "cordoned machines", &keys_of(cordoned), &self.cordoned);
        let drains = |row: &super::rows::MachineRow| {
            row.cordon.as_ref().is_some_and(muster_common::cordon::Cordon::is_draining)
        };
        compare_index(
            problems,
            "drained machines",
            &keys_of(rows().filter(|(_, r)| drains(r))),
            &self.draining,
        );

        let mut runners = BTreeMap::new();
        let mut metadata = BTreeMap::new();
        for (key, row) in rows() {
            for demand in row.record.iter().flat_map(Machine::met_demands) {
                runners.entry(demand).or_insert_with(BTreeSet::new).insert(key);
            }
            for (name, value) in &row.metadata {
                let values = metadata.entry(name.clone()).or_insert_with(BTreeMap::new);
                values.entry(value.clone()).or_insert_with(BTreeSet::new).insert(key);
            }
        }
        let known = self.runners.iter().filter(|(_, machines)| !machines.is_empty());
        let known = known.map(|(runner, machines)| (*runner, machines.clone())).collect();
        compare_index(problems, "machines by runner", &runners, &known);
        compare_index(problems, "machines by metadata", &metadata, &self.metadata);
    }

    fn check_placements(&self, problems: &mut Vec<String>) {
        let mut placed: BTreeMap<MachineKey, BTreeSet<UnitKey>> = BTreeMap::new();
        let mut reported: BTreeMap<MachineKey, BTreeSet<UnitKey>> = BTreeMap::new();
        let mut moving = BTreeSet::new();
        for unit in self.unit_keys.values().copied() {
            let row = &self.units[unit];
            for place in &row.places {
                placed.entry(place.machine).or_default().insert(unit);
            }
            for (machine, _) in &row.reports {
                reported.entry(*machine).or_default().insert(unit);
            }
            if self.is_on_the_move(unit) {
                moving.insert(unit);
            }
            let positions: Vec<u32> =
                row.places.iter().map(|place| self.machines[place.machine].position).collect();
            if !positions.is_sorted() {
                problems.push(format!("the placements of {} are not in order", row.name));
            }
        }
        compare_index(problems, "units on the move", &moving, &self.moving);
        for key in self.machine_keys.values() {
            let row = &self.machines[*key];
            let units = placed.remove(key).unwrap_or_default();
            compare_index(problems, "the load of a machine", &units.len(), &(row.load as usize));
            compare_index(problems, "units on a machine", &units, &row.units);
            let units = reported.remove(key).unwrap_or_default();
            compare_index(problems, "reports of a machine", &units, &row.reporting);
        }
        // Whatever is left names a machine that is not known.
        compare_index(problems, "placements without a machine", &BTreeMap::new(), &placed);
        compare_index(problems, "reports without a machine", &BTreeMap::new(), &reported);
    }

    fn check_patterns(&self, problems: &mut Vec<String>) {
        type Counts = BTreeMap<MachineKey, u32>;
        let mut tallies: BTreeMap<PatternKey, (Counts, Counts)> = BTreeMap::new();
        for unit in self.unit_keys.values() {
            let row = &self.units[*unit];
            compare_index(
                problems,
                "matched patterns",
                &self.patterns.matching_name(&row.name),
                &row.matched,
            );
            for place in &row.places {
                for key in &row.matched {
                    *tallies.entry(*key).or_default().0.entry(place.machine).or_default() += 1;
                }
                for key in row.declared_patterns() {
                    *tallies.entry(*key).or_default().1.entry(place.machine).or_default() += 1;
                }
            }
        }
        for (key, pattern) in self.patterns.iter() {
            let (matching, declaring) = tallies.remove(&key).unwrap_or_default();
            for (what, counts, tally) in [
                ("matching", matching, &pattern.matching),
                ("declaring", declaring, &pattern.declaring),
            ] {
                let positions = counts.keys().map(|machine| self.machines[*machine].position);
                let positions: Bits = positions.collect();
                compare_index(
                    problems,
                    what,
                    &in_order(&positions),
                    &in_order(tally.machine_set()),
                );
                compare_index(problems, what, &counts, tally.counts_by_machine());
            }
        }
        compare_index(problems, "tallies without a pattern", &BTreeMap::new(), &tallies);
    }

    fn check_ties(&self, problems: &mut Vec<String>) {
        let mut followers = BTreeMap::new();
        let mut replacers = BTreeMap::new();
        let (mut by_pattern, mut globals) = (BTreeSet::new(), BTreeSet::new());
        for unit in self.unit_keys.values().copied() {
            let row = &self.units[unit];
            let UnitSpec::Resolved(spec) = &row.spec else { continue };
            for leader in &spec.requirements.machine_of {
                followers.entry(leader.clone()).or_insert_with(BTreeSet::new).insert(unit);
            }
            for replaced in &spec.requirements.replaces {
                replacers.entry(replaced.clone()).or_insert_with(BTreeSet::new).insert(unit);
            }
            if !spec.requirements.replaces_matching.is_empty() {
                by_pattern.insert(unit);
            }
            if spec.requirements.global {
                globals.insert(unit);
            }
            let users = row.file.and_then(|file| self.files.get(&file)).map(|file| &file.users);
            if !users.is_some_and(|users| users.contains(&unit)) {
                problems.push(format!("{} is not among the users of its file", row.name));
            }
        }
        compare_index(problems, "followers", &followers, &self.followers);
        compare_index(problems, "replacers", &replacers, &self.replacers);
        compare_index(problems, "replacers by pattern", &by_pattern, &self.pattern_replacers);
        compare_index(problems, "global units", &globals, &self.globals);
    }
}

fn compare_index<T: PartialEq + Debug>(
    problems: &mut Vec<String>,
    what: &str,
    afresh: &T,
    kept: &T,
) {
    if afresh != kept {
        problems.push(format!("{what}: {kept:?} is kept, {afresh:?} is right"));
    }
}

/// Sets that differ in spare room at their end are the same set.
fn in_order(bits: &Bits) -> Vec<u32> {
    bits.iter().collect()
}

fn keys_of<T>(rows: impl Iterator<Item = (MachineKey, T)>) -> BTreeSet<MachineKey> {
    rows.map(|(key, _)| key).collect()
}
