//! systemd as a runner, over D-Bus.
//!
//! Owns the translation of a runner's words into systemd's methods, signals and files. It touches units whose file is
//! ours, asks for a daemon-reload only where systemd says `NeedDaemonReload`, and takes signals for hints: what it is
//! asked for it looks up.

mod bus;
mod groups;
mod host_units;
mod invocation;
mod jobs;
mod signals;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use muster_common::state::{ActiveState, sub::awaits_restart};
use muster_common::unit::{FileHash, UnitFile, UnitName, UnitType, is_reserved};
use muster_engine::machine::converge::Observed;
use zbus::{ObjectPath, OwnedObjectPath, OwnedVariant};

use self::bus::{Bus, MANAGER, MANAGER_PATH};
use self::groups::ControlGroups;
use self::host_units::{HostUnits, OVERRIDDEN, instance_of, link_in_place, slice_of};
use self::invocation::{LONGEST_LINKED, current_invocation};
use self::signals::{EndedState, LINGERS, SignalReader, path_of};
use super::files::UnitFiles;
use super::{Runner, RunnerError, RunnerEvents, StartOutcome, UnitObservation};
use crate::stdx::sync::lock;

/// The interface every unit has.
const UNIT: &str = "org.freedesktop.systemd1.Unit";
/// The interface services have besides.
const SERVICE: &str = "org.freedesktop.systemd1.Service";
/// The interface for reading properties.
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
/// A job's end is looked for this often while its signal does not come. Signals are lost only across a reload.
const JOB_CHECK: Duration = Duration::from_secs(5);
/// What is left of a unit that has ended is looked for this often: what waits for its end waits no longer than that more.
const LOOK: Duration = Duration::from_millis(200);

/// `ExecMainCode` of a main process that has ended by itself (`CLD_EXITED`, waitid(2)): only then its status is an exit status.
const EXITED: i32 = 1;
/// The words for a failure where it was not the main process that failed.
const BESIDE: &str = ": a command beside the main one failed";

/// One entry of `ListUnits`: name, description, load, active, sub, following, path, job, job type, job path.
type ListedUnit<'a> = (
    &'a str,
    &'a str,
    &'a str,
    &'a str,
    &'a str,
    &'a str,
    ObjectPath<'a>,
    u32,
    &'a str,
    ObjectPath<'a>,
);

