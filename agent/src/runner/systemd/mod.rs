//! systemd as a runner.
//!
//! Owns the translation of a runner's words into systemd's calls, signals and files. It touches units whose file is
//! ours, asks for a daemon-reload only where systemd says `NeedDaemonReload`, and takes signals for hints: what it is
//! asked for it looks up. Who speaks for systemd is behind [`manager::SystemdManager`]: on a host, D-Bus.

mod bus;
mod definitions;
mod groups;
pub mod host;
mod host_units;
mod invocation;
mod jobs;
pub mod manager;
mod observe;
mod outcome;
mod runs;
mod signals;
mod this_host;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use muster_common::probe::{is_planted, reached};
use muster_common::state::{ActiveState, sub::awaits_restart};
use muster_common::unit::{FileHash, UnitFile, UnitName, UnitType};
use muster_runtime::{Task, sleep, timeout};

use self::bus::Bus;
use self::definitions::Definitions;
use self::groups::ControlGroups;
use self::host::{UnitGroups, UnitHost};
use self::host_units::HostUnits;
use self::manager::{
    JobId, JobKind, JobResult, ManagerSignal, PropertyValue, SignalSink, SystemdManager,
    UnitProperty,
};
use self::outcome::{ServiceFailure, outcome_of_job, result_by_state};
use self::runs::OwnRuns;
use self::signals::SignalReader;
use self::this_host::ThisHost;
use super::files::UnitFiles;
use super::{Runner, RunnerError, RunnerEvents, StartOutcome, UnitObservation};
use crate::stdx::clock::Wall;
use crate::stdx::disk::{Disk, HostDisk};
use crate::stdx::sync::lock;

/// A job's end is looked for this often while its signal does not come. Signals are lost only across a reload.
const JOB_CHECK: Duration = Duration::from_secs(5);
/// The pause between two looks for what is left of a unit that has ended: what waits for its end waits no longer than that more.
const LOOK: Duration = Duration::from_millis(200);

/// systemd on this machine.
pub struct Systemd {
    manager: Arc<dyn SystemdManager>,
    machine: Arc<dyn UnitHost>,
    signals: Arc<Mutex<SignalReader>>,
    files: Arc<Mutex<UnitFiles>>,
    host: Arc<Mutex<HostUnits>>,
    runs: Arc<OwnRuns>,
    definitions: Arc<Definitions>,
    /// Where units have their processes, once systemd has said where it has its own.
    groups: tokio::sync::OnceCell<Arc<dyn UnitGroups>>,
    tasks: [Task<()>; 3],
}

/// The world that a [`Systemd`] works in.
pub struct SystemdWorld {
    /// The machine around systemd.
    pub machine: Arc<dyn UnitHost>,
    /// The disk that unit files lie on.
    pub disk: Arc<dyn Disk>,
    /// The clock that dates what systemd does not.
    pub wall: Wall,
}

impl Default for SystemdWorld {
    /// This host.
    fn default() -> Self {
        Self { machine: Arc::new(ThisHost), disk: Arc::new(HostDisk), wall: Wall::default() }
    }
}

/// The processes of a unit of this host's systemd, as far as their numbers can be told from here.
pub(crate) fn processes_of(unit: &UnitName) -> Vec<u32> {
    let groups = ControlGroups::below_manager("");
    groups.leftovers_of(unit).map(|found| found.processes).unwrap_or_default()
}

/// Where what systemd says goes.
struct SharedReader {
    signals: Arc<Mutex<SignalReader>>,
    runs: Arc<OwnRuns>,
}

impl SignalSink for SharedReader {
    fn is_watched(&self, unit: &UnitName) -> bool {
        lock(&self.signals).is_watched(unit)
    }

