//! The line between a daemon and the model of systemd on its machine.
//!
//! Owns what may go wrong on it: it breaks and comes back while units run on, a call is heard and its answer is lost, an answer is late.
//! The real runner stands on one end of it ([`musterd::runner::systemd::Systemd`]) and the model on the other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use muster_common::container::HostFacts;
use muster_common::state::ActiveState;
use muster_common::unit::UnitName;
use muster_runtime::sleep;
use musterd::runner::systemd::host::{Leftovers, UnitGroups, UnitHost};
use musterd::runner::systemd::manager::{
    JobId, JobKind, ListedUnit, ManagerSignal, PropertyValue, SignalSink, SystemdManager,
    UnitProperty,
};
use musterd::runner::systemd::{Systemd, SystemdWorld};
use musterd::runner::{RunnerError, RunnerEvents};
use musterd::stdx::clock::Wall;
use musterd::stdx::disk::Disk;

use super::calls::{SystemdAnswer, SystemdCall};
use super::state::SystemdModel;

/// The directory of a daemon's unit files on a simulated machine.
pub const UNIT_DIRECTORY: &str = "/run/systemd/system";

/// A machine's systemd, and the daemon that is connected to it, if any. Cheap to clone: all are the same.
#[derive(Clone)]
pub struct SimulatedSystemd(Arc<Mutex<LineState>>);

struct LineState {
    model: SystemdModel,
    sink: Option<Arc<dyn SignalSink>>,
    is_up: bool,
    /// Time that an answer takes.
    lag: Duration,
    /// Counts how often the line was broken: an answer of before does not come.
    breaks: u64,
}

impl std::fmt::Debug for SimulatedSystemd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimulatedSystemd").finish_non_exhaustive()
    }
}

impl SimulatedSystemd {
    /// The systemd of a machine, with a line that is up.
    pub fn new(model: SystemdModel) -> Self {
        let (sink, lag, breaks) = (None, Duration::ZERO, 0);
        Self(Arc::new(Mutex::new(LineState { model, sink, is_up: true, lag, breaks })))
    }

    /// The runner of a daemon that begins now. To be called as the daemon's node.
    pub fn connect(&self, disk: Arc<dyn Disk>, wall: Wall) -> (Systemd, RunnerEvents) {
        let world = SystemdWorld { machine: Arc::new(self.clone()), disk, wall };
        let connect = |sink: Arc<dyn SignalSink>| -> Arc<dyn SystemdManager> {
            self.lock().sink = Some(Arc::clone(&sink));
            if self.lock().is_up {
                sink.on_signal(ManagerSignal::Connected);
            }
            Arc::new(self.clone())
        };
        Systemd::with_manager(connect, world, PathBuf::from(UNIT_DIRECTORY))
    }

    /// The daemon is gone.
    pub fn lose_connection(&self) {
        self.lock().sink = None;
    }

    /// Breaks the line, or mends it.
    pub fn set_line(&self, is_up: bool) {
        let mut state = self.lock();
        if state.is_up == is_up {
            return;
        }
        (state.is_up, state.breaks) = (is_up, state.breaks + u64::from(!is_up));
        let signal = if is_up {
            // What was said meanwhile nobody has heard.
            state.model.take_signals();
            ManagerSignal::Connected
        } else {
            ManagerSignal::Lost { problem: "the simulated bus is gone".to_owned() }
        };
        let sink = state.sink.clone();
        drop(state);
        if let Some(sink) = sink {
            sink.on_signal(signal);
        }
    }

    /// Lets every answer take this time from now on. What is asked for is done at once.
    pub fn set_lag(&self, lag: Duration) {
        self.lock().lag = lag;
    }

    /// Does something with the model, and passes on what it says then.
    pub fn with_model<T>(&self, act: impl FnOnce(&mut SystemdModel) -> T) -> T {
        let result = act(&mut self.lock().model);
        self.pass_on();
        result
    }

    /// Lets time pass; see [`SystemdModel::advance_to`].
    pub fn advance_to(&self, now: Duration, wall: u64) {
        self.with_model(|model| model.advance_to(now, wall));
    }

