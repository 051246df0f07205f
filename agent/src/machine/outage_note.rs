//! The note that an outage of the store has begun while this machine held its units.
//!
//! Owns `outage.json` in the state directory, and `start-last-known` beside it, with which a person answers for what nobody can
//! know. The note is written and taken away once an outage, and is on disk, or gone from it, when the call returns. It hangs on no
//! clock and no boot. What follows from it is decided by [`muster_engine::machine::node`].

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use muster_common::machine::MachineId;
use serde::{Deserialize, Serialize};

use crate::stdx::disk::Disk;
use crate::stdx::files::{Durability, read_file, remove_file, replace_file};

/// The note. Cheap to clone.
#[derive(Debug, Clone)]
pub struct OutageNote {
    disk: Arc<dyn Disk>,
    state_dir: PathBuf,
    /// A state directory may have been copied with its machine.
    machine: MachineId,
    /// The placements on disk are the ones that this machine was told last. The note vouches for them, and for no others.
    placements_saved: Arc<AtomicBool>,
}

#[derive(Serialize, Deserialize)]
struct NoteRecord {
    machine: MachineId,
    /// For people.
    boot: String,
}

impl OutageNote {
    /// The note in a state directory.
    pub fn new(disk: Arc<dyn Disk>, state_dir: &Path, machine: &MachineId) -> Self {
        let placements_saved = Arc::new(AtomicBool::new(true));
        let (state_dir, machine) = (state_dir.to_owned(), machine.clone());
        Self { disk, state_dir, machine, placements_saved }
    }

    /// The placements on disk are, or are not, what the machine was told last.
    pub(crate) fn set_placements_saved(&self, saved: bool) {
        self.placements_saved.store(saved, Ordering::Relaxed);
    }

    /// Notes that an outage has begun, or that it is over. Where the disk does not take it, that is said in the log.
    pub(crate) fn set_noted(&self, noted: bool, boot: &str) {
        let done = if noted { self.write_note(boot) } else { self.remove_note() };
        if let Err(error) = done {
            let path = self.path();
            tracing::error!(path = %path.display(), noted, %error, "cannot note an outage of the store");
        }
    }

    /// True if this machine has noted that an outage has begun, and not that it is over.
    pub(crate) fn is_noted(&self) -> bool {
        let bytes = read_file(&*self.disk, &self.path()).ok().flatten();
        let note = bytes.and_then(|bytes| serde_json::from_slice::<NoteRecord>(&bytes).ok());
        note.is_some_and(|note| note.machine == self.machine)
    }

    /// True if a person has said that the last known placements are to be started.
    pub(crate) fn is_start_ordered(&self) -> bool {
        read_file(&*self.disk, &self.order_path()).is_ok_and(|found| found.is_some())
    }

    /// A person says that the last known placements are to be started, once.
    ///
    /// # Errors
    ///
    /// The disk takes nothing.
    pub fn order_start(&self) -> io::Result<()> {
        replace_file(&*self.disk, &self.order_path(), b"", Durability::OutlivesPowerCut)
    }

    fn write_note(&self, boot: &str) -> io::Result<()> {
        if !self.placements_saved.load(Ordering::Relaxed) {
            return Ok(());
        }
        let bytes = serde_json::to_vec(&NoteRecord {
            machine: self.machine.clone(),
            boot: boot.to_owned(),
        })?;
        replace_file(&*self.disk, &self.path(), &bytes, Durability::OutlivesPowerCut)
    }

    /// The person's word was for this outage, too.
    fn remove_note(&self) -> io::Result<()> {
        let found = read_file(&*self.disk, &self.path());
        let there = !matches!(found, Ok(None)) || self.is_start_ordered();
        remove_file(&*self.disk, &self.path())?;
        remove_file(&*self.disk, &self.order_path())?;
        if there { self.disk.sync_directory(&self.state_dir) } else { Ok(()) }
    }

    fn path(&self) -> PathBuf {
        self.state_dir.join("outage.json")
    }

    fn order_path(&self) -> PathBuf {
        self.state_dir.join("start-last-known")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stdx::disk::HostDisk;

    #[test]
    fn a_note_is_there_until_the_outage_is_over() {
        let directory = tempfile::tempdir().unwrap();
        let note =
            |id: &str| OutageNote::new(Arc::new(HostDisk), directory.path(), &id.parse().unwrap());
        let copied = note("m2");
        let note = || note("m1");
        note().set_noted(false, "b");
        assert!(!note().is_noted());
        note().set_noted(true, "b");
        note().order_start().unwrap();
        assert!(note().is_noted() && note().is_start_ordered());
        assert!(!copied.is_noted(), "it is another machine's");
        note().set_noted(false, "b");
        assert!(!note().is_noted() && !note().is_start_ordered());
    }

    #[test]
    fn nothing_vouches_for_placements_that_could_not_be_saved() {
        let directory = tempfile::tempdir().unwrap();
        let machine = "m1".parse().unwrap();
        let note = OutageNote::new(Arc::new(HostDisk), directory.path(), &machine);
        note.set_placements_saved(false);
        note.clone().set_noted(true, "b");
        assert!(!note.is_noted());
    }
}
