//! What has been.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{DueReason, HolderId, HolderKind, Phase};

/// Entries kept per group: enough for a roll through a rack, and 100 entries of a few hundred bytes are a small record.
pub const HISTORY_LENGTH: usize = 100;

/// How the holding of a slot ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Outcome {
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

impl Outcome {
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

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GaveUp { problem } => write!(f, "gave up: {problem}"),
            Self::Unlocked { by } if !by.is_empty() => write!(f, "unlocked by {by}"),
            other => f.write_str(other.as_str()),
        }
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

/// One slot, from its taking to its freeing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// Who held it.
    pub id: HolderId,
    /// What kind of client.
    #[serde(default)]
    pub kind: HolderKind,
    /// When it was taken.
    #[serde(default)]
    pub taken: u64,
    /// When it was freed.
    #[serde(default)]
    pub freed: u64,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Why the reboot was due, where the holder tells.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub due: Vec<DueReason>,
    /// The phases it went through since the reboot became due, in order, where the holder tells.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<PhaseSpan>,
}
