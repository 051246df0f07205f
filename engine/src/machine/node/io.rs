//! The words that go into a node and what comes out of it, as data.
//!
//! Owns the inputs, the effects and the facts. It decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use muster_common::decision::StateUpdate;
use muster_common::lease::{LeaseId, Presence};
use muster_common::probe::is_planted;
use muster_common::snapshot::ClusterEvent;
use muster_common::state::{DesiredState, ObservedState};
use muster_common::unit::{FileHash, UnitFile, UnitName};

use crate::machine::converge::Step;
use crate::machine::job::JobEnd;
use crate::machine::memory::{FoundLastKnown, LastKnown};
use crate::machine::observation::{RunnerEvent, UnitObservation};
use crate::machine::registration::Registration;

/// Something that a node learns.
#[derive(Debug)]
pub enum NodeInput {
    /// The machine's registration has changed.
    Registration(Registration),
    /// The answer to [`NodeEffect::ReadStates`]; `None` where they cannot be read.
    StatesRead(Option<BTreeMap<UnitName, ObservedState>>),
    /// The watch on the machine's placements yields this.
    Placements(ClusterEvent),
    /// The runner reports something unasked.
    Runner(RunnerEvent),
    /// The answer to [`NodeEffect::Observe`]; `None` when the runner cannot tell.
    Observed(Option<BTreeMap<UnitName, UnitObservation>>),
    /// The answer to [`NodeEffect::ReadFiles`]; `None` when the store cannot tell.
    FilesRead(Option<BTreeMap<FileHash, Result<Arc<UnitFile>, String>>>),
    /// The answer to [`NodeEffect::SettleJobs`]: the problems of those that could not be remembered.
    JobsSettled(BTreeMap<UnitName, String>),
    /// The answer to [`NodeEffect::FindObstacles`], in the runner's words.
    ObstaclesFound(BTreeMap<UnitName, String>),
    /// The answer to [`NodeEffect::BeginChains`], one for each chain.
    ChainPrepared {
        /// The unit.
        unit: UnitName,
        /// The progress of its chain at once.
        prepared: ChainStart,
    },
    /// A chain that had begun has ended.
    ChainEnded {
        /// The unit.
        unit: UnitName,
        /// The end of it.
        end: ChainEnd,
    },
    /// The answer to [`NodeEffect::Publish`].
    Published {
        /// The publication's.
        number: u64,
        /// The store's answer.
        answer: PublishAnswer,
    },
    /// The answer to [`NodeEffect::SavePlacements`]: whether they were saved.
    PlacementsSaved(bool),
    /// The answer to [`NodeEffect::ReadLastKnown`]; `None` when there are none.
    LastKnownRead(Option<FoundLastKnown>),
    /// The machine is about to go down, or is not after all.
    Leaving(bool),
    /// Nothing of this unit is left on a machine that goes down, or it has had the time that it is waited for.
    Released(UnitName),
    /// A deadline of [`Node::next_deadline`] may have come.
    ///
    /// [`Node::next_deadline`]: super::Node::next_deadline
    Tick,
    /// The daemon ends: what is left to be reported and saved is due now, and no chain begins any more. What the units do is
    /// still reported, for as long as somebody feeds it.
    Close,
}

/// The progress of a chain at once, with the steps that wait for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainStart {
    /// Every step was taken.
    Complete,
    /// The rest is on its way; [`NodeInput::ChainEnded`] follows.
    Begun,
    /// It could not be tried, and is to be decided anew.
    Failed,
}

/// The end of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainEnd {
    /// Every step was taken.
    Done,
    /// The unit is to be something else by now; the rest was not waited for.
    Superseded,
    /// The rest could not be tried, and is to be decided anew.
    Dropped,
    /// The unit is not gone, and is to be asked to go once more.
    Held,
}

impl ChainEnd {
    /// True where a start that was under way is waited for no more: whether the runner has heard of it nobody knows.
    pub fn leaves_start_unsure(self) -> bool {
        match self {
            Self::Superseded => !is_planted("superseded-start-counts-as-heard"),
            Self::Dropped => true,
            Self::Done | Self::Held => false,
        }
    }
}

/// The store's answer to a publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishAnswer {
    /// It has taken the states.
    Taken,
    /// It has not: the lease is gone, or the machine is registered otherwise by now.
    NotRegistered,
    /// It may have taken them or not.
    Unknown,
}