    fn on_signal(&self, signal: ManagerSignal) {
        if let ManagerSignal::UnitChanged { unit, .. } = &signal
            && self.is_watched(unit)
        {
            self.runs.on_signal(&signal);
        }
        lock(&self.signals).on_signal(signal);
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Systemd {
    /// Begins to connect to the system bus, in the background. Unit files go to `unit_dir`.
    pub fn new(unit_dir: PathBuf) -> (Self, RunnerEvents) {
        Self::on_bus(None, unit_dir)
    }

    /// The same on a bus at another address, such as a user's.
    pub fn on_bus(address: Option<String>, unit_dir: PathBuf) -> (Self, RunnerEvents) {
        let connect = |signals| -> Arc<dyn SystemdManager> { Arc::new(Bus::new(address, signals)) };
        Self::with_manager(connect, SystemdWorld::default(), unit_dir)
    }

    /// The same with anybody who speaks for systemd; `connect` gets to know where to say what happens.
    pub fn with_manager(
        connect: impl FnOnce(Arc<dyn SignalSink>) -> Arc<dyn SystemdManager>,
        world: SystemdWorld,
        unit_dir: PathBuf,
    ) -> (Self, RunnerEvents) {
        let SystemdWorld { machine, disk, wall } = world;
        let (signals, events) = SignalReader::new(wall);
        let lingers = signals.lingering_notice();
        let signals = Arc::new(Mutex::new(signals));
        let looker = muster_runtime::spawn({
            let signals = Arc::clone(&signals);
            async move {
                loop {
                    lingers.notified().await;
                    while lock(&signals).look_again() {
                        sleep(LOOK).await;
                    }
                }
            }
        });
        let host = HostUnits::new(Arc::clone(&disk), machine.host_facts());
        let host = Arc::new(Mutex::new(host));
        let files = Arc::new(Mutex::new(UnitFiles::new_public(disk, unit_dir)));
        let runs = Arc::new(OwnRuns::new(Arc::clone(&files), Arc::clone(&host)));
        let (heard, told) = (Arc::clone(&signals), Arc::clone(&runs));
        let manager = connect(Arc::new(SharedReader { signals: heard, runs: told }));
        let reader = muster_runtime::spawn({
            let manager = Arc::clone(&manager);
            async move { manager.keep_connected().await }
        });
        let definitions = Arc::new(Definitions::new(Arc::clone(&manager), Arc::clone(&machine)));
        let freshener = muster_runtime::spawn({
            let definitions = Arc::clone(&definitions);
            async move { definitions.keep_fresh().await }
        });
        let systemd = Self {
            manager,
            machine,
            signals,
            files,
            host,
            runs,
            definitions,
            groups: tokio::sync::OnceCell::new(),
            tasks: [reader, looker, freshener],
        };
        (systemd, events)
    }

    /// Where units have their processes.
    async fn control_groups(&self) -> Result<&Arc<dyn UnitGroups>, RunnerError> {
        let find = || async {
            let own = match self.manager.own_group().await {
                // One that does not say has the root.
                Err(RunnerError::Refused { .. }) => String::new(),
                own => own?,
            };
            let groups = self.machine.groups_below(&own);
            if groups.is_empty() {
                tracing::warn!(
                    "no control groups can be seen here: processes that a stop leaves behind are not waited for"
                );
            }
            if let Ok(paths) = self.manager.unit_path().await {
                lock(&self.host).search_also(&paths, lock(&self.files).unit_directory());
            }
            lock(&self.signals).look_in(Arc::clone(&groups));
            Ok(groups)
        };
        self.groups.get_or_try_init(find).await
    }

    /// Starts a job and waits for its end.
    async fn run_job(&self, kind: JobKind, unit: &UnitName) -> Result<StartOutcome, RunnerError> {
        let job = self.manager.enqueue_job(kind, unit).await?;
        let job = JobWait { job, signals: &self.signals };
        let mut end = lock(&self.signals).jobs.wait(&job.job);
        loop {
            match timeout(JOB_CHECK, &mut end).await {
                Ok(Ok(result)) => return Ok(self.job_outcome(kind, unit, &result).await),
                Ok(Err(_)) => {
                    return Err(RunnerError::Lost {
                        during: format!("{} {unit}", kind.verb_text()),
                        problem: "the connection broke before the job's end".to_owned(),
                    });
                }
                Err(_) => {
                    if self.read_number(unit, UnitProperty::JobNumber).await? == 0 {
                        let result = result_by_state(kind, &self.active_state(unit).await?);
                        return Ok(self.job_outcome(kind, unit, &result).await);
                    }
                }
            }
        }
    }

    async fn job_outcome(
        &self,
        kind: JobKind,
        unit: &UnitName,
        result: &JobResult,
    ) -> StartOutcome {
        let failure = match result {
            JobResult::Failed => self.failure_text(unit).await,
            _ => String::new(),
        };
        outcome_of_job(kind, result, &failure)
    }

    /// The facts of a failure: a service's result and its exit status.
    async fn failure_text(&self, unit: &UnitName) -> String {
        if unit.unit_type() != UnitType::Service {
            return String::new();
        }
        let failure = ServiceFailure {
            result: self.read_text(unit, UnitProperty::Result).await.ok(),
            status: self.read_number(unit, UnitProperty::ExecMainStatus).await.ok(),
            code: self.read_number(unit, UnitProperty::ExecMainCode).await.ok(),
        };
        failure.text()
    }

    async fn active_state(&self, unit: &UnitName) -> Result<ActiveState, RunnerError> {
        let word = self.read_text(unit, UnitProperty::ActiveState).await?;
        Ok(ActiveState::from(word.as_str()))
    }

    async fn read_text(&self, unit: &UnitName, of: UnitProperty) -> Result<String, RunnerError> {
        self.read_value(unit, of, PropertyValue::into_text).await
    }

    async fn read_number(&self, unit: &UnitName, of: UnitProperty) -> Result<i64, RunnerError> {
        self.read_value(unit, of, PropertyValue::into_number).await
    }

    async fn read_value<T>(
        &self,
        unit: &UnitName,
        property: UnitProperty,
        read: fn(PropertyValue) -> Option<T>,
    ) -> Result<T, RunnerError> {
        read(self.manager.read_property(unit, property).await?).ok_or_else(|| RunnerError::Lost {
            during: format!("reading {property:?} of {unit}"),
            problem: "it has another type than expected".to_owned(),
        })
    }

    /// Remembers the run that was just begun.
    fn note_run(&self, unit: &UnitName) {
        let (run, _) = self.machine.current_run(unit, &ActiveState::Active);
        self.runs.note_run(unit, &run);
    }
}

#[async_trait]
impl Runner for Systemd {
    async fn observe_units(
        &self,
        units: &BTreeSet<UnitName>,
    ) -> Result<BTreeMap<UnitName, UnitObservation>, RunnerError> {
        self.observe_all(units).await
    }

    fn find_obstacle(&self, unit: &UnitName, file: &UnitFile) -> Option<String> {
        let ours = |name: &UnitName| lock(&self.files).is_ours(name, unit);
        lock(&self.host).find_obstacle(unit, file, &ours)
    }

    async fn write(&self, unit: &UnitName, hash: FileHash, text: &str) -> Result<(), RunnerError> {
        lock(&self.signals).watch_unit(unit);
        let (replaced, written) = {
            let mut files = lock(&self.files);
            let replaced = files.hash(unit).is_some_and(|there| there != hash);
            (replaced, files.write(unit, text))
        };
        written.map_err(|error| files_error("write the file of", unit, &error))?;
        // There may have been none in its place, and systemd still know an earlier one.
        self.definitions.mark_unit(unit, replaced);
        Ok(())
    }

    async fn remove(&self, unit: &UnitName) -> Result<(), RunnerError> {
        if !is_planted("removal-not-reloaded") {
            self.definitions.mark_unit(unit, true);
        }
        lock(&self.files)
            .remove(unit)
            .map_err(|error| files_error("remove the file of", unit, &error))?;
        self.definitions.refresh_unit(unit).await?;
        // A unit that is not loaded has no failure to clear.
        match self.manager.reset_failed(unit).await {
            Ok(()) | Err(RunnerError::Refused { .. }) => {}
            Err(error) => return Err(error),
        }
        // From here on nothing can start it. What refers to it may have done so after its stop.
        if self.runs_after_removal(unit).await? && !is_planted("removal-not-looked-at") {
            reached("started-between-stop-and-removal");
            let problem =
                "something on this machine has started it again after its stop".to_owned();
            return Err(RunnerError::StillUp { problem });
        }
        self.runs.forget_unit(unit);
        lock(&self.signals).unwatch_unit(unit);
        Ok(())
    }

    async fn enable(&self, units: &[UnitName]) -> Result<(), RunnerError> {
        self.manager.enable_units(units).await
    }

    async fn disable(&self, units: &[UnitName]) -> Result<(), RunnerError> {
        self.manager.disable_units(units).await
    }

    async fn load(&self, unit: &UnitName) -> Result<StartOutcome, RunnerError> {
        self.definitions.refresh_unit(unit).await?;
        // Asking for a property of a unit that is not loaded loads it.
        let state = self.read_text(unit, UnitProperty::LoadState).await?;
        Ok(match state.as_str() {
            "bad-setting" | "error" | "not-found" => StartOutcome::Failed {
                problem: format!(
                    "systemd cannot load it ({state}): `systemd-analyze verify` says why"
                ),
            },
            "masked" => StartOutcome::Failed { problem: "it is masked on this machine".to_owned() },
            _ => StartOutcome::Done,
        })
    }

    async fn start(&self, unit: &UnitName, _: u64) -> Result<StartOutcome, RunnerError> {
        self.definitions.refresh_unit(unit).await?;
        // A start of what somebody has started from the file before would leave it at that.
        let joins = !self.definitions.runs_earlier_file(unit) || is_planted("earlier-run-joined");
        let kind = if joins { JobKind::Start } else { JobKind::Restart };
        let outcome = self.run_job(kind, unit).await;
        self.note_run(unit);
        outcome
    }

    async fn find_replaced_run(&self, unit: &UnitName) -> Result<String, RunnerError> {
        // Until systemd has read the file that was written last, it would start the unit again from the one before.
        self.definitions.refresh_unit(unit).await?;
        Ok(self.machine.current_run(unit, &ActiveState::Active).0)
    }

    fn find_lasting_run(&self, unit: &UnitName) -> String {
        self.machine.current_run(unit, &ActiveState::Active).0
    }

    async fn restart(&self, unit: &UnitName, _: u64) -> Result<StartOutcome, RunnerError> {
        self.definitions.refresh_unit(unit).await?;
        let outcome = self.run_job(JobKind::Restart, unit).await;
        self.note_run(unit);
        outcome
    }

    async fn failed_since_start(&self, unit: &UnitName) -> Result<Option<String>, RunnerError> {
        let active = self.active_state(unit).await?;
        let sub = self.read_text(unit, UnitProperty::SubState).await?;
        // A start on somebody's word begins to count anew.
        let restarts = self.read_number(unit, UnitProperty::RestartCount).await.unwrap_or(0);
        if active != ActiveState::Failed && !awaits_restart(&sub) && restarts == 0 {
            return Ok(None);
        }
        let why = self.failure_text(unit).await;
        Ok(Some(format!("it failed within moments of its start{why}")))
    }

    async fn stop(&self, unit: &UnitName) -> Result<StartOutcome, RunnerError> {
        match self.run_job(JobKind::Stop, unit).await {
            // systemd refuses to stop what it has not loaded, and what is not to be stopped by hand.
            Err(RunnerError::Refused { problem }) => {
                let active = self.active_state(unit).await?;
                if active.is_down() {
                    return Ok(StartOutcome::Done);
                }
                Ok(StartOutcome::Failed { problem: format!("systemd does not stop it: {problem}") })
            }
            other => other,
        }
    }

    async fn wait_until_empty(&self, unit: &UnitName) -> Result<bool, RunnerError> {
        let groups = self.control_groups().await?;
        loop {
            // Both have a say: what has no process may still be up, as a socket, a mount and a service that remains are.
            let active = self.active_state(unit).await?;
            if active.is_down() && groups.leftovers_of(unit).is_none() {
                return Ok(true);
            }
            if !active.is_down() && active != ActiveState::Deactivating {
                return Ok(false);
            }
            sleep(LOOK).await;
        }
    }
}

/// A job somebody waits for. Dropping it ends the waiting, not the job.
struct JobWait<'a> {
    job: JobId,
    signals: &'a Mutex<SignalReader>,
}

impl Drop for JobWait<'_> {
    fn drop(&mut self) {
        lock(self.signals).jobs.forget_waiter(&self.job);
    }
}

fn files_error(what: &str, unit: &UnitName, error: &io::Error) -> RunnerError {
    RunnerError::Files { during: format!("{what} {unit}"), problem: error.to_string() }
}
