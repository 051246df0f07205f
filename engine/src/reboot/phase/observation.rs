//! The knowledge that a host has of itself and of its group when it decides.
//!
//! Owns the words for it. It never draws a conclusion.

use muster_common::reboot::{DueReason, StuckUnit, WaitReason};
use muster_common::unit::UnitName;

/// The state of a command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum CommandState {
    /// Not in this phase, or too long ago.
    #[default]
    No,
    /// It runs.
    Running,
    /// It ended well.
    Well,
    /// It did not, and how.
    Badly(String),
}

/// The state of each hook in this attempt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HookStates {
    /// Before units move away.
    pub before_drain: CommandState,
    /// After they have, before the reboot.
    pub before_reboot: CommandState,
    /// After the boot, before units return.
    pub after_boot: CommandState,
}

/// The slots of the group, as they were when last looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SlotState {
    /// They cannot be looked at.
    Unknown {
        /// Why.
        problem: String,
    },
    /// This host holds one, since then.
    Mine {
        /// Seconds since the Unix epoch.
        since: u64,
        /// True if the host took it; otherwise a person did in its name.
        by_host: bool,
    },
    /// It holds none, and there is one.
    Free,
    /// It holds none, and there is none, and why.
    Full(WaitReason),
}

/// The state of the machine's drain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum DrainState {
    /// It has not begun.
    #[default]
    No,
    /// It goes on.
    Going {
        /// Units that are still moving.
        moving: u64,
        /// Units that nothing will move, and why.
        stuck: Vec<StuckUnit>,
    },
    /// It cannot be told.
    Unknown {
        /// Why.
        problem: String,
    },
    /// Nothing is left that could move, or nothing on this host moves at all.
    Done,
}

/// The state of the request to reboot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum RebootCall {
    /// Not made in this phase by this daemon.
    #[default]
    No,
    /// Made, and accepted.
    Accepted,
    /// Made, and refused.
    Refused(String),
}

/// A block inhibitor on shutdown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inhibitor {
    /// The program.
    pub who: String,
    /// Its work.
    pub why: String,
}

/// Everything that a host knows when it decides.
#[derive(Debug, Clone)]
pub struct Observation {
    /// Seconds since the Unix epoch. Only windows, pauses between hosts and what people read rest on it.
    pub wall: u64,
    /// Milliseconds since the boot, suspend included.
    pub up: u64,
    /// The boot of the kernel.
    pub boot: String,
    /// The boot of userspace; `None`: systemd does not tell.
    pub userspace: Option<String>,
    /// Why a reboot is due; empty: none is.
    pub due: Vec<DueReason>,
    /// The programs that inhibit a shutdown; an error: logind does not answer.
    pub inhibitors: Result<Vec<Inhibitor>, String>,
    /// Sessions of logged-in users.
    pub sessions: u64,
    /// An error where the host cannot reboot in the way that is wanted: why not, and what to do about it.
    pub method: Result<(), String>,
    /// Units of the cluster that have failed.
    pub failed: Vec<UnitName>,
    /// When the last host of the group had rebooted.
    pub last_reboot: Option<u64>,
    /// The group's slots.
    pub slots: SlotState,
    /// The check command.
    pub check: CommandState,
    /// The hooks, as they were run for this attempt.
    pub hooks: HookStates,
    /// The state of the machine's drain.
    pub drain: DrainState,
    /// True if this role has cordoned the machine.
    pub cordoned: bool,
    /// The request to reboot.
    pub call: RebootCall,
    /// True if the host is going down.
    pub stopping: bool,
    /// True if the machine is registered; `None`: this daemon does not register it.
    pub registered: Option<bool>,
    /// Units of this machine that are not as they should be.
    pub unhealthy: Vec<StuckUnit>,
}
