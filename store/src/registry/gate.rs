//! The refusal of writes to a store that is not this daemon's.
//!
//! Owns the one gate that every write of a daemon passes, whoever makes it: the API, the leader, the reboot role. Reads pass, and so
//! does what keeps a lease alive. It never decides whose a store is: whoever finds that out closes the gate, and opens it. While it is open
//! for one cluster, each write carries a guard on the record of that cluster's identity, since the store may be another by the time that a
//! write comes to it, and nobody has found that out yet.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use muster_common::cluster_id::ClusterId;
use muster_common::probe::{is_planted, reached};

use super::identity_record::identity_of;
use crate::limits::describe;
use crate::store::{
    CommitOutcome, Guard, KeyValue, Lease, LeaseId, Listing, Op, Range, Store, StoreError,
    TimeLeft, Watch,
};

/// Why a write met no record of the identity as it should be.
const ANOTHER_STORE: &str = "the store holds another cluster than this machine's";

/// The gate. Cheap to clone; clones are one gate.
#[derive(Debug, Clone, Default)]
pub(super) struct WriteGate(Arc<Mutex<GateState>>);

#[derive(Debug, Default)]
struct GateState {
    /// The reason why nothing is written now; absent while writes pass.
    reason: Option<String>,
    /// The identity that was read last, and its record.
    found: Option<(ClusterId, KeyValue)>,
    /// The cluster that is written to, and the record of its identity; absent: whatever cluster that is.
    pinned: Option<(ClusterId, KeyValue)>,
}

impl WriteGate {
    fn lock_state(&self) -> MutexGuard<'_, GateState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_reason(&self, reason: Option<String>) {
        self.lock_state().reason = reason;
    }

    /// Takes note of a record of the identity that was read.
    pub(super) fn note_identity(&self, cluster: ClusterId, record: KeyValue) {
        self.lock_state().found = Some((cluster, record));
    }

    /// Lets writes pass to this cluster alone, where its record was read.
    pub(super) fn set_cluster(&self, cluster: ClusterId) {
        let mut state = self.lock_state();
        state.reason = None;
        if let Some(found) = state.found.clone().filter(|(found, _)| *found == cluster) {
            state.pinned = Some(found);
        }
    }

    /// Lets writes pass to whatever cluster is there.
    pub(super) fn forget_cluster(&self) {
        *self.lock_state() = GateState::default();
    }

    fn reason(&self) -> Option<String> {
        self.lock_state().reason.clone()
    }

    fn pinned(&self) -> Option<(ClusterId, KeyValue)> {
        let pinned = self.lock_state().pinned.clone();
        pinned.filter(|_| !is_planted("identity-not-guarded"))
    }
}

/// A store behind a gate.
pub(super) struct GatedStore {
    pub(super) store: Arc<dyn Store>,
    pub(super) gate: WriteGate,
}

impl GatedStore {
    /// Commits where the record of the identity is as it was pinned.
    async fn commit_to(
        &self,
        (cluster, pinned): (ClusterId, KeyValue),
        mut guards: Vec<Guard>,
        ops: Vec<Op>,
    ) -> Result<CommitOutcome, StoreError> {
        let KeyValue { key, value, .. } = pinned;
        guards.push(Guard::Holds { key: key.clone(), value: value.clone() });
        let during = describe(&ops);
        let outcome = self.store.commit(guards, ops).await?;
        if let CommitOutcome::Conflict { .. } = outcome {
            let found = self.store.read(Range::Key(key)).await?.entries.pop();
            let found = found.and_then(|found| Some((identity_of(&found).ok()?, found)));
            match found.filter(|(found, _)| *found == cluster) {
                // Somebody has written it anew, and it says the same: the caller meets a conflict, and tries again.
                Some((_, found)) if found.value != value => {
                    self.gate.note_identity(cluster, found);
                    self.gate.set_cluster(cluster);
                }
                Some(_) => {}
                None => {
                    reached("another-store-not-written");
                    return Err(StoreError::NotOurs { during, problem: ANOTHER_STORE.to_owned() });
                }
            }
        }
        Ok(outcome)
    }
}

#[async_trait]
impl Store for GatedStore {
    async fn read(&self, range: Range) -> Result<Listing, StoreError> {
        self.store.read(range).await
    }

    fn watch(&self, range: Range) -> Watch {
        self.store.watch(range)
    }

    async fn commit(&self, guards: Vec<Guard>, ops: Vec<Op>) -> Result<CommitOutcome, StoreError> {
        match self.gate.reason().filter(|_| !is_planted("foreign-store-written")) {
            Some(problem) => {
                reached("foreign-store-not-written");
                Err(StoreError::NotOurs { during: describe(&ops), problem })
            }
            None => match self.gate.pinned() {
                Some(pinned) => self.commit_to(pinned, guards, ops).await,
                None => self.store.commit(guards, ops).await,
            },
        }
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease, StoreError> {
        self.store.grant(ttl).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<Lease, StoreError> {
        self.store.keep_alive(lease).await
    }

    async fn time_left(&self, lease: LeaseId) -> Result<TimeLeft, StoreError> {
        self.store.time_left(lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), StoreError> {
        self.store.revoke(lease).await
    }

    fn current_warnings(&self) -> Vec<String> {
        self.store.current_warnings()
    }
}
