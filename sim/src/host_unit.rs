//! A unit as it is on a machine, whoever believes what.
//!
//! Owns the words in which checks look at it. What makes it so is systemd's side of the world.

use muster_common::state::ActiveState;
use muster_common::unit::FileHash;

/// One unit on a machine.
#[derive(Debug, Clone, Default)]
pub(crate) struct HostUnit {
    /// The file at its place.
    pub(crate) file: Option<FileHash>,
    /// The file that its processes were started from, while there are any.
    pub(crate) running: Option<FileHash>,
    /// Its state.
    pub(crate) active: ActiveState,
    /// The generation with which it was started last.
    pub(crate) generation: u64,
    /// True if it has ended by itself.
    pub(crate) ended: bool,
    /// True if what runs was begun by somebody else than a daemon.
    pub(crate) by_others: bool,
}
