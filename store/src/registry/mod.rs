//! Typed operations on the records of facts and decisions, written once above [`Store`].
//!
//! The operations are beside this file, by what they are about: `units`, `machines`, `cordons`, `leader`, `places` and
//! `reboots`.
//!
//! Owns key names, record versions and the packing of many changes into commits. It never decides: what to write
//! comes in as arguments, what was found goes out as data.

mod cordons;
mod decode;
#[cfg(test)]
mod fixtures;
mod keys;
mod leader;
mod machines;
mod packing;
mod places;
mod reboots;
mod records;
mod units;
mod watch;

use std::sync::Arc;

pub use muster_common::lease::{Leadership, Presence};
use muster_common::machine::MachineId;
use muster_common::snapshot::{Change, Placement, Snapshot};
use muster_common::state::{DesiredState, ObservedState};
use muster_common::unit::{UnitFile, UnitName};
use tokio::sync::mpsc;

use crate::store::{KeyValue, Range, Store, StoreError};
pub use reboots::{RebootGroup, RebootNews, RebootRecords, RebootScope};

use decode::Decoder;
use keys::Key;

/// The typed registry. Cheap to clone.
#[derive(Clone)]
pub struct Registry {
    store: Arc<dyn Store>,
    prefix: Arc<str>,
    writes: Arc<units::WriteIds>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// Why the registry could not do as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The store could not.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record in the way cannot be read.
    #[error("the record {key} cannot be read: {problem}")]
    Unreadable {
        /// Key below the prefix.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The machine is not registered under the lease it believes it is: its lease ended, or another registered anew.
    #[error("machine {machine} is not registered any more")]
    NotRegistered {
        /// The machine.
        machine: MachineId,
    },
    /// Others kept changing the same records.
    #[error("{key} kept changing while it was written; try again")]
    Contended {
        /// Key below the prefix.
        key: String,
    },
}

/// Why a plan's decisions were not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// We do not lead any more.
    #[error("another daemon leads now")]
    Deposed,
    /// The store could not.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A typed event of [`Registry::watch`].
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
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
        /// What is wrong.
        problem: String,
    },
}

/// A running typed watch; dropping it ends it.
#[derive(Debug)]
pub struct Updates {
    /// Where its events arrive.
    pub events: mpsc::Receiver<Event>,
}

/// One unit as it is to be written. `expected` is the `mod_revision` seen (0: it must not exist).
#[derive(Debug, Clone)]
pub struct UnitWrite {
    /// Its name.
    pub name: UnitName,
    /// Its file; written with the unit, in the same commit.
    pub file: Arc<UnitFile>,
    /// What is wanted.
    pub desired: DesiredState,
    /// Its generation.
    pub generation: u64,
    /// Revision of the record this replaces.
    pub expected: u64,
}

/// What became of a [`UnitWrite`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnitWritten {
    /// Written, at this revision.
    Done {
        /// The revision.
        revision: u64,
    },
    /// Someone else wrote the record meanwhile; read again and decide again.
    Conflict,
}

/// What became of a destruction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Destroyed {
    /// Units that existed.
    pub destroyed: Vec<UnitName>,
    /// Units that did not.
    pub unknown: Vec<UnitName>,
    /// Revision of the last removal; 0 when nothing was removed.
    pub revision: u64,
}

/// A state to publish; `None` withdraws it.
#[derive(Debug, Clone)]
pub struct StateUpdate {
    /// The unit.
    pub unit: UnitName,
    /// What is reported.
    pub state: Option<ObservedState>,
}

impl Registry {
    /// A registry under a prefix such as `/muster/v1/`; a `/` at its end may be left out.
    pub fn new(store: Arc<dyn Store>, prefix: &str) -> Self {
        let prefix = format!("{}/", prefix.trim_end_matches('/')).into();
        Self { store, prefix, writes: Arc::new(units::WriteIds::new()) }
    }

    /// Everything under the prefix, at one revision.
    pub async fn snapshot(&self) -> Result<Snapshot, RegistryError> {
        let listing = self.store.read(Range::Prefix(self.prefix.to_string())).await?;
        Ok(Decoder::new(Arc::clone(&self.prefix)).reset(&listing))
    }

    /// The store's revision now, linearizably: whoever has caught up with it has seen every write acknowledged so far.
    /// It may be that of a record outside the prefix, where the store is shared.
    pub async fn revision(&self) -> Result<u64, RegistryError> {
        // Any key will do; this one is small and mostly there.
        Ok(self.store.read(Range::Key(format!("{}leader", self.prefix))).await?.revision)
    }

    /// Watches everything under the prefix. Begins with a `Reset` (or `Lost`). Needs a tokio runtime to run in.
    pub fn watch(&self) -> Updates {
        watch::watch(&self.store, &self.prefix, Range::Prefix(self.prefix.to_string()))
    }

    /// Watches who leads and nothing else: only `leader` of the snapshots and [`Change::Leader`] and
    /// [`Change::Unreadable`] occur. Needs a tokio runtime to run in.
    pub fn watch_leader(&self) -> Updates {
        watch::watch(&self.store, &self.prefix, Range::Key(self.key(&keys::Key::Leader)))
    }

    /// Watches the placements of one machine and nothing else: only `places` of the snapshots and
    /// [`Change::Place`] and [`Change::Unreadable`] occur. Needs a tokio runtime to run in.
    pub fn watch_places(&self, machine: &MachineId) -> Updates {
        let range = Range::Prefix(format!("{}{}", self.prefix, keys::places_of(machine)));
        watch::watch(&self.store, &self.prefix, range)
    }

    /// The whole key of a record.
    /// What a person should know of the store while it works; see [`Store::warnings`].
    pub fn warnings(&self) -> Vec<String> {
        self.store.warnings()
    }

    fn key(&self, key: &Key) -> String {
        format!("{}{key}", self.prefix)
    }

    /// Everything below a part of the prefix.
    async fn list(&self, below: &str) -> Result<Vec<KeyValue>, StoreError> {
        let range = Range::Prefix(format!("{}{below}", self.prefix));
        Ok(self.store.read(range).await?.entries)
    }

    /// One record.
    async fn get(&self, key: &Key) -> Result<Option<KeyValue>, StoreError> {
        Ok(self.store.read(Range::Key(self.key(key))).await?.entries.pop())
    }

    /// The key of a record below the prefix.
    fn parse(&self, record: &KeyValue) -> Option<Key> {
        keys::parse(record.key.strip_prefix(&*self.prefix)?).ok()
    }
}

/// One decision about a placement, with the revisions it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlaceWrite {
    /// Writes a placement.
    Place {
        /// Where.
        machine: MachineId,
        /// What.
        unit: UnitName,
        /// The record; its `revision` is that of the record it replaces, 0 for none.
        placement: Placement,
        /// Revision of the unit record seen.
        unit_revision: u64,
        /// Revision that created the machine's registration.
        machine_created: u64,
        /// Revision of the machine's cordon seen, 0 for none. It counts when the placement is new there: what is there
        /// already may stay, whoever cordons the machine.
        cordon: u64,
    },
    /// Removes a placement.
    Remove {
        /// Where.
        machine: MachineId,
        /// What.
        unit: UnitName,
        /// Revision of the placement seen.
        revision: u64,
        /// Revision of the unit record seen; 0 when the unit is gone.
        unit_revision: u64,
    },
}

/// What became of the groups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlacesCommitted {
    /// Revision after the last commit; 0 when nothing was written.
    pub revision: u64,
    /// Indexes of groups that met a conflict and were not written.
    pub conflicts: Vec<usize>,
}
