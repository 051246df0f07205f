//! What units ask for, read from their files.
//!
//! Owns the reading, and what follows from it: the class a unit belongs to, the patterns it declares, and whom it is tied
//! to. Units of one file share what was read.

use std::mem;
use std::ops::Bound;
use std::sync::Arc;

use muster_common::unit::Glob;

use crate::single::stands_alone;

use super::state::{FileRow, Good, Index, Spec};
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
        self.specify(unit);
    }

    /// Reads what a unit asks for from its file.
    pub(crate) fn specify(&mut self, unit: UnitKey) {
        self.touch(unit);
        let placed: Vec<MachineKey> =
            self.units[unit].places.iter().map(|place| place.machine).collect();
        if !placed.is_empty() {
            // Whatever it kept others from may be open to them now.
            self.stirred = true;
        }
        for machine in &placed {
            self.undeclare(unit, *machine);
        }
        self.touch_circles(unit);
        let before = mem::replace(&mut self.units[unit].spec, Spec::Absent);
        self.untie(unit, &before);
        let after = self.read(unit);
        // Released only now, so that what both share is not forgotten in between.
        if let Spec::Good(good) = before {
            self.classes.release(good.class);
            for key in good.declares {
                self.release_pattern(key);
            }
        }
        self.units[unit].spec = after;
        self.tie(unit);
        self.touch_circles(unit);
        for machine in placed {
            self.declare(unit, machine);
            if self.crowded(unit, machine, true) {
                self.touch_units_on(machine);
            }
        }
        self.note_moving(unit);
    }

    fn read(&mut self, unit: UnitKey) -> Spec {
        let row = &self.units[unit];
        let Some(hash) = row.file else { return Spec::Absent };
        let file = self.files.get(&hash);
        let keeps_data = file.is_some_and(|file| file.keeps_data.contains(&row.runner()));
        let problem = match file.and_then(|file| file.template.as_ref()) {
            Some(Ok(template)) => match template.for_unit(&row.name) {
                Ok(requirements) => {
                    let single = stands_alone(&row.name, &requirements, keeps_data);
                    let class = self.classes.acquire(&requirements, row.runner());
                    let declares = self.acquire_patterns(&requirements.conflicts);
                    return Spec::Good(Good { class, declares, requirements, single });
                }
                Err(error) => error.to_string(),
            },
            Some(Err(problem)) => problem.clone(),
            None => match self.unreadable.get(&format!("file/{hash}")) {
                Some(problem) => problem.clone(),
                None => "the store does not have it".to_owned(),
            },
        };
        Spec::Bad(problem)
    }

    fn acquire_patterns(&mut self, globs: &[Glob]) -> Vec<PatternKey> {
        let mut keys: Vec<PatternKey> = Vec::with_capacity(globs.len());
        for glob in globs {
            let (key, new) = self.patterns.acquire(glob);
            if new {
                self.match_names(key);
            }
            if keys.contains(&key) {
                self.patterns.release(key);
            } else {
                keys.push(key);
            }
        }
        keys
    }

    fn release_pattern(&mut self, key: PatternKey) {
        let glob = self.patterns.get(key).glob.clone();
        if self.patterns.release(key) {
            for unit in self.beginning_with(glob.literal_prefix()) {
                self.units[unit].matched.retain(|matched| *matched != key);
            }
        }
    }

    /// Matches a new pattern with the names there are.
    fn match_names(&mut self, key: PatternKey) {
        let glob = self.patterns.get(key).glob.clone();
        for unit in self.beginning_with(glob.literal_prefix()) {
            let row = &mut self.units[unit];
            if glob.matches(row.name.as_str()) {
                row.matched.push(key);
                row.matched.sort_unstable_by_key(|key| key.row());
                let planned = row.planned.filter(|_| self.tentative);
                let machines = row.places.iter().map(|place| place.machine).chain(planned);
                for machine in machines {
                    let position = self.machines[machine].position;
                    self.patterns.get_mut(key).matching.add(machine, position);
                }
            }
        }
    }

    pub(crate) fn beginning_with(&self, prefix: &str) -> Vec<UnitKey> {
        // Names are ordered as their text is, so those with a common beginning stand together.
        self.unit_keys
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(|(name, _)| name.as_str().starts_with(prefix))
            .map(|(_, key)| *key)
            .collect()
    }

    fn tie(&mut self, unit: UnitKey) {
        let Some(good) = self.units[unit].good() else { return };
        let requirements = Arc::clone(&good.requirements);
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
        self.touch_replaced(unit);
    }

    fn untie(&mut self, unit: UnitKey, spec: &Spec) {
        let Spec::Good(good) = spec else { return };
        self.globals.remove(&unit);
        self.pattern_replacers.remove(&unit);
        // Whom it was tied to is looked at without it from now on.
        let requirements = &good.requirements;
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
            self.stirred = true;
            if let Some(key) = self.unit_keys.get(name).copied() {
                self.touch(key);
            }
        }
        for pattern in &requirements.replaces_matching {
            self.stirred = true;
            for key in self.matching(pattern) {
                self.touch(key);
            }
        }
    }
}
