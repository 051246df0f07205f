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
use muster_common::snapshot::{ClusterEvent, Snapshot};
use muster_common::unit::UnitName;
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

/// A running typed watch; dropping it ends it.
#[derive(Debug)]
pub struct ClusterWatch {
    /// Where its events arrive.
    pub events: mpsc::Receiver<ClusterEvent>,
}

/// What became of a destruction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DestroyOutcome {
    /// Units that existed.
    pub destroyed: Vec<UnitName>,
    /// Units that did not.
    pub unknown: Vec<UnitName>,
    /// Revision of the last removal; 0 when nothing was removed.
    pub revision: u64,
}

impl Registry {
    /// A registry under a prefix such as `/muster/v1/`; a `/` at its end may be left out.
    pub fn new(store: Arc<dyn Store>, prefix: &str) -> Self {
        let prefix = format!("{}/", prefix.trim_end_matches('/')).into();
        Self { store, prefix, writes: Arc::new(units::WriteIds::new()) }
    }

    /// Everything under the prefix, at one revision.
    pub async fn read_snapshot(&self) -> Result<Snapshot, RegistryError> {
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
    pub fn watch(&self) -> ClusterWatch {
        watch::watch_range(&self.store, &self.prefix, Range::Prefix(self.prefix.to_string()))
    }

    /// Watches who leads and nothing else: only `leader` of the snapshots and [`muster_common::snapshot::Change::Leader`] and
    /// [`muster_common::snapshot::Change::Unreadable`] occur. Needs a tokio runtime to run in.
    pub fn watch_leader(&self) -> ClusterWatch {
        watch::watch_range(&self.store, &self.prefix, Range::Key(self.key(&keys::Key::Leader)))
    }

    /// Watches the placements of one machine and nothing else: only `places` of the snapshots and
    /// [`muster_common::snapshot::Change::Place`] and [`muster_common::snapshot::Change::Unreadable`] occur. Needs a tokio runtime to run in.
    pub fn watch_places(&self, machine: &MachineId) -> ClusterWatch {
        let range = Range::Prefix(format!("{}{}", self.prefix, keys::places_of(machine)));
        watch::watch_range(&self.store, &self.prefix, range)
    }

    /// What a person should know of the store while it works; see [`Store::current_warnings`].
    pub fn store_warnings(&self) -> Vec<String> {
        self.store.current_warnings()
    }

    /// The whole key of a record.
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
