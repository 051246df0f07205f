//! This machine's part: it registers itself, and runs what is placed on it.
//!
//! Owns the room of the two loops that every daemon has, the registration under a lease and the converge loop, and of what they
//! keep on disk. It decides neither where a unit goes nor which step comes next.

pub mod cluster_memory;
pub mod converge;
pub(crate) mod jobs;
pub mod last_known;
pub(crate) mod lease_memory;
pub mod ledger;
pub mod outage_note;
pub mod registration;
pub(crate) mod shutdown;
pub mod sight;
