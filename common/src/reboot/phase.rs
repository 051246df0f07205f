//! How far a host has come.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The phase that a host has come to with its reboot. The order is the order in which they follow each other.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Phase {
    /// Nothing is due.
    #[default]
    Idle,
    /// A reboot is due, and whether it may begin is being looked at.
    Due,
    /// A reboot is due, and something must come first.
    Waiting,
    /// Logged-in users have been told.
    Warning,
    /// The slot is being taken.
    Locking,
    /// The slot is held; the hook before the drain runs, then units move away.
    Draining,
    /// The hook before the reboot runs.
    BeforeReboot,
    /// The host has been asked to reboot.
    Rebooting,
    /// The host has rebooted; the hook after the boot runs.
    Returned,
    /// The host takes units again and has to prove itself.
    Settling,
    /// The slot is being given back.
    Releasing,
    /// The reboot has been given up: what was done is undone and the slot given back; it is tried again later.
    GivingUp,
    /// A phase of a later version.
    #[serde(other)]
    Unknown,
}

impl Phase {
    /// The word used in records, in JSON and in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Due => "due",
            Self::Waiting => "waiting",
            Self::Warning => "warning",
            Self::Locking => "locking",
            Self::Draining => "draining",
            Self::BeforeReboot => "before-reboot",
            Self::Rebooting => "rebooting",
            Self::Returned => "returned",
            Self::Settling => "settling",
            Self::Releasing => "releasing",
            Self::GivingUp => "giving-up",
            Self::Unknown => "unknown",
        }
    }

    /// All phases a host can be in, in order.
    pub const ALL: [Self; 12] = [
        Self::Idle,
        Self::Due,
        Self::Waiting,
        Self::Warning,
        Self::Locking,
        Self::Draining,
        Self::BeforeReboot,
        Self::Rebooting,
        Self::Returned,
        Self::Settling,
        Self::Releasing,
        Self::GivingUp,
    ];
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A phase and how long it lasted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseSpan {
    /// The phase.
    pub phase: Phase,
    /// Seconds it lasted.
    pub seconds: u64,
}
