//! The journal on file.
//!
//! Owns the file that says how far this machine has come with its reboot, and that it is whole after a power cut: written
//! beside, flushed, put in its place, and the directory flushed too.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use muster_common::reboot::{Group, Journal};
use serde::{Deserialize, Serialize};

use crate::stdx::disk::Disk;
use crate::stdx::files::{Durability, read_file, replace_file};

/// Version of the file's form.
const SCHEMA: u32 = 1;

/// The file.
#[derive(Debug, Clone)]
pub(super) struct JournalFile {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    group: Group,
}

#[derive(Debug, Serialize, Deserialize)]
struct JournalRecord {
    schema: u32,
    /// Whose slot the journal speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group: Option<Group>,
    #[serde(flatten)]
    journal: Journal,
}

/// The journal cannot be kept: nothing may be done that rests on it.
#[derive(Debug, thiserror::Error)]
#[error("cannot keep {}", path.display())]
pub(super) struct JournalError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl JournalFile {
    /// The file in the directory of what survives a reboot.
    pub(super) fn new(disk: Arc<dyn Disk>, state_dir: &Path) -> Self {
        Self { disk, path: state_dir.join("reboot.json"), group: Group::default() }
    }

    /// From now on its journal speaks of a slot of this group.
    pub(super) fn set_group(&mut self, group: &Group) {
        self.group = group.clone();
    }

    /// The journal that was kept last, and of which group; nothing if there is nothing that can be read. A slot that is held all the
    /// same is found in the store.
    pub(super) fn load(&self) -> (Journal, Option<Group>) {
        self.read_record().map_or_else(Default::default, |record| (record.journal, record.group))
    }

    fn read_record(&self) -> Option<JournalRecord> {
        let path = self.path.display();
        let bytes = match read_file(&*self.disk, &self.path) {
            Ok(bytes) => bytes?,
            Err(error) => {
                tracing::error!(%path, %error, "cannot read how far the reboot has come");
                return None;
            }
        };
        match serde_json::from_slice::<JournalRecord>(&bytes) {
            Ok(record) if record.schema <= SCHEMA => Some(record),
            Ok(record) => {
                tracing::error!(%path, schema = record.schema, "the journal of the reboot is of a later version and is begun anew");
                None
            }
            Err(error) => {
                tracing::error!(%path, %error, "the journal of the reboot cannot be understood and is begun anew");
                None
            }
        }
    }

    /// Keeps it. When this returns it is on the file.
    pub(super) fn save(&self, journal: &Journal) -> Result<(), JournalError> {
        self.write_record(journal)
            .map_err(|source| JournalError { path: self.path.clone(), source })
    }

    fn write_record(&self, journal: &Journal) -> io::Result<()> {
        let group = Some(self.group.clone());
        let record = JournalRecord { schema: SCHEMA, group, journal: journal.clone() };
        let bytes = serde_json::to_vec_pretty(&record).map_err(io::Error::from)?;
        replace_file(&*self.disk, &self.path, &bytes, Durability::OutlivesPowerCut)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use muster_common::reboot::Phase;

    use super::*;
    use crate::stdx::disk::HostDisk;

    #[test]
    fn what_was_kept_is_found_again() {
        let directory = tempfile::tempdir().unwrap();
        let mut file = JournalFile::new(Arc::new(HostDisk), directory.path());
        assert_eq!(file.load(), (Journal::default(), None));
        let front: Group = "front".parse().unwrap();
        file.set_group(&front);
        let journal = Journal { phase: Phase::Draining, slot: Some(7), ..Journal::default() };
        file.save(&journal).unwrap();
        assert_eq!(file.load(), (journal, Some(front.clone())));
        file.save(&Journal::default()).unwrap();
        assert_eq!(file.load(), (Journal::default(), Some(front)));
    }

    #[test]
    fn a_file_that_cannot_be_understood_is_begun_anew() {
        let directory = tempfile::tempdir().unwrap();
        let file = JournalFile::new(Arc::new(HostDisk), directory.path());
        for text in ["", "{", "[]", "{\"schema\": 99, \"phase\": \"draining\"}"] {
            fs::write(directory.path().join("reboot.json"), text).unwrap();
            assert_eq!(file.load(), (Journal::default(), None), "{text}");
        }
    }

    #[test]
    fn a_directory_that_is_not_there_is_an_error() {
        let file = JournalFile::new(Arc::new(HostDisk), Path::new("/nonexistent/muster"));
        let error = file.save(&Journal::default()).unwrap_err();
        assert_eq!(error.to_string(), "cannot keep /nonexistent/muster/reboot.json");
    }
}
