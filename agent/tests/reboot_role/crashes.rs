//! A store that fails at a chosen moment, as it is when a daemon is killed in the middle of a write to it.

#![allow(unreachable_pub, reason = "a module of a test binary")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use muster_store::{
    CommitOutcome, Guard, Lease, LeaseId, Listing, Op, Range, Store, StoreError, TimeLeft, Watch,
};
use tokio::sync::watch;

/// Counts what is asked of it, and from a chosen request on never answers: whoever waits for it is killed meanwhile.
pub struct Crashes {
    store: Arc<dyn Store>,
    asked: AtomicUsize,
    /// The request that is not answered, from 0, and whether it is carried out all the same.
    at: usize,
    carried_out: bool,
    reached: watch::Sender<bool>,
}

impl Crashes {
    pub fn new(store: Arc<dyn Store>, at: usize, carried_out: bool) -> Arc<Self> {
        let (asked, reached) = (AtomicUsize::new(0), watch::Sender::new(false));
        Arc::new(Self { store, asked, at, carried_out, reached })
    }

    /// Waits until the moment has come.
    pub async fn reached(&self) {
        let mut reached = self.reached.subscribe();
        let _ = reached.wait_for(|reached| *reached).await;
    }

    /// Counts a request; `false`: it is the one, or comes after it.
    fn goes(&self) -> bool {
        self.asked.fetch_add(1, Ordering::Relaxed) < self.at
    }

    async fn never<T>(&self) -> T {
        self.reached.send_replace(true);
        std::future::pending().await
    }
}

#[async_trait]
impl Store for Crashes {
    async fn read(&self, range: Range) -> Result<Listing, StoreError> {
        if self.goes() { self.store.read(range).await } else { self.never().await }
    }

    fn watch(&self, range: Range) -> Watch {
        self.store.watch(range)
    }

    async fn commit(&self, guards: Vec<Guard>, ops: Vec<Op>) -> Result<CommitOutcome, StoreError> {
        if self.goes() {
            return self.store.commit(guards, ops).await;
        }
        if self.carried_out && !*self.reached.borrow() {
            self.store.commit(guards, ops).await?;
        }
        self.never().await
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
}
