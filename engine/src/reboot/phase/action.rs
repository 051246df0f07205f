//! The outcome of a decision: the journal to keep, and the actions that should be going on.
//!
//! Owns the words for it. It never chooses one.

use muster_common::reboot::{Journal, SlotOutcome, WaitReason};

use super::policy::Hook;

/// Something that should be going on. Doing it again changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RebootAction {
    /// Run the check command.
    Check,
    /// Tell logged-in users.
    Warn {
        /// When the host goes down at the earliest.
        at: u64,
    },
    /// Tell them that it does not after all.
    Unwarn,
    /// Take a slot.
    Acquire,
    /// Run a hook.
    Hook(Hook),
    /// Take no more units and move those there are.
    Drain {
        /// When they are left no more time.
        until: u64,
    },
    /// Reboot.
    Reboot,
    /// Remove the wish that was fulfilled.
    Fulfil,
    /// Take units again.
    Uncordon,
    /// Give the slot back.
    Release(SlotOutcome),
}

/// A decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RebootStep {
    /// To be kept before anything is done.
    pub journal: Journal,
    /// The actions that should be going on.
    pub actions: Vec<RebootAction>,
    /// Why it does not go further; empty where it does by itself.
    pub waits: Vec<WaitReason>,
    /// After how many milliseconds to decide again, if nothing happens before.
    pub wake: Option<u64>,
}
