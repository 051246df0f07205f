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
use muster_common::seed::Seed;
use muster_common::state::ActiveState;
use muster_common::unit::{FileHash, UnitName};
use muster_runtime::{sleep, timeout};
use musterd::runner::systemd::host::{Leftovers, UnitGroups, UnitHost};
use musterd::runner::systemd::manager::{
    JobId, JobKind, ListedUnit, ManagerSignal, PropertyValue, SignalSink, SystemdManager,
    UnitProperty,
};
use musterd::runner::systemd::{Systemd, SystemdWorld};
use musterd::runner::{RunnerError, RunnerEvents};
use musterd::stdx::clock::Wall;
use musterd::stdx::disk::Disk;

use super::books::{Books, NotedStart, UnitNotes};
use super::bus::{CallQueue, WaitingCall};
use super::calls::{SystemdAnswer, SystemdCall};
use super::state::{ProgramStart, SystemdModel};
use crate::host_unit::HostUnit;

/// The directory of a daemon's unit files on a simulated machine.
pub const UNIT_DIRECTORY: &str = "/run/systemd/system";

/// The time that a daemon gives a call, as on a host's bus.
const CALL_TIMEOUT: Duration = Duration::from_secs(25);
/// The problem with a line that is broken.
const GONE: &str = "the simulated bus is gone";

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
    calls: CallQueue,
    books: Books,
    /// Signals that the daemon has not heard yet.
    signals: Vec<ManagerSignal>,
    /// Changes of units since they were taken last.
    changes: Vec<(UnitName, ActiveState)>,
    /// The last moment at which a call could not be made, or was not read at once.
    unsound: Duration,
    /// The moment at which the model goes on by itself, as long as nothing has happened to it.
    deadline: KnownDeadline,
}

/// The knowledge of the model's next deadline: it is asked for at every step of the world, and changes seldom.
#[derive(Debug, Clone, Copy)]
enum KnownDeadline {
    /// Something may have happened to the model since it was asked.
    Unknown,
    /// The deadline; `None`: nothing is to come.
    Known(Option<Duration>),
}

impl std::fmt::Debug for SimulatedSystemd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimulatedSystemd").finish_non_exhaustive()
    }
}

impl SimulatedSystemd {
    /// The systemd of a machine, with a line that is up.
    pub fn new(model: SystemdModel) -> Self {
        Self(Arc::new(Mutex::new(LineState {
            model,
            sink: None,
            is_up: true,
            lag: Duration::ZERO,
            breaks: 0,
            calls: CallQueue::default(),
            books: Books::default(),
            signals: Vec::new(),
            changes: Vec::new(),
            unsound: Duration::ZERO,
            deadline: KnownDeadline::Unknown,
        })))
    }

    /// The runner of a daemon that begins now. To be called as the daemon's node.
    pub fn connect(&self, disk: Arc<dyn Disk>, wall: Wall) -> (Systemd, RunnerEvents) {
        let world = SystemdWorld { machine: Arc::new(self.clone()), disk, wall };
        let connect = |sink: Arc<dyn SignalSink>| -> Arc<dyn SystemdManager> {
            let mut state = self.lock();
            state.sink = Some(Arc::clone(&sink));
            state.note_unsound();
            drop(state);
            sink.on_signal(if self.lock().is_up { ManagerSignal::Connected } else { no_bus() });
            Arc::new(self.clone())
        };
        Systemd::with_manager(connect, world, PathBuf::from(UNIT_DIRECTORY))
    }

    /// The daemon is gone. What it has sent is heard.
    pub fn lose_connection(&self) {
        let mut state = self.lock();
        state.sink = None;
        state.note_unsound();
    }

    /// Breaks the line, or mends it.
    pub fn set_line(&self, is_up: bool) {
        let mut state = self.lock();
        if state.is_up == is_up {
            return;
        }
        state.note_unsound();
        (state.is_up, state.breaks) = (is_up, state.breaks + u64::from(!is_up));
        // What is said meanwhile nobody hears.
        state.collect();
        state.signals.clear();
        if !is_up {
            state.calls.break_line();
        }
        let sink = state.sink.clone();
        drop(state);
        if let Some(sink) = sink {
            sink.on_signal(if is_up { ManagerSignal::Connected } else { no_bus() });
        }
    }

