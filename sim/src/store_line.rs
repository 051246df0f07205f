//! A node's line to the store.
//!
//! Owns the node's end: a request goes out, and the process waits for its answer by its own clock. It stands where the etcd
//! backend stands, and says what that would: an answer that does not come leaves a commit in doubt and everything else undone.

use std::time::Duration;

use async_trait::async_trait;
use muster_runtime::timeout;
use muster_store::{
    CommitOutcome, Guard, Lease, LeaseId, Listing, Op, Range, Store, StoreError, TimeLeft, Watch,
};
use tokio::sync::{mpsc, oneshot};

use crate::wire::{Outbox, Outgoing, StoreAnswer, StoreCall, StoreResult};

/// Time that an answer may take: the etcd backend's deadline for a request, with the repetitions it makes of those that are safe.
const ANSWER: Duration = Duration::from_secs(4);

/// Events of a watch that its reader has not read.
const QUEUED_EVENTS: usize = 4096;

/// The line.
#[derive(Debug)]
pub(crate) struct StoreLineEnd {
    outbox: Outbox,
}

impl StoreLineEnd {
    /// The end of a line at a node.
    pub(crate) fn new(outbox: Outbox) -> Self {
        Self { outbox }
    }

    async fn ask(&self, call: StoreCall) -> StoreResult {
        let in_doubt = matches!(call, StoreCall::Commit(..));
        let (reply, answer) = oneshot::channel();
        self.outbox.put(Outgoing::Store { call, reply });
        let answered = timeout(ANSWER, async {
            match answer.await {
                Ok(answer) => answer,
                // It was lost on the way, which nobody is told.
                Err(_) => std::future::pending().await,
            }
        });
        answered.await.unwrap_or_else(|_| {
            let during = "a request".to_owned();
            Err(if in_doubt {
                StoreError::Ambiguous { during, source: None }
            } else {
                StoreError::Unavailable { during, source: None }
            })
        })
    }
}

fn unexpected<T>() -> Result<T, StoreError> {
    let problem = "the answer is one to another question".to_owned();
    Err(StoreError::Rejected { during: "a request".to_owned(), problem })
}

#[async_trait]
impl Store for StoreLineEnd {
    async fn read(&self, range: Range) -> Result<Listing, StoreError> {
        match self.ask(StoreCall::Read(range)).await? {
            StoreAnswer::Listing(listing) => Ok(listing),
            _ => unexpected(),
        }
    }

    fn watch(&self, range: Range) -> Watch {
        let (sender, events) = mpsc::channel(QUEUED_EVENTS);
        self.outbox.put(Outgoing::Watch { range, events: sender });
        Watch { events }
    }

    async fn commit(&self, guards: Vec<Guard>, ops: Vec<Op>) -> Result<CommitOutcome, StoreError> {
        match self.ask(StoreCall::Commit(guards, ops)).await? {
            StoreAnswer::Committed(outcome) => Ok(outcome),
            _ => unexpected(),
        }
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease, StoreError> {
        match self.ask(StoreCall::Grant(ttl)).await? {
            StoreAnswer::Leased(lease) => Ok(lease),
            _ => unexpected(),
        }
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<Lease, StoreError> {
        match self.ask(StoreCall::KeepAlive(lease)).await? {
            StoreAnswer::Leased(lease) => Ok(lease),
            _ => unexpected(),
        }
    }

    async fn time_left(&self, lease: LeaseId) -> Result<TimeLeft, StoreError> {
        match self.ask(StoreCall::TimeLeft(lease)).await? {
            StoreAnswer::Left(left) => Ok(left),
            _ => unexpected(),
        }
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), StoreError> {
        self.ask(StoreCall::Revoke(lease)).await.map(|_| ())
    }
}
