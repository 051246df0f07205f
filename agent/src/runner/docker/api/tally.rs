//! Counts of the work that was asked of an engine.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the daemon began.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) pulls: AtomicU64,
    pub(crate) failed_pulls: AtomicU64,
    pub(crate) restarts: AtomicU64,
}

impl Tally {
    /// An image was fetched, or was not to be had.
    pub(crate) fn count_pull(&self, well: bool) {
        let count = if well { &self.pulls } else { &self.failed_pulls };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// A container is to be started again by itself.
    pub(crate) fn count_restart(&self) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
    }
}
