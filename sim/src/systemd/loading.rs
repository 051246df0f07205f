//! Loading units, keeping them, and reading their files anew.
//!
//! Owns what is in memory: a unit is loaded when it is named, with all that its file refers to, and stays for as long as it runs, has
//! failed, has a job, or one that stays refers to it. Its definition is the file as it was when it was read, whatever has become of
//! the file since, until everything is read anew.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use muster_common::state::load;
use muster_common::unit::{FileHash, UnitName, UnitType};
use musterd::runner::systemd::manager::ManagerSignal;
use musterd::stdx::disk::{DiskEntry, FileStamp};

use super::definition::{Definition, parse_hooks};
use super::state::{LoadedUnit, Phase, SystemdModel, UNIT_PATH};

impl SystemdModel {
    /// Loads a unit and what it refers to, if they are not there. One that had no file is looked for again when it is named.
    pub(super) fn load_unit(&mut self, unit: &UnitName) {
        let lacks_file = self.units.get(unit).is_some_and(|found| found.load == load::NOT_FOUND);
        if lacks_file && self.find_file(unit).is_some() {
            self.read_definition(unit);
        }
        let mut open = vec![unit.clone()];
        let mut read = BTreeSet::new();
        while let Some(unit) = open.pop() {
            if !read.insert(unit.clone()) {
                continue;
            }
            if !self.units.contains_key(&unit) {
                self.read_definition(&unit);
            }
            let definition = self.units.get(&unit).and_then(|found| found.definition.as_ref());
            open.extend(definition.into_iter().flat_map(|found| found.referenced_units().cloned()));
        }
    }

    fn read_definition(&mut self, unit: &UnitName) {
        let found = self.find_file(unit);
        let text = found.as_ref().and_then(|(path, _)| self.disk.read(path).ok());
        let text = text.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let hooked = self.hooks.get(unit).cloned().unwrap_or_default();
        let (state, definition) = match text {
            Some(text) => match Definition::parse(unit, &text) {
                Ok(definition) => (load::LOADED, Some(definition)),
                Err(_) => ("bad-setting", None),
            },
            None if is_built_in(unit) => (load::LOADED, Some(Definition::built_in())),
            None => (load::NOT_FOUND, None),
        };
        let definition = definition.map(|mut definition| {
            definition.wants.extend(hooked);
            Arc::new(definition)
        });
        let entry = self.units.entry(unit.clone()).or_insert_with(LoadedUnit::new);
        (entry.load, entry.definition, entry.fragment) = (state, definition, found);
        if entry.phase == Phase::Down && is_built_in(unit) {
            entry.phase = Phase::Up;
        }
    }

    /// The file of a unit, in the first directory that has one.
    fn find_file(&self, unit: &UnitName) -> Option<(PathBuf, FileStamp)> {
        UNIT_PATH.iter().find_map(|directory| {
            let path = Path::new(directory).join(unit.as_str());
            match self.disk.look_at(&path)? {
                DiskEntry::File(stamp) => Some((path, stamp)),
                _ => None,
            }
        })
    }

    /// The file that lies in a unit's place now.
    pub(super) fn file_in_place(&mut self, unit: &UnitName) -> Option<FileHash> {
        let (path, stamp) = self.find_file(unit)?;
        self.hash_file(path, stamp)
    }

    /// The file of a unit in one directory.
    pub(crate) fn file_in(&mut self, directory: &str, unit: &UnitName) -> Option<FileHash> {
        let path = Path::new(directory).join(unit.as_str());
        let Some(DiskEntry::File(stamp)) = self.disk.look_at(&path) else { return None };
        self.hash_file(path, stamp)
    }

    fn hash_file(&mut self, path: PathBuf, stamp: FileStamp) -> Option<FileHash> {
        if let Some((known, hash)) = self.hashes.get(&path)
            && *known == stamp
        {
            return Some(*hash);
        }
        let bytes = self.disk.read(&path).ok()?;
        let hash = FileHash::of_text(&String::from_utf8_lossy(&bytes));
        self.hashes.insert(path, (stamp, hash));
        Some(hash)
    }

    /// The file that a unit was read from has changed or gone since.
    pub(super) fn is_outdated(&self, unit: &UnitName) -> bool {
        let fragment = self.units.get(unit).and_then(|found| found.fragment.as_ref());
        fragment
            .is_some_and(|(path, stamp)| self.disk.look_at(path) != Some(DiskEntry::File(*stamp)))
    }

    /// Reads all files anew. Units run on; one whose file is gone has no definition from then on.
    pub(super) fn reload_units(&mut self) {
        self.reloads += 1;
        // What is only referred to is loaded by what refers to it.
        let forgotten = self.units.keys().filter(|unit| !self.is_root(unit));
        for unit in forgotten.cloned().collect::<Vec<_>>() {
            self.units.remove(&unit);
        }
        for unit in self.units.keys().cloned().collect::<Vec<_>>() {
            self.read_definition(&unit);
            self.load_unit(&unit);
        }
        self.collect_garbage();
        self.signals.push(ManagerSignal::Reloaded);
    }

    /// Forgets the units that nothing keeps.
    pub(super) fn collect_garbage(&mut self) {
        let kept = self.list_kept();
        let forgotten = self.units.keys().filter(|unit| !kept.contains(unit));
        for unit in forgotten.cloned().collect::<Vec<_>>() {
            self.units.remove(&unit);
        }
    }

    /// A unit stays by itself: it is there, has failed, or has a job.
    fn is_root(&self, unit: &UnitName) -> bool {
        self.jobs.contains_key(unit)
            || self.units.get(unit).is_some_and(|found| found.phase != Phase::Down)
    }

    fn list_kept(&self) -> BTreeSet<&UnitName> {
        let mut kept = BTreeSet::new();
        let mut open: Vec<&UnitName> =
            self.units.keys().filter(|unit| self.is_root(unit)).collect();
        while let Some(unit) = open.pop() {
            if !kept.insert(unit) {
                continue;
            }
            let definition = self.units.get(unit).and_then(|found| found.definition.as_ref());
            open.extend(definition.into_iter().flat_map(|found| found.referenced_units()));
        }
        kept
    }

    /// Hooks units into others, as their files say. It has an effect once the other is read anew.
    pub(super) fn enable_units(&mut self, units: &[UnitName]) -> Result<(), String> {
        for unit in units {
            let missing = || format!("Unit file {unit} does not exist.");
            let (path, _) = self.find_file(unit).ok_or_else(missing)?;
            let text = self.disk.read(&path).map_err(|_| missing())?;
            for hook in parse_hooks(&String::from_utf8_lossy(&text)) {
                self.hooks.entry(hook).or_default().insert(unit.clone());
            }
        }
        Ok(())
    }

    pub(super) fn disable_units(&mut self, units: &[UnitName]) {
        for hooked in self.hooks.values_mut() {
            hooked.retain(|unit| !units.contains(unit));
        }
        let hooks: BTreeMap<_, _> = std::mem::take(&mut self.hooks);
        self.hooks = hooks.into_iter().filter(|(_, hooked)| !hooked.is_empty()).collect();
    }
}

fn is_built_in(unit: &UnitName) -> bool {
    unit.unit_type() == UnitType::Target
}
