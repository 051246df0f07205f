//! Ids of writes.
//!
//! Owns that no two writes of a unit's record look alike, whoever makes them: a write that was not answered is known again by
//! its id.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// Makes each write of a unit record unlike any other.
#[derive(Debug)]
pub(super) struct WriteIds {
    process: u64,
    next: AtomicU64,
}

impl WriteIds {
    pub(super) fn new() -> Self {
        // The standard library seeds its hash maps from the system's randomness; that is all that is needed here.
        Self { process: RandomState::new().hash_one(0), next: AtomicU64::new(0) }
    }

    /// The id of the next write.
    pub(super) fn next(&self) -> String {
        format!("{:016x}-{}", self.process, self.next.fetch_add(1, Ordering::Relaxed))
    }
}
