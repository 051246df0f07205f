//! The command line of `musterctl reboot`.

use std::time::Duration;

use clap::{Args, Subcommand};
use muster_common::api::reboot::Slots;
use muster_common::reboot::{Group, InvalidMethod, RebootMethod};
use muster_common::text::FreeText;

use super::values::parse_duration;

/// Arguments of `reboot`.
#[derive(Debug, Args)]
pub(crate) struct RebootArgs {
    /// The group of hosts that share slots; that of the machine whose daemon is asked if none is given
    ///
    /// `lock` and `unlock` of another machine mean that machine's group.
    #[arg(long, global = true, value_name = "GROUP", env = "MUSTERCTL_GROUP")]
    pub(crate) group: Option<Group>,

    #[command(subcommand)]
    pub(crate) command: RebootCommand,
}

/// A command on reboots.
#[derive(Debug, Subcommand)]
pub(crate) enum RebootCommand {
    /// Show the slots of a group, who holds them, and how far its hosts are
    ///
    /// The first lines are locksmithctl's: free slots, slots, and the holders one on a line. Below them is a table of the
    /// hosts that hold a slot or are about to: since when, in which phase, and why they do not go on.
    Status,

    /// Take a slot by hand, so that no other host reboots in its place
    ///
    /// A holder that has a slot keeps it; asking again is no failure. Without a free slot the command fails, unless --wait
    /// is given.
    Lock(LockArgs),

    /// Free a slot by hand, such as that of a host that will not come back
    ///
    /// The history remembers who did. A host that is still rebooting goes on: free its slot only when you know that it
    /// does not.
    Unlock {
        /// The holder: a machine by its id, the beginning of it, its address or host name, or any other holder's id;
        /// the daemon's own machine if none is given
        id: Option<String>,
    },

    /// Set how many hosts of a group may reboot at a time
    ///
    /// Makes the group if there is none of that name. 0 lets nobody reboot. Nobody who holds a slot loses it.
    SetMax {
        /// How many slots
        #[arg(value_name = "N", allow_negative_numbers = true)]
        max: Slots,
    },

    /// List the last slots that were freed, the newest first
    History,

    /// Ask machines to reboot when their turn comes
    ///
    /// A machine reboots when its windows, its check and the slots of its group allow it. One that has been asked already
    /// is asked only once, unless it is to be in another way.
    Request(RequestArgs),

    /// Take such a request back
    ///
    /// A reboot that has begun is not stopped.
    Cancel(MachinesArgs),
}

/// Arguments of `reboot lock`.
#[derive(Debug, Args)]
pub(crate) struct LockArgs {
    /// Who is to hold it: a machine by its id, the beginning of it, its address or host name, or any other text; the
    /// daemon's own machine if none is given
    pub(crate) id: Option<String>,

    #[command(flatten)]
    pub(crate) waiting: WaitFlags,
}

/// Machines that `reboot request` and `reboot cancel` are about.
#[derive(Debug, Args)]
pub(crate) struct MachinesArgs {
    /// The machines: ids, the beginnings of them, addresses or host names; the daemon's own if none is given
    #[arg(value_name = "MACHINE")]
    pub(crate) machines: Vec<String>,

    /// Every host of the group
    #[arg(long, conflicts_with = "machines")]
    pub(crate) all: bool,
}

/// Arguments of `reboot request`.
#[derive(Debug, Args)]
pub(crate) struct RequestArgs {
    #[command(flatten)]
    pub(crate) machines: MachinesArgs,

    #[arg(help = "What for, for others to read", long, value_name = "TEXT")]
    pub(crate) because: Option<FreeText>,

    /// How they are to reboot: reboot (as a whole), soft-reboot (userspace alone) or kexec (into the kernel that is loaded);
    /// as each of them is configured if not given
    ///
    /// A soft-reboot needs systemd 254 or newer, and kexec a kernel that lies ready (`kexec --load`). A machine that
    /// cannot waits and says so in `reboot status`; asking again in another way takes the place of it.
    #[arg(long, value_name = "METHOD", value_parser = parse_method)]
    method: Option<RebootMethod>,

    /// The same as --method=soft-reboot
    #[arg(long, conflicts_with = "method")]
    soft: bool,

    #[command(flatten)]
    pub(crate) waiting: WaitFlags,
}

impl RequestArgs {
    /// The way that is asked for; `None`: as each machine is configured.
    pub(crate) fn wanted_method(&self) -> Option<RebootMethod> {
        if self.soft { Some(RebootMethod::SoftReboot) } else { self.method }
    }
}

fn parse_method(text: &str) -> Result<RebootMethod, InvalidMethod> {
    text.parse()
}

/// Options of waiting.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct WaitFlags {
    /// Wait until it is done: for `lock` until there is a slot, for `request` until the machines have rebooted
    #[arg(long)]
    pub(crate) wait: bool,

    /// Wait for this long at the most, such as 90, 500ms or 2m; 0 is for ever
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, requires = "wait")]
    timeout: Option<Duration>,
}

impl WaitFlags {
    /// Returns the time to wait; `None` is for ever.
    pub(crate) fn time_limit(self) -> Option<Duration> {
        self.timeout.filter(|limit| !limit.is_zero())
    }
}
