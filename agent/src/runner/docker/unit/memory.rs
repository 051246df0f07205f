//! The memory of a container over a restart of the daemon, until the machine reboots.
//!
//! Owns one small file for each unit, in `/run/muster`. A file that cannot be read is as good as none: then what the
//! engine says has to do. So is one of before a soft-reboot, which leaves the directory as it was and no container running.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use muster_common::probe::is_planted;
use muster_common::unit::UnitName;
use muster_engine::container::unit::UnitMemory;
use serde::{Deserialize, Serialize};

use crate::stdx::disk::Disk;
use crate::stdx::files::{Durability, replace_file};

/// Longest name of a file on Linux, in bytes.
const LONGEST: usize = 255;

/// The files.
#[derive(Debug, Clone)]
pub(crate) struct MemoryStore {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    /// The boot of the machine's userspace, where it is known.
    userspace: Option<String>,
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
        Self { disk, directory, userspace }
    }

    fn path(&self, unit: &UnitName) -> PathBuf {
        self.directory.join(file_name(unit))
    }

    /// The memory of a unit; `None` when there is none that can be read.
    pub(crate) fn load(&self, unit: &UnitName) -> Option<UnitMemory> {
        let bytes = self.disk.read(&self.path(unit)).ok()?;
        let kept: KeptMemory<UnitMemory> = serde_json::from_slice(&bytes).ok()?;
        let is_outlived = matches!(
            (&kept.userspace, &self.userspace),
            (Some(kept), Some(now)) if kept != now
        );
        (!is_outlived || is_planted("memory-outlives-userspace")).then_some(kept.memory)
    }

    /// Remembers it, whole or not at all.
    pub(crate) fn save(&self, unit: &UnitName, kept: &UnitMemory) -> io::Result<()> {
        let userspace = self.userspace.clone();
        let text = serde_json::to_vec(&KeptMemory { memory: kept, userspace })?;
        replace_file(&*self.disk, &self.path(unit), &text, Durability::OutlivesDaemon)
    }

    /// Forgets it.
    pub(crate) fn forget_unit(&self, unit: &UnitName) {
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
