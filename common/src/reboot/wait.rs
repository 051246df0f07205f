//! Why a host waits, as data and as sentences.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Group, HolderId, RebootMethod};
use crate::text::{clean_text, fit_text};
use crate::unit::UnitName;

/// Names said before "and N more": a sentence a person reads in one line.
const NAMED: usize = 3;

/// A unit that does not go away, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StuckUnit {
    /// The unit.
    pub unit: UnitName,
    /// Why it stays, for people.
    pub why: String,
}

/// Why a host whose reboot is due does not go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum WaitReason {
    /// The strategy is `off`: it never reboots by itself.
    Off,
    /// No window is open.
    WindowClosed {
        /// When the next one opens; absent when none ever does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        opens: Option<u64>,
    },
    /// A program holds a block inhibitor on shutdown (logind).
    Inhibited {
        /// The program.
        who: String,
        /// Its work that must not be interrupted.
        why: String,
    },
    /// Units have failed: rebooting one more host would not make them better.
    UnitsFailed {
        /// The units.
        units: Vec<UnitName>,
    },
    /// The check command is running.
    CheckRunning,
    /// The check command said no.
    CheckRefused {
        /// The end of what it printed, or how it ended.
        output: String,
    },
    /// All slots are taken.
    SlotsTaken {
        /// The group.
        group: Group,
        /// The number of its slots.
        max: u32,
        /// Who holds them.
        holders: Vec<HolderId>,
    },
    /// The last reboot of the group was only just now.
    Pause {
        /// When the pause ends.
        until: u64,
    },
    /// The last attempt was given up.
    Retry {
        /// When it is tried again.
        until: u64,
        /// Why it was given up.
        problem: String,
    },
    /// Logged-in users have been told and get some time.
    UsersWarned {
        /// The number of their sessions.
        users: u64,
        /// When the time is up.
        until: u64,
    },
    /// Units are moving away.
    Draining {
        /// The number of units that are still there.
        left: u64,
        /// When they are left no more time.
        until: u64,
    },
    /// Units do not go away.
    DrainStuck {
        /// The units.
        units: Vec<StuckUnit>,
        /// When they are left no more time.
        until: u64,
    },
    /// A hook is running.
    HookRunning {
        /// `before-drain`, `before-reboot` or `after-boot`.
        hook: String,
    },
    /// A hook failed.
    HookFailed {
        /// `before-drain`, `before-reboot` or `after-boot`.
        hook: String,
        /// The end of it, with the end of what it printed.
        problem: String,
    },
    /// The host has been asked to reboot and is still here.
    ShuttingDown,
    /// The machine is not registered with the cluster yet.
    NotRegistered,
    /// Units of the machine are not as they should be.
    UnitsUnhealthy {
        /// The units, each with what it is.
        units: Vec<StuckUnit>,
    },
    /// All is well, for not long enough yet.
    Settling {
        /// When it will have been.
        until: u64,
    },
    /// The store does not answer.
    StoreAway {
        /// The problem.
        problem: String,
    },
    /// The host's own services (logind) do not answer.
    HostAway {
        /// The problem.
        problem: String,
    },
    /// The host cannot reboot in the way that is wanted.
    CannotReboot {
        /// The way.
        method: RebootMethod,
        /// Why not, and what to do about it.
        problem: String,
    },
    /// A reason of a later version.
    #[serde(other)]
    Unknown,
}

impl WaitReason {
    /// The same with texts that fit where they are kept: any program on a host may inhibit a shutdown, in any words. The output
    /// of commands is bounded by whoever runs them.
    #[must_use]
    pub fn fit_texts(self) -> Self {
        match self {
            Self::Inhibited { who, why } => {
                Self::Inhibited { who: fit_text(&who), why: fit_text(&why) }
            }
            other => other,
        }
    }

