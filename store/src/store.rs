//! The narrow trait that a backend implements.
//!
//! Deadlines, reconnection, the ambiguity of a failed write, paging and compaction are a backend's business; a
//! caller sees either an outcome or a [`StoreError`]. Both backends pass the same conformance suite.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
pub use muster_common::lease::{Lease, LeaseId, TimeLeft};
use tokio::sync::mpsc;

/// Most operations, and most guards, of one commit: etcd's default `--max-txn-ops`.
pub const MAX_OPERATIONS: usize = 128;

/// Most guards of a registry's commit: the identity of the cluster is guarded besides.
pub const MAX_GUARDS: usize = MAX_OPERATIONS - 1;

/// Most bytes of one commit, keys, values and framing: two thirds of etcd's default `--max-request-bytes` (1.5 MiB),
/// which counts the encoded form.
pub const MAX_REQUEST_BYTES: usize = 1024 * 1024;

/// A set of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Range {
    /// Exactly this one.
    Key(String),
    /// All that begin with this.
    Prefix(String),
    /// The same, and in each listing the record of one key besides, read in one with them: both are of one store, whatever stands at
    /// its address a moment later. A watch may tell of changes of that key, or not.
    PrefixBeside {
        /// The beginning of the keys.
        prefix: String,
        /// The key besides.
        beside: String,
    },
}

impl Range {
    /// True when a key is in it.
    pub fn contains(&self, key: &str) -> bool {
        match self {
            Self::Key(only) => only == key,
            Self::Prefix(prefix) => key.starts_with(prefix.as_str()),
            Self::PrefixBeside { prefix, beside } => {
                key == beside || key.starts_with(prefix.as_str())
            }
        }
    }

    /// The prefix, and none besides: the range of keys that lie together.
    #[must_use]
    pub fn without_beside(&self) -> Self {
        match self {
            Self::PrefixBeside { prefix, .. } => Self::Prefix(prefix.clone()),
            other => other.clone(),
        }
    }

    /// The key that is listed besides.
    pub fn key_beside(&self) -> Option<&str> {
        match self {
            Self::PrefixBeside { beside, .. } => Some(beside),
            Self::Key(_) | Self::Prefix(_) => None,
        }
    }

    /// The key or the prefix.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Key(text) | Self::Prefix(text) | Self::PrefixBeside { prefix: text, .. } => text,
        }
    }
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// Its whole key.
    pub key: String,
    /// Its value.
    pub value: Bytes,
    /// Revision that created it, after its last deletion.
    pub create_revision: u64,
    /// Revision that last wrote it.
    pub mod_revision: u64,
    /// The lease it lives under.
    pub lease: Option<LeaseId>,
}

/// All records of a range at one revision, in key order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// The revision.
    pub revision: u64,
    /// The records.
    pub entries: Vec<KeyValue>,
}

/// A condition of a commit. A key that does not exist has revision 0.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Guard {
    /// The key was last written at this revision.
    Modified {
        /// The key.
        key: String,
        /// The revision; 0: it does not exist.
        revision: u64,
    },
    /// The key was created at this revision.
    Created {
        /// The key.
        key: String,
        /// The revision; 0: it does not exist.
        revision: u64,
    },
    /// The key exists.
    Exists {
        /// The key.
        key: String,
    },
    /// The key has this value.
    Holds {
        /// The key.
        key: String,
        /// The value, to the byte.
        value: Bytes,
    },
}

/// One write of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Writes a record.
    Put {
        /// The key.
        key: String,
        /// The value.
        value: Bytes,
        /// The lease it is to live under; a lease that is gone is [`StoreError::LeaseGone`].
        lease: Option<LeaseId>,
    },
    /// Removes a record; one that does not exist is no failure.
    Delete {
        /// The key.
        key: String,
    },
}

/// Outcome of a commit: all of it or nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitOutcome {
    /// Written, at this revision.
    Done {
        /// The revision; 0: a removal is carried out, and it is not known at which revision.
        revision: u64,
    },
    /// A guard did not hold; nothing was written.
    Conflict {
        /// The store's revision at which the guards were looked at.
        revision: u64,
    },
}

/// One difference in a watched range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyChange {
    /// Written.
    Put(KeyValue),
    /// Removed, by a user or by the end of its lease.
    Delete {
        /// The key.
        key: String,
    },
}