    /// Lets every answer take this time from now on. What is asked for is done at once.
    pub fn set_lag(&self, lag: Duration) {
        self.lock().lag = lag;
    }

    /// Lets every call take a moment from now on, by this chance.
    pub(crate) fn set_latency(&self, seed: Seed) {
        self.lock().calls.set_latency(seed);
    }

    /// Lets systemd read no calls until a moment.
    pub(crate) fn set_busy(&self, until: Duration) {
        let mut state = self.lock();
        state.calls.set_busy(until);
        state.unsound = until;
    }

    /// Does something with the model, and passes on what it says then.
    pub fn with_model<T>(&self, act: impl FnOnce(&mut SystemdModel) -> T) -> T {
        let result = {
            let mut state = self.lock();
            state.deadline = KnownDeadline::Unknown;
            let result = act(&mut state.model);
            state.collect();
            result
        };
        self.pass_on();
        result
    }

    /// Lets time pass: calls arrive, and the model goes on; see [`SystemdModel::advance_to`].
    pub fn advance_to(&self, now: Duration, wall: u64) {
        while self.lock().advance_once(now, wall) {
            self.pass_on();
        }
    }

    /// The moment at which something happens by itself.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.lock().next_deadline()
    }

    /// The machine is off, or boots: nothing is on its way, and nothing is noted.
    pub(crate) fn begin_boot(&self) {
        let mut state = self.lock();
        state.calls.clear();
        state.books.begin_boot();
        state.note_unsound();
    }

    /// A unit as it is; `None`: there is nothing of it.
    pub(crate) fn find_unit(&self, unit: &UnitName) -> Option<HostUnit> {
        let mut state = self.lock();
        let file = state.model.file_in(UNIT_DIRECTORY, unit);
        let active = match state.model.active_state(unit) {
            active if active.is_down() && state.model.leftovers.contains_key(unit) => {
                ActiveState::Deactivating
            }
            active => active,
        };
        if file.is_none() && active == ActiveState::Inactive {
            return None;
        }
        let UnitNotes { generation, ended, by_others, .. } = state.books.find(unit);
        let running = state.model.running_file(unit);
        Some(HostUnit { file, running, active, generation, ended, by_others })
    }

    /// A daemon is about to ask for a start.
    pub(crate) fn note_wish(&self, unit: &UnitName, generation: u64) {
        self.lock().books.note_wish(unit, generation);
    }

    /// A daemon has put a file in its place, or was told that nothing of its unit is left.
    pub(crate) fn note_file(&self, unit: &UnitName, file: Option<FileHash>) {
        let mut state = self.lock();
        let now = state.model.now;
        state.books.note_file(unit, now, file);
    }

    /// Somebody has stopped a unit past its daemon.
    pub(crate) fn note_end_by_hand(&self, unit: &UnitName) {
        self.lock().books.note_end_by_hand(unit);
    }

    /// Somebody has started a unit past its daemon.
    pub(crate) fn note_start_by_hand(&self, unit: &UnitName) {
        self.lock().books.note_start_by_hand(unit);
    }

    /// The programs that were started since this was called last, in order.
    pub fn take_starts(&self) -> Vec<ProgramStart> {
        let starts = std::mem::take(&mut self.lock().books.starts);
        starts.into_iter().map(|noted| noted.start).collect()
    }

    /// Takes all that has happened since this was called last.
    pub(crate) fn take_news(&self) -> SystemdNews {
        let mut state = self.lock();
        SystemdNews {
            starts: std::mem::take(&mut state.books.starts),
            begun: std::mem::take(&mut state.books.begun),
            changes: std::mem::take(&mut state.changes),
            unsound: state.unsound,
        }
    }

    /// Says what the model has said. Whoever hears it may look at the machine, so nothing is held meanwhile.
    fn pass_on(&self) {
        let (signals, sink) = {
            let mut state = self.lock();
            if state.signals.is_empty() {
                return;
            }
            (std::mem::take(&mut state.signals), state.sink.clone().filter(|_| state.is_up))
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
        let lost = |problem: &str| RunnerError::Lost {
            during: during.to_owned(),
            problem: problem.to_owned(),
        };
        let (answer, lag, breaks) = {
            let mut state = self.lock();
            if !state.is_up {
                return Err(lost(GONE));
            }
            let now = state.model.now;
            let generation = match &call {
                SystemdCall::EnqueueJob(_, unit) => state.books.find_wish(unit),
                _ => 0,
            };
            let answer = state.calls.send(now, call, generation);
            // What takes no time is done before anybody can do anything else.
            let wall = state.model.wall;
            while state.calls.next_arrival().is_some_and(|at| at <= now) {
                state.advance_once(now, wall);
            }
            (answer, state.lag, state.breaks)
        };
        self.pass_on();
        let answer = match timeout(CALL_TIMEOUT, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => return Err(lost(GONE)),
            Err(_) => return Err(lost("no answer in time")),
        };
        if !lag.is_zero() {
            sleep(lag).await;
        }
        if self.lock().breaks != breaks {
            return Err(lost(GONE));
        }
        answer
    }
}