    /// The first word of its sentence for machines: the tag of its JSON form.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::WindowClosed { .. } => "window-closed",
            Self::Inhibited { .. } => "inhibited",
            Self::UnitsFailed { .. } => "units-failed",
            Self::CheckRunning => "check-running",
            Self::CheckRefused { .. } => "check-refused",
            Self::SlotsTaken { .. } => "slots-taken",
            Self::Pause { .. } => "pause",
            Self::Retry { .. } => "retry",
            Self::UsersWarned { .. } => "users-warned",
            Self::Draining { .. } => "draining",
            Self::DrainStuck { .. } => "drain-stuck",
            Self::HookRunning { .. } => "hook-running",
            Self::HookFailed { .. } => "hook-failed",
            Self::ShuttingDown => "shutting-down",
            Self::NotRegistered => "not-registered",
            Self::UnitsUnhealthy { .. } => "units-unhealthy",
            Self::Settling { .. } => "settling",
            Self::StoreAway { .. } => "store-away",
            Self::HostAway { .. } => "host-away",
            Self::CannotReboot { .. } => "cannot-reboot",
            Self::Unknown => "unknown",
        }
    }

    /// The same with another time at which it may be over by itself, where that is counted from the clocks of now. The time at
    /// which a window opens is the calendar's and stays.
    #[must_use]
    pub fn with_until(self, until: u64) -> Self {
        match self {
            Self::Pause { .. } => Self::Pause { until },
            Self::Retry { problem, .. } => Self::Retry { until, problem },
            Self::UsersWarned { users, .. } => Self::UsersWarned { users, until },
            Self::Draining { left, .. } => Self::Draining { left, until },
            Self::DrainStuck { units, .. } => Self::DrainStuck { units, until },
            Self::Settling { .. } => Self::Settling { until },
            other => other,
        }
    }

    /// The time at which it may be over by itself, seconds since the Unix epoch; whoever prints it adds it in words and
    /// in the reader's own time zone.
    pub fn ends_at(&self) -> Option<u64> {
        match self {
            Self::WindowClosed { opens } => *opens,
            Self::Pause { until }
            | Self::Retry { until, .. }
            | Self::UsersWarned { until, .. }
            | Self::Draining { until, .. }
            | Self::DrainStuck { until, .. }
            | Self::Settling { until } => Some(*until),
            _ => None,
        }
    }
}

impl fmt::Display for WaitReason {
    /// A sentence without the time; see [`WaitReason::until`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("the strategy is off: it reboots by hand only"),
            Self::WindowClosed { opens: Some(_) } => f.write_str("the window is closed"),
            Self::WindowClosed { opens: None } => f.write_str("no window ever opens"),
            Self::Inhibited { who, why } => {
                write!(f, "{} inhibits a shutdown: {}", clean_text(who), clean_text(why))
            }
            Self::UnitsFailed { units } => {
                f.write_str("units have failed: ")?;
                list(f, units)
            }
            Self::CheckRunning => f.write_str("the check command is running"),
            Self::CheckRefused { output } => {
                write!(f, "the check command said no: {}", clean_text(output))
            }
            Self::SlotsTaken { group, max: 0, .. } => {
                write!(f, "group {group} has no slots: its max is 0")
            }
            Self::SlotsTaken { group, max, holders } => {
                let slots =
                    if *max == 1 { "the slot".to_owned() } else { format!("all {max} slots") };
                write!(f, "{slots} of group {group} taken by ")?;
                list(f, holders)
            }
            Self::Pause { .. } => f.write_str("pause between two reboots"),
            Self::Retry { problem, .. } => write!(f, "given up for now: {}", clean_text(problem)),
            Self::UsersWarned { users: 1, .. } => f.write_str("one logged-in user has been warned"),
            Self::UsersWarned { users, .. } => {
                write!(f, "{users} logged-in users have been warned")
            }
            Self::Draining { left: 1, .. } => f.write_str("draining: 1 unit left"),
            Self::Draining { left, .. } => write!(f, "draining: {left} units left"),
            Self::DrainStuck { units, .. } => {
                f.write_str("cannot be drained of ")?;
                list(f, units)
            }
            Self::HookRunning { hook } => write!(f, "the {} hook is running", clean_text(hook)),
            Self::HookFailed { hook, problem } => {
                write!(f, "the {} hook failed: {}", clean_text(hook), clean_text(problem))
            }
            Self::ShuttingDown => f.write_str("the host has been asked to reboot"),
            Self::NotRegistered => f.write_str("the machine is not registered yet"),
            Self::UnitsUnhealthy { units } => {
                f.write_str("units are not well: ")?;
                list(f, units)
            }
            Self::Settling { .. } => f.write_str("all is well, but not for long enough yet"),
            Self::StoreAway { problem } => {
                write!(f, "the store does not answer: {}", clean_text(problem))
            }
            Self::HostAway { problem } => {
                write!(f, "the host does not answer: {}", clean_text(problem))
            }
            Self::CannotReboot { method, problem } => {
                write!(f, "{method} is not possible: {}", clean_text(problem))
            }
            Self::Unknown => f.write_str("a reason this version does not know"),
        }
    }
}

impl fmt::Display for StuckUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.unit, clean_text(&self.why))
    }
}

/// The first few, and how many more there are.
fn list<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: &[T]) -> fmt::Result {
    for (at, item) in items.iter().take(NAMED).enumerate() {
        write!(f, "{}{item}", if at > 0 { ", " } else { "" })?;
    }
    match items.len().saturating_sub(NAMED) {
        0 => Ok(()),
        more => write!(f, " and {more} more"),
    }
}
