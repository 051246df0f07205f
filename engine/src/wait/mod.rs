//! What a waiting client is told.
//!
//! Owns what is new from one look at the cluster to the next, and when there is nothing more to come. Pure: the stream around it
//! brings the looks and carries the events away.

pub mod drain;
pub mod units;
