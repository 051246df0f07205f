//! The note that an outage of the store has begun while this machine held its units.
//!
//! Owns `outage.json` in the state directory, and `start-last-known` beside it, with which a person answers for what nobody can
//! know. The note is written and taken away once an outage, and is on disk, or gone from it, when the call returns. It hangs on no
//! clock and no boot. What follows from it is decided by [`muster_engine::machine::node`].

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use crate::stdx::disk::Disk;
use crate::stdx::files::{Durability, read_file, remove_file, replace_file};

/// The note. Cheap to clone.
#[derive(Debug, Clone)]
pub struct OutageNote {
    disk: Arc<dyn Disk>,
    state_dir: PathBuf,
    /// The placements on disk are the ones that this machine was told last. The note vouches for them, and for no others.
    placements_saved: Arc<AtomicBool>,
}

#[derive(Serialize)]
struct NoteRecord<'a> {
    version: u32,
    /// For people.
    boot: &'a str,
}

impl OutageNote {
    /// The note in a state directory.
    pub fn new(disk: Arc<dyn Disk>, state_dir: &Path) -> Self {
        let placements_saved = Arc::new(AtomicBool::new(true));
        Self { disk, state_dir: state_dir.to_owned(), placements_saved }
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

    /// True if an outage has begun, and is not known to be over.
    pub(crate) fn is_noted(&self) -> bool {
        read_file(&*self.disk, &self.path()).is_ok_and(|found| found.is_some())
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
        let bytes = serde_json::to_vec(&NoteRecord { version: 1, boot })?;
        replace_file(&*self.disk, &self.path(), &bytes, Durability::OutlivesPowerCut)
    }

    /// The person's word was for this outage, too.
    fn remove_note(&self) -> io::Result<()> {
        let there = self.is_noted() || self.is_start_ordered();
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
        let note = || OutageNote::new(Arc::new(HostDisk), directory.path());
        note().set_noted(false, "b");
        assert!(!note().is_noted());
        note().set_noted(true, "b");
        note().order_start().unwrap();
        assert!(note().is_noted() && note().is_start_ordered());
        note().set_noted(false, "b");
        assert!(!note().is_noted() && !note().is_start_ordered());
    }

    #[test]
    fn nothing_vouches_for_placements_that_could_not_be_saved() {
        let directory = tempfile::tempdir().unwrap();
        let note = OutageNote::new(Arc::new(HostDisk), directory.path());
        note.set_placements_saved(false);
        note.clone().set_noted(true, "b");
        assert!(!note.is_noted());
    }
}
