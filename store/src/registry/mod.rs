//! Typed operations on the records of facts and decisions, written once above [`Store`].
//!
//! Owns key names, record versions and the packing of many changes into commits. It never decides: what to write
//! comes in as arguments, what was found goes out as data.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use muster_common::machine::{Machine, MachineId};
use muster_common::snapshot::{Change, Placement, Snapshot, Unit};
use muster_common::state::{DesiredState, ObservedState};
use muster_common::unit::{FileHash, UnitFile, UnitName};
use tokio::sync::mpsc;

use crate::store::{Lease, LeaseId, Store, StoreError};

/// The typed registry. Cheap to clone.
#[derive(Clone)]
pub struct Registry {
    store: Arc<dyn Store>,
    prefix: Arc<str>,
}

/// Why the registry could not do as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The store could not.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record in the way cannot be read.
    #[error("the record {key} cannot be read: {problem}")]
    Unreadable {
        /// Key below the prefix.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Others kept changing the same records.
    #[error("{key} kept changing while it was written; try again")]
    Contended {
        /// Key below the prefix.
        key: String,
    },
}

/// Why a plan's decisions were not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// We do not lead any more.
    #[error("another daemon leads now")]
    Deposed,
    /// The store could not.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A typed event of [`Registry::watch`].
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Begin anew with this.
    Reset(Box<Snapshot>),
    /// Changes after what was yielded before.
    Changes {
        /// The last revision of them.
        revision: u64,
        /// In order.
        changes: Vec<Change>,
    },
    /// The store cannot be reached; what was yielded last is the last known state.
    Lost {
        /// What is wrong.
        problem: String,
    },
}

/// A running typed watch; dropping it ends it.
#[derive(Debug)]
pub struct Updates {
    /// Where its events arrive.
    pub events: mpsc::Receiver<Event>,
}

/// One unit as it is to be written. `expected` is the mod_revision seen (0: it must not exist).
#[derive(Debug, Clone)]
pub struct UnitWrite {
    /// Its name.
    pub name: UnitName,
    /// Its file; written with the unit, in the same commit.
    pub file: Arc<UnitFile>,
    /// What is wanted.
    pub desired: DesiredState,
    /// Its generation.
    pub generation: u64,
    /// Revision of the record this replaces.
    pub expected: u64,
}

/// What became of a [`UnitWrite`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnitWritten {
    /// Written, at this revision.
    Done {
        /// The revision.
        revision: u64,
    },
    /// Someone else wrote the record meanwhile; read again and decide again.
    Conflict,
}

/// What became of a destruction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Destroyed {
    /// Units that existed.
    pub destroyed: Vec<UnitName>,
    /// Units that did not.
    pub unknown: Vec<UnitName>,
    /// Revision after it.
    pub revision: u64,
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

/// A state to publish; `None` withdraws it.
#[derive(Debug, Clone)]
pub struct StateUpdate {
    /// The unit.
    pub unit: UnitName,
    /// What is reported.
    pub state: Option<ObservedState>,
}

impl Registry {
    /// A registry under a prefix such as `/muster/v1/`.
    pub fn new(store: Arc<dyn Store>, prefix: &str) -> Self {
        Self { store, prefix: prefix.into() }
    }

    /// Everything under the prefix, at one revision.
    pub async fn snapshot(&self) -> Result<Snapshot, RegistryError> {
        todo!()
    }

    /// Watches everything under the prefix. Begins with a `Reset` (or `Lost`).
    pub fn watch(&self) -> Updates {
        todo!()
    }

    /// Watches the placements of one machine and nothing else: only `places` of the snapshots and
    /// [`Change::Place`] and [`Change::Unreadable`] occur.
    pub fn watch_places(&self, machine: &MachineId) -> Updates {
        todo!()
    }

    /// Reads unit files by their hashes; those that are missing or unreadable come back as problems.
    pub async fn files(
        &self,
        hashes: &[FileHash],
    ) -> Result<BTreeMap<FileHash, Result<Arc<UnitFile>, String>>, RegistryError> {
        todo!()
    }

