//! What a runner reports of units.
//!
//! Owns the words between whatever runs units on a machine and the rules of that machine: systemd's load, active and sub,
//! whoever the runner is. It rests on nothing and decides nothing.

use muster_common::state::ActiveState;
use muster_common::unit::UnitName;

use super::converge::Observed;

/// One unit as its runner shows it when it is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnitObservation {
    /// The part that decisions rest on.
    pub observed: Observed,
    /// Names one run of the unit; empty when it has none.
    pub invocation: String,
    /// Seconds since the Unix epoch at which its state last changed; 0 when the runner cannot tell.
    pub since: u64,
    /// Text for people: how far a download is, how the unit ended. Empty when there is nothing to say.
    pub remark: String,
}

/// A report that nobody asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunnerEvent {
    /// A unit's state changed to this. Only the last of several changes in a row may be reported.
    Changed {
        /// The unit.
        unit: UnitName,
        /// Its `ActiveState`.
        active: ActiveState,
        /// Its `SubState`.
        sub: String,
        /// Names this run of the unit; empty when it has none.
        invocation: String,
        /// Seconds since the Unix epoch; 0 when the runner cannot tell.
        since: u64,
        /// Text for people, as in [`UnitObservation::remark`].
        remark: String,
    },
    /// Changes may have been missed: ask anew.
    Relist,
    /// The runner cannot be reached; `Relist` follows when it can.
    Lost {
        /// The problem, for people.
        problem: String,
    },
}
