//! The memory of a container over a restart of the daemon, until the machine reboots.
//!
//! Owns one small file for each unit, in `/run/muster`. A file that cannot be read is as good as none: then what the
//! engine says has to do. So is one of before a soft-reboot, which leaves the directory as it was and no container running. What was
//! remembered before the boot of userspace could be told is written anew once it can, so that it holds for that one alone.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use muster_common::probe::is_planted;
use muster_common::unit::UnitName;
use muster_engine::container::unit::UnitMemory;
use serde::{Deserialize, Serialize};

use crate::stdx::disk::Disk;
use crate::stdx::files::{Durability, replace_file};
use crate::stdx::sync::lock;

/// Longest name of a file on Linux, in bytes.
const LONGEST: usize = 255;

/// The files.
#[derive(Debug)]
pub(crate) struct MemoryStore {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    userspace: Mutex<Userspace>,
}

/// The boot of the machine's userspace.
#[derive(Debug)]
struct Userspace {
    /// Nothing where it cannot be told yet.
    known: Option<String>,
    /// The units that were remembered before.
    remembered_before: BTreeSet<UnitName>,
}

/// The content of a file.
#[derive(Debug, Serialize, Deserialize)]
struct KeptMemory<M> {
    #[serde(flatten)]
    memory: M,
    /// The userspace it is of; nothing from a version before, or where it was not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    userspace: Option<String>,
}

impl MemoryStore {
    pub(crate) fn new(disk: Arc<dyn Disk>, directory: PathBuf, userspace: Option<String>) -> Self {
        let userspace = Userspace { known: userspace, remembered_before: BTreeSet::new() };
        Self { disk, directory, userspace: Mutex::new(userspace) }
    }

    fn path(&self, unit: &UnitName) -> PathBuf {
        self.directory.join(file_name(unit))
    }

    /// The memory of a unit; `None` when there is none that can be read.
    pub(crate) fn load(&self, unit: &UnitName) -> Option<UnitMemory> {
        let kept = self.read(unit)?;
        let is_outlived = matches!(
            (&kept.userspace, &lock(&self.userspace).known),
            (Some(kept), Some(now)) if kept != now
        );
        (!is_outlived || is_planted("memory-outlives-userspace")).then_some(kept.memory)
    }

    /// Remembers it, whole or not at all.
    pub(crate) fn save(&self, unit: &UnitName, kept: &UnitMemory) -> io::Result<()> {
        let mut userspace = lock(&self.userspace);
        if userspace.known.is_none() {
            userspace.remembered_before.insert(unit.clone());
        }
        self.write(unit, kept, userspace.known.clone())
    }

    /// The boot of userspace, which may not have been told before. What has been remembered meanwhile is of this one.
    pub(crate) fn learn_userspace(&self, told: &str) {
        let mut userspace = lock(&self.userspace);
        if userspace.known.is_some() {
            return;
        }
        userspace.known = Some(told.to_owned());
        let before = std::mem::take(&mut userspace.remembered_before);
        if is_planted("remembered-for-any-userspace") {
            return;
        }
        for unit in before {
            let Some(kept) = self.read(&unit) else { continue };
            if let Err(error) = self.write(&unit, &kept.memory, userspace.known.clone()) {
                tracing::error!(%unit, %error, "cannot write down of which boot the memory of a container is");
            }
        }
    }

    fn read(&self, unit: &UnitName) -> Option<KeptMemory<UnitMemory>> {
        let bytes = self.disk.read(&self.path(unit)).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    fn write(&self, unit: &UnitName, memory: &UnitMemory, of: Option<String>) -> io::Result<()> {
        let text = serde_json::to_vec(&KeptMemory { memory, userspace: of })?;
        replace_file(&*self.disk, &self.path(unit), &text, Durability::OutlivesDaemon)
    }

    /// Forgets it.
    pub(crate) fn forget_unit(&self, unit: &UnitName) {
        lock(&self.userspace).remembered_before.remove(unit);
        let _ = self.disk.remove(&self.path(unit));
    }

    /// True if any unit is remembered.
    pub(crate) fn has_any(&self) -> bool {
        self.disk.list(&self.directory).is_ok_and(|files| !files.is_empty())
    }

    /// Where they are.
    pub(crate) fn directory_path(&self) -> &Path {
        &self.directory
    }
}

/// The name of a unit's file; the longest names of units leave no room for an end.
fn file_name(unit: &UnitName) -> String {
    let ended = format!("{unit}.json");
    if ended.len() > LONGEST { unit.to_string() } else { ended }
}

#[cfg(test)]
mod tests {
    use muster_engine::container::LifeMemory;

