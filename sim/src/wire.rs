//! What passes between a process on a node and the world.
//!
//! Owns the requests that leave a node, as data, and the places where answers come back. Nothing here waits for anything real, and
//! nothing here is lost: that is the world's doing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use muster_common::unit::{FileHash, UnitName};
use muster_engine::machine::observation::UnitObservation;
use musterd::runner::{RunnerError, StartOutcome};
use tokio::sync::oneshot;

use crate::api_call::ApiCall;
use crate::etcd::{EtcdMessage, EtcdWire};

/// A request to the machine's systemd.
#[derive(Debug, Clone)]
pub(crate) enum RunnerCall {
    Observe(BTreeSet<UnitName>),
    Write { unit: UnitName, file: FileHash },
    Remove(UnitName),
    Load(UnitName),
    Start { unit: UnitName, generation: u64 },
    Restart { unit: UnitName, generation: u64 },
    Stop(UnitName),
    Nothing,
}

impl RunnerCall {
    /// The request, for the trace.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Observe(units) => format!("observes {} units", units.len()),
            Self::Write { unit, file } => format!("writes {unit} {file}"),
            Self::Remove(unit) => format!("removes {unit}"),
            Self::Load(unit) => format!("loads {unit}"),
            Self::Start { unit, generation } => format!("starts {unit} at {generation}"),
            Self::Restart { unit, generation } => format!("restarts {unit} at {generation}"),
            Self::Stop(unit) => format!("stops {unit}"),
            Self::Nothing => "asks for nothing".to_owned(),
        }
    }
}

/// An answer of systemd.
#[derive(Debug)]
pub(crate) enum RunnerAnswer {
    Seen(BTreeMap<UnitName, UnitObservation>),
    Ended(StartOutcome),
}

/// An answer of systemd, or its reason not to give one.
pub(crate) type RunnerResult = Result<RunnerAnswer, RunnerError>;

/// A request on its way out of a node.
#[derive(Debug)]
pub(crate) enum Outgoing {
    Etcd { member: usize, message: EtcdMessage },
    Runner { call: RunnerCall, reply: oneshot::Sender<RunnerResult> },
    Api(ApiCall),
}

/// Requests that a node has made and the world has not taken yet, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outbox(Arc<Mutex<Vec<Outgoing>>>);

impl Outbox {
    /// Adds a request.
    pub(crate) fn put(&self, request: Outgoing) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(request);
    }

    /// Takes all requests out.
    pub(crate) fn take_all(&self) -> Vec<Outgoing> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl EtcdWire for Outbox {
    fn send_message(&self, member: usize, message: EtcdMessage) {
        self.put(Outgoing::Etcd { member, message });
    }
}