    /// The moment at which something happens by itself.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.lock().model.next_deadline()
    }

    /// Says what the model has said. Whoever hears it may look at the machine, so nothing is held meanwhile.
    fn pass_on(&self) {
        let (signals, sink) = {
            let mut state = self.lock();
            (state.model.take_signals(), state.sink.clone().filter(|_| state.is_up))
        };
        let Some(sink) = sink else { return };
        for signal in signals {
            sink.on_signal(signal);
        }
    }

    fn lock(&self) -> MutexGuard<'_, LineState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn call(&self, during: &str, call: SystemdCall) -> Result<SystemdAnswer, RunnerError> {
        let lost = || RunnerError::Lost {
            during: during.to_owned(),
            problem: "the simulated bus is gone".to_owned(),
        };
        let (answer, lag, breaks) = {
            let mut state = self.lock();
            if !state.is_up {
                return Err(lost());
            }
            let (now, wall) = (state.model.now, state.model.wall);
            let answer = state.model.step(now, wall, call);
            (answer, state.lag, state.breaks)
        };
        self.pass_on();
        if !lag.is_zero() {
            sleep(lag).await;
        }
        if self.lock().breaks != breaks {
            return Err(lost());
        }
        answer.map_err(|problem| RunnerError::Refused { problem })
    }
}

fn strange(during: &str) -> RunnerError {
    let problem = "an answer to another question".to_owned();
    RunnerError::Lost { during: during.to_owned(), problem }
}

#[async_trait]
impl SystemdManager for SimulatedSystemd {
    async fn keep_connected(&self) {
        std::future::pending::<()>().await;
    }

    async fn list_units(
        &self,
        units: &BTreeSet<UnitName>,
    ) -> Result<BTreeMap<UnitName, ListedUnit>, RunnerError> {
        match self.call("list units", SystemdCall::ListUnits(units.clone())).await? {
            SystemdAnswer::Units(units) => Ok(units),
            _ => Err(strange("list units")),
        }
    }

    async fn read_property(
        &self,
        unit: &UnitName,
        property: UnitProperty,
    ) -> Result<PropertyValue, RunnerError> {
        let call = SystemdCall::ReadProperty(unit.clone(), property);
        match self.call("read a property", call).await? {
            SystemdAnswer::Property(value) => Ok(value),
            _ => Err(strange("read a property")),
        }
    }

    async fn enqueue_job(&self, kind: JobKind, unit: &UnitName) -> Result<JobId, RunnerError> {
        match self.call(kind.verb_text(), SystemdCall::EnqueueJob(kind, unit.clone())).await? {
            SystemdAnswer::Job(job) => Ok(job),
            _ => Err(strange(kind.verb_text())),
        }
    }

    async fn enable_units(&self, units: &[UnitName]) -> Result<(), RunnerError> {
        self.call("enable", SystemdCall::EnableUnits(units.to_vec())).await.map(|_| ())
    }

    async fn disable_units(&self, units: &[UnitName]) -> Result<(), RunnerError> {
        self.call("disable", SystemdCall::DisableUnits(units.to_vec())).await.map(|_| ())
    }

    async fn reset_failed(&self, unit: &UnitName) -> Result<(), RunnerError> {
        self.call("reset a failure", SystemdCall::ResetFailed(unit.clone())).await.map(|_| ())
    }

    async fn reload_units(&self) -> Result<(), RunnerError> {
        self.call("reload", SystemdCall::ReloadUnits).await.map(|_| ())
    }

    async fn unit_path(&self) -> Result<Vec<String>, RunnerError> {
        match self.call("read the unit path", SystemdCall::UnitPath).await? {
            SystemdAnswer::Paths(paths) => Ok(paths),
            _ => Err(strange("read the unit path")),
        }
    }

    async fn own_group(&self) -> Result<String, RunnerError> {
        // It has the root. Whether it can be asked is asked all the same.
        self.unit_path().await.map(|_| String::new())
    }
}

impl UnitHost for SimulatedSystemd {
    fn groups_below(&self, _: &str) -> Arc<dyn UnitGroups> {
        Arc::new(self.clone())
    }

    fn current_run(&self, unit: &UnitName, active: &ActiveState) -> (String, u64) {
        let state = self.lock();
        let found = state.model.units.get(unit).filter(|found| found.is_there());
        let found = found.filter(|_| !active.is_down());
        found.map(|found| (found.last_run(), found.since)).unwrap_or_default()
    }

    fn host_facts(&self) -> Option<HostFacts> {
        None
    }
}

impl UnitGroups for SimulatedSystemd {
    fn is_empty(&self) -> bool {
        false
    }

    fn find_leftovers(&self, units: &[&UnitName]) -> BTreeMap<UnitName, Leftovers> {
        let state = self.lock();
        let left = units.iter().filter(|unit| state.model.leftovers.contains_key(**unit));
        left.map(|unit| ((*unit).clone(), Leftovers { processes: vec![4242] })).collect()
    }
}
