//! The picture of a cluster that is judged.
//!
//! Owns its parts. How they are come by is the caller's affair, and so is that they belong to one moment.

use std::collections::{BTreeMap, BTreeSet};

use muster_common::api::inspect::{ClusterRecords, MachineAnswer, MachineReport};
use muster_common::cluster_id::ClusterId;
use muster_common::machine::MachineId;
use muster_common::reboot::{Group, HostStatus, Request, Semaphore};
use muster_common::snapshot::Snapshot;

/// All that is known of a cluster. What is not known is left out, and nothing follows from that.
#[derive(Debug, Clone, Default)]
pub struct ClusterPicture {
    /// The records; absent when the store could not be read.
    pub records: Option<RecordPicture>,
    /// Why the records are absent.
    pub unread: Option<String>,
    /// The machines that were asked, and what became of it.
    pub machines: BTreeMap<MachineId, MachineAnswer>,
    /// Seconds since the Unix epoch, by the clock of whoever looks; 0: not known, and no age is judged.
    pub wall: u64,
}

/// The records as they are in the store, at one revision.
#[derive(Debug, Clone, Default)]
pub struct RecordPicture {
    /// Everything that decisions about units rest on, with the records that cannot be read.
    pub snapshot: Snapshot,
    /// The identity of the cluster; absent when the store has none.
    pub cluster: Option<ClusterId>,
    /// The slots of each reboot group.
    pub groups: BTreeMap<Group, Semaphore>,
    /// The phase of each host on its way through a reboot.
    pub hosts: BTreeMap<MachineId, HostStatus>,
    /// Machines that somebody wants to reboot.
    pub requests: BTreeMap<MachineId, Request>,
    /// Keys of records that are to end with a lease and have none.
    pub unleased: BTreeSet<String>,
    /// The store's warnings, one sentence each.
    pub warnings: Vec<String>,
}

impl From<ClusterRecords> for RecordPicture {
    fn from(records: ClusterRecords) -> Self {
        let snapshot = records.to_snapshot();
        let ClusterRecords { cluster, groups, hosts, requests, unleased, warnings, .. } = records;
        Self { snapshot, cluster, groups, hosts, requests, unleased, warnings }
    }
}

impl RecordPicture {
    /// True if a machine is registered, or belongs to the cluster and is missed.
    pub(crate) fn is_known(&self, machine: &MachineId) -> bool {
        self.snapshot.machines.contains_key(machine) || self.snapshot.members.contains(machine)
    }

    /// True if a record of that key is there and cannot be read.
    pub(crate) fn is_unreadable(&self, key: &str) -> bool {
        self.snapshot.unreadable.contains_key(key)
    }
}

impl ClusterPicture {
    /// The report of a machine, if it made one.
    pub(crate) fn report_of(&self, machine: &MachineId) -> Option<&MachineReport> {
        match self.machines.get(machine)? {
            MachineAnswer::Report { report, .. } => Some(report),
            MachineAnswer::Silent { .. } | MachineAnswer::Unasked { .. } => None,
        }
    }

    /// Every report, by the machine that was asked.
    pub(crate) fn all_reports(&self) -> impl Iterator<Item = (&MachineId, &MachineReport)> {
        self.machines.keys().filter_map(|id| Some((id, self.report_of(id)?)))
    }
}