/// systemd on this machine.
#[derive(Debug)]
pub struct Systemd {
    bus: Arc<Bus>,
    signals: Arc<Mutex<SignalReader>>,
    files: Mutex<UnitFiles>,
    host: Mutex<HostUnits>,
    /// The run that each unit of ours was last seen in, or started: should a file of the host's come to win over ours, it is
    /// still ours.
    runs: Mutex<BTreeMap<UnitName, String>>,
    /// Units whose file was replaced since systemd last read its files.
    replaced: Mutex<BTreeSet<UnitName>>,
    /// Held by the one who reloads, so that others find it done.
    reload: tokio::sync::Mutex<()>,
    /// Where units have their processes, once systemd has said where it has its own.
    groups: tokio::sync::OnceCell<ControlGroups>,
    tasks: [tokio::task::JoinHandle<()>; 2],
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
        let (signals, events) = SignalReader::new();
        let lingers = signals.lingering_notice();
        let signals = Arc::new(Mutex::new(signals));
        let looker = tokio::spawn({
            let signals = Arc::clone(&signals);
            async move {
                loop {
                    lingers.notified().await;
                    while lock(&signals).look_again() {
                        tokio::time::sleep(LOOK).await;
                    }
                }
            }
        });
        let bus = Arc::new(Bus::new(address, Arc::clone(&signals)));
        let reader = tokio::spawn({
            let bus = Arc::clone(&bus);
            async move { bus.keep_connected().await }
        });
        let systemd = Self {
            bus,
            signals,
            files: Mutex::new(UnitFiles::new_public(unit_dir)),
            host: Mutex::new(HostUnits::new()),
            runs: Mutex::new(BTreeMap::new()),
            replaced: Mutex::new(BTreeSet::new()),
            reload: tokio::sync::Mutex::new(()),
            groups: tokio::sync::OnceCell::new(),
            tasks: [reader, looker],
        };
        (systemd, events)
    }

    /// Where units have their processes.
    async fn control_groups(&self) -> Result<&ControlGroups, RunnerError> {
        let find = || async {
            let asked = (MANAGER, "ControlGroup");
            let own: Result<OwnedVariant, _> =
                self.bus.call_method(MANAGER_PATH, PROPERTIES, "Get", &asked).await;
            let own = match own {
                Ok(own) => String::try_from(own).unwrap_or_default(),
                // One that does not say has the root.
                Err(RunnerError::Refused { .. }) => String::new(),
                Err(error) => return Err(error),
            };
            let groups = ControlGroups::below_manager(&own);
            if groups.is_empty() {
                tracing::warn!(
                    "no control groups can be seen here: processes that a stop leaves behind are not waited for"
                );
            }
            let asked = (MANAGER, "UnitPath");
            let paths: Result<OwnedVariant, _> =
                self.bus.call_method(MANAGER_PATH, PROPERTIES, "Get", &asked).await;
            if let Some(paths) = paths.ok().and_then(|paths| Vec::<String>::try_from(paths).ok()) {
                lock(&self.host).search_also(&paths, lock(&self.files).unit_directory());
            }
            lock(&self.signals).look_in(groups.clone());
            Ok(groups)
        };
        self.groups.get_or_try_init(find).await
    }

    /// Starts a job and waits for its end.
    async fn run_job(&self, member: &str, unit: &UnitName) -> Result<StartOutcome, RunnerError> {
        let job: OwnedObjectPath = self
            .bus
            .call_method(MANAGER_PATH, MANAGER, member, &(unit.as_str(), "replace"))
            .await?;
        let job = JobWait { job: job.as_str().to_owned(), signals: &self.signals };
        let mut end = lock(&self.signals).jobs.wait(&job.job);
        loop {
            match tokio::time::timeout(JOB_CHECK, &mut end).await {
                Ok(Ok(result)) => return Ok(self.outcome_of_job(member, unit, &result).await),
                Ok(Err(_)) => {
                    return Err(RunnerError::Lost {
                        during: format!("{member} {unit}"),
                        problem: "the connection broke before the job's end".to_owned(),
                    });
                }
                Err(_) => {
                    let (id, _): (u32, OwnedObjectPath) =
                        self.read_property(unit, UNIT, "Job").await?;
                    if id == 0 {
                        return self.outcome_by_state(member, unit).await;
                    }
                }
            }
        }
    }

    /// The meaning of a job's result.
    async fn outcome_of_job(&self, member: &str, unit: &UnitName, result: &str) -> StartOutcome {
        let what = match member {
            "StopUnit" => "stop",
            "RestartUnit" => "restart",
            _ => "start",
        };
        match result {
            // "skipped": the job did not apply to the state the unit was in.
            "done" | "skipped" => StartOutcome::Done,
            "timeout" => StartOutcome::Failed { problem: format!("{what} timed out") },
            "canceled" => {
                StartOutcome::Failed { problem: format!("{what} was cancelled by another job") }
            }
            "dependency" => StartOutcome::Failed {
                problem: format!("{what} failed because a unit it depends on failed"),
            },
            "failed" => StartOutcome::Failed {
                problem: format!("{what} failed{}", self.failure_text(unit).await),
            },
            other => StartOutcome::Failed { problem: format!("{what} failed: {other}") },
        }
    }

    /// The outcome of a job whose end was not heard: what the unit has come to.
    async fn outcome_by_state(
        &self,
        member: &str,
        unit: &UnitName,
    ) -> Result<StartOutcome, RunnerError> {
        let active = self.active_state(unit).await?;
        let done = match member {
            "StopUnit" => active.is_down(),
            // A oneshot that has ended is inactive and well.
            _ => active != ActiveState::Failed,
        };
        Ok(self.outcome_of_job(member, unit, if done { "done" } else { "failed" }).await)
    }

    /// The facts of a failure: a service's result and its exit status.
    async fn failure_text(&self, unit: &UnitName) -> String {
        if unit.unit_type() != UnitType::Service {
            return String::new();
        }
        let result = self.read_property::<String>(unit, SERVICE, "Result").await;
        let status = self.read_property::<i32>(unit, SERVICE, "ExecMainStatus").await;
        let exited =
            matches!(self.read_property::<i32>(unit, SERVICE, "ExecMainCode").await, Ok(EXITED));
        match (result.as_deref(), status) {
            // The main process has ended well, was ended or was never started: it was another's.
            (Ok("exit-code"), Ok(0) | Err(_)) => BESIDE.to_owned(),
            (Ok("exit-code"), Ok(_)) if !exited => BESIDE.to_owned(),
            // systemd's own name for a program that is missing or cannot be run.
            (Ok("exit-code"), Ok(203)) => ": exit status 203/EXEC".to_owned(),
            (Ok("exit-code"), Ok(status)) => format!(": exit status {status}"),
            (Ok("signal" | "core-dump"), Ok(signal)) => format!(": killed by signal {signal}"),
            (Ok("success") | Err(_), _) => String::new(),
            (Ok(result), _) => format!(": {result}"),
        }
    }

    async fn active_state(&self, unit: &UnitName) -> Result<ActiveState, RunnerError> {
        let word: String = self.read_property(unit, UNIT, "ActiveState").await?;
        Ok(ActiveState::from(word.as_str()))
    }

    async fn read_property<T>(
        &self,
        unit: &UnitName,
        interface: &str,
        name: &str,
    ) -> Result<T, RunnerError>
    where
        T: TryFrom<OwnedVariant>,
    {
        let value: OwnedVariant =
            self.bus.call_method(&path_of(unit), PROPERTIES, "Get", &(interface, name)).await?;
        T::try_from(value).map_err(|_| RunnerError::Lost {
            during: format!("reading {name} of {unit}"),
            problem: "it has another type than expected".to_owned(),
        })
    }

    /// Makes systemd read its unit files again if it runs this unit from an older file than the one in place.
    async fn reload_if_replaced(&self, unit: &UnitName) -> Result<(), RunnerError> {
        if !lock(&self.replaced).contains(unit) {
            return Ok(());
        }
        let _one = self.reload.lock().await;
        // Whoever held the lock before may have reloaded for us.
        if !lock(&self.replaced).contains(unit) {
            return Ok(());
        }
        if self.read_property::<bool>(unit, UNIT, "NeedDaemonReload").await? {
            let before = lock(&self.replaced).clone();
            self.bus.call_method::<_, ()>(MANAGER_PATH, MANAGER, "Reload", &()).await?;
            lock(&self.replaced).retain(|unit| !before.contains(unit));
        } else {
            lock(&self.replaced).remove(unit);
        }
        Ok(())
    }

    /// Which of the units that have ended for systemd are not empty: they are not down yet.
    fn note_lingering(
        &self,
        groups: &ControlGroups,
        at: u64,
        seen: &mut BTreeMap<UnitName, UnitObservation>,
    ) {
        let ended = |seen: &UnitObservation| EndedState::from_active_state(&seen.observed.active);
        let found = groups.find(seen.iter().filter(|(_, s)| ended(s).is_some()).map(|(u, _)| u));
        let mut signals = lock(&self.signals);
        for (unit, seen) in seen {
            let left = ended(seen).filter(|_| !seen.observed.foreign);
            let left = left.and_then(|ended| Some((ended, found.leftovers_of(unit)?)));
            if let Some((_, left)) = &left {
                seen.observed.active = LINGERS;
                seen.remark = left.remark_text();
            }
            signals.on_observed(unit, at, left);
        }
    }

    /// Where systemd has read a unit from. Asked only in doubt.
    async fn is_from_our_file(&self, unit: &UnitName) -> bool {
        let ours = lock(&self.files).path(unit);
        let path = self.read_property::<String>(unit, UNIT, "FragmentPath").await;
        path.is_ok_and(|path| ours.as_os_str() == path.as_str())
    }

    /// A unit of ours that a file of the host's has come to win over: whether what there is of it is still ours. It is as
    /// long as systemd has not read the other file, and after that for as long as this run lasts.
    async fn is_still_ours(&self, unit: &UnitName, seen: &UnitObservation) -> bool {
        let run = lock(&self.runs).get(unit).cloned();
        let same = run.is_some_and(|run| seen.invocation.is_empty() || run == seen.invocation);
        same || self.is_from_our_file(unit).await
    }

    /// Remembers the run that each of our units is in.
    fn note_runs(&self, seen: &BTreeMap<UnitName, UnitObservation>) {
        let mut runs = lock(&self.runs);
        for (unit, seen) in seen.iter().filter(|(_, seen)| seen.observed.file.is_some()) {
            if seen.observed.foreign {
                runs.remove(unit);
            } else if !seen.invocation.is_empty() {
                runs.insert(unit.clone(), seen.invocation.clone());
            }
        }
    }

    /// Remembers the run that was just begun.
    fn note_run(&self, unit: &UnitName) {
        let (run, _) = current_invocation(unit, &ActiveState::Active);
        if !run.is_empty() {
            lock(&self.runs).insert(unit.clone(), run);
        }
    }

    async fn enable_or_disable<B>(&self, member: &str, body: &B) -> Result<(), RunnerError>
    where
        B: serde::Serialize + zbus::zvariant::DynamicType + Sync,
    {
        self.bus.call_for_message(MANAGER_PATH, MANAGER, member, body).await.map(|_| ())
    }
}

