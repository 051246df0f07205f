//! A daemon's own runner, watched.
//!
//! Owns the notes of what a daemon asks its runner for, so that the world can judge each request by what is true at that moment. It
//! changes nothing of what is asked, nor of the answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use muster_common::unit::{FileHash, UnitFile, UnitName};
use muster_doubles::LossyDisk;
use muster_engine::machine::observation::UnitObservation;
use musterd::runner::{Runner, RunnerError, StartOutcome};

use crate::containers::SimulatedEngine;
use crate::host_unit::HostUnit;
use crate::plan::engines::is_container;
use crate::systemd::SimulatedSystemd;

/// A request of a daemon to its runner.
#[derive(Debug, Clone)]
pub(crate) enum RunnerCall {
    Write { unit: UnitName, file: FileHash },
    Remove(UnitName),
    Load(UnitName),
    Start { unit: UnitName, generation: u64 },
    Restart { unit: UnitName, generation: u64 },
    Stop(UnitName),
}

impl RunnerCall {
    /// The request, for the trace.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Write { unit, file } => format!("writes {unit} {file}"),
            Self::Remove(unit) => format!("removes {unit}"),
            Self::Load(unit) => format!("loads {unit}"),
            Self::Start { unit, generation } => format!("starts {unit} at {generation}"),
            Self::Restart { unit, generation } => format!("restarts {unit} at {generation}"),
            Self::Stop(unit) => format!("stops {unit}"),
        }
    }

    fn unit(&self) -> &UnitName {
        match self {
            Self::Write { unit, .. }
            | Self::Start { unit, .. }
            | Self::Restart { unit, .. }
            | Self::Remove(unit)
            | Self::Load(unit)
            | Self::Stop(unit) => unit,
        }
    }
}

/// A request, and the unit as it was when it was made.
#[derive(Debug)]
pub(crate) struct NotedCall {
    /// The request.
    pub(crate) call: RunnerCall,
    /// The unit; `None`: there was nothing of it.
    pub(crate) was: Option<HostUnit>,
}

/// The requests of a daemon that the world has not looked at yet, and those whose outcome is not in.
#[derive(Debug, Clone, Default)]
pub(crate) struct CallNotes(Arc<Mutex<RunnerNotes>>);

#[derive(Debug, Default)]
struct RunnerNotes {
    calls: Vec<NotedCall>,
    under_way: BTreeMap<UnitName, u64>,
}

impl CallNotes {
    fn lock(&self) -> MutexGuard<'_, RunnerNotes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes all requests out.
    pub(crate) fn take_all(&self) -> Vec<NotedCall> {
        std::mem::take(&mut self.lock().calls)
    }

    /// True while a daemon waits for the outcome of a start, a stop or a removal of the unit.
    pub(crate) fn is_under_way(&self, unit: &UnitName) -> bool {
        self.lock().under_way.contains_key(unit)
    }

    /// The same for any unit that conflicts with others: one of them waits for another's stop.
    pub(crate) fn is_conflict_under_way(&self) -> bool {
        self.lock().under_way.keys().any(|unit| unit.as_str().starts_with("spread@"))
    }

    fn begin_call(&self, unit: &UnitName) -> CallUnderWay {
        *self.lock().under_way.entry(unit.clone()).or_default() += 1;
        CallUnderWay { notes: self.clone(), unit: unit.clone() }
    }
}

/// A request that is under way. It is over with its outcome, or with the daemon that waits for it.
struct CallUnderWay {
    notes: CallNotes,
    unit: UnitName,
}

impl Drop for CallUnderWay {
    fn drop(&mut self) {
        let under_way = &mut self.notes.lock().under_way;
        if let Some(open) = under_way.get_mut(&self.unit) {
            *open -= 1;
        }
        under_way.retain(|_, open| *open > 0);
    }
}

/// The machine that a runner is on, and where its notes go.
pub(crate) struct HostNotes {
    /// Its systemd.
    pub(crate) systemd: SimulatedSystemd,
    /// Its container engine, if it has one.
    pub(crate) engine: Option<SimulatedEngine>,
    /// Its disk.
    pub(crate) disk: LossyDisk,
    /// Where requests are noted.
    pub(crate) calls: CallNotes,
}

impl HostNotes {
    /// The engine, for a unit that is a container.
    fn engine_of(&self, unit: &UnitName) -> Option<&SimulatedEngine> {
        self.engine.as_ref().filter(|_| is_container(unit))
    }

    fn find_unit(&self, unit: &UnitName) -> Option<HostUnit> {
        match self.engine_of(unit) {
            Some(engine) => engine.find_unit(unit, &self.disk),
            None => self.systemd.find_unit(unit),
        }
    }

