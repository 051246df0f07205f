//! The registry itself, and its ways to single records.
//!
//! Owns the store, the prefix and the ids of writes that all operations share. It knows no record's meaning.

use std::sync::{Arc, Mutex};

use muster_common::cluster_id::ClusterId;
use muster_common::seed::Seed;

use super::gate::{GatedStore, WriteGate};
use super::keys::{self, Key};
use super::packing::guard_holds;
use super::proposal::propose_identity;
use super::published::PublishedStates;
use super::write_ids::WriteIds;
use crate::store::{Guard, KeyValue, Range, Store, StoreError};
use crate::system_seed::draw_seed;

/// The typed registry. Cheap to clone.
#[derive(Clone)]
pub struct Registry {
    pub(super) store: Arc<dyn Store>,
    /// That every write passes.
    pub(super) gate: WriteGate,
    /// It ends with `/`.
    pub(super) prefix: Arc<str>,
    pub(super) write_ids: Arc<WriteIds>,
    pub(super) published: Arc<PublishedStates>,
    /// The identity that a cluster without one gets from us.
    pub(super) proposed_identity: ClusterId,
    /// The cluster that this daemon's machine belongs to, once that is known.
    pub(super) own_cluster: Arc<Mutex<Option<ClusterId>>>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl Registry {
    /// A registry under a prefix such as `/muster/v1/`; a `/` at its end may be left out. The ids of its writes are drawn
    /// from the system.
    pub fn new(store: Arc<dyn Store>, prefix: &str) -> Self {
        Self::with_seed(store, prefix, draw_seed())
    }

    /// The same with ids of writes that follow from a seed, which nobody else who writes there may have.
    pub fn with_seed(store: Arc<dyn Store>, prefix: &str, seed: Seed) -> Self {
        let prefix = format!("{}/", prefix.trim_end_matches('/')).into();
        let proposed_identity = propose_identity(seed);
        let gate = WriteGate::default();
        Self {
            store: Arc::new(GatedStore { store, gate: gate.clone() }),
            gate,
            prefix,
            write_ids: Arc::new(WriteIds::with_seed(seed)),
            published: Arc::default(),
            proposed_identity,
            own_cluster: Arc::default(),
        }
    }

    /// Refuses every write from now on, for this reason: the store is not ours. It holds for all clones.
    pub fn refuse_writes(&self, reason: &str) {
        self.gate.set_reason(Some(reason.to_owned()));
    }

    /// Lets writes pass again.
    pub fn allow_writes(&self) {
        self.gate.set_reason(None);
    }

    /// Lets writes pass to the store of this cluster and to no other: each is carried out only where the record of the identity is as it
    /// was read last. A store that takes its place, between two looks at it or right before a write, takes nothing.
    pub fn allow_writes_to(&self, cluster: ClusterId) {
        self.gate.set_cluster(cluster);
    }

    /// Lets writes pass to whatever store is there: a person says that it is to be ours, or the machine is new.
    pub fn allow_writes_anywhere(&self) {
        self.gate.forget_cluster();
    }

    /// The warnings of the store, one sentence each; see [`Store::current_warnings`].
    pub fn store_warnings(&self) -> Vec<String> {
        self.store.current_warnings()
    }

    /// The whole key of a record.
    pub(super) fn key(&self, key: &Key) -> String {
        format!("{}{key}", self.prefix)
    }

    /// Everything below a part of the prefix.
    pub(super) async fn list(&self, below: &str) -> Result<Vec<KeyValue>, StoreError> {
        let range = Range::Prefix(format!("{}{below}", self.prefix));
        Ok(self.store.read(range).await?.entries)
    }

    /// One record.
    pub(super) async fn get(&self, key: &Key) -> Result<Option<KeyValue>, StoreError> {
        Ok(self.store.read(Range::Key(self.key(key))).await?.entries.pop())
    }

    /// True if a guard holds now.
    pub(super) async fn guard_still_holds(&self, guard: &Guard) -> Result<bool, StoreError> {
        guard_holds(&self.store, guard).await
    }

    /// The key of a record below the prefix.
    pub(super) fn parse(&self, record: &KeyValue) -> Option<Key> {
        keys::parse(record.key.strip_prefix(&*self.prefix)?).ok()
    }
}
