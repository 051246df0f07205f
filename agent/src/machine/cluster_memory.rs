//! The cluster that this machine belongs to, on its disk.
//!
//! Owns `cluster.json` in the state directory: the identity of the cluster whose placements were carried out here, written before
//! the first of them is, and replaced by nobody but a person (`musterd --adopt-cluster`). It never decides whether a store is ours:
//! [`muster_engine::machine::cluster`] does.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use muster_common::cluster_id::ClusterId;
use muster_common::unit::UnitName;
use muster_engine::machine::cluster::RememberedCluster;
use serde::{Deserialize, Serialize};

use crate::machine::last_known;
use crate::stdx::disk::Disk;
use crate::stdx::files::{Durability, read_file, replace_file};
use crate::stdx::sync::lock;

/// Version of the record. A daemon reads its own and older ones.
const VERSION: u32 = 1;

/// The memory. Cheap to clone; clones share the cluster of the present registration.
#[derive(Debug, Clone)]
pub struct ClusterMemory {
    disk: Arc<dyn Disk>,
    state_dir: PathBuf,
    /// Where the memory of this boot's units is.
    ledger_dir: PathBuf,
    /// For people.
    prefix: String,
    /// The cluster that the machine is registered in, or about to be.
    current: Arc<Mutex<Option<ClusterId>>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ClusterRecord {
    version: u32,
    /// Absent: a person has said that the machine is to begin anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cluster: Option<ClusterId>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    prefix: String,
}

impl ClusterMemory {
    /// The memory in a state directory, beside the last known placements. `ledger_dir` is where the ledger lies.
    pub fn new(disk: Arc<dyn Disk>, state_dir: &Path, ledger_dir: &Path, prefix: &str) -> Self {
        Self {
            disk,
            state_dir: state_dir.to_owned(),
            ledger_dir: ledger_dir.to_owned(),
            prefix: prefix.to_owned(),
            current: Arc::default(),
        }
    }

    /// The memory as it is now: a person may have changed it a moment ago.
    pub fn read_memory(&self) -> RememberedCluster {
        let found = match read_file(&*self.disk, &self.path()) {
            Ok(Some(bytes)) => serde_json::from_slice::<ClusterRecord>(&bytes).ok(),
            Ok(None) => return self.infer_memory(),
            Err(_) => None,
        };
        match found.filter(|record| record.version <= VERSION) {
            Some(ClusterRecord { cluster: Some(cluster), .. }) => RememberedCluster::Known(cluster),
            Some(ClusterRecord { cluster: None, .. }) => RememberedCluster::BeginsAnew,
            None => RememberedCluster::Unreadable,
        }
    }

    /// Without a record: what lies beside it tells whether a release that kept none has carried anything out.
    fn infer_memory(&self) -> RememberedCluster {
        let placed = last_known::has_places(&*self.disk, &last_known::path(&self.state_dir));
        let names = self.disk.list(&self.ledger_dir).unwrap_or_default();
        let is_unit = |name: &std::ffi::OsString| {
            name.to_str().is_some_and(|name| name.parse::<UnitName>().is_ok())
        };
        if placed || names.iter().any(is_unit) {
            RememberedCluster::OlderRelease
        } else {
            RememberedCluster::Nothing
        }
    }

    /// The machine is registered in this cluster, or about to be.
    pub fn set_current(&self, cluster: ClusterId) {
        *lock(&self.current) = Some(cluster);
    }

    /// The cluster that the machine is registered in, or was last.
    pub fn current_cluster(&self) -> Option<ClusterId> {
        *lock(&self.current)
    }

    /// Remembers, beyond a power cut, the cluster that the machine is registered in.
    ///
    /// # Errors
    ///
    /// The disk takes nothing.
    pub fn save_current(&self) -> io::Result<()> {
        let Some(cluster) = self.current_cluster() else { return Ok(()) };
        if self.read_memory() == RememberedCluster::Known(cluster) {
            return Ok(());
        }
        self.write_record(Some(cluster))
    }

    /// A person has said that the machine belongs to this cluster, or with `None` to one that its store is to begin.
    ///
    /// # Errors
    ///
    /// The disk takes nothing.
    pub fn adopt_cluster(&self, cluster: Option<ClusterId>) -> io::Result<()> {
        self.write_record(cluster)
    }

    fn write_record(&self, cluster: Option<ClusterId>) -> io::Result<()> {
        let record = ClusterRecord { version: VERSION, cluster, prefix: self.prefix.clone() };
        let bytes = serde_json::to_vec(&record)?;
        replace_file(&*self.disk, &self.path(), &bytes, Durability::OutlivesPowerCut)
    }

    fn path(&self) -> PathBuf {
        self.state_dir.join("cluster.json")
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::stdx::disk::HostDisk;

    const CLUSTER: ClusterId = ClusterId::from_number(7);

    fn memory(directory: &Path) -> ClusterMemory {
        ClusterMemory::new(Arc::new(HostDisk), directory, &directory.join("owned"), "/muster/v1/")
    }

    #[test]
    fn a_cluster_is_remembered_by_the_next_daemon_and_forgotten_by_a_person() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(memory(directory.path()).read_memory(), RememberedCluster::Nothing);
        let first = memory(directory.path());
        first.save_current().unwrap();
        assert_eq!(first.read_memory(), RememberedCluster::Nothing, "it is registered nowhere");
        first.set_current(CLUSTER);
        first.save_current().unwrap();
        let next = memory(directory.path());
        assert_eq!(next.read_memory(), RememberedCluster::Known(CLUSTER));
        next.adopt_cluster(None).unwrap();
        assert_eq!(first.read_memory(), RememberedCluster::BeginsAnew);
    }

    #[test]
    fn units_of_a_release_that_remembered_nothing_are_seen() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("owned")).unwrap();
        fs::write(directory.path().join("owned/a.service"), "{").unwrap();
        assert_eq!(memory(directory.path()).read_memory(), RememberedCluster::OlderRelease);
    }

    #[test]
    fn what_cannot_be_read_is_not_taken_for_nothing() {
        let directory = tempfile::tempdir().unwrap();
        for text in ["{\"cluster\":", "{\"version\":9}"] {
            fs::write(directory.path().join("cluster.json"), text).unwrap();
            assert_eq!(memory(directory.path()).read_memory(), RememberedCluster::Unreadable);
        }
    }
}
