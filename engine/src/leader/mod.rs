//! The leader: when it campaigns, what it does in its term, which losses it acts on, and when what it has ordered is due.
//!
//! Owns the rules around the schedule that only a leader needs. Where a unit goes is [`crate::schedule`]'s.

pub mod deadlines;
pub mod election;
pub mod freeze;
pub mod messages;
pub mod term;
mod view;