/// The news of the units of a machine.
#[derive(Debug)]
pub(crate) struct SystemdNews {
    /// Programs that were started.
    pub(crate) starts: Vec<NotedStart>,
    /// Starts that daemons have had carried out: unit and generation.
    pub(crate) begun: Vec<(UnitName, u64)>,
    /// States of units.
    pub(crate) changes: Vec<(UnitName, ActiveState)>,
    /// The last moment at which a daemon could not have a call carried out at once.
    pub(crate) unsound: Duration,
}

impl LineState {
    fn next_deadline(&mut self) -> Option<Duration> {
        let model = match self.deadline {
            KnownDeadline::Known(deadline) => deadline,
            KnownDeadline::Unknown => self.model.next_deadline(),
        };
        self.deadline = KnownDeadline::Known(model);
        let call = self.calls.next_arrival();
        [model, call].into_iter().flatten().min()
    }

    /// Does what comes next, up to a moment; false if nothing does.
    fn advance_once(&mut self, now: Duration, wall: u64) -> bool {
        if !self.is_up || self.sink.is_none() || self.calls.is_busy(now) {
            self.note_unsound();
        }
        let Some(due) = self.next_deadline().filter(|due| *due <= now) else {
            self.model.pass_time(now, wall);
            return false;
        };
        self.deadline = KnownDeadline::Unknown;
        let due = due.max(self.model.now);
        self.model.advance_to(due, wall);
        if self.calls.next_arrival().is_some_and(|at| at <= due)
            && let Some(WaitingCall { call, generation, reply, .. }) = self.calls.pop()
        {
            let answer = self
                .carry_out(call, generation)
                .map_err(|problem| RunnerError::Refused { problem });
            // Whoever asked may be gone.
            let _ = reply.send(answer);
        }
        self.collect();
        true
    }

    fn carry_out(&mut self, call: SystemdCall, generation: u64) -> Result<SystemdAnswer, String> {
        let (now, wall) = (self.model.now, self.model.wall);
        let SystemdCall::EnqueueJob(kind, unit) = &call else {
            return self.model.step(now, wall, call);
        };
        let (kind, unit) = (*kind, unit.clone());
        self.books.before_job(kind, &unit);
        let answer = self.model.step(now, wall, call);
        self.books.after_job(kind, &unit, generation, &answer);
        answer
    }

    /// Takes out of the model what it has to say.
    fn collect(&mut self) {
        for start in self.model.take_starts() {
            self.books.on_start(start);
        }
        for (unit, by_itself) in std::mem::take(&mut self.model.ends) {
            self.books.on_end(&unit, by_itself);
        }
        for signal in self.model.take_signals() {
            match &signal {
                ManagerSignal::JobRemoved { job, result } => self.books.on_job_removed(job, result),
                ManagerSignal::UnitChanged { unit, active, .. } => {
                    self.changes.push((unit.clone(), active.clone()));
                }
                _ => {}
            }
            if self.is_up && self.sink.is_some() {
                self.signals.push(signal);
            }
        }
    }

    fn note_unsound(&mut self) {
        self.unsound = self.model.now;
    }
}

fn no_bus() -> ManagerSignal {
    ManagerSignal::Lost { problem: GONE.to_owned() }
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
