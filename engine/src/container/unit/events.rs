//! What comes into a container unit and what it asks for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use muster_common::container::ContainerSpec;
use muster_common::unit::{FileHash, UnitFile, UnitName};

use super::memory::UnitMemory;
use super::order::UnitOrder;
use super::status::UnitStatus;
use crate::container::found::Owner;
use crate::container::life::{FoundContainer, LifeEvent, Phase};
use crate::container::sessions::EngineSessions;

/// A unit's file, and what it says on this machine.
#[derive(Debug, Clone)]
pub struct ContainerPlan {
    /// The file.
    pub file: FileHash,
    /// Its content; where the file names files of variables, its content without them, until a start has read them.
    pub spec: Arc<ContainerSpec>,
    /// Its text, where it names such files.
    pub open: Option<Arc<UnitFile>>,
    /// True for a unit that is begun once for each time somebody starts it.
    pub is_job: bool,
}

/// The file that a start goes by.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The plan, with the variables as they were read for this start.
    pub plan: ContainerPlan,
    /// The volumes and networks it names, by unit, under the names the engine has for them.
    pub names: BTreeMap<UnitName, String>,
    /// The id or name of its image, where its file does not say.
    pub image: Option<String>,
}

/// A container as the engine has it.
#[derive(Debug, Clone)]
pub struct InspectedContainer {
    /// Its id.
    pub id: String,
    /// Whose it is, by its labels.
    pub owner: Owner,
    /// The state of the container: whether it runs, or how it ended.
    pub seen: FoundContainer,
    /// The signal that asks it to stop, where its image says.
    pub stop_signal: Option<String>,
    /// The fault that the engine reports from when it was to be started; empty when nothing did.
    pub fault: String,
    /// True while it is paused.
    pub paused: bool,
}

/// The moment of a step.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// The time since the machine booted.
    pub now: Duration,
    /// Seconds since the Unix epoch.
    pub wall: u64,
    /// The sessions with the engine so far.
    pub sessions: EngineSessions,
}

/// The result of a piece of work.
#[derive(Debug)]
pub enum WorkResult {
    /// Everything that the container needs is there.
    Prepared(Prepared),
    /// Something that it needs is not there, for this reason.
    Unprepared(String),
    /// Its conditions do not hold here, which this says.
    Unmet(String),
    /// An assertion of its does not hold here, which this says.
    AssertFailed(String),
    /// A container was started.
    Started {
        /// Its id.
        id: String,
        /// The sessions with the engine when the attempt began that has started it.
        since: EngineSessions,
    },
    /// It was not started, for this reason.
    NotStarted(String),
    /// A signal was sent, or found nobody.
    Sent,
}

/// An input of a container unit.
#[derive(Debug)]
pub enum UnitInput {
    /// It has another file now.
    Plan(ContainerPlan),
    /// The cluster wants something of it.
    Order {
        /// The order.
        order: UnitOrder,
        /// The generation of its placement; `None` keeps the one before.
        generation: Option<u64>,
    },
    /// Something may have happened to its container. A hint: the engine is asked.
    Hint,
    /// Somebody has started its container, most likely we. A hint.
    StartHint,
    /// The work that was begun last is done.
    WorkDone(WorkResult),
    /// The engine has said how a container is that it was asked about; `None`: there is none.
    Inspected {
        /// The id that was asked about, or that of the one that was found.
        container: String,
        /// The engine's answer.
        found: Option<InspectedContainer>,
    },
    /// The progress of the preparation, for the user.
    Progress(String),
    /// It is to be forgotten, container and all.
    Remove,
    /// Its containers are removed, or could not be.
    Removed(bool),
    /// Time has passed; see [`super::ContainerUnit::next_deadline`].
    Tick,
}

/// One thing to do; several are done in order.
#[derive(Debug, Clone)]
pub enum UnitEffect {
    /// Begin to look at its conditions, to get its image, and to make its volumes and networks. Ends in
    /// [`UnitInput::WorkDone`], as every piece of work does. One is under way at a time.
    Prepare(ContainerPlan),
    /// Begin to make its container, in the place of one before it, and to start it.
    Start {
        /// The prepared parts that it is made of.
        prepared: Prepared,
        /// The id of the one before it.
        replaces: Option<String>,
        /// The generation to mark it with.
        generation: u64,
    },
    /// Begin to send a signal.
    Signal {
        /// The id of the container.
        container: String,
        /// The signal's name or number.
        signal: String,
    },
    /// Drop the work that is under way. It has no result.
    CancelWork,
    /// The start that is under way is to be stopped once it has come about: as long as its engine has not been asked to start the
    /// container it is called off, which counts as one that was not started. Otherwise it goes on.
    CallOffStart,
    /// Begin to ask the engine about the container with this id. Ends in [`UnitInput::Inspected`]; one is under way at a time.
    Inspect(String),
    /// Begin to ask the engine which container the unit has. Ends as the question about one does.
    FindContainer,
    /// Remove the containers with these ids, and whatever else the engine has of the unit: a start that came to nothing may have left
    /// one behind. Ends in [`UnitInput::Removed`].
    RemoveContainers(Vec<String>),
    /// Forget what is remembered of it and what was laid for it. It takes no input any more.
    Forget,
    /// Keep this over a restart of the daemon.
    Remember(UnitMemory),
    /// Let whoever waits for it read this status.
    Publish {
        /// The status.
        status: UnitStatus,
        /// True when the cluster is to hear of it, before those who wait do.
        is_news: bool,
    },
    /// Remove the networks that are to go with the last container that names them: one of this file has come to rest.
    DiscardNetworks(Arc<ContainerSpec>),
    /// Count a start that was none of the cluster's wish.
    CountRestart,
    /// Log that its life went on to another phase.
    LogPhase {
        /// The event that led there.
        event: LifeEvent,
        /// The phase.
        phase: Phase,
    },
}
