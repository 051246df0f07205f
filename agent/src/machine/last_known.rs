//! The last known placements of this machine, on disk.
//!
//! Owns `placements.json` in the state directory: what this machine was last told to run, file texts included, so that a
//! reboot while the store is away brings its units back. It never decides when they are used.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use muster_common::snapshot::{Handover, Placement};
use muster_common::state::DesiredState;
use muster_common::unit::{FileHash, UnitName};
use muster_engine::machine::memory::LastKnown;
use serde::{Deserialize, Serialize};

use crate::stdx::disk::Disk;
use crate::stdx::files::{Durability, read_file, remove_file, replace_file};

/// Version of the record. A daemon reads its own and older ones.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct LastKnownRecord {
    version: u32,
    places: BTreeMap<UnitName, PlaceRecord>,
    files: BTreeMap<FileHash, String>,
}

#[derive(Serialize, Deserialize)]
struct PlaceRecord {
    file: FileHash,
    desired: DesiredState,
    generation: u64,
}

/// Where they lie.
pub fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("placements.json")
}

/// Reads them. `None` when there are none or they cannot be read: not knowing starts nothing.
pub fn load(disk: &dyn Disk, path: &Path) -> Option<LastKnown> {
    let bytes = read_file(disk, path)
        .inspect_err(|error| {
            tracing::warn!(path = %path.display(), %error, "cannot read the last known placements");
        })
        .ok()??;
    let record: LastKnownRecord = serde_json::from_slice(&bytes)
        .inspect_err(|error| {
            tracing::warn!(path = %path.display(), %error, "cannot read the last known placements");
        })
        .ok()
        .filter(|record: &LastKnownRecord| record.version <= VERSION)?;
    let places = record.places.into_iter().map(|(unit, place)| {
        let PlaceRecord { file, desired, generation } = place;
        let handover = Handover::default();
        (unit, Placement { file, desired, generation, handover, revision: 0 })
    });
    Some(LastKnown { places: places.collect(), files: record.files })
}

/// Writes them. When this returns a power cut finds them; until then it finds these or the ones before.
pub fn save(disk: &dyn Disk, path: &Path, known: &LastKnown) -> io::Result<()> {
    let used: BTreeSet<FileHash> = known.places.values().map(|place| place.file).collect();
    let record = LastKnownRecord {
        version: VERSION,
        places: known
            .places
            .iter()
            .map(|(unit, place)| {
                let Placement { file, desired, generation, .. } = *place;
                (unit.clone(), PlaceRecord { file, desired, generation })
            })
            .collect(),
        files: known
            .files
            .iter()
            .filter(|(hash, _)| used.contains(hash))
            .map(|(hash, text)| (*hash, text.clone()))
            .collect(),
    };
    replace_file(disk, path, &serde_json::to_vec(&record)?, Durability::OutlivesPowerCut)
}

/// Forgets them: the machine has given its units up.
pub fn remove(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    remove_file(disk, path)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::stdx::disk::HostDisk;

    #[test]
    fn what_was_saved_is_loaded_without_the_files_nobody_uses() {
        let directory = tempfile::tempdir().unwrap();
        let path = path(directory.path());
        assert_eq!(load(&HostDisk, &path), None);

        let used = FileHash::of_text("[Service]\n");
        let place = Placement {
            file: used,
            desired: DesiredState::Launched,
            generation: 2,
            handover: Handover::default(),
            revision: 0,
        };
        let mut known = LastKnown {
            places: [("a.service".parse().unwrap(), place)].into(),
            files: [(used, "[Service]\n".to_owned()), (FileHash::of_text("old"), "old".to_owned())]
                .into(),
        };
        save(&HostDisk, &path, &known).unwrap();
        known.files.remove(&FileHash::of_text("old"));
        assert_eq!(load(&HostDisk, &path), Some(known));

        remove(&HostDisk, &path).unwrap();
        remove(&HostDisk, &path).unwrap();
        assert_eq!(load(&HostDisk, &path), None);
    }

    #[test]
    fn half_a_file_is_no_placements() {
        let directory = tempfile::tempdir().unwrap();
        let path = path(directory.path());
        fs::write(&path, "{\"version\":1,").unwrap();
        assert_eq!(load(&HostDisk, &path), None);
        fs::write(&path, "{\"version\":99,\"places\":{},\"files\":{}}").unwrap();
        assert_eq!(load(&HostDisk, &path), None);
    }
}
