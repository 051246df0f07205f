//! The cluster that this machine belongs to, on its disk.
//!
//! Owns `cluster.json` in the state directory: the identity of the cluster that the machine was in last, written when it joins it.
//! Once placements of it are carried out, which the record says before the first of them is, nobody but a person replaces it
//! (`musterd --adopt-cluster`). It never decides whether a store is ours: [`muster_engine::machine::cluster`] does.

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
    /// The store is etcd, and not the machine's own.
    shared_store: bool,
    /// The cluster that the machine is registered in, or about to be.
    current: Arc<Mutex<Option<ClusterId>>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ClusterRecord {
    version: u32,
    /// Absent: a person has said that the machine is to begin anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cluster: Option<ClusterId>,
    /// No placement of it was carried out yet. A release that does not know this goes by the cluster as if some had been.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    idle: bool,
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
            shared_store: true,
            current: Arc::default(),
        }
    }

    /// The same for a store that is shared with others, or is the machine's own. Its own is on the same disk as the memory, so that no
    /// loss of it is noticed by that; and a machine that was never used is to move to a shared one without a word.
    #[must_use]
    pub fn with_shared_store(self, shared_store: bool) -> Self {
        Self { shared_store, ..self }
    }

    /// The memory as it is now: a person may have changed it a moment ago.
    pub fn read_memory(&self) -> RememberedCluster {
        let found = match read_file(&*self.disk, &self.path()) {
            Ok(Some(bytes)) => serde_json::from_slice::<ClusterRecord>(&bytes).ok(),
            Ok(None) => return self.infer_memory(),
            Err(_) => None,
        };
        match found.filter(|record| record.version <= VERSION) {
            Some(ClusterRecord { cluster: Some(cluster), idle: true, .. }) => {
                RememberedCluster::Seen(cluster)
            }
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

    /// The machine is registered in this cluster, or about to be, and remembers it beyond a power cut.
    ///
    /// # Errors
    ///
    /// The disk takes nothing. It is asked again with the next registration.
    pub fn set_current(&self, cluster: ClusterId) -> io::Result<()> {
        *lock(&self.current) = Some(cluster);
        match self.read_memory() {
            _ if !self.shared_store => Ok(()),
            RememberedCluster::Seen(seen) if seen == cluster => Ok(()),
            RememberedCluster::Nothing
            | RememberedCluster::BeginsAnew
            | RememberedCluster::Seen(_) => self.write_record(Some(cluster), true),
            // What was carried out says more, or nobody knows what it says.
            RememberedCluster::Known(_)
            | RememberedCluster::OlderRelease
            | RememberedCluster::Unreadable => Ok(()),
        }
    }

    /// The cluster that the machine is registered in, or was last.
    pub fn current_cluster(&self) -> Option<ClusterId> {
        *lock(&self.current)
    }

    /// Remembers, beyond a power cut, that placements of the cluster that the machine is registered in are carried out here.
    ///
    /// # Errors
    ///
    /// The disk takes nothing.
    pub fn save_current(&self) -> io::Result<()> {
        let Some(cluster) = self.current_cluster() else { return Ok(()) };
        if self.read_memory() == RememberedCluster::Known(cluster) {
            return Ok(());
        }
        self.write_record(Some(cluster), false)
    }

    /// A person has said that the machine belongs to this cluster, or with `None` to one that its store is to begin.
    ///
    /// # Errors
    ///
    /// The disk takes nothing.
    pub fn adopt_cluster(&self, cluster: Option<ClusterId>) -> io::Result<()> {
        self.write_record(cluster, false)
    }

    fn write_record(&self, cluster: Option<ClusterId>, idle: bool) -> io::Result<()> {
        let record = ClusterRecord { version: VERSION, cluster, idle, prefix: self.prefix.clone() };
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
        first.set_current(CLUSTER).unwrap();
        assert_eq!(memory(directory.path()).read_memory(), RememberedCluster::Seen(CLUSTER));
        first.save_current().unwrap();
        first.set_current(CLUSTER).unwrap();
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
