//! Entries of the facts that a file of its own keeps.
//!
//! Owns their shapes; see [`crate::by_hand`] and [`crate::unit_starts`].

use bytes::Bytes;
use muster_common::unit::UnitName;

/// The values that were written by hand into one place, and not taken away again.
#[derive(Debug, Default)]
pub(crate) struct ByHand {
    /// The unit that the record is about.
    pub(crate) unit: Option<UnitName>,
    /// The values that were written, or were about to be.
    pub(crate) values: Vec<Bytes>,
}

/// A start that counts.
#[derive(Debug)]
pub(crate) struct CountedStart {
    /// The machine.
    pub(crate) machine: String,
    /// A backup was put back since, of before the unit was placed there: only the machine itself knows of it.
    pub(crate) is_forgotten: bool,
}
