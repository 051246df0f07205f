//! Typed operations on the records of facts and decisions, written once above [`Store`](crate::Store).
//!
//! Owns key names, record versions and the packing of many changes into commits. It never decides: what to write comes in as
//! arguments, what was found goes out as data.
//!
//! [`Registry`] and what it reads are in `access`, its operations are by what they are about: `cluster`, `units`, `machines`,
//! `states`, `forget`, `cordons`, `identity`, `pki`, `leader`, `places` and `reboots`.
//!
//! # Writes that come late
//!
//! A write that was not answered may be carried out later, after others of ours and of others: a paused member of etcd carries out
//! what waits in its socket once it goes on. So every write is guarded by what it rests on, or harms nothing when it is repeated:
//!
//! | written | guarded by | carried out late |
//! | --- | --- | --- |
//! | unit and its file | the unit's revision | conflict once the unit was written or removed; see below |
//! | destruction of a unit | the unit's revision | conflict: a unit of that name is another one |
//! | removal of a file | the file's revision, which whoever names it raises | conflict |
//! | registration | the record's revision | conflict; a lease that is gone refuses it |
//! | states | the registration, the state's revision | conflict |
//! | leader record | its absence, its revision, or its creation under our lease | held machines as they were before, until the next turn writes them; gone with the lease |
//! | members | leadership, the record's revision | conflict |
//! | placements | the leader record's revision, unit, placement, machine, the cordon for a new one, the absence of a machine that was lost | conflict, once the leader record was written again, which follows every doubt |
//! | cordons, metadata, reboot requests, hosts' reboots | the record's revision | conflict |
//! | the end of a machine that is gone | its absence, each record's revision | conflict |
//! | semaphores, histories | the record's revision | conflict |
//! | identity | its absence | conflict: it is never removed |
//! | authorities, hosts, join tokens | the revision of each, and of what else the decision rested on | conflict |
//!
//! What is created is guarded by its absence. A creation that was given up, was carried out by its repetition and then undone by
//! somebody else finds that absence again: it is the order "removed, then created", and who removes looks again.
//!
//! # A store that is not ours
//!
//! A daemon that finds that the store is another cluster's, or has lost its data, closes the `gate` that all of its writes pass.

mod access;
mod cluster;
mod cordons;
mod decode;
mod error;
#[cfg(test)]
mod fixtures;
mod forget;
mod gate;
mod guarded;
mod identity;
mod identity_record;
mod keys;
mod leader;
mod machines;
mod packing;
mod pki;
mod pki_records;
mod places;
mod proposal;
mod published;
mod reboots;
mod records;
mod states;
mod units;
mod watch;
mod whole;
mod write_ids;

pub use access::Registry;
pub use error::{CommitError, RegistryError};
pub use forget::ForgetOutcome;
pub use machines::StoredRegistration;
pub use muster_common::lease::{Leadership, Presence};
pub use reboots::{RebootGroup, RebootRecords, RebootScope, RebootWatchEvent};
pub use units::DestroyOutcome;
pub use watch::ClusterWatch;
pub use whole::StoreContents;
