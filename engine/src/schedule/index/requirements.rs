//! What units ask for, read from their files.
//!
//! Owns the reading, and what follows from it: the class a unit belongs to, the patterns it declares, and whom it is tied
//! to. Units of one file share what was read.

use std::mem;
use std::sync::Arc;

use muster_common::unit::Glob;

use crate::single::may_not_run_twice;

use super::rows::{FileRow, ResolvedSpec, UnitSpec};
use super::state::Index;
use crate::schedule::table::{Key as _, MachineKey, PatternKey, UnitKey};

impl Index {
    /// Follows a change of the file that a unit's requirements come from.
    pub(crate) fn choose_file(&mut self, unit: UnitKey) {
        let row = &self.units[unit];
        let placed = || row.places.first().map(|place| place.placement.file);
        let file = row.record.as_ref().map(|record| record.file).or_else(placed);
        if row.file == file {
            return;
        }
        let before = mem::replace(&mut self.units[unit].file, file);
        if let Some(before) = before
            && let Some(row) = self.files.get_mut(&before)
        {
            row.users.remove(&unit);
            if row.users.is_empty() && row.template.is_none() {
                self.files.remove(&before);
            }
        }
        if let Some(file) = file {
            self.files.entry(file).or_insert_with(FileRow::new).users.insert(unit);
        }
        self.resolve_spec(unit);
    }

    /// Reads what a unit asks for from its file.
    pub(crate) fn resolve_spec(&mut self, unit: UnitKey) {
        self.mark_dirty(unit);
        let placed: Vec<MachineKey> =
            self.units[unit].places.iter().map(|place| place.machine).collect();
        if !placed.is_empty() {
            // Whatever it kept others from may be open to them now.
            self.recheck_refused = true;
        }
        for machine in &placed {
            self.uncount_declared(unit, *machine);
        }
        self.mark_replace_chain(unit);
        let before = mem::replace(&mut self.units[unit].spec, UnitSpec::Absent);
        self.unindex_ties(unit, &before);
        let after = self.read_spec(unit);
        // Released only now, so that what both share is not forgotten in between.
        if let UnitSpec::Resolved(spec) = before {
            self.classes.release_class(spec.class);
            for key in spec.declares {
                self.release_pattern(key);
            }
        }
        self.units[unit].spec = after;
        self.index_ties(unit);
        self.mark_replace_chain(unit);
        for machine in placed {
            self.count_declared(unit, machine);
            if self.has_conflict(unit, machine, true) {
                self.mark_units_on(machine);
            }
        }
        self.note_moving(unit);
    }

    fn read_spec(&mut self, unit: UnitKey) -> UnitSpec {
        let row = &self.units[unit];
        let Some(hash) = row.file else { return UnitSpec::Absent };
        let file = self.files.get(&hash);
        let problem = match file.and_then(|file| file.template.as_ref()) {
            Some(Ok(template)) => match template.for_unit(&row.name) {
                Ok(requirements) => {
                    let runner = requirements.runner_demand(&row.name);
                    let keeps_data = file.is_some_and(|file| file.may_keep_data(runner));
                    let single = may_not_run_twice(&row.name, &requirements, keeps_data);
                    let class = self.classes.acquire_class(&requirements, runner);
                    let declares = self.acquire_patterns(&requirements.conflicts);
                    return UnitSpec::Resolved(ResolvedSpec {
                        class,
                        declares,
                        requirements,
                        single,
                    });
                }
                Err(error) => error.to_string(),
            },
            Some(Err(problem)) => problem.clone(),
            None => match self.unreadable.get(&format!("file/{hash}")) {
                Some(problem) => problem.clone(),
                None => "the store does not have it".to_owned(),
            },
        };
        UnitSpec::Unusable(problem)
    }

    fn acquire_patterns(&mut self, globs: &[Glob]) -> Vec<PatternKey> {
        let mut keys: Vec<PatternKey> = Vec::with_capacity(globs.len());
        for glob in globs {
            let (key, new) = self.patterns.acquire_pattern(glob);
            if new {
                self.match_names(key);
            }
            if keys.contains(&key) {
                self.patterns.release_pattern(key);
            } else {
                keys.push(key);
            }
        }
        keys
    }

    fn release_pattern(&mut self, key: PatternKey) {
        let glob = self.patterns.get(key).glob.clone();
        if self.patterns.release_pattern(key) {
            for unit in self.units_beginning_with(glob.literal_prefix()) {
                self.units[unit].matched.retain(|matched| *matched != key);
            }
        }
    }

    /// Matches a new pattern with the names there are.
    fn match_names(&mut self, key: PatternKey) {
        let glob = self.patterns.get(key).glob.clone();
        for unit in self.units_beginning_with(glob.literal_prefix()) {
            let row = &mut self.units[unit];
            if glob.matches_name(row.name.as_str()) {
                row.matched.push(key);
                row.matched.sort_unstable_by_key(|key| key.row_number());
                let machines = row.places.iter().map(|place| place.machine);
                for machine in machines {
                    let position = self.machines[machine].position;
                    self.patterns.get_mut(key).matching.add_unit(machine, position);
                }
            }
        }
    }

    fn index_ties(&mut self, unit: UnitKey) {
        let Some(spec) = self.units[unit].spec_ok() else { return };
        let requirements = Arc::clone(&spec.requirements);
        if requirements.global {
            self.globals.insert(unit);
        }
        for leader in &requirements.machine_of {
            self.followers.entry(leader.clone()).or_default().insert(unit);
        }
        for replaced in &requirements.replaces {
            self.replacers.entry(replaced.clone()).or_default().insert(unit);
        }
        if !requirements.replaces_matching.is_empty() {
            self.pattern_replacers.insert(unit);
        }
        self.mark_replace_ties(unit);
    }

    fn unindex_ties(&mut self, unit: UnitKey, before: &UnitSpec) {
        let UnitSpec::Resolved(spec) = before else { return };
        self.globals.remove(&unit);
        self.pattern_replacers.remove(&unit);
        // Whom it was tied to is looked at without it from now on.
        let requirements = &spec.requirements;
        for (names, ties) in [
            (&requirements.machine_of, &mut self.followers),
            (&requirements.replaces, &mut self.replacers),
        ] {
            for name in names {
                if let Some(units) = ties.get_mut(name) {
                    units.remove(&unit);
                    if units.is_empty() {
                        ties.remove(name);
                    }
                }
            }
        }
        for name in requirements.machine_of.iter().chain(&requirements.replaces) {
            self.recheck_refused = true;
            if let Some(key) = self.unit_keys.get(name).copied() {
                self.mark_dirty(key);
            }
        }
        for pattern in &requirements.replaces_matching {
            self.recheck_refused = true;
            for key in self.units_matching(pattern) {
                self.mark_dirty(key);
            }
        }
    }
}
