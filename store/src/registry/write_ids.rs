//! Ids of writes.
//!
//! Owns that no two writes of a unit's record look alike, whoever makes them: a write that was not answered is known again by
//! its id.

use std::sync::atomic::{AtomicU64, Ordering};

use muster_common::seed::Seed;

/// Makes each write of a unit record unlike any other.
#[derive(Debug)]
pub(super) struct WriteIds {
    process: u64,
    next: AtomicU64,
}

impl WriteIds {
    /// The ids of one process, told from those of others by the seed.
    pub(super) fn with_seed(seed: Seed) -> Self {
        Self { process: seed.for_purpose("write ids").0, next: AtomicU64::new(0) }
    }

    /// The id of the next write.
    pub(super) fn next(&self) -> String {
        format!("{:016x}-{}", self.process, self.next.fetch_add(1, Ordering::Relaxed))
    }
}
