//! Typed operations on the records of facts and decisions, written once above [`Store`](crate::Store).
//!
//! Owns key names, record versions and the packing of many changes into commits. It never decides: what to write comes in as
//! arguments, what was found goes out as data.
//!
//! [`Registry`] and what it reads are in `access`, its operations are by what they are about: `cluster`, `units`, `machines`,
//! `cordons`, `identity`, `leader`, `places` and `reboots`.

mod access;
mod cluster;
mod cordons;
mod decode;
mod error;
#[cfg(test)]
mod fixtures;
mod identity;
mod keys;
mod leader;
mod machines;
mod packing;
mod places;
mod reboots;
mod records;
mod units;
mod watch;
mod write_ids;

pub use access::Registry;
pub use error::{CommitError, RegistryError};
pub use muster_common::lease::{Leadership, Presence};
pub use reboots::{RebootGroup, RebootRecords, RebootScope, RebootWatchEvent};
pub use units::DestroyOutcome;
pub use watch::ClusterWatch;
