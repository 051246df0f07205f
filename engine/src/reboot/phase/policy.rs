//! The way in which a host is configured to reboot.
//!
//! Owns the settings that a decision rests on. It never reads a file.

use std::time::Duration;

use jiff::tz::TimeZone;
use muster_common::reboot::{Group, RebootMethod, Strategy};

use crate::reboot::window::Window;

/// The time for which a host that was asked to reboot may stay before that is given up: longer than any stop job of systemd's
/// defaults takes (90 s, some in a row), shorter than a person's patience with a roll that stands still.
pub const REBOOT_DEADLINE: Duration = Duration::from_secs(10 * 60);

/// The way a host is configured to go about its reboots.
#[derive(Debug, Clone)]
pub struct RebootPolicy {
    /// The strategy: with a slot, without one, or not at all.
    pub strategy: Strategy,
    /// The way to reboot, where nobody asks for another.
    pub method: RebootMethod,
    /// Whose slots.
    pub group: Group,
    /// When it may begin; none: always.
    pub windows: Vec<Window>,
    /// The zone of the windows.
    pub zone: TimeZone,
    /// The time that logged-in users get between the warning and the reboot; zero: they are not warned.
    pub warn: Duration,
    /// The time that units may take to move away.
    pub drain: Duration,
    /// The fate of units that do not.
    pub stuck: WhenStuck,
    /// The time for which all has to be well before the slot is given back.
    pub settle: Duration,
    /// The pause between the last reboot of the group and the next.
    pub pause: Duration,
    /// The pause after an attempt that was given up.
    pub retry: Duration,
    /// True if failed units hold a reboot back.
    pub block_on_failed: bool,
    /// True if there is a check command.
    pub check: bool,
    /// Which hooks there are.
    pub hooks: Hooks,
}

impl RebootPolicy {
    /// True if the host has to hold a slot to reboot. A strategy that this version does not know is the careful one.
    pub fn needs_slot(&self) -> bool {
        !matches!(self.strategy, Strategy::Now)
    }
}

/// The fate of units that do not move away in time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WhenStuck {
    /// The host reboots all the same and stops them as it goes down.
    #[default]
    Force,
    /// The attempt is given up.
    GiveUp,
}

/// Which hooks are configured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hooks {
    /// Before units move away.
    pub before_drain: bool,
    /// After they have, before the reboot.
    pub before_reboot: bool,
    /// After the boot, before units return.
    pub after_boot: bool,
}

/// One of the hooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hook {
    /// Before units move away.
    BeforeDrain,
    /// After they have, before the reboot.
    BeforeReboot,
    /// After the boot, before units return.
    AfterBoot,
}

impl Hook {
    /// Its name, as configured.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BeforeDrain => "before-drain",
            Self::BeforeReboot => "before-reboot",
            Self::AfterBoot => "after-boot",
        }
    }
}