    use super::*;
    use crate::stdx::disk::HostDisk;

    #[test]
    fn a_unit_of_the_longest_name_is_remembered_as_well() {
        let directory = tempfile::tempdir().unwrap();
        let memories = MemoryStore::new(Arc::new(HostDisk), directory.path().to_owned(), None);
        for length in [235, 240, 241, 245] {
            let unit: UnitName = format!("{}.container", "x".repeat(length)).parse().unwrap();
            memories.save(&unit, &UnitMemory::default()).unwrap();
            assert_eq!(memories.load(&unit), Some(UnitMemory::default()), "{length}");
        }
    }

    #[test]
    fn a_soft_reboot_outlives_what_was_kept() {
        let directory = tempfile::tempdir().unwrap();
        let of = |userspace: Option<&str>| {
            let directory = directory.path().to_owned();
            MemoryStore::new(Arc::new(HostDisk), directory, userspace.map(str::to_owned))
        };
        let unit: UnitName = "web.container".parse().unwrap();
        let kept = UnitMemory { generation: 3, ..UnitMemory::default() };
        of(Some("a")).save(&unit, &kept).unwrap();
        assert_eq!(of(Some("a")).load(&unit), Some(kept.clone()));
        assert_eq!(of(Some("b")).load(&unit), None, "nothing of then runs");
        assert_eq!(of(None).load(&unit), Some(kept.clone()), "which it is nobody knows");
        of(None).save(&unit, &kept).unwrap();
        assert_eq!(of(Some("b")).load(&unit), Some(kept));
    }

    #[test]
    fn what_was_kept_before_the_userspace_was_told_is_of_this_one() {
        let directory = tempfile::tempdir().unwrap();
        let of = |userspace: Option<&str>| {
            let directory = directory.path().to_owned();
            MemoryStore::new(Arc::new(HostDisk), directory, userspace.map(str::to_owned))
        };
        let [early, gone, late]: [UnitName; 3] =
            ["early", "gone", "late"].map(|unit| format!("{unit}.container").parse().unwrap());
        let kept = UnitMemory { generation: 3, ..UnitMemory::default() };
        let memories = of(None);
        memories.save(&early, &kept).unwrap();
        memories.save(&gone, &kept).unwrap();
        memories.forget_unit(&gone);
        memories.learn_userspace("a");
        memories.learn_userspace("b");
        memories.save(&late, &kept).unwrap();
        for unit in [&early, &late] {
            assert_eq!(of(Some("a")).load(unit), Some(kept.clone()));
            assert_eq!(of(Some("b")).load(unit), None);
        }
        assert_eq!(of(Some("a")).load(&gone), None);
    }

    #[test]
    fn what_was_kept_is_found_until_it_is_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let memories = MemoryStore::new(Arc::new(HostDisk), directory.path().to_owned(), None);
        let unit: UnitName = "web@1.container".parse().unwrap();
        assert_eq!(memories.load(&unit), None);
        let memory = LifeMemory { wanted: true, restarts: 3, ..LifeMemory::default() };
        let kept =
            UnitMemory { memory, container: Some("abc".to_owned()), ..UnitMemory::default() };
        memories.save(&unit, &kept).unwrap();
        assert_eq!(memories.load(&unit), Some(kept));
        memories.forget_unit(&unit);
        assert_eq!(memories.load(&unit), None);

        std::fs::write(memories.directory_path().join("web@1.container.json"), "{").unwrap();
        assert_eq!(memories.load(&unit), None);
    }
}
