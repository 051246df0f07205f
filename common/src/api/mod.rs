//! The HTTP contract: what clients send and daemons answer. `fleet` is fleet's API to the letter; `v1` is ours.

pub mod drain;
pub mod fleet;
pub mod v1;
