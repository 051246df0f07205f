//! What must never happen, while a run goes on.
//!
//! Owns the words for violations; each file has the checks of one kind. They look at facts and at what somebody is about to do,
//! and change nothing.

pub(crate) mod delays;
pub(crate) mod guards;
pub(crate) mod moves;
pub(crate) mod places;
pub(crate) mod promises;
pub(crate) mod steps;
pub(crate) mod twice;

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
