//! What goes wrong with container engines.
//!
//! Owns the kinds of these faults and how a seed mixes them, in a sequence of chance of its own: a run without engines has the same
//! faults as before there were any.

use serde::{Deserialize, Serialize};

use super::faults::{Fault, PlannedFault};
use super::shape::Shape;
use crate::moment::Micros;
use crate::seed::Chance;

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

    fn of_kind(kind: &str, number: u64) -> Self {
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

/// The faults of a run with engines; none without.
pub(crate) fn draw_faults(chance: &Chance, shape: &Shape) -> Vec<PlannedFault> {
    let mut faults = Vec::new();
    let Some(engines) = &shape.engines else { return faults };
    let mut urn = Vec::new();
    for kind in KINDS {
        if chance.happens_by_chance(500) {
            urn.extend(std::iter::repeat_n(kind, chance.pick_one(1, &[1, 2, 5])));
        }
    }
    let machines: Vec<usize> = engines.list_machines().collect();
    if urn.is_empty() || machines.is_empty() {
        return faults;
    }
    let pause = shape.stretch_pause(Micros::from_secs(chance.pick_one(15, &[6, 15, 40])));
    let mut at = Micros::from_secs(15);
    loop {
        at += chance.time_within(Micros(pause.0 / 4), Micros(pause.0 * 2));
        if at >= shape.calm_from {
            return faults;
        }
        let kind = urn.get(chance.pick_index(urn.len())).copied().unwrap_or_default();
        let machine = machines.get(chance.pick_index(machines.len())).copied().unwrap_or_default();
        let moments = chance.time_within(Micros::from_millis(100), Micros::from_secs(2));
        let seconds = chance.time_within(Micros::from_secs(1), Micros::from_secs(15));
        let long = chance.time_within(Micros::from_secs(10), Micros::from_secs(60));
        let lasts = chance.pick_one(moments, &[seconds, long]).min(shape.calm_from - at);
        let fault = ContainerFault::of_kind(kind, chance.number_below(1 << 32));
        faults.push(PlannedFault { at, lasts, fault: Fault::Container(machine, fault) });
    }
}
