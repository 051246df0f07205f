//! The cluster at one revision of the store, and the changes that lead to the next.
//!
//! Owns the shape on which decisions are taken and lists are printed. It never fetches anything: the store makes
//! snapshots and changes, the engine and the daemon read them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::cluster_id::ClusterId;
use crate::cordon::Cordon;
use crate::machine::{Machine, MachineId, RunnerKind};
use crate::state::{DesiredState, ObservedState};
use crate::unit::{FileHash, UnitFile, UnitName};

/// A unit as its user left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// Its name.
    pub name: UnitName,
    /// The file it is made from; instances of one template share it.
    pub file: FileHash,
    /// The state that the user wants.
    pub desired: DesiredState,
    /// Raised by every start and restart a user asks for.
    pub generation: u64,
    /// Store revision that last wrote the record; guards the decisions that rest on it.
    pub revision: u64,
}

/// The engine's decision that a unit belongs on a machine, with what that machine is to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The file the machine is to have.
    pub file: FileHash,
    /// The state that the machine is to bring about: `Loaded` or `Launched`.
    pub desired: DesiredState,
    /// The unit's generation when this was written.
    pub generation: u64,
    /// The part it has in the unit's move from a machine that is drained.
    #[serde(default, skip_serializing_if = "Handover::is_none")]
    pub handover: Handover,
    /// Store revision that last wrote the record; guards the decisions that rest on it.
    pub revision: u64,
}

/// The part of a placement in the move of a unit that is first started, then stopped, and so has two placements for a while.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handover {
    /// On the new machine: the unit takes over here from that machine, whose placement goes when it is up here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub takes_over: Option<MachineId>,
    /// On the old machine: where it was tried at this file and generation and did not start, with what was wrong.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tried: BTreeMap<MachineId, String>,
}

impl Handover {
    /// True if the placement has no part in a move.
    pub fn is_none(&self) -> bool {
        self.takes_over.is_none() && self.tried.is_empty()
    }
}

/// The record of who leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leader {
    /// The leading machine.
    pub machine: MachineId,
    /// Machines that vanished together with so many others that their units are not placed anew: the engine is frozen
    /// until they return or a person empties this list (`musterctl unfreeze`).
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub held: BTreeSet<MachineId>,
}

/// A record that could not be read. It poisons only itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreadable {
    /// Its key below the prefix, for example `unit/web.service`.
    pub key: String,
    /// The fault, as a sentence.
    pub problem: String,
}

/// The cluster at one revision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Store revision this is a picture of.
    pub revision: u64,
    /// The identity of the cluster that the store held when the picture was taken; only in pictures of one machine's placements, which
    /// are believed by it.
    pub cluster: Option<ClusterId>,
    /// Machines with a live lease.
    pub machines: BTreeMap<MachineId, Machine>,
    /// Metadata set at run time; kept for machines that are absent.
    pub metadata: BTreeMap<MachineId, BTreeMap<String, String>>,
    /// Machines that take nothing new; kept for machines that are absent.
    pub cordons: BTreeMap<MachineId, Cordon>,
    /// Unit files by content.
    pub files: BTreeMap<FileHash, Arc<UnitFile>>,
    /// Units by name, templates included.
    pub units: BTreeMap<UnitName, Unit>,
    /// Placements by unit, then machine; a unit that is not global has one, and a second while it moves.
    pub places: BTreeMap<UnitName, BTreeMap<MachineId, Placement>>,
    /// Observed states by unit, then machine.
    pub states: BTreeMap<UnitName, BTreeMap<MachineId, ObservedState>>,
    /// The leader, if there is one.
    pub leader: Option<Leader>,
    /// Machines that belong to the cluster as its leader last knew it: those registered, and those it misses. What a
    /// new leader did not see vanish is told from this.
    pub members: BTreeSet<MachineId>,
    /// Records that could not be read, by key below the prefix.
    pub unreadable: BTreeMap<String, Unreadable>,
}

