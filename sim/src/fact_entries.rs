//! Entries of the facts that a file of its own keeps.
//!
//! Owns their shapes; see [`crate::by_hand`], [`crate::unit_starts`] and [`crate::conditions`].

use bytes::Bytes;
use muster_common::unit::UnitName;

use crate::moment::Micros;

/// The values that were ever written by hand into one place.
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
    /// A backup was put back since, of before the unit was placed there, or somebody has written by hand what is known of the unit: only
    /// the machine itself knows of the start.
    pub(crate) is_forgotten: bool,
}

/// The condition of a machine's daemon, for itself: alive, awake, and with a sound line.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Condition {
    /// True if it is well.
    pub(crate) is_well: bool,
    /// Since when that is so.
    pub(crate) since: Micros,
    /// Since when it was away before it was well.
    pub(crate) away_before: Micros,
    /// The moment since which it goes down, and says so to whoever hears it.
    pub(crate) parting_since: Option<Micros>,
    /// The moment of the last boot.
    pub(crate) booted: Micros,
    /// True from when it has said goodbye until it is registered again.
    pub(crate) has_left: bool,
    /// Since when nothing of it has reached the store: no daemon, one that stands still, or a line that is cut.
    pub(crate) silent_since: Option<Micros>,
    /// The moment at which a message of its own came to a member last, however long it had been on its way.
    pub(crate) heard_at: Micros,
    /// The moment at which it was silent last and ceased to be.
    pub(crate) heard_since: Micros,
    /// The same as [`Self::silent_since`], and moments between two silences that were too short for anything do not count.
    pub(crate) faint_since: Option<Micros>,
    /// Since when it has had a way to the store through fewer than half of the members.
    pub(crate) narrow_since: Option<Micros>,
    /// The moment at which that was over last.
    pub(crate) narrow_until: Micros,
    /// The moment at which its lease was ended by force last.
    pub(crate) set_back: Option<Micros>,
    /// Since when its container engine works; `None` where it has none, and while something is wrong with it.
    pub(crate) engine_since: Option<Micros>,
    /// Its registration has ended, and rightly so or not; `None` while there is one.
    pub(crate) lost_rightly: Option<bool>,
    /// The moment at which it went off last.
    pub(crate) went_off: Micros,
    /// The end of the last boot in which it was registered.
    pub(crate) unheard_since: Micros,
    /// Since when its line has been cut both ways while its daemon ran.
    pub(crate) cut_since: Option<Micros>,
    /// The moment at which it was registered last.
    pub(crate) registered: Micros,
    /// It has booted with the note on its disk that the store was away before it went.
    pub(crate) booted_in_outage: bool,
    /// The moment at which it asked to be counted on with that note on its disk, if it is there since.
    pub(crate) asked_with_note: Option<Micros>,
}
