//! What has been.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{DueReason, HolderId, HolderKind, PhaseSpan};
use crate::text::{clean_text, fit_text};

/// Entries kept per group: enough for a roll through a rack, and 100 entries of a few hundred bytes are a small record.
pub const HISTORY_LENGTH: usize = 100;

/// Most bytes of a group's history, as it is written: a hundred entries of more than a kilobyte each. It is a part of the commit
/// that frees a slot, beside the semaphore, and a commit may have 1 MiB.
pub const HISTORY_BYTES: usize = 128 * 1024;

/// Phases and reasons kept of one slot: several times as many as there are phases, and kinds of reasons.
const PARTS: usize = 64;

/// The outcome of the holding of a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SlotOutcome {
    /// The host has rebooted and was well afterwards.
    Rebooted,
    /// The host gave up before the reboot.
    GaveUp {
        /// Why.
        problem: String,
    },
    /// Its holder, which tells nothing of itself, gave it back.
    Released,
    /// Somebody else took it away.
    Unlocked {
        /// Who, as they said.
        #[serde(default)]
        by: String,
    },
    /// An outcome of a later version.
    #[serde(other)]
    Unknown,
}

impl SlotOutcome {
    /// The word used in records, in JSON and in tables.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Rebooted => "rebooted",
            Self::GaveUp { .. } => "gave-up",
            Self::Released => "released",
            Self::Unlocked { .. } => "unlocked",
            Self::Unknown => "unknown",
        }
    }
}

impl SlotOutcome {
    /// The same with texts that fit where they are kept.
    fn fit_texts(self) -> Self {
        match self {
            Self::GaveUp { problem } => Self::GaveUp { problem: fit_text(&problem) },
            Self::Unlocked { by } => Self::Unlocked { by: fit_text(&by) },
            other => other,
        }
    }
}

impl fmt::Display for SlotOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GaveUp { problem } => write!(f, "gave up: {}", clean_text(problem)),
            Self::Unlocked { by } if !by.is_empty() => write!(f, "unlocked by {}", clean_text(by)),
            other => f.write_str(other.as_str()),
        }
    }
}

/// One slot, from its taking to its freeing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// Who held it.
    pub id: HolderId,
    /// The kind of client.
    #[serde(default)]
    pub kind: HolderKind,
    /// When it was taken.
    #[serde(default)]
    pub taken: u64,
    /// When it was freed.
    #[serde(default)]
    pub freed: u64,
    /// The outcome.
    #[serde(flatten)]
    pub outcome: SlotOutcome,
    /// Why the reboot was due, where the holder tells.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub due: Vec<DueReason>,
    /// The phases it went through since the reboot became due, in order, where the holder tells.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<PhaseSpan>,
}

impl HistoryEntry {
    /// The same with texts that fit where they are kept: why a reboot was due may come from a machine, or from an older
    /// version, in any length.
    #[must_use]
    pub fn fit_texts(mut self) -> Self {
        self.outcome = self.outcome.fit_texts();
        self.due.truncate(PARTS);
        self.due = self.due.into_iter().map(DueReason::fit_texts).collect();
        self.phases.truncate(PARTS);
        self
    }
}
