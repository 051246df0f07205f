//! What users were told, as data.

use std::sync::{Arc, Mutex, PoisonError};

use muster_common::api::v1::WaitFor;
use muster_common::unit::UnitName;

use crate::facts::UserAnswer;
use crate::invariants::Findings;
use crate::invariants::waits::WaitEnd;

/// Something that a user was told.
#[derive(Debug)]
pub(crate) enum UserNote {
    /// The answer to a request about a unit.
    Unit {
        /// The number of the request.
        request: usize,
        /// The unit.
        unit: UnitName,
        /// The status; 0: there was no answer.
        status: u16,
        /// The answer.
        answer: UserAnswer,
        /// True if nothing more comes of the request.
        is_last: bool,
    },
    /// The answer to a request about a machine.
    Machine {
        /// The number of the request.
        request: usize,
        /// The status; 0: there was no answer.
        status: u16,
    },
    /// What a doctor has found.
    Doctor {
        /// The findings.
        found: Findings,
    },
    /// Something about a wait.
    Wait {
        /// The number of the request.
        request: usize,
        /// The thing.
        note: WaitNote,
    },
}

/// Something that happens to a wait.
#[derive(Debug)]
pub(crate) enum WaitNote {
    /// A daemon tells of it.
    Served {
        /// The daemon's machine.
        machine: usize,
        /// The revision that it is to see at least.
        revision: u64,
        /// The thing that is waited for.
        wait: WaitFor,
    },
    /// The stream is broken.
    Broken,
    /// It is over.
    Over(WaitEnd),
}

/// The notes of what users were told, in order.
#[derive(Debug, Clone, Default)]
pub(super) struct Notes(Arc<Mutex<Vec<UserNote>>>);

impl Notes {
    /// Adds one.
    pub(super) fn add_note(&self, note: UserNote) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(note);
    }

    /// Takes all of them.
    pub(super) fn take_all(&self) -> Vec<UserNote> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