/// One difference between two snapshots; `None` means that the record is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A machine registered, changed its registration, or lost its lease.
    Machine(MachineId, Option<Machine>),
    /// Metadata set or removed at run time.
    Metadata(MachineId, String, Option<String>),
    /// A machine was cordoned or drained, or that was changed or taken back.
    Cordon(MachineId, Option<Cordon>),
    /// A unit file came or went.
    File(FileHash, Option<Arc<UnitFile>>),
    /// A unit came, changed or went.
    Unit(UnitName, Option<Unit>),
    /// A placement came, changed or went.
    Place(MachineId, UnitName, Option<Placement>),
    /// A machine reported a unit's state, or stopped reporting it.
    State(MachineId, UnitName, Option<ObservedState>),
    /// The leader changed.
    Leader(Option<Leader>),
    /// The leader took a machine into its notion of the cluster or out of it, or a machine has taken its leave.
    Members(BTreeSet<MachineId>),
    /// A record became unreadable; whatever it said before no longer holds. `None`: it is gone or readable again.
    Unreadable(String, Option<Unreadable>),
}

/// An event of a watch over the cluster or over a part of it.
#[derive(Debug, Clone, PartialEq)]
pub enum ClusterEvent {
    /// Begin anew with this.
    Reset(Box<Snapshot>),
    /// Changes after what was yielded before.
    Changes {
        /// The last revision of them.
        revision: u64,
        /// In order.
        changes: Vec<Change>,
    },
    /// The store cannot be reached; what was yielded last is the last known state.
    Lost {
        /// The fault, as a sentence.
        problem: String,
    },
}

impl Snapshot {
    /// The metadata constraints are matched against: what the machine's configuration says, overridden by what was
    /// set at run time.
    pub fn metadata_of(&self, machine: &MachineId) -> BTreeMap<String, String> {
        let mut metadata =
            self.machines.get(machine).map(|m| m.metadata.clone()).unwrap_or_default();
        if let Some(set) = self.metadata.get(machine) {
            metadata.extend(set.iter().map(|(k, v)| (k.clone(), v.clone())));
        }
        metadata
    }

    /// The runners that machines have for container units whose files name none; Docker where no machine has any.
    pub fn container_runners(&self) -> BTreeSet<RunnerKind> {
        let of = |machine: &Machine| {
            let choice = machine.default_container_runner();
            machine.runners.contains(&choice).then_some(choice)
        };
        let found: BTreeSet<RunnerKind> = self.machines.values().filter_map(of).collect();
        if found.is_empty() { [RunnerKind::Docker].into() } else { found }
    }

    /// Applies one change. The revision is the caller's to move on, once all changes of a revision are applied.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Machine(id, record) => set_entry(&mut self.machines, id, record),
            Change::Metadata(id, key, value) => set_nested(&mut self.metadata, id, key, value),
            Change::Cordon(id, record) => set_entry(&mut self.cordons, id, record),
            Change::File(hash, record) => set_entry(&mut self.files, hash, record),
            Change::Unit(name, record) => set_entry(&mut self.units, name, record),
            Change::Place(id, name, record) => set_nested(&mut self.places, name, id, record),
            Change::State(id, name, record) => set_nested(&mut self.states, name, id, record),
            Change::Leader(leader) => self.leader = leader,
            Change::Members(members) => self.members = members,
            Change::Unreadable(key, record) => set_entry(&mut self.unreadable, key, record),
        }
    }
}

/// The machines that count as having a unit: those it is placed on, but for one where it is only about to take over from
/// another that still has it.
pub fn home_placements(
    places: &BTreeMap<MachineId, Placement>,
) -> impl Iterator<Item = (&MachineId, &Placement)> {
    places.iter().filter(|(_, placement)| {
        let source = placement.handover.takes_over.as_ref();
        !source.is_some_and(|source| places.contains_key(source))
    })
}

fn set_entry<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => {
            map.insert(key, value);
        }
        None => {
            map.remove(&key);
        }
    }
}

fn set_nested<K: Ord, L: Ord, V>(
    map: &mut BTreeMap<K, BTreeMap<L, V>>,
    outer: K,
    inner: L,
    value: Option<V>,
) {
    if let Some(value) = value {
        map.entry(outer).or_default().insert(inner, value);
    } else if let Some(entries) = map.get_mut(&outer) {
        entries.remove(&inner);
        if entries.is_empty() {
            map.remove(&outer);
        }
    }
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
