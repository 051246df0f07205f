//! What goes wrong on one machine, between its daemon and its systemd.
//!
//! Owns the kinds of these faults. They are drawn together with all others.

use serde::{Deserialize, Serialize};

use crate::moment::Micros;
use crate::seed::Chance;

/// Something that goes wrong on a machine. A number picks the unit or the job it is about, of those there are then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum HostFault {
    /// The daemon loses its line to systemd.
    RunnerLost,
    /// systemd reads no calls; it reads them all when it is over.
    SystemdBusy,
    /// Somebody has systemd read all unit files anew.
    SystemdReloaded,
    /// Somebody has systemd execute itself anew.
    SystemdReexecuted,
    /// A unit fails by itself.
    UnitFails(u64),
    /// A person stops a unit.
    StoppedByHand(u64),
    /// A person starts a unit.
    StartedByHand(u64),
    /// A person cancels a job.
    JobCancelled(u64),
    /// A person edits a unit's file in `/run`.
    FileEdited(u64),
    /// The machine has a unit of its own with the name of one of the cluster's, for a time.
    NameTaken(u64),
    /// The machine sleeps: nothing on it goes on, and its boot counts the time.
    Suspended,
    /// Only the userspace goes down, and is there again at once.
    SoftReboot,
}

impl HostFault {
    /// The kind, in a word.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::RunnerLost => "runner-lost",
            Self::SystemdBusy => "systemd-busy",
            Self::SystemdReloaded => "systemd-reloaded",
            Self::SystemdReexecuted => "systemd-reexecuted",
            Self::UnitFails(_) => "unit-fails",
            Self::StoppedByHand(_) => "stopped-by-hand",
            Self::StartedByHand(_) => "started-by-hand",
            Self::JobCancelled(_) => "job-cancelled",
            Self::FileEdited(_) => "file-edited",
            Self::NameTaken(_) => "name-taken",
            Self::Suspended => "suspended",
            Self::SoftReboot => "soft-reboot",
        }
    }

    /// A fault of a kind, and for how long, of one that would last so long otherwise; `None` for another kind.
    pub(crate) fn draw_from(kind: &str, chance: &Chance, lasts: Micros) -> Option<(Self, Micros)> {
        let number = chance.number_below(1 << 32);
        let at_once = Micros::ZERO;
        Some(match kind {
            "runner-lost" => (Self::RunnerLost, lasts.min(Micros::from_secs(15))),
            "systemd-busy" => (Self::SystemdBusy, lasts.min(Micros::from_secs(40))),
            "systemd-reloaded" => (Self::SystemdReloaded, at_once),
            "systemd-reexecuted" => (Self::SystemdReexecuted, at_once),
            "unit-fails" => (Self::UnitFails(number), at_once),
            "stopped-by-hand" => (Self::StoppedByHand(number), at_once),
            "started-by-hand" => (Self::StartedByHand(number), at_once),
            "job-cancelled" => (Self::JobCancelled(number), at_once),
            "file-edited" => (Self::FileEdited(number), at_once),
            "name-taken" => (Self::NameTaken(number), lasts.max(Micros::from_secs(2))),
            "suspended" => (Self::Suspended, lasts),
            "soft-reboot" => (Self::SoftReboot, at_once),
            _ => return None,
        })
    }
}
