//! What daemons tell to whoever checks a whole cluster: `/v1/inspect`.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /v1/inspect/machine` | [`MachineReport`]: what the daemon that is asked knows of its own machine |
//! | `GET /v1/inspect/machines` | [`MachineReports`]: the same of every registered machine; the daemon asks all of them at once |
//! | `GET /v1/inspect/records` | [`ClusterRecords`]: every record, at one revision |
//!
//! All three only read. A machine that does not answer is part of the answer, and so is a runner that cannot be asked. Fields
//! that a daemon of another version does not send are read as nothing known.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::cluster_id::ClusterId;
use crate::cordon::Cordon;
use crate::machine::{Machine, MachineId};
use crate::reboot::{Group, HostStatus, Request, Semaphore};
use crate::snapshot::{Leader, Placement, Snapshot, Unit, Unreadable};
use crate::state::{ActiveState, DesiredState, ObservedState};
use crate::unit::{FileHash, UnitFile, UnitName};

/// The words of a machine's daemon about itself, at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineReport {
    /// The machine.
    pub machine: MachineId,
    /// This boot of it, as in its registration.
    #[serde(default)]
    pub boot: String,
    /// Version of the daemon.
    #[serde(default)]
    pub version: String,
    /// Its clock, in milliseconds since the Unix epoch; 0 when it is not told.
    #[serde(default)]
    pub clock: u64,
    /// The identity of the cluster whose placements it carries out; absent when it knows none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterId>,
    /// True if it believes that it leads.
    #[serde(default)]
    pub leading: bool,
    /// Its components, those that it does without left out.
    #[serde(default)]
    pub components: Vec<ComponentReport>,
    /// Things that work and should be looked after all the same, one sentence each.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// The units in its ledger: those that it has put on the machine and not taken off.
    #[serde(default)]
    pub owned: BTreeMap<UnitName, OwnedReport>,
    /// The state of units as its runner tells it when it is asked: those of the ledger, and those last known to be placed here.
    #[serde(default)]
    pub runs: BTreeMap<UnitName, RunReport>,
    /// Why the runner could not be asked; then `runs` is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unseen: Option<String>,
    /// The placements on its disk; absent when there are none, or they cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_known: Option<BTreeMap<UnitName, KnownPlacement>>,
}

/// One component of a daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentReport {
    /// Its name: `store`, `lease`, `runner`, `placements`, `containers`.
    pub name: String,
    /// True if it does its work.
    pub ok: bool,
    /// Seconds since the Unix epoch at which `ok` last changed; 0 when it has not begun.
    #[serde(default)]
    pub since: u64,
    /// The problem that keeps it from working.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// One unit in a machine's ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnedReport {
    /// The file that was written.
    pub file: FileHash,
    /// The generation that was last carried out or given up on.
    pub generation: u64,
    /// The desired state that was last carried out or given up on.
    pub desired: DesiredState,
    /// The problem with which the last thing asked of it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// One unit as a machine's runner sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunReport {
    /// Its `ActiveState`; `deactivating` for as long as processes of it are left.
    #[serde(default)]
    pub active: ActiveState,
    /// The file that lies at our place for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileHash>,
    /// True if the unit is the host's own and none of ours.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub foreign: bool,
    /// Seconds since the Unix epoch at which its state last changed; 0 when the runner cannot tell.
    #[serde(default)]
    pub since: u64,
}

/// One placement as a machine remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownPlacement {
    /// The file.
    pub file: FileHash,
    /// The state that the machine was to bring about.
    pub desired: DesiredState,
    /// The unit's generation.
    pub generation: u64,
}

/// The outcome of asking one machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum MachineAnswer {
    /// Its daemon answered.
    Report {
        /// With this.
        report: Box<MachineReport>,
        /// By how many milliseconds its clock is ahead of that of whoever asked, the time of the way taken off.
        #[serde(default)]
        clock_offset: i64,
    },
    /// Its daemon did not answer, or something else did.
    Silent {
        /// The problem, as a sentence.
        problem: String,
    },
    /// Nobody can ask it from here.
    Unasked {
        /// The obstacle, as a sentence.
        problem: String,
    },
}

/// The machines and what became of asking them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineReports {
    /// Each registered machine and the one that was asked first; when the store cannot be read only that one.
    pub machines: BTreeMap<MachineId, MachineAnswer>,
}

