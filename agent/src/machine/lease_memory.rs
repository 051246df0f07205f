//! The lease of an earlier daemon of this boot.
//!
//! Owns `lease.json` in the run directory, so that a daemon that starts again takes its lease over and nobody sees it go. It
//! never says whether the lease is alive. It need not survive a power cut: after a reboot the lease is over, or is
//! another boot's.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use muster_common::lease::LeaseId;
use muster_common::machine::{Machine, MachineId};
use muster_common::probe::is_planted;
use serde::{Deserialize, Serialize};

use crate::stdx::disk::Disk;
use crate::stdx::files::{Durability, replace_file};

/// Where a daemon leaves its lease for the next one.
#[derive(Debug, Clone)]
pub(crate) struct LeaseMemory {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    machine: MachineId,
    boot: String,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct LeaseRecord {
    machine: MachineId,
    boot: String,
    lease: i64,
}

/// The file of the lease, in a run directory.
fn lease_file(run_dir: &Path) -> PathBuf {
    run_dir.join("lease.json")
}

/// Forgets the lease, before it is asked to end: that may be carried out long after, and would end what another daemon of this boot had
/// taken over.
pub(crate) fn forget_lease(disk: &dyn Disk, run_dir: &Path) {
    match disk.remove(&lease_file(run_dir)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, "cannot forget the lease that is about to end");
        }
        _ => {}
    }
}

impl LeaseMemory {
    /// The memory of a machine, in its run directory.
    pub(crate) fn new(disk: Arc<dyn Disk>, run_dir: &Path, machine: &Machine) -> Self {
        Self {
            disk,
            path: lease_file(run_dir),
            machine: machine.id.clone(),
            boot: machine.boot.clone(),
        }
    }

    /// The same on another disk.
    pub(crate) fn on_disk(self, disk: Arc<dyn Disk>) -> Self {
        Self { disk, ..self }
    }

    /// The lease that was saved last on this boot of this machine; `None` when there is none, or it cannot be read.
    pub(crate) fn load_lease(&self) -> Option<LeaseId> {
        let bytes = self.disk.read(&self.path).ok()?;
        let found: LeaseRecord = serde_json::from_slice(&bytes).ok()?;
        let same = found.machine == self.machine && found.boot == self.boot;
        same.then_some(LeaseId(found.lease))
    }

    /// Saves a lease in the place of the one before. Where that fails the next daemon has to wait for it to end, which is
    /// said in the log.
    pub(crate) fn save_lease(&self, lease: LeaseId) {
        if is_planted("lease-not-remembered") {
            return;
        }
        if let Err(error) = self.write_record(lease) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remember the lease");
        }
    }

    fn write_record(&self, lease: LeaseId) -> io::Result<()> {
        let record =
            LeaseRecord { machine: self.machine.clone(), boot: self.boot.clone(), lease: lease.0 };
        let bytes = serde_json::to_vec(&record)?;
        replace_file(&*self.disk, &self.path, &bytes, Durability::OutlivesDaemon)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::stdx::disk::HostDisk;

    fn memory(run_dir: &Path, boot: &str) -> LeaseMemory {
        let machine = serde_json::json!({"id": "m1", "address": "", "boot": boot});
        LeaseMemory::new(Arc::new(HostDisk), run_dir, &serde_json::from_value(machine).unwrap())
    }

    #[test]
    fn a_lease_is_remembered_for_the_boot_it_was_had_in() {
        let directory = tempfile::tempdir().unwrap();
        let first = memory(directory.path(), "one");
        assert_eq!(first.load_lease(), None);
        for lease in [LeaseId(7), LeaseId(8)] {
            first.save_lease(lease);
            assert_eq!(first.load_lease(), Some(lease));
        }
        assert_eq!(memory(directory.path(), "two").load_lease(), None);
    }

    #[test]
    fn a_damaged_memory_is_none() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("lease.json"), "{\"machine\":").unwrap();
        assert_eq!(memory(directory.path(), "one").load_lease(), None);
    }
}
