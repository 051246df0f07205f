//! The states that a registry has published, by the revisions of their records.
//!
//! Owns the memory from one publication to the next. It reads and writes no record.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use muster_common::lease::{LeaseId, Presence};
use muster_common::machine::MachineId;
use muster_common::unit::UnitName;

/// The revisions of the states that this registry has published, or has found.
#[derive(Debug, Default)]
pub(super) struct PublishedStates(Mutex<Option<StateRevisions>>);

#[derive(Debug, Clone)]
pub(super) struct StateRevisions {
    pub(super) machine: MachineId,
    /// The lease they were published under.
    pub(super) lease: LeaseId,
    /// Revision of each state's record; one that is missing is not there.
    pub(super) revisions: BTreeMap<UnitName, u64>,
}

impl PublishedStates {
    /// The states known for a presence; nothing, once it is taken.
    pub(super) fn take_known(&self, presence: &Presence) -> Option<StateRevisions> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        known.filter(|k| k.machine == presence.machine && k.lease == presence.lease.id)
    }

    pub(super) fn put(&self, known: StateRevisions) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(known);
    }
}
