//! What a machine's daemon remembers of its units.
//!
//! Owns the shape of the memory that decisions rest on: the units that are ours, the files they run from, and the placements
//! that were last known. Where it is kept, and that it is kept, is the daemon's affair.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use muster_common::cluster_id::ClusterId;
use muster_common::probe::is_planted;
use muster_common::snapshot::Placement;
use muster_common::state::DesiredState;
use muster_common::unit::{FileHash, RequirementsTemplate, UnitFile, UnitName};
use serde::{Deserialize, Serialize};

use super::converge::Owned;
use super::job::JobRun;
use super::steadiness::Steadiness;

/// All that is remembered at one moment. Chains that are on their way change it between two steps.
#[derive(Debug)]
pub struct NodeMemory<'a> {
    /// The cluster that the machine is registered in.
    pub cluster: Option<ClusterId>,
    /// When the lease is over that the machine is registered under, unless the store says otherwise, on the clock of the steps; `None`:
    /// it has none.
    pub lease_ends: Option<Duration>,
    /// The units that are ours.
    pub owned: &'a BTreeMap<UnitName, OwnedUnit>,
    /// The last run of each job that was begun here.
    pub jobs: &'a BTreeMap<UnitName, JobRun>,
    /// The units that have just been started, or failed just after.
    pub steadiness: &'a mut Steadiness,
}

/// One unit that is ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedUnit {
    /// The part that decisions rest on, as it is on record.
    pub owned: Owned,
    /// The problem with which the last thing asked of it failed, if it did.
    pub problem: Option<String>,
    /// A start has begun and has not settled. In hand only: should the daemon end now, the next one adopts what it finds
    /// running, whereas this one knows that there is something to stop.
    pub begun: bool,
    /// A start was asked for, and is not waited for any more: the line to the runner broke before it was known whether it heard, or
    /// something else was wanted meanwhile. In hand only, as above.
    pub unsure: bool,
    /// The run that is to give way to another, if one is.
    pub replaced: Option<ReplacedRun>,
    /// The run that it was in once its last start had been carried out, where its runner gives runs names that outlast a daemon.
    pub run: Option<String>,
}

/// A run of a unit that is to give way to another. What runs under another name has begun since, from the file as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplacedRun {
    /// Its name, as the runner has it.
    pub run: String,
    /// The generation for which a restart is asked; absent where nobody has asked yet for what runs from an earlier file to be replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<u64>,
}

impl ReplacedRun {
    /// The generation for which a restart has come about, if one has: the unit is in another run now, or this one is over and its runner is
    /// about to begin the next. `run` is empty where it is in none, or nobody can say in which.
    pub fn find_restart(&self, run: &str, is_between_runs: bool) -> Option<u64> {
        let is_over = if run.is_empty() {
            is_between_runs && !is_planted("restart-under-way-repeated")
        } else {
            run != self.run
        };
        self.restart.filter(|_| is_over)
    }
}

impl OwnedUnit {
    /// A unit of which nothing has been carried out yet.
    pub fn new(file: FileHash) -> Self {
        let (generation, desired) = (0, DesiredState::Inactive);
        let owned =
            Owned { file, generation, desired, enabled: false, starting: false, stopping: false };
        Self { owned, problem: None, begun: false, unsure: false, replaced: None, run: None }
    }

    /// True if a run of this name is the one that we have begun. `run` is empty where the unit is in none, or nobody can say in which.
    pub fn is_own_run(&self, run: &str) -> bool {
        let is_own = !run.is_empty() && self.run.as_deref() == Some(run);
        is_own && !is_planted("own-run-taken-for-the-hosts")
    }

    /// The same unit after a boot: its file and links may still be there, and nothing has been carried out.
    #[must_use]
    pub fn after_boot(self) -> Self {
        let enabled = self.owned.enabled;
        let fresh = Self::new(self.owned.file);
        Self { owned: Owned { enabled, ..fresh.owned.clone() }, ..fresh }
    }

    /// The generation and desired state that were carried out last, for others to hear. A start that was begun is none yet.
    pub fn carried_out(&self) -> (u64, DesiredState) {
        let Owned { generation, desired, .. } = self.owned;
        (if desired == DesiredState::Inactive { 0 } else { generation }, desired)
    }

    /// The facts that a decision rests on: a start that has begun counts as launched.
    pub fn for_decision(&self) -> Owned {
        let desired = if self.begun { DesiredState::Launched } else { self.owned.desired };
        Owned { desired, starting: self.begun || self.unsure, ..self.owned.clone() }
    }
}

/// The placements of a machine as they were last known, with the texts they need. They are used when the store cannot be
/// asked after a start of the daemon.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LastKnown {
    /// The placements.
    pub places: BTreeMap<UnitName, Placement>,
    /// Their files' texts.
    pub files: BTreeMap<FileHash, String>,
}

/// The placements on a machine's disk, for a start without the store, and why they may be believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundLastKnown {
    /// The placements.
    pub known: LastKnown,
    /// False where newer ones were there and cannot be read: units may have gone elsewhere since these.
    pub is_newest: bool,
    /// An outage of the store had begun before the machine or its daemon went, and is not known to be over: what ran here then
    /// was still this machine's.
    pub outage_noted: bool,
    /// A person has said that they are to be started, wherever else they may run.
    pub ordered: bool,
}

/// A unit file with the facts that are asked of it again and again.
#[derive(Debug, Clone)]
pub struct CachedFile {
    /// The file.
    pub file: Arc<UnitFile>,
    /// fleet's hash of it.
    pub fleet_hash: String,
    /// It has an `[Install]` section.
    pub install: bool,
    /// It is a job (`Job=yes`).
    pub job: bool,
}

impl From<Arc<UnitFile>> for CachedFile {
    fn from(file: Arc<UnitFile>) -> Self {
        let install = file.options().iter().any(|o| o.section == "Install");
        // Whether the section is well written otherwise is for whoever places units.
        let job = RequirementsTemplate::parse(&file).is_ok_and(|section| section.is_job());
        Self { fleet_hash: file.fleet_hash(), install, job, file }
    }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod memory_tests;
