//! What must never happen, while a run goes on.
//!
//! Owns the words for violations; each file has the checks of one kind. They look at facts and at what somebody is about to do,
//! and change nothing.
//!
//! | # | invariant | checks | when |
//! | --- | --- | --- | --- |
//! | 1 | what may not run twice does not, as far as its machines can help it | [`twice`] | as a unit comes up |
//! | 2 | what a user was told was done is in the store, and stays | [`promises`], [`cordons`] | at each answer, and at each change of a unit's record |
//! | 3 | only the present leader's plans are written | [`guards`] | at each commit, before it is carried out |
//! | 4 | a plan rests on what it looked at | [`guards`], [`places`] | at each commit, and at each change of placements |
//! | 5 | no grant takes a group above its slots; who reboots holds one, is empty of what can run elsewhere, and takes no second replica down | [`reboots`] | at each change of slots, and as a host goes down |
//! | 6 | an outage starts and stops nothing by itself | [`steps`], [`moves`] | at each step asked of systemd, and at each change of placements |
//! | 7 | machines that vanish together are not moved away from | [`moves`] | at each change of placements |
//! | 8 | what is followed equals what is there | [`waits`], [`delays`], [`super::calm`] | at the end of a wait, while all is calm, and at the end |
//! | 9 | a lease that is lost comes before any start or stop | [`steps`] | at each step |
//! | 10 | a daemon that is started anew, or upgraded, restarts no unit | [`steps`] | at each step |
//! | 11 | who cannot reach the store says so | [`delays`] | every two seconds |
//! | 12 | a store that is full harms no unit that runs | [`steps`], [`moves`] | at each step, and at each change of placements |
//! | 13 | no commit is larger than the store takes | [`guards`] | at each commit |
//! | 14 | the time of day decides nothing | all of these, while clocks jump | |
//! | 15 | after the last fault everything converges | [`delays`], [`super::calm`], [`whole`] | while all is calm, and at the end |
//! | 16 | a record that cannot be read harms only itself | [`delays`], [`super::calm`], which leave its unit out, and no other | while all is calm |
//!
//! Beside these: what must never be true of a whole cluster's records ([`whole`], every two seconds), and that a wait comes to an end
//! ([`waits`], every two seconds).

pub(crate) mod containers;
pub(crate) mod cordons;
pub(crate) mod delays;
pub(crate) mod guards;
pub(crate) mod moves;
pub(crate) mod places;
pub(crate) mod promises;
pub(crate) mod reboots;
pub(crate) mod removed_text;
pub(crate) mod steps;
pub(crate) mod twice;
pub(crate) mod waits;
pub(crate) mod whole;

use crate::moment::Micros;

/// Something that must never happen, and has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The moment.
    pub at: Micros,
    /// The invariant that does not hold, in a word.
    pub word: &'static str,
    /// The event, as a sentence.
    pub text: String,
}

/// The findings of a check: words and sentences.
pub(crate) type Findings = Vec<(&'static str, String)>;
