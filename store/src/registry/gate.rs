//! The refusal of writes to a store that is not this daemon's.
//!
//! Owns the one gate that every write of a daemon passes, whoever makes it: the API, the leader, the reboot role. Reads pass, and so
//! does what keeps a lease alive. It never decides whose a store is: whoever finds that out closes the gate, and opens it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use muster_common::probe::{is_planted, reached};

use crate::limits::describe;
use crate::store::{
    CommitOutcome, Guard, Lease, LeaseId, Listing, Op, Range, Store, StoreError, TimeLeft, Watch,
};

/// The reason why nothing is written now; absent while writes pass.
#[derive(Debug, Clone, Default)]
pub(super) struct WriteGate(Arc<Mutex<Option<String>>>);

impl WriteGate {
    pub(super) fn set_reason(&self, reason: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }

    fn reason(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A store behind a gate.
pub(super) struct GatedStore {
    pub(super) store: Arc<dyn Store>,
    pub(super) gate: WriteGate,
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
            None => self.store.commit(guards, ops).await,
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
