//! One machine: what it does next, and what its reports say.
//!
//! Owns the rules that a machine's daemon lives by. Where a unit goes is [`crate::schedule`]'s.

pub mod arrival;
pub mod cluster;
pub mod converge;
pub mod departure;
pub mod job;
pub mod memory;
pub mod node;
pub mod observation;
pub mod registration;
pub mod report;
pub mod steadiness;
