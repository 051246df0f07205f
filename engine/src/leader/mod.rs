//! The leader: which losses it acts on, and when what it has ordered is due.
//!
//! Owns the rules around the schedule that only a leader needs. Where a unit goes is [`crate::schedule`]'s.

pub mod deadlines;
pub mod freeze;