    fn note_wish(&self, unit: &UnitName, generation: u64) {
        match self.engine_of(unit) {
            Some(engine) => engine.note_wish(unit, generation),
            None => self.systemd.note_wish(unit, generation),
        }
    }

    fn note_file(&self, unit: &UnitName, file: Option<FileHash>) {
        match self.engine_of(unit) {
            Some(engine) => engine.note_file(unit, file),
            None => self.systemd.note_file(unit, file),
        }
    }

    /// systemd's own books know what has become of a start.
    fn note_outcome(&self, unit: &UnitName, outcome: &Result<StartOutcome, RunnerError>) {
        if let (Some(engine), Ok(outcome)) = (self.engine_of(unit), outcome) {
            engine.note_outcome(unit, matches!(outcome, StartOutcome::Failed { .. }));
        }
    }
}

/// The runner.
pub(crate) struct WatchedRunner<R> {
    inner: R,
    host: HostNotes,
}

impl<R: Runner> WatchedRunner<R> {
    /// Watches a runner of this machine's.
    pub(crate) fn new(inner: R, host: HostNotes) -> Self {
        Self { inner, host }
    }

    fn note(&self, call: RunnerCall) {
        if let RunnerCall::Start { unit, generation } | RunnerCall::Restart { unit, generation } =
            &call
        {
            self.host.note_wish(unit, *generation);
        }
        let was = self.host.find_unit(call.unit());
        self.host.calls.lock().calls.push(NotedCall { call, was });
    }
}

#[async_trait]
impl<R: Runner> Runner for WatchedRunner<R> {
    fn learn_userspace(&self, userspace: &str) {
        self.inner.learn_userspace(userspace);
    }

    async fn observe_units(
        &self,
        units: &BTreeSet<UnitName>,
    ) -> Result<BTreeMap<UnitName, UnitObservation>, RunnerError> {
        self.inner.observe_units(units).await
    }

    fn find_obstacle(&self, unit: &UnitName, file: &UnitFile) -> Option<String> {
        self.inner.find_obstacle(unit, file)
    }

    async fn write(&self, unit: &UnitName, hash: FileHash, text: &str) -> Result<(), RunnerError> {
        self.note(RunnerCall::Write { unit: unit.clone(), file: hash });
        let written = self.inner.write(unit, hash, text).await;
        if written.is_ok() {
            self.host.note_file(unit, Some(hash));
        }
        written
    }

    async fn remove(&self, unit: &UnitName) -> Result<(), RunnerError> {
        self.note(RunnerCall::Remove(unit.clone()));
        let _open = self.host.calls.begin_call(unit);
        let removed = self.inner.remove(unit).await;
        if removed.is_ok() {
            self.host.note_file(unit, None);
        }
        removed
    }

    async fn enable(&self, units: &[UnitName]) -> Result<(), RunnerError> {
        self.inner.enable(units).await
    }

    async fn disable(&self, units: &[UnitName]) -> Result<(), RunnerError> {
        self.inner.disable(units).await
    }

    async fn load(&self, unit: &UnitName) -> Result<StartOutcome, RunnerError> {
        self.note(RunnerCall::Load(unit.clone()));
        self.inner.load(unit).await
    }

    async fn start(&self, unit: &UnitName, generation: u64) -> Result<StartOutcome, RunnerError> {
        self.note(RunnerCall::Start { unit: unit.clone(), generation });
        let _open = self.host.calls.begin_call(unit);
        let outcome = self.inner.start(unit, generation).await;
        self.host.note_outcome(unit, &outcome);
        outcome
    }

    async fn find_replaced_run(&self, unit: &UnitName) -> Result<String, RunnerError> {
        self.inner.find_replaced_run(unit).await
    }

    fn find_lasting_run(&self, unit: &UnitName) -> String {
        self.inner.find_lasting_run(unit)
    }

    async fn restart(&self, unit: &UnitName, generation: u64) -> Result<StartOutcome, RunnerError> {
        self.note(RunnerCall::Restart { unit: unit.clone(), generation });
        let _open = self.host.calls.begin_call(unit);
        let outcome = self.inner.restart(unit, generation).await;
        self.host.note_outcome(unit, &outcome);
        outcome
    }

    async fn failed_since_start(&self, unit: &UnitName) -> Result<Option<String>, RunnerError> {
        self.inner.failed_since_start(unit).await
    }

    async fn stop(&self, unit: &UnitName) -> Result<StartOutcome, RunnerError> {
        self.note(RunnerCall::Stop(unit.clone()));
        let _open = self.host.calls.begin_call(unit);
        self.inner.stop(unit).await
    }

    async fn wait_until_empty(&self, unit: &UnitName) -> Result<bool, RunnerError> {
        self.inner.wait_until_empty(unit).await
    }
}
