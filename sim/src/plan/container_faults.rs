//! What goes wrong with container engines.
//!
//! Owns the kinds of these faults. How a seed mixes them is [`super::container_mix`]'s.

use serde::{Deserialize, Serialize};

/// Something that goes wrong with the engine of a machine. A number picks the container it is about, of those there are then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ContainerFault {
    /// The engine is stopped, and started again when this is over.
    EngineRestarted,
    /// The engine's process is killed, and started again when this is over.
    EngineKilled,
    /// The engine reads no calls.
    EngineHung,
    /// The daemon loses its line to the engine.
    EngineLost,
    /// The engine tells nobody of what happens.
    EventsLost,
    /// No image can be fetched.
    RegistryAway,
    /// A person removes all images.
    ImagesPruned,
    /// A person kills a container.
    ContainerKilled(u64),
    /// A container has used up its memory.
    ContainerOutOfMemory(u64),
    /// A person stops a container.
    ContainerStopped(u64),
    /// A person starts a container that has ended.
    ContainerStarted(u64),
    /// A person removes a container.
    ContainerRemoved(u64),
    /// A person has a container stand still.
    ContainerPaused(u64),
    /// The machine has a container of its own with the name of one of the cluster's, for a time.
    ContainerNameTaken(u64),
}

/// The kinds.
const KINDS: [&str; 14] = [
    "engine-restarted",
    "engine-killed",
    "engine-hung",
    "engine-lost",
    "events-lost",
    "registry-away",
    "images-pruned",
    "container-killed",
    "container-out-of-memory",
    "container-stopped",
    "container-started",
    "container-removed",
    "container-paused",
    "container-name-taken",
];

impl ContainerFault {
    /// The kind, in a word.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::EngineRestarted => "engine-restarted",
            Self::EngineKilled => "engine-killed",
            Self::EngineHung => "engine-hung",
            Self::EngineLost => "engine-lost",
            Self::EventsLost => "events-lost",
            Self::RegistryAway => "registry-away",
            Self::ImagesPruned => "images-pruned",
            Self::ContainerKilled(_) => "container-killed",
            Self::ContainerOutOfMemory(_) => "container-out-of-memory",
            Self::ContainerStopped(_) => "container-stopped",
            Self::ContainerStarted(_) => "container-started",
            Self::ContainerRemoved(_) => "container-removed",
            Self::ContainerPaused(_) => "container-paused",
            Self::ContainerNameTaken(_) => "container-name-taken",
        }
    }

    /// All kinds.
    pub(crate) fn kind_names() -> &'static [&'static str] {
        &KINDS
    }

    /// A fault of a kind, about what a number picks.
    pub(super) fn of_kind(kind: &str, number: u64) -> Self {
        match kind {
            "engine-restarted" => Self::EngineRestarted,
            "engine-killed" => Self::EngineKilled,
            "engine-hung" => Self::EngineHung,
            "engine-lost" => Self::EngineLost,
            "events-lost" => Self::EventsLost,
            "registry-away" => Self::RegistryAway,
            "images-pruned" => Self::ImagesPruned,
            "container-killed" => Self::ContainerKilled(number),
            "container-out-of-memory" => Self::ContainerOutOfMemory(number),
            "container-stopped" => Self::ContainerStopped(number),
            "container-started" => Self::ContainerStarted(number),
            "container-removed" => Self::ContainerRemoved(number),
            "container-paused" => Self::ContainerPaused(number),
            _ => Self::ContainerNameTaken(number),
        }
    }
}
