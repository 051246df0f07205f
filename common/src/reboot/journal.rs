//! What a host must not forget over a restart of its daemon or over the reboot itself.

use serde::{Deserialize, Serialize};

use super::{DueReason, Phase, PhaseSpan};
use crate::boot::BootMark;

/// The progress of a host, as it keeps it on its own disk: written before anything is done that rests on it.
///
/// Times named `up` are milliseconds since the boot, suspend included; they mean nothing in another boot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// The phase it is in.
    #[serde(default)]
    pub phase: Phase,
    /// The boot of the kernel in which it got there. In another boot, the reboot has happened.
    #[serde(default)]
    pub boot: String,
    /// The boot of userspace in which it got there, a soft-reboot counting as one; absent where nobody could tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub userspace: Option<String>,
    /// True while it comes back from a boot of userspace alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub soft: bool,
    /// When it got there, on the boot's clock.
    #[serde(default)]
    pub entered_up: u64,
    /// When it got there, seconds since the Unix epoch; for people.
    #[serde(default)]
    pub since: u64,
    /// Why the reboot is due, or was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub due: Vec<DueReason>,
    /// When it took its slot; absent when it holds none that it knows of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<u64>,
    /// The phases before this one, since the reboot became due; one entry a phase, in the order of their first time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passed: Vec<PhaseSpan>,
    /// Why it gives up, while it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// When units began to move away, on the boot's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_up: Option<u64>,
    /// Since when all has been well after the boot, on the boot's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub well_up: Option<u64>,
    /// Until when it leaves it be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
}

impl Journal {
    /// The boot in which it got there.
    pub fn boot_mark(&self) -> BootMark {
        BootMark { machine: self.boot.clone(), userspace: self.userspace.clone() }
    }
}

/// A pause after an attempt that came to nothing; over with the boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// When it ends, on the boot's clock.
    pub until_up: u64,
    /// Why there is one.
    #[serde(default)]
    pub problem: String,
}