#[async_trait]
impl Runner for Systemd {
    async fn observe_units(
        &self,
        units: &BTreeSet<UnitName>,
    ) -> Result<BTreeMap<UnitName, UnitObservation>, RunnerError> {
        let groups = self.control_groups().await?;
        let at = {
            let mut signals = lock(&self.signals);
            for unit in units {
                signals.watch_unit(unit);
            }
            signals.change_count()
        };
        // One listing of what is loaded. A query by name would load each unit it does not know, for nothing.
        let reply = self.bus.call_for_message(MANAGER_PATH, MANAGER, "ListUnits", &()).await?;
        let mut seen = BTreeMap::new();
        let (mut doubtful, mut overridden) = (Vec::new(), Vec::new());
        {
            let body = reply.body();
            let listed: Vec<ListedUnit<'_>> = body.deserialize().map_err(|error| {
                RunnerError::Lost { during: "ListUnits".to_owned(), problem: error.to_string() }
            })?;
            let listed: HashMap<&str, &ListedUnit<'_>> =
                listed.iter().map(|entry| (entry.0, entry)).collect();
            let mut host = lock(&self.host);
            host.refresh_names();
            let mut files = lock(&self.files);
            for unit in units {
                let name = unit.as_str();
                let file = files.hash(unit);
                let (load, active, sub) =
                    listed.get(name).map_or(("not-found", "inactive", "dead"), |e| (e.2, e.3, e.4));
                let in_place = file.is_some();
                // What systemd has not loaded is loaded when it is needed, from our file.
                let load = if in_place && load == "not-found" { "loaded" } else { load };
                let obstacle = if in_place {
                    None
                } else {
                    let link = || Some(link_in_place(unit, &files.linked_to(unit)?));
                    let template = || Some(instance_of(&host.template_of(unit)?));
                    let slice = || Some(slice_of(&host.instances_of(unit)?));
                    link().or_else(template).or_else(slice)
                };
                let overrides = host.overrides_ours(name);
                let foreign = overrides
                    || (!in_place && (host.has_file(name) || is_reserved(unit)))
                    || obstacle.is_some();
                if !foreign && !in_place && load != "not-found" {
                    doubtful.push(unit.clone());
                }
                if in_place && overrides {
                    overridden.push(unit.clone());
                }
                let active = ActiveState::from(active);
                let (invocation, since) = current_invocation(unit, &active);
                let observed = Observed {
                    load: load.to_owned(),
                    active,
                    sub: sub.to_owned(),
                    foreign,
                    obstacle: obstacle.unwrap_or_default(),
                    file,
                };
                seen.insert(
                    unit.clone(),
                    UnitObservation { observed, invocation, since, remark: String::new() },
                );
            }
        }
        for unit in overridden {
            if let Some(seen) = seen.get_mut(&unit)
                && self.is_still_ours(&unit, seen).await
            {
                seen.observed.foreign = false;
                OVERRIDDEN.clone_into(&mut seen.observed.obstacle);
            }
        }
        self.note_lingering(groups, at, &mut seen);
        for (unit, seen) in seen.iter_mut().filter(|(unit, _)| unit.as_str().len() > LONGEST_LINKED)
        {
            if !seen.observed.active.is_down() && seen.observed.active != LINGERS {
                let id: Vec<u8> = self.read_property(unit, UNIT, "InvocationID").await?;
                seen.invocation = signals::to_hexadecimal(&id);
            }
        }
        for unit in doubtful {
            let foreign = !self.is_from_our_file(&unit).await;
            if let Some(seen) = seen.get_mut(&unit) {
                seen.observed.foreign = foreign;
            }
        }
        self.note_runs(&seen);
        Ok(seen)
    }

    fn find_obstacle(&self, unit: &UnitName, file: &UnitFile) -> Option<String> {
        let ours = |name: &UnitName| lock(&self.files).is_ours(name, unit);
        lock(&self.host).find_obstacle(unit, file, &ours)
    }

    async fn write(&self, unit: &UnitName, _: FileHash, text: &str) -> Result<(), RunnerError> {
        lock(&self.signals).watch_unit(unit);
        let existed = lock(&self.files)
            .write(unit, text)
            .map_err(|error| files_error("write the file of", unit, &error))?;
        if existed {
            lock(&self.replaced).insert(unit.clone());
        }
        Ok(())
    }

    async fn remove(&self, unit: &UnitName) -> Result<(), RunnerError> {
        lock(&self.files)
            .remove(unit)
            .map_err(|error| files_error("remove the file of", unit, &error))?;
        lock(&self.replaced).remove(unit);
        lock(&self.runs).remove(unit);
        lock(&self.signals).unwatch_unit(unit);
        // A unit that is not loaded has no failure to clear.
        match self
            .bus
            .call_for_message(MANAGER_PATH, MANAGER, "ResetFailedUnit", &(unit.as_str()))
            .await
        {
            Ok(_) | Err(RunnerError::Refused { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn enable(&self, units: &[UnitName]) -> Result<(), RunnerError> {
        let names: Vec<&str> = units.iter().map(UnitName::as_str).collect();
        self.enable_or_disable("EnableUnitFiles", &(names, true, false)).await
    }

    async fn disable(&self, units: &[UnitName]) -> Result<(), RunnerError> {
        let names: Vec<&str> = units.iter().map(UnitName::as_str).collect();
        self.enable_or_disable("DisableUnitFiles", &(names, true)).await
    }

    async fn load(&self, unit: &UnitName) -> Result<StartOutcome, RunnerError> {
        self.reload_if_replaced(unit).await?;
        // Asking for a property of a unit that is not loaded loads it.
        let state: String = self.read_property(unit, UNIT, "LoadState").await?;
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
        self.reload_if_replaced(unit).await?;
        let outcome = self.run_job("StartUnit", unit).await;
        self.note_run(unit);
        outcome
    }

    async fn restart(&self, unit: &UnitName, _: u64) -> Result<StartOutcome, RunnerError> {
        self.reload_if_replaced(unit).await?;
        let outcome = self.run_job("RestartUnit", unit).await;
        self.note_run(unit);
        outcome
    }

    async fn failed_since_start(&self, unit: &UnitName) -> Result<Option<String>, RunnerError> {
        let active = self.active_state(unit).await?;
        let sub: String = self.read_property(unit, UNIT, "SubState").await?;
        // A start on somebody's word begins to count anew.
        let restarts = self.read_property::<u32>(unit, SERVICE, "NRestarts").await.unwrap_or(0);
        if active != ActiveState::Failed && !awaits_restart(&sub) && restarts == 0 {
            return Ok(None);
        }
        let why = self.failure_text(unit).await;
        Ok(Some(format!("it failed within moments of its start{why}")))
    }

    async fn stop(&self, unit: &UnitName) -> Result<StartOutcome, RunnerError> {
        match self.run_job("StopUnit", unit).await {
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
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// A job somebody waits for. Dropping it ends the waiting, not the job.
struct JobWait<'a> {
    job: String,
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
