//! A member of etcd, as the backend speaks to it.
//!
//! Owns the requests and answers that pass between the backend and one member, and the traits on whose far side a member stands:
//! on a machine etcd's own protocol ([`super::grpc`]), in a simulator a member of its own. All that is decided about a request
//! (which member is asked, for how long, how often, what an answer or its absence means) is on the near side, and is the same code
//! for both.

use std::sync::Arc;

use async_trait::async_trait;

pub use super::error::EtcdError;
use crate::store::{Guard, KeyChange, KeyValue, LeaseId, Op, Range};

/// The state of etcd's users: who is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EtcdUsers {
    /// It has users, and we are one.
    Enabled,
    /// It lets everybody in.
    Disabled,
    /// A certificate may have told it who we are.
    Unknown,
}

/// A page of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageQuery {
    /// The keys asked for. A key besides is read in the same transaction.
    pub range: Range,
    /// Only keys behind this one; absent: from the first.
    pub after: Option<Vec<u8>>,
    /// The revision at which they are read; 0: the present one, and then linearizably.
    pub revision: u64,
    /// Most records of the answer; 0: all.
    pub limit: u64,
    /// Most bytes of the answer that are taken; a larger one is [`EtcdError::AnswerTooLarge`].
    pub max_bytes: usize,
}

/// The answer to a [`PageQuery`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// The member's present revision, whatever revision was asked for.
    pub revision: u64,
    /// The store that says so.
    pub lineage: StoreLineage,
    /// The record besides, if one was asked for and there is one.
    pub beside: Option<KeyValue>,
    /// The records in the order of their keys. Keys that are no text are left out.
    pub records: Vec<KeyValue>,
    /// The last key of the page, text or not; absent: the page is empty.
    pub last_key: Option<Vec<u8>>,
    /// True when there are more behind them.
    pub more: bool,
}

/// The answer to a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactionOutcome {
    /// The revision after it.
    pub revision: u64,
    /// True when all guards held and the operations were carried out.
    pub succeeded: bool,
}

/// The time that a lease has, in etcd's seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseSeconds {
    /// The time left; negative: there is no such lease.
    pub left: i64,
    /// The time it was granted for.
    pub granted: i64,
    /// The term of the leader that counts it, as far as the member knows.
    pub term: u64,
}

/// The answer to a keepalive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseKept {
    /// The seconds that the lease has from now on; 0: it is gone.
    pub seconds: i64,
    /// The term of the leader that counts them, as far as the member knows.
    pub term: u64,
}

/// The keys to watch, and the revision to begin at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchQuery {
    /// The keys.
    pub range: Range,
    /// The first revision whose changes are told. At least 1.
    pub from: u64,
}

/// The store that a member speaks for, as far as etcd tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreLineage {
    /// The id of the cluster. A restored one has another, unless it was restored with the same names, addresses and token.
    pub cluster: u64,
    /// The term, as the member knows it. A restored cluster begins with the first.
    pub term: u64,
}

impl StoreLineage {
    /// True if this may be the store that said `earlier`, later on. A member that has been cut off for a while may know an earlier
    /// term, and is not told from a restored one.
    #[must_use]
    pub fn may_follow(self, earlier: Self) -> bool {
        self.cluster == earlier.cluster && self.term >= earlier.term
    }
}

/// A message of a watch. The first one says that it has begun.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WatchMessage {
    /// The member's revision.
    pub revision: u64,
    /// The store that says so.
    pub lineage: StoreLineage,
    /// Changes in order. A sign of life has none.
    pub changes: Vec<MemberChange>,
    /// The end of the watch, if this is it.
    pub end: Option<WatchEnd>,
}

/// A change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberChange {
    /// The revision that made it.
    pub revision: u64,
    /// The change; absent for a key that is no text.
    pub change: Option<KeyChange>,
}

/// The reason why a member has ended a watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchEnd {
    /// The revision up to which history is gone, if that is why; otherwise 0.
    pub compact_revision: u64,
    /// etcd's words; none for a compaction.
    pub reason: String,
}

/// A way to members of etcd.
#[async_trait]
pub trait EtcdTransport: Send + Sync + 'static {
    /// Prepares a connection to the member at an endpoint. What is asked over it later fails when nobody is there.
    async fn connect(
        &self,
        endpoint: &str,
    ) -> Result<(Arc<dyn MemberConnection>, EtcdUsers), EtcdError>;
}

/// A connection to one member. Dropping a call that is under way does not take the request back.
#[async_trait]
pub trait MemberConnection: Send + Sync + 'static {
    /// Reads a page.
    async fn read_page(&self, query: &PageQuery) -> Result<Page, EtcdError>;

    /// Carries out a transaction: all operations if all guards hold, otherwise none.
    async fn send_transaction(
        &self,
        guards: &[Guard],
        ops: &[Op],
    ) -> Result<TransactionOutcome, EtcdError>;

    /// Grants a lease of this id; returns its seconds.
    async fn grant_lease(&self, lease: LeaseId, seconds: i64) -> Result<i64, EtcdError>;

    /// The time that a lease has left.
    async fn read_lease(&self, lease: LeaseId) -> Result<LeaseSeconds, EtcdError>;

    /// Ends a lease.
    async fn revoke_lease(&self, lease: LeaseId) -> Result<(), EtcdError>;

    /// Opens a stream of keepalives for a lease.
    async fn open_keep_alive(&self, lease: LeaseId) -> Result<Box<dyn KeepAliveStream>, EtcdError>;

    /// Opens a watch. Its messages are waited for at the stream, the first one, too.
    async fn open_watch(&self, query: &WatchQuery) -> Result<Box<dyn WatchStream>, EtcdError>;

    /// The version of the member's program.
    async fn read_version(&self) -> Result<String, EtcdError>;
}

/// A stream of keepalives for one lease.
#[async_trait]
pub trait KeepAliveStream: Send + Sync {
    /// Asks once, and waits for the answer.
    async fn keep_alive(&mut self) -> Result<LeaseKept, EtcdError>;
}

/// A running watch. Dropping it ends it.
#[async_trait]
pub trait WatchStream: Send + Sync {
    /// The next message; `None`: the stream has ended. Cancel-safe: what was not returned is returned next time.
    async fn next_message(&mut self) -> Result<Option<WatchMessage>, EtcdError>;

    /// Asks for a sign of life. It comes as a message without changes.
    async fn request_progress(&mut self) -> Result<(), EtcdError>;
}