impl KeyChange {
    /// The key that changed.
    pub fn key(&self) -> &str {
        match self {
            Self::Put(record) => &record.key,
            Self::Delete { key } => key,
        }
    }
}

/// An event of a watch. A watch begins with a `Reset` and never ends by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchEvent {
    /// The whole range: at the beginning, and whenever the backend cannot vouch for having seen every change
    /// (reconnect, compaction, silence).
    Reset(Listing),
    /// Every change of one revision (or of several, in order), after what was yielded before.
    Changes {
        /// The last revision of them.
        revision: u64,
        /// The changes in order.
        changes: Vec<KeyChange>,
    },
    /// Nothing changed in the range up to this revision.
    Progress {
        /// The revision.
        revision: u64,
    },
    /// The store cannot be reached; the watch goes on trying, and a `Reset` or more changes follow when it is back.
    Lost {
        /// The problem, in one sentence.
        problem: String,
    },
}

/// A running watch; dropping it ends it.
#[derive(Debug)]
pub struct Watch {
    /// Where its events arrive.
    pub events: mpsc::Receiver<WatchEvent>,
}

/// The reason why the store could not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No endpoint answered in time. For a commit: it is certain that nothing was written.
    #[error("the store cannot be reached ({during})")]
    Unavailable {
        /// The operation, for example `read /muster/v1/unit/`.
        during: String,
        /// The error that the backend met.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// A commit was sent and it is not known whether it was carried out, even after reading back.
    #[error("it is not known whether the store carried out {during}")]
    Ambiguous {
        /// The operation.
        during: String,
        /// The error that the backend met.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The lease is gone.
    #[error("the lease {lease:?} is gone")]
    LeaseGone {
        /// Which.
        lease: LeaseId,
    },
    /// The request is one no backend will carry out: too many operations, too large, not permitted.
    #[error("the store refuses {during}: {problem}")]
    Rejected {
        /// The operation.
        during: String,
        /// Why.
        problem: String,
    },
    /// The store is not this daemon's, so that nothing is written to it.
    #[error("{during} is refused: {problem}")]
    NotOurs {
        /// The operation.
        during: String,
        /// Whose it is, and the way out.
        problem: String,
    },
    /// The store has no room left: a full disk, an etcd quota.
    #[error("the store is full ({during})")]
    Full {
        /// The operation.
        during: String,
        /// The error that the backend met.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The embedded database is damaged, in use, or cannot be opened.
    #[error("the embedded store {path} cannot be used: {problem}")]
    Embedded {
        /// The file.
        path: String,
        /// The problem and the way out.
        problem: String,
    },
}

/// A store: read, watch, commit, lease.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Reads a range, linearizably, however large, at one revision.
    async fn read(&self, range: Range) -> Result<Listing, StoreError>;

    /// Watches a range. Returns at once; the first event is a `Reset` (or `Lost`).
    fn watch(&self, range: Range) -> Watch;

    /// Carries out all operations at one revision if all guards hold. At most [`MAX_OPERATIONS`] of each and
    /// [`MAX_REQUEST_BYTES`] in all, and no key written twice. A commit that changes nothing has no revision of its own.
    async fn commit(&self, guards: Vec<Guard>, ops: Vec<Op>) -> Result<CommitOutcome, StoreError>;

    /// Grants a lease.
    async fn grant(&self, ttl: Duration) -> Result<Lease, StoreError>;

    /// Prolongs a lease. The new time counts from when this was called, not from when it returned.
    async fn keep_alive(&self, lease: LeaseId) -> Result<Lease, StoreError>;

    /// The time a lease has left, rounded down to what the backend counts in (etcd: seconds); one that is gone is
    /// [`StoreError::LeaseGone`]. Whoever prolongs it every third of its time always has two thirds left, or nearly so.
    async fn time_left(&self, lease: LeaseId) -> Result<TimeLeft, StoreError>;

    /// Ends a lease and removes its records; one that is gone is no failure.
    async fn revoke(&self, lease: LeaseId) -> Result<(), StoreError>;

    /// Warnings that a person should know of while the store works, one sentence each: faults of its version, a history that
    /// grows. They are found out in the background.
    fn current_warnings(&self) -> Vec<String> {
        Vec::new()
    }
}
