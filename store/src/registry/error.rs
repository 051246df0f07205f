//! Why an operation on records failed.
//!
//! Owns the words. A conflict that a caller has to decide on anew is no error but an outcome.

use muster_common::machine::MachineId;

use crate::store::StoreError;

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
        /// The problem, in one sentence.
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
    /// We lead, and the leader record is another than the commit was made for.
    #[error("the leader record has changed")]
    Fenced,
    /// The store could not.
    #[error(transparent)]
    Store(#[from] StoreError),
}