/// Something to be done. Effects are carried out in their order; none but the chains that have begun is waited for longer
/// than it takes.
#[derive(Debug)]
pub enum NodeEffect {
    /// Read the states that the store has of this machine's units.
    ReadStates,
    /// Watch this machine's placements from now on, from the beginning.
    WatchPlacements,
    /// Do not watch them any more.
    StopWatching,
    /// Let whatever the daemon writes pass to the store, or hold it back: the store holds the cluster that this machine is registered
    /// in, or another one.
    TrustStore(bool),
    /// Remember, beyond a power cut, the cluster that this machine is registered in: its placements are carried out from now on.
    RememberCluster,
    /// Read the last known placements.
    ReadLastKnown,
    /// Keep these as the last known placements. No second one is asked for before the answer.
    SavePlacements(LastKnown),
    /// Ask the runner about these units.
    Observe(BTreeSet<UnitName>),
    /// Read these files from the store.
    ReadFiles(Vec<FileHash>),
    /// Remember these jobs as carried out, without running them.
    SettleJobs(Vec<SettledJob>),
    /// Note how a job has ended.
    NoteJobEnd {
        /// The job.
        unit: UnitName,
        /// Its end.
        end: JobEnd,
    },
    /// Forget the runs of these jobs.
    ForgetJobRuns(BTreeSet<UnitName>),
    /// Ask the runner what of the machine's own is in the way of units with these files.
    FindObstacles(Vec<(UnitName, Arc<UnitFile>)>),
    /// Begin these chains.
    BeginChains(ChainBatch),
    /// End the waits of a unit's chain: the unit is to be something else by now.
    Supersede(UnitName),
    /// Whoever started the unit and waits for its first moments to pass is to look whether it has failed.
    CheckFirstMoments(UnitName),
    /// Publish these states under this presence.
    Publish {
        /// Goes with the answer.
        number: u64,
        /// The presence.
        presence: Presence,
        /// The states.
        states: Vec<StateUpdate>,
    },
    /// The lease may be gone: whoever keeps it is to look at once.
    SuspectLease,
    /// Say this to health and log.
    Report(NodeFact),
}

/// Something that people and health are to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeFact {
    /// The placements are known from the store.
    PlacementsKnown,
    /// They are not, for this reason.
    PlacementsUnknown(String),
    /// The last known placements, of so many units, are carried out.
    UsingLastKnown(usize),
    /// The last known placements, of so many units, are not carried out: these may run elsewhere by now.
    LastKnownWithheld(usize),
    /// The placements come from a store that is not this machine's, and are not believed.
    ForeignPlacements,
    /// A unit's placement cannot be read; the unit is left as it is.
    PlacementUnreadable(UnitName),
    /// A unit is refused that was not refused before.
    UnitRefused {
        /// The unit.
        unit: UnitName,
        /// The reason.
        problem: String,
    },
    /// The runner answers.
    RunnerFound,
    /// The runner cannot be reached, for this reason.
    RunnerLost(String),
    /// Everything placed here has been reported under the present lease, or has not.
    Reported(bool),
    /// Nothing begins here any more, and all that is here has been reported under this lease since; `None`: that is not so.
    Parting(Option<LeaseId>),
    /// So many units are ours.
    OwnedUnits(usize),
}

/// A job that has been carried out, as the memory of jobs says, and that the memory of units does not know of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettledJob {
    /// The unit.
    pub unit: UnitName,
    /// Its file.
    pub file: FileHash,
    /// The generation it was carried out at.
    pub generation: u64,
    /// The desired state.
    pub desired: DesiredState,
}

/// Chains of different units, which run at the same time.
#[derive(Debug, Clone)]
pub struct ChainBatch {
    /// Units that leave the machine or stop.
    pub removals: Vec<PlannedChain>,
    /// The others. They begin when the removals have ended, or after [`Self::removals_grace`].
    pub others: Vec<PlannedChain>,
    /// Time that the others wait at most: a unit that takes its time to stop must not keep the others from starting.
    pub removals_grace: Duration,
}

/// The steps of one unit, with all that carrying them out needs.
#[derive(Debug, Clone)]
pub struct PlannedChain {
    /// The unit.
    pub unit: UnitName,
    /// The steps, in order; never empty.
    pub steps: Vec<Step>,
    /// The file the steps speak of.
    pub file: Option<Arc<UnitFile>>,
    /// The unit is a job, to be noted before it is begun.
    pub job: bool,
    /// That it was started does not say yet that the unit is up.
    pub up_at_birth: bool,
    /// The run that it is in as the steps begin, if it runs.
    pub run: Option<String>,
}

/// The units to be stopped on a machine that goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopPlan {
    /// Units that may not run twice, and units of which that is not known.
    pub singles: Vec<UnitName>,
    /// The others.
    pub others: Vec<UnitName>,
}
