//! The units that a user's request makes.
//!
//! Owns the way from a request to records to write and results to answer: the rules for one change ([`change`], and [`fleet`] for fleet's API), the attempts at
//! it while others write too ([`batch`]), and its bounds ([`limits`], [`references`]). It writes nothing.

pub mod batch;
pub mod change;
pub mod fleet;
pub mod limits;
mod parsed_change;
mod pass;
pub mod references;
