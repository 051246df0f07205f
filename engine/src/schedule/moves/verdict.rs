//! What a pass makes of a unit on a drained machine, as data.

use crate::schedule::table::MachineKey;

/// The lot of a unit on a drained machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DrainVerdict {
    /// It goes to another machine, now or when there is room among those that move.
    Goes {
        /// Which one.
        to: MachineKey,
        /// It may not run twice, so it is stopped before it starts there.
        stops_first: bool,
    },
    /// It starts on another machine.
    Moving(MachineKey),
    /// It is about to be removed.
    Stopping,
    /// The next plan sees to it.
    Waits,
    /// No machine takes it.
    Stuck,
}