/// Every record at one revision, and what the store says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterRecords {
    /// Store revision this is a picture of.
    pub revision: u64,
    /// The identity of the cluster; absent when the store has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterId>,
    /// Machines with a live lease.
    pub machines: BTreeMap<MachineId, Machine>,
    /// Metadata set at run time.
    pub metadata: BTreeMap<MachineId, BTreeMap<String, String>>,
    /// Machines that take nothing new.
    pub cordons: BTreeMap<MachineId, Cordon>,
    /// Texts of unit files.
    pub files: BTreeMap<FileHash, String>,
    /// Units by name, templates included.
    pub units: BTreeMap<UnitName, Unit>,
    /// Placements by unit, then machine.
    pub places: BTreeMap<UnitName, BTreeMap<MachineId, Placement>>,
    /// Observed states by unit, then machine.
    pub states: BTreeMap<UnitName, BTreeMap<MachineId, ObservedState>>,
    /// The leader, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leader: Option<Leader>,
    /// Machines that belong to the cluster.
    pub members: BTreeSet<MachineId>,
    /// The slots of each reboot group.
    pub groups: BTreeMap<Group, Semaphore>,
    /// The phase of each host on its way through a reboot.
    pub hosts: BTreeMap<MachineId, HostStatus>,
    /// Machines that somebody wants to reboot.
    pub requests: BTreeMap<MachineId, Request>,
    /// Records that could not be read, those about reboots included.
    pub unreadable: Vec<Unreadable>,
    /// Keys of records that are to end with a lease and have none.
    pub unleased: BTreeSet<String>,
    /// The store's warnings, one sentence each.
    pub warnings: Vec<String>,
}

impl From<&Snapshot> for ClusterRecords {
    /// What a snapshot has; the rest is empty.
    fn from(snapshot: &Snapshot) -> Self {
        let files = snapshot.files.iter();
        Self {
            revision: snapshot.revision,
            machines: snapshot.machines.clone(),
            metadata: snapshot.metadata.clone(),
            cordons: snapshot.cordons.clone(),
            files: files.map(|(hash, file)| (*hash, file.text().to_owned())).collect(),
            units: snapshot.units.clone(),
            places: snapshot.places.clone(),
            states: snapshot.states.clone(),
            leader: snapshot.leader.clone(),
            members: snapshot.members.clone(),
            unreadable: snapshot.unreadable.values().cloned().collect(),
            ..Self::default()
        }
    }
}

impl ClusterRecords {
    /// The snapshot that decisions are taken on. A file whose text is no unit file is left out. Revisions that created
    /// registrations and cordons do not travel: they are 0.
    pub fn to_snapshot(&self) -> Snapshot {
        let parsed = self.files.iter().filter_map(|(hash, text)| {
            let file: UnitFile = text.parse().ok()?;
            Some((*hash, Arc::new(file)))
        });
        let unreadable = self.unreadable.iter().cloned();
        Snapshot {
            revision: self.revision,
            cluster: None,
            machines: self.machines.clone(),
            metadata: self.metadata.clone(),
            cordons: self.cordons.clone(),
            files: parsed.collect(),
            units: self.units.clone(),
            places: self.places.clone(),
            states: self.states.clone(),
            leader: self.leader.clone(),
            members: self.members.clone(),
            unreadable: unreadable.map(|record| (record.key.clone(), record)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json, to_value};

    use super::*;

    #[test]
    fn a_report_of_another_version_can_be_read() {
        let least = json!({"machine": "m1", "colour": "red"});
        let report: MachineReport = from_value(least).unwrap();
        assert_eq!((report.machine.as_str(), report.clock, report.leading), ("m1", 0, false));
        let answer = MachineAnswer::Report { report: Box::new(report), clock_offset: -3 };
        assert_eq!(from_value::<MachineAnswer>(to_value(&answer).unwrap()).unwrap(), answer);
        assert_eq!(from_value::<ClusterRecords>(json!({})).unwrap(), ClusterRecords::default());
    }

    #[test]
    fn records_come_back_as_the_snapshot_they_were() {
        let file: UnitFile = "[Service]\nExecStart=/bin/true\n".parse().unwrap();
        let (hash, name): (FileHash, UnitName) = (file.hash(), "a.service".parse().unwrap());
        let mut snapshot = Snapshot { revision: 9, ..Snapshot::default() };
        snapshot.files.insert(hash, Arc::new(file));
        let unit = Unit {
            name: name.clone(),
            file: hash,
            desired: DesiredState::Launched,
            generation: 1,
            revision: 7,
        };
        snapshot.units.insert(name.clone(), unit);
        let placement = Placement {
            file: hash,
            desired: DesiredState::Launched,
            generation: 1,
            handover: crate::snapshot::Handover::default(),
            revision: 8,
        };
        snapshot.places.insert(name, [("m1".parse().unwrap(), placement)].into());
        let wire = to_value(ClusterRecords::from(&snapshot)).unwrap();
        let records: ClusterRecords = from_value(wire).unwrap();
        assert_eq!(records.to_snapshot(), snapshot);
    }
}