    /// Writes units, each all or nothing, many to a commit; the results are in the order of the argument.
    pub async fn write_units(
        &self,
        units: Vec<UnitWrite>,
    ) -> Result<Vec<UnitWritten>, RegistryError> {
        todo!()
    }

    /// Removes units whatever they say, unreadable ones too, and files no unit names any more.
    pub async fn destroy_units(&self, names: &[UnitName]) -> Result<Destroyed, RegistryError> {
        todo!()
    }

    /// Sets (`Some`) and removes (`None`) run-time metadata of machines, all or nothing.
    pub async fn set_metadata(
        &self,
        changes: &[(MachineId, String, Option<String>)],
    ) -> Result<(), RegistryError> {
        todo!()
    }

    /// The registration of a machine, if it is registered, with the lease it lives under.
    pub async fn registration(
        &self,
        machine: &MachineId,
    ) -> Result<Option<(Machine, Option<LeaseId>)>, RegistryError> {
        todo!()
    }

    /// Grants a lease.
    pub async fn grant(&self, ttl: Duration) -> Result<Lease, StoreError> {
        self.store.grant(ttl).await
    }

    /// Prolongs a lease.
    pub async fn keep_alive(&self, lease: LeaseId) -> Result<Lease, StoreError> {
        self.store.keep_alive(lease).await
    }

    /// Ends a lease, and with it our registration, our leadership and our published states.
    pub async fn revoke(&self, lease: LeaseId) -> Result<(), StoreError> {
        self.store.revoke(lease).await
    }

    /// Registers a machine under a lease, whatever is registered under its id. `created` of the record is kept
    /// when the record is there already.
    pub async fn register(
        &self,
        machine: &Machine,
        lease: Lease,
    ) -> Result<Presence, RegistryError> {
        todo!()
    }

    /// Publishes observed states under our lease, many to a commit.
    pub async fn publish(
        &self,
        presence: &Presence,
        states: Vec<StateUpdate>,
    ) -> Result<(), RegistryError> {
        todo!()
    }

    /// The states published for a machine, as the store has them.
    pub async fn states_of(
        &self,
        machine: &MachineId,
    ) -> Result<BTreeMap<UnitName, ObservedState>, RegistryError> {
        todo!()
    }

    /// Tries to become leader: `None` when someone else is.
    pub async fn campaign(&self, presence: &Presence) -> Result<Option<Leadership>, RegistryError> {
        todo!()
    }

    /// Records the machines whose units stay where they are (see `Leader::held`), guarded by our leadership.
    pub async fn hold(
        &self,
        leadership: Leadership,
        presence: &Presence,
        held: BTreeSet<MachineId>,
    ) -> Result<(), CommitError> {
        todo!()
    }

    /// Empties `Leader::held` on a person's behalf, keeping the leader and its lease; the leader sees it and goes on.
    pub async fn unfreeze(&self) -> Result<(), RegistryError> {
        todo!()
    }

    /// Writes decisions of a plan, guarded by our leadership and by the revisions each rests on. Each group is written
    /// together or not at all; groups are packed into commits. Returns the groups that met a conflict (their indexes),
    /// and the revision after the last commit.
    pub async fn commit_places(
        &self,
        leadership: Leadership,
        groups: Vec<Vec<PlaceWrite>>,
    ) -> Result<PlacesCommitted, CommitError> {
        todo!()
    }
}

/// One decision about a placement, with the revisions it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlaceWrite {
    /// Writes a placement.
    Place {
        /// Where.
        machine: MachineId,
        /// What.
        unit: UnitName,
        /// The record; its `revision` is that of the record it replaces, 0 for none.
        placement: Placement,
        /// Revision of the unit record seen.
        unit_revision: u64,
        /// Revision that created the machine's registration.
        machine_created: u64,
    },
    /// Removes a placement.
    Remove {
        /// Where.
        machine: MachineId,
        /// What.
        unit: UnitName,
        /// Revision of the placement seen.
        revision: u64,
        /// Revision of the unit record seen; 0 when the unit is gone.
        unit_revision: u64,
    },
}

/// What became of the groups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlacesCommitted {
    /// Revision after the last commit; 0 when nothing was written.
    pub revision: u64,
    /// Indexes of groups that met a conflict and were not written.
    pub conflicts: Vec<usize>,
}
