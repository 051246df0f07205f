//! Leases, and what is proved by records that live under one.
//!
//! Owns the shapes that the store hands out and the engine's rules turn over: a lease, a machine's registration under it,
//! leadership. It grants nothing and compares no clocks.

use std::time::Duration;

use crate::machine::MachineId;

/// Identity of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub i64);

/// A lease as granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Its identity.
    pub id: LeaseId,
    /// The time to live the store granted, which may be longer than asked for.
    pub ttl: Duration,
}

/// The time of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeLeft {
    /// Before it ends, if nobody prolongs it.
    pub left: Duration,
    /// The time that every prolongation gives it.
    pub granted: Duration,
    /// The time for which whoever counts it is known to have done so. Who began gave every lease its whole time, and some more, whether
    /// anybody had prolonged it or not.
    pub counted_for: Duration,
}

/// Proof of registration: our machine record, under our lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presence {
    /// The machine.
    pub machine: MachineId,
    /// The lease everything of ours lives under.
    pub lease: Lease,
    /// Revision that created the record.
    pub created: u64,
}

/// Proof of leadership: the revision that created our leader record. Guards every plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leadership {
    /// Revision that created the leader record.
    pub created: u64,
}
