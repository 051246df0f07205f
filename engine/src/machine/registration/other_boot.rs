//! The lease of a record of another boot of this machine.
//!
//! Owns how it is told whether somebody prolongs it. It asks nobody.

use std::time::Duration;

use muster_common::lease::{LeaseId, TimeLeft};

/// The lease of another boot's record, as it was looked at first.
#[derive(Debug, Clone, Copy)]
pub(super) struct OtherBoot {
    pub(super) lease: LeaseId,
    pub(super) at: Duration,
    pub(super) left: Duration,
}

/// Whose lease it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LeaseOwner {
    /// Nobody prolongs it: ours, of before.
    Nobody,
    /// A clone that is alive.
    Clone,
    NotKnown,
}

impl OtherBoot {
    /// Judges by another look. Leases are prolonged every third of their time and told in whole seconds: one that has less than half
    /// has missed it, and one that has as much left as a `renewal` before, the time in which it is prolonged for sure, was prolonged in
    /// between.
    pub(super) fn judge_lease(
        &self,
        now: Duration,
        time: TimeLeft,
        renewal: Duration,
    ) -> LeaseOwner {
        let waited = now.saturating_sub(self.at);
        if time.left * 2 < time.granted {
            LeaseOwner::Nobody
        } else if waited >= renewal && time.left >= self.left {
            LeaseOwner::Clone
        } else {
            LeaseOwner::NotKnown
        }
    }
}
