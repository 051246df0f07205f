//! Decisions: what is to be written, and what became of it.
//!
//! Owns the one form in which whoever decides hands decisions to whoever carries them out. Each names the revisions that it rests
//! on, so that the store can refuse it when they hold no more. It never decides and never writes.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::machine::MachineId;
use crate::snapshot::Placement;
use crate::state::{DesiredState, ObservedState};
use crate::unit::{UnitFile, UnitName};

/// Decisions that must be written together or not at all, such as a removal here and the placement there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The unit it is about.
    pub unit: UnitName,
    /// The rule that led to it.
    pub reason: MoveReason,
    /// The records to write or remove, each at most once.
    pub decisions: Vec<Decision>,
}

/// The rule that led to a move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum MoveReason {
    /// The unit is wanted and nowhere.
    Place,
    /// The unit is not wanted any more.
    NotWanted,
    /// The unit stays, and its machine is told what is wanted of it by now: another file, another start, another state.
    Update,
    /// The machine that had the unit is gone.
    Lost {
        /// That machine.
        machine: MachineId,
    },
    /// The unit may not stay where it is: the machine's metadata, a unit there, or the end of its drain forbids it.
    Unsuitable {
        /// That machine.
        machine: MachineId,
    },
    /// The machine that has the unit is drained.
    Drain {
        /// That machine.
        machine: MachineId,
    },
    /// A move that was under way comes to nothing: the unit is, or remains, where it was.
    CallBack {
        /// The machine it was to move to.
        machine: MachineId,
    },
    /// Those that the unit belongs beside by `MachineOf=` are elsewhere, or nowhere.
    MachineOf,
    /// The unit takes the place of others, which go elsewhere in the same move.
    Replace {
        /// Those others.
        units: Vec<UnitName>,
    },
}

/// One placement record to be written or removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The unit belongs on the machine, or what is wanted of it there has changed.
    Place {
        /// The machine.
        machine: MachineId,
        /// The unit.
        unit: UnitName,
        /// The record. Its revision is that of the record it overwrites, 0 when there is none.
        placement: Placement,
        /// Revision of the unit's record that the decision rests on.
        unit_revision: u64,
        /// Revision that created the machine's registration that the decision rests on.
        machine_created: u64,
        /// Revision of the machine's cordon that the decision rests on, 0 for none. It counts when the placement is new there:
        /// what is there already may stay, whoever cordons the machine.
        cordon: u64,
    },
    /// The unit does not belong on the machine.
    Remove {
        /// The machine.
        machine: MachineId,
        /// The unit.
        unit: UnitName,
        /// Revision of the placement's record.
        revision: u64,
        /// Revision of the unit's record that the decision rests on, 0 when the unit is gone.
        unit_revision: u64,
        /// Revision of the registration in which the machine says that it goes down, where it does: it may have come back.
        leaving: Option<u64>,
    },
}

impl Decision {
    /// The unit it is about.
    pub fn unit(&self) -> &UnitName {
        let (Self::Place { unit, .. } | Self::Remove { unit, .. }) = self;
        unit
    }

    /// The machine it is about.
    pub fn machine(&self) -> &MachineId {
        let (Self::Place { machine, .. } | Self::Remove { machine, .. }) = self;
        machine
    }
}

/// The outcome of writing a plan's moves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlacesCommitted {
    /// Store revision after the last commit; 0 when nothing was written.
    pub revision: u64,
    /// Indexes of the moves that met a conflict and were not written, ascending.
    pub conflicts: Vec<usize>,
}

/// One unit as it is to be written.
#[derive(Debug, Clone)]
pub struct UnitWrite {
    /// Its name.
    pub name: UnitName,
    /// Its file; written with the unit, in the same commit.
    pub file: Arc<UnitFile>,
    /// The state its user wants.
    pub desired: DesiredState,
    /// Its generation.
    pub generation: u64,
    /// Revision of the record this replaces; 0: there must be none.
    pub expected: u64,
}

/// The outcome of a [`UnitWrite`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnitWritten {
    /// Written, at this store revision.
    Done {
        /// The revision.
        revision: u64,
    },
    /// Someone else wrote the record meanwhile; read again and decide again.
    Conflict,
}

/// A unit's observed state as its machine is to publish it; `None` withdraws it.
#[derive(Debug, Clone)]
pub struct StateUpdate {
    /// The unit.
    pub unit: UnitName,
    /// The state reported.
    pub state: Option<ObservedState>,
}
