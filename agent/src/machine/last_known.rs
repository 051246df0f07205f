//! The last known placements of this machine, on disk.
//!
//! Owns `placements.json` in the state directory: what this machine was last told to run, file texts included, so that a
//! reboot while the store is away brings its units back. The ones before are kept, a few of them, as `placements.1.json` and so
//! on, whenever units leave the machine or change: what a mistake or a damaged disk takes away can be looked up. It never decides
//! when they are used.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use muster_common::probe::is_planted;
use muster_common::snapshot::{Handover, Placement};
use muster_common::state::DesiredState;
use muster_common::unit::{FileHash, UnitName};
use muster_engine::machine::memory::LastKnown;
use serde::{Deserialize, Serialize};

use crate::stdx::disk::Disk;
use crate::stdx::files::{Durability, read_file, remove_file, replace_file};

/// Version of the record. A daemon reads its own and older ones.
const VERSION: u32 = 1;

/// The generations that are kept beside the newest: enough for a person to find what was there before a mistake and the attempts to
/// mend it, and no more than a few megabytes with the largest files.
const GENERATIONS: u32 = 3;

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

/// The path of the file they lie in.
pub fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("placements.json")
}

/// Placements that were found on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundPlacements {
    /// The placements.
    pub known: LastKnown,
    /// False where newer ones were there and cannot be read.
    pub is_newest: bool,
}

/// Reads the newest ones that can be read. `None` when there are none: not knowing starts nothing.
pub fn load(disk: &dyn Disk, path: &Path) -> Option<FoundPlacements> {
    // What is not there was given up, and the ones before with it.
    let newest = read_generation(disk, path)?;
    if let Some(known) = newest {
        return Some(FoundPlacements { known, is_newest: true });
    }
    let older = (1..=GENERATIONS).find_map(|age| read_generation(disk, &older_path(path, age))?);
    older.map(|known| FoundPlacements { known, is_newest: false })
}

/// Tells whether anything was ever placed here, as far as the newest ones say; ones that cannot be read say so.
pub(crate) fn has_places(disk: &dyn Disk, path: &Path) -> bool {
    let newest = read_generation(disk, path);
    newest.is_some_and(|known| known.is_none_or(|known| !known.places.is_empty()))
}

/// Where older ones lie.
fn older_path(path: &Path, age: u32) -> PathBuf {
    path.with_extension(format!("{age}.json"))
}

/// One generation; `None`: it is not there, `Some(None)`: it cannot be read.
#[allow(clippy::option_option, reason = "two ways of not being there, of which one is damage")]
fn read_generation(disk: &dyn Disk, path: &Path) -> Option<Option<LastKnown>> {
    let found = read_file(disk, path).map_err(|error| error.to_string());
    let bytes = match found {
        Ok(bytes) => Ok(bytes?),
        Err(error) => Err(error),
    };
    let record = bytes.and_then(|bytes| {
        serde_json::from_slice::<LastKnownRecord>(&bytes).map_err(|error| error.to_string())
    });
    let record = record.and_then(|record| {
        if record.version <= VERSION { Ok(record) } else { Err("it is a later release's".into()) }
    });
    let record = record.inspect_err(|error| {
        tracing::warn!(path = %path.display(), error, "cannot read the last known placements");
    });
    Some(record.ok().map(restore_record))
}

fn restore_record(record: LastKnownRecord) -> LastKnown {
    let places = record.places.into_iter().map(|(unit, place)| {
        let PlaceRecord { file, desired, generation } = place;
        let handover = Handover::default();
        (unit, Placement { file, desired, generation, handover, revision: 0 })
    });
    LastKnown { places: places.collect(), files: record.files }
}

/// Writes them. When this returns a power cut finds them; until then it finds these or the ones before.
///
/// # Errors
///
/// The disk takes nothing.
pub fn save(disk: &dyn Disk, path: &Path, known: &LastKnown) -> io::Result<()> {
    if let Some(Some(before)) = read_generation(disk, path)
        && loses_units(&before, known)
        && !is_planted("one-generation-of-placements")
    {
        keep_generation(disk, path)?;
    }
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

/// Forgets them: the machine has given its units up, and others have been told. The ones before stay for people.
///
/// # Errors
///
/// The disk takes nothing.
pub fn remove(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    if let Some(Some(before)) = read_generation(disk, path)
        && !before.places.is_empty()
    {
        keep_generation(disk, path)?;
    }
    remove_file(disk, path)?;
    disk.sync_directory(path.parent().unwrap_or(Path::new(".")))
}

/// True where something that was known is not known any more.
fn loses_units(before: &LastKnown, after: &LastKnown) -> bool {
    let kept = |(unit, place): (&UnitName, &Placement)| {
        after.places.get(unit).is_some_and(|now| now.file == place.file)
    };
    !before.places.iter().all(kept)
}

/// Puts a copy of the newest ones among the older ones. The newest stay where they are until they are replaced, so that at no
/// moment there are none.
fn keep_generation(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    for age in (1..GENERATIONS).rev() {
        match disk.rename(&older_path(path, age), &older_path(path, age + 1)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            moved => moved?,
        }
    }
    let Some(bytes) = read_file(disk, path)? else { return Ok(()) };
    replace_file(disk, &older_path(path, 1), &bytes, Durability::OutlivesPowerCut)
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
        let newest = Some(FoundPlacements { known, is_newest: true });
        assert_eq!(load(&HostDisk, &path), newest);

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
        assert!(has_places(&HostDisk, &path), "there may have been");
        fs::write(&path, "{\"version\":99,\"places\":{},\"files\":{}}").unwrap();
        assert_eq!(load(&HostDisk, &path), None);
    }

    fn one_unit(name: &str) -> LastKnown {
        let (file, handover) = (FileHash::of_text("[Service]\n"), Handover::default());
        let desired = DesiredState::Launched;
        let place = Placement { file, desired, generation: 1, handover, revision: 0 };
        LastKnown {
            places: [(name.parse().unwrap(), place)].into(),
            files: [(file, "[Service]\n".to_owned())].into(),
        }
    }

    #[test]
    fn what_is_given_up_is_kept_for_a_few_generations() {
        let directory = tempfile::tempdir().unwrap();
        let path = path(directory.path());
        for number in 0..6 {
            save(&HostDisk, &path, &one_unit(&format!("a{number}.service"))).unwrap();
        }
        let files = fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(files, 1 + GENERATIONS as usize);
        // The newest are damaged: those before are found, and are known to be older.
        fs::write(&path, "{\"version\":1,").unwrap();
        let found = load(&HostDisk, &path).unwrap();
        assert_eq!(found, FoundPlacements { known: one_unit("a4.service"), is_newest: false });
        fs::write(older_path(&path, 1), "").unwrap();
        assert_eq!(load(&HostDisk, &path).unwrap().known, one_unit("a3.service"));
    }

    #[test]
    fn what_only_grows_needs_no_generation() {
        let directory = tempfile::tempdir().unwrap();
        let path = path(directory.path());
        let mut known = one_unit("a.service");
        save(&HostDisk, &path, &known).unwrap();
        known.places.extend(one_unit("b.service").places);
        save(&HostDisk, &path, &known).unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
