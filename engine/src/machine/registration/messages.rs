//! The words between a registrar and whoever carries it out.
//!
//! Owns where a machine stands with its cluster, what a registrar is told, asks the store and wants done. The rules are
//! [`super::Registrar`]'s.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use muster_common::cluster_id::ClusterId;
use muster_common::lease::{Lease, LeaseId, Presence, TimeLeft};
use muster_common::machine::{ContainerEngine, Machine, MachineId};

use crate::machine::cluster::{ForeignCluster, RememberedCluster, StoredCluster};

/// Where a machine stands with its cluster.
#[derive(Debug, Clone, PartialEq)]
pub enum Registration {
    /// Not known yet, or about to register again.
    Pending,
    /// The store does not answer and this machine holds no lease that it knows of.
    Unreachable,
    /// Another machine has our id, or the store is not ours.
    Refused,
    /// Registered under this lease, as far as is known.
    Registered(Presence),
}

/// The word that a machine which goes down has given on what runs on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitsReported {
    /// The machine runs no units.
    NoUnits,
    /// Not everything.
    NotYet,
    /// Everything, under this lease, and nothing begins any more.
    Under(LeaseId),
}

/// Why a machine has no lease it can rely on. Its text is for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseProblem {
    /// The store has not answered yet, or not any more before a lease was had.
    NotRegistered,
    /// Its time is over by our own clock, and the store does not say whether it is gone.
    RanOut,
    /// The store has ended it.
    Lost,
    /// A machine at this address, which may be empty, is registered under our id.
    IdInUse {
        /// The id.
        machine: MachineId,
        /// The other machine's address.
        address: String,
    },
    /// The store is not this machine's.
    ForeignCluster(ForeignCluster),
    /// The record that says whose store it is cannot be read, for this reason.
    UnreadableCluster(String),
}

impl fmt::Display for LeaseProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRegistered => f.write_str("not registered: the store does not answer"),
            Self::RanOut => f.write_str("the lease has run out, and the store does not answer"),
            Self::Lost => f.write_str("the lease was lost"),
            Self::ForeignCluster(foreign) => foreign.fmt(f),
            Self::UnreadableCluster(problem) => write!(
                f,
                "not registered: the record `cluster` in the store, which says whose store it is, cannot be read ({problem}): nothing is \
                 started or stopped until it is put back as a backup of the store has it"
            ),
            Self::IdInUse { machine, address } => {
                let address = if address.is_empty() { "an unknown address" } else { address };
                write!(
                    f,
                    "machine id {machine} is already in use by the machine at {address}: two machines must not share an id; on \
                     one of them remove /etc/machine-id and /var/lib/dbus/machine-id, run systemd-machine-id-setup and restart musterd",
                )
            }
        }
    }
}

/// A question to the store.
#[derive(Debug, Clone, PartialEq)]
pub enum RegistrarRequest {
    /// Find the cluster that the store holds, and the one that this machine remembers.
    FindCluster,
    /// Give the store's cluster an identity, where it has none.
    EstablishCluster,
    /// Read the record under our id.
    FindRecord,
    /// Ask how much time somebody's lease has left.
    ReadTimeLeft(LeaseId),
    /// Prolong a lease.
    KeepAlive(LeaseId),
    /// Grant a lease of this length.
    Grant(Duration),
    /// Write our record, in place of none or of one of ours: under its lease, or under the one that was found.
    WriteRecord {
        /// The record; its `created` means nothing.
        machine: Box<Machine>,
        /// The lease it is to live under.
        lease: Lease,
        /// The lease of the record that was found and taken for ours, if there was one.
        found: Option<LeaseId>,
    },
}

/// The store's answer to a [`RegistrarRequest`].
#[derive(Debug, Clone, PartialEq)]
pub enum RegistrarAnswer {
    /// The cluster in the store, and the one that this machine remembers.
    ClusterFound {
        /// The machine's.
        remembered: RememberedCluster,
        /// The store's.
        stored: StoredCluster,
    },
    /// The record of the store's cluster cannot be read, for this reason.
    ClusterUnreadable(String),
    /// The store's cluster has this identity.
    ClusterEstablished(ClusterId),
    /// The record under our id, if there is one.
    Found(Option<FoundRecord>),
    /// The record under our id cannot be read.
    FoundUnreadable,
    /// The time that the lease has left.
    TimeLeft(TimeLeft),
    /// The lease is alive, or is ours now.
    Leased(Lease),
    /// The lease is gone.
    LeaseGone,
    /// The record is written.
    Written {
        /// The machine's presence by it.
        presence: Presence,
        /// The revision at which it was written.
        revision: u64,
    },
    /// The store could not, for this reason.
    Failed(String),
    /// There was no answer in the time that was given.
    TimedOut,
}

/// A machine's record as it is found in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundRecord {
    /// Address of the machine that wrote it; empty when it has none.
    pub address: String,
    /// The boot of that machine; empty when it did not say.
    pub boot: String,
    /// The lease it lives under.
    pub lease: Option<LeaseId>,
    /// The revision at which it was written.
    pub revision: u64,
}

/// An input of a registrar.
#[derive(Debug, Clone, PartialEq)]
pub enum RegistrarInput {
    /// Nothing but that time has passed; see [`next_deadline`](super::Registrar::next_deadline).
    Tick,
    /// The answer to the request that is under way.
    Answer(RegistrarAnswer),
    /// The state of the machine's container engine now.
    ContainerEngine(ContainerEngine),
    /// The metadata the machine is configured with now.
    Metadata(BTreeMap<String, String>),
    /// The machine goes down, or does not after all.
    Leaving(bool),
    /// The word on what runs there.
    UnitsReported(UnitsReported),
    /// A write under the lease was refused: it may be gone.
    LeaseSuspect,
    /// The machine has slept: its own clock stood still.
    Woken,
}

/// Something that a registrar wants done. Several are carried out in their order.
#[derive(Debug, Clone, PartialEq)]
pub enum RegistrarEffect {
    /// Ask the store. Exactly one [`RegistrarInput::Answer`] follows: [`RegistrarAnswer::TimedOut`] when `within` has passed.
    Ask {
        /// The question.
        request: RegistrarRequest,
        /// The time it may take.
        within: Duration,
    },
    /// Remember the lease for the next daemon of this boot.
    RememberLease(LeaseId),
    /// The placements on disk were told under a lease of before, and may be others' by now: until they are told anew no note of an
    /// outage vouches for them.
    DoubtPlacements,
    /// This is the cluster that the machine is about to register in.
    SetCluster(ClusterId),
    /// Note on disk, so that it outlives power, that an outage of the store has begun while this machine held its units, or that it
    /// is over. It is over before the store is asked for anything that makes others count on this machine.
    NoteOutage(bool),
    /// Make known where the machine stands.
    SetRegistration(Registration),
    /// The store works (`None`), or has this problem.
    SetStoreHealth(Option<String>),
    /// The lease is good (`None`), or has this problem.
    SetLeaseHealth(Option<LeaseProblem>),
    /// For the log: registered under this lease.
    LogRegistered(LeaseId),
    /// For the log: the lease is gone, and the machine registers again.
    LogLeaseGone(LeaseId),
    /// For the log, once for each problem: this machine cannot be registered.
    LogRefused(LeaseProblem),
}
