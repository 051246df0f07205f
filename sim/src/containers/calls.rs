//! The calls that a daemon makes of a container engine.
//!
//! Owns their words and their answers, as data.

use std::time::Duration;

use muster_engine::container::body;
use musterd::runner::docker::client::{
    ContainerDetails, ContainerEntry, CreatedContainer, EngineError, EngineSetup, MarkedResource,
};
use tokio::sync::oneshot;

/// A call.
#[derive(Debug, Clone)]
pub(super) enum EngineCall {
    Version,
    Setup,
    List(Vec<String>),
    Inspect(String),
    Create { name: String, body: Box<body::Create> },
    Start(String),
    Kill { id: String, signal: String },
    Unpause(String),
    Stop(String),
    Remove(String),
    WaitUntilRemoved(String),
    InspectImage(String),
    Pull(String),
    FindVolume(String),
    CreateVolume(body::VolumeCreate),
    ListVolumes(Vec<String>),
    RemoveVolume(String),
    FindNetwork(String),
    CreateNetwork(body::NetworkCreate),
    ListNetworks(Vec<String>),
    RemoveNetwork(String),
}

/// An answer.
#[derive(Debug, Clone)]
pub(super) enum EngineAnswer {
    Done,
    Version(String),
    Setup(EngineSetup),
    Containers(Vec<ContainerEntry>),
    Details(Box<ContainerDetails>),
    Created(CreatedContainer),
    Resources(Vec<MarkedResource>),
}

/// The answer to a call, or why there is none.
pub(super) type CallResult = Result<EngineAnswer, EngineError>;

/// A call that the engine has not answered.
#[derive(Debug)]
pub(super) struct OpenCall {
    pub(super) call: EngineCall,
    pub(super) reply: oneshot::Sender<CallResult>,
    /// The time that it takes once it has arrived.
    pub(super) takes: Duration,
    /// The moment at which it was made, by the machine's clock.
    pub(super) asked: Duration,
}

/// The refusal of Docker's for a thing that is not there.
pub(super) fn not_found(what: &str, name: &str) -> EngineError {
    EngineError::Refused { status: 404, problem: format!("No such {what}: {name}") }
}

/// The refusal of what cannot be done in the state that things are in.
pub(super) fn state_conflict(problem: impl Into<String>) -> EngineError {
    EngineError::Refused { status: 409, problem: problem.into() }
}

/// The failure of an engine that tried.
pub(super) fn engine_failure(problem: impl Into<String>) -> EngineError {
    EngineError::Refused { status: 500, problem: problem.into() }
}
