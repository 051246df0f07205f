//! A Docker engine as a runner, over its API.
//!
//! Owns the units' files in a directory of ours, one task for each unit ([`unit`]), and the line to the engine. Events are
//! taken for hints: whatever one may mean is looked up, and after every break, and whenever the converge loop asks for
//! everything, so is everything. A container without our labels is never touched.
//!
//! ```text
//!   converge ──▶ Docker ─order──▶ unit (engine::container::unit) ──work──▶ make: create, images, resources, inputs ──▶ Engine
//!      ▲                           ▲   │ status                                                                          │
//!      └────── EventQueue ◀────────│───┘                    hints ◀────── watch ◀────────────────────────────────────────┘
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use muster_common::container::{Quadlet, read, variable_files};
use muster_common::machine::ContainerEngine;
use muster_common::unit::{FileHash, RequirementsTemplate, UnitFile, UnitName};
use muster_engine::container::unit::{ContainerPlan, UnitOrder};
use muster_runtime::Task;
use tokio::sync::{oneshot, watch};

use crate::host::modes;
use crate::runner::docker::api::docker_client::DockerClient;
use crate::runner::docker::api::engine::EngineConnection;
use crate::runner::docker::clean::orphans;
use crate::runner::docker::client::{EngineClient, EngineError};
use crate::runner::docker::context::{ContainerWorld, DockerContext, Settings};
use crate::runner::docker::events::EventQueue;
use crate::runner::docker::make::host_inputs;
use crate::runner::docker::unit::task::{self, UnitHandle, UnitMessage, Units};
use crate::runner::docker::watch::watch_engine;
use crate::runner::files::UnitFiles;
use crate::runner::{Runner, RunnerError, RunnerEvents, StartOutcome, UnitObservation};
use crate::stdx::files::read_text;
use crate::stdx::sync::lock;

/// The time for which an order to an engine that does not answer is held back before it is given back.
const ENGINE_TIMEOUT: Duration = Duration::from_secs(10);

/// Docker on this machine.
pub struct Docker {
    pub(super) context: Arc<DockerContext>,
    pub(super) units: Units,
    pub(super) files: Mutex<UnitFiles>,
    /// Units whose file cannot be run here, and why.
    pub(super) refused: Mutex<BTreeMap<UnitName, String>>,
    /// Names of containers that are not this cluster's, as last listed, and what is said of each.
    pub(super) taken: Mutex<HashMap<String, String>>,
    /// The names that the containers of units would have whose file was not taken in because of that.
    pub(super) proposed: Mutex<BTreeMap<UnitName, String>>,
    keeper: Task<()>,
}

impl Drop for Docker {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl Docker {
    /// Begins to look for the engine, in the background.
    ///
    /// # Errors
    ///
    /// A directory of ours that cannot be made.
    pub fn new(settings: Settings) -> io::Result<(Self, RunnerEvents)> {
        let client = Arc::new(DockerClient::new(settings.socket.clone()));
        let (context, events) = new_context(client, ContainerWorld::default(), settings);
        let ours = [
            &context.files,
            context.memories.directory_path(),
            &context.secrets_in_use,
            context.copies.directory_path(),
        ];
        for directory in ours {
            modes::private_directory(directory)?;
        }
        Ok((Self::in_context(context), events))
    }

    /// The same with anybody who speaks for an engine. The directories of ours are there, or come to be with what is written.
    pub fn with_client(
        client: Arc<dyn EngineClient>,
        world: ContainerWorld,
        settings: Settings,
    ) -> (Self, RunnerEvents) {
        let (context, events) = new_context(client, world, settings);
        (Self::in_context(context), events)
    }

    fn in_context(context: Arc<DockerContext>) -> Self {
        let units = Units::default();
        let keeper = muster_runtime::spawn(watch_engine(Arc::clone(&context), Arc::clone(&units)));
        let files = UnitFiles::new(Arc::clone(&context.world.disk), context.files.clone());
        Self {
            context,
            units,
            files: Mutex::new(files),
            refused: Mutex::default(),
            taken: Mutex::default(),
            proposed: Mutex::default(),
            keeper,
        }
    }

    /// The state of the engine, as it changes. One that has not answered yet is missed only if an earlier daemon has used it.
    pub fn watch_engine_state(&self) -> watch::Receiver<ContainerEngine> {
        let mut line = self.context.engine.line();
        let mut had = self.context.memories.has_any();
        let (sender, answers) = watch::channel(ContainerEngine::Absent);
        muster_runtime::spawn(async move {
            loop {
                let now = match &*line.borrow_and_update() {
                    EngineConnection::Up(_) => ContainerEngine::Up,
                    EngineConnection::Down(problem) if had => {
                        ContainerEngine::Lost(problem.clone())
                    }
                    EngineConnection::Down(_) | EngineConnection::Unasked => {
                        ContainerEngine::Absent
                    }
                };
                had |= now == ContainerEngine::Up;
                sender.send_if_modified(|before| {
                    // Its silence is one and the same, however it is described meanwhile.
                    let same = std::mem::discriminant(before) == std::mem::discriminant(&now);
                    if !same {
                        *before = now;
                    }
                    !same
                });
                if line.changed().await.is_err() || sender.is_closed() {
                    return;
                }
            }
        });
        answers
    }

    fn find_handle(&self, unit: &UnitName) -> Option<UnitHandle> {
        lock(&self.units).get(unit).cloned()
    }

    /// Takes up a unit's file, as it lies at our place or has just been written.
    fn take_up(&self, unit: &UnitName, plan: Result<ContainerPlan, String>) -> Option<UnitHandle> {
        let plan = match plan {
            Ok(plan) => plan,
            Err(problem) => {
                lock(&self.refused).insert(unit.clone(), problem);
                return self.find_handle(unit);
            }
        };
        lock(&self.refused).remove(unit);
        let mut units = lock(&self.units);
        if let Some(handle) = units.get_mut(unit) {
            handle.name.clone_from(&plan.spec.name);
            let _ = handle.messages.send(UnitMessage::Plan(plan));
            return Some(handle.clone());
        }
        let handle = task::spawn(&self.context, unit.clone(), plan);
        units.insert(unit.clone(), handle.clone());
        Some(handle)
    }

    fn plan(&self, unit: &UnitName, hash: FileHash, text: &str) -> Result<ContainerPlan, String> {
        let file: UnitFile = text.parse().map_err(|error| format!("{unit}: {error}"))?;
        let host = &self.context.host;
        let wrong = |error| format!("{unit}: {error}");
        let (quadlet, _) = read(unit, &file, host).map_err(wrong)?;
        let open = !variable_files(unit, &file, host).map_err(wrong)?.is_empty();
        match quadlet {
            Quadlet::Container(spec) => {
                let is_job = RequirementsTemplate::parse(&file).is_ok_and(|read| read.is_job());
                let open = open.then(|| Arc::new(file));
                Ok(ContainerPlan { file: hash, spec: Arc::from(spec), open, is_job })
            }
            Quadlet::Volume(_) | Quadlet::Network(_) => Err(format!(
                "{unit} is made where a container names it, and is not started by itself"
            )),
        }
    }

    /// Who keeps a unit's output, where its file says.
    pub(super) fn log_driver(&self, unit: &UnitName) -> Option<String> {
        let text = read_text(&*self.context.world.disk, &self.context.files.join(unit.as_str()))?;
        let plan = self.plan(unit, FileHash::of_text(&text), &text).ok()?;
        plan.spec.log_driver.clone()
    }

    /// The unit's task; one that an earlier daemon left a file of is taken up.
    pub(super) fn find_or_take_up(&self, unit: &UnitName) -> Option<UnitHandle> {
        if let Some(handle) = self.find_handle(unit) {
            return Some(handle);
        }
        let (hash, path) = {
            let mut files = lock(&self.files);
            (files.hash(unit)?, files.path(unit))
        };
        let text = read_text(&*self.context.world.disk, &path)?;
        self.take_up(unit, self.plan(unit, hash, &text))
    }

    /// Tells a unit what is wanted of it and waits until it has come out.
    async fn carry_out(
        &self,
        unit: &UnitName,
        order: UnitOrder,
        generation: Option<u64>,
    ) -> Result<StartOutcome, RunnerError> {
        let during = order.as_str();
        let lost =
            |problem: String| RunnerError::Lost { during: format!("{during} {unit}"), problem };
        self.context.engine.wait_until_ready_within(ENGINE_TIMEOUT).await.map_err(lost)?;
        let Some(mut handle) = self.find_or_take_up(unit) else {
            return if order == UnitOrder::Stop {
                let stopped = orphans::stop(&self.context, unit).await;
                stopped
                    .map(|()| StartOutcome::Done)
                    .map_err(|error| given_back(error, during, unit))
            } else {
                Err(RunnerError::Refused { problem: format!("{unit} has no file on this machine") })
            };
        };
        let (accepted, answer) = oneshot::channel();
        let gone = || lost("it is being removed".to_owned());
        handle
            .messages
            .send(UnitMessage::Order { order, generation, accepted })
            .map_err(|_| gone())?;
        let mut line = self.context.engine.line();
        let failures = tokio::select! {
            biased;
            failures = answer => failures.map_err(|_| gone())?,
            // It is heard once the engine is back; whether it is still wanted then is to be decided anew.
            problem = wait_until_down(&mut line) => return Err(lost(problem)),
        };
        loop {
            let status = handle.status.borrow_and_update().clone();
            if let Some(outcome) = status.outcome_of(order, failures) {
                return Ok(match outcome {
                    Ok(()) => StartOutcome::Done,
                    Err(problem) => StartOutcome::Failed { problem },
                });
            }
            if let EngineConnection::Down(problem) = &*line.borrow_and_update() {
                return Err(lost(problem.clone()));
            }
            // Both are read again after either, so that the order decides nothing but which is looked at first.
            tokio::select! {
                biased;
                changed = handle.status.changed() => changed.map_err(|_| gone())?,
                _ = line.changed() => {}
            }
        }
    }
}

/// What all work of a runner shares, and where its events arrive.
fn new_context(
    client: Arc<dyn EngineClient>,
    world: ContainerWorld,
    settings: Settings,
) -> (Arc<DockerContext>, RunnerEvents) {
    let (queue, events) = EventQueue::new();
    (Arc::new(DockerContext::new(client, world, settings, queue)), events)
}

/// Waits until the engine does not answer. Returns why.
async fn wait_until_down(line: &mut watch::Receiver<EngineConnection>) -> String {
    match line.wait_for(|line| matches!(line, EngineConnection::Down(_))).await.as_deref() {
        Ok(EngineConnection::Down(problem)) => problem.clone(),
        _ => "it has gone".to_owned(),
    }
}

#[async_trait]
impl Runner for Docker {
    fn learn_userspace(&self, userspace: &str) {
        self.context.memories.learn_userspace(userspace);
    }

    async fn observe_units(
        &self,
        units: &BTreeSet<UnitName>,
    ) -> Result<BTreeMap<UnitName, UnitObservation>, RunnerError> {
        Ok(self.look_at(units).await)
    }

    async fn write(&self, unit: &UnitName, hash: FileHash, text: &str) -> Result<(), RunnerError> {
        let plan = self.plan(unit, hash, text);
        if let Ok(plan) = &plan
            && self.find_handle(unit).is_none()
            && let Some(problem) = lock(&self.taken).get(&plan.spec.name)
        {
            lock(&self.proposed).insert(unit.clone(), plan.spec.name.clone());
            return Err(RunnerError::Taken { problem: problem.clone() });
        }
        lock(&self.proposed).remove(unit);
        lock(&self.files)
            .write(unit, text)
            .map_err(|error| files_error("write the file of", unit, &error))?;
        self.take_up(unit, plan);
        Ok(())
    }

    async fn remove(&self, unit: &UnitName) -> Result<(), RunnerError> {
        let lost = |problem| RunnerError::Lost { during: format!("removing {unit}"), problem };
        self.context.engine.wait_until_ready_within(ENGINE_TIMEOUT).await.map_err(lost)?;
        if let Some(handle) = self.find_or_take_up(unit) {
            let (sender, answer) = oneshot::channel();
            // One that is gone already has been removed by somebody else.
            if handle.messages.send(UnitMessage::Remove(sender)).is_ok() {
                answer.await.unwrap_or(Ok(()))?;
            }
            lock(&self.units).remove(unit);
        } else {
            let removed = orphans::remove(&self.context, unit).await;
            removed.map_err(|error| given_back(error, "removing", unit))?;
            self.context.memories.forget_unit(unit);
            host_inputs::clear(&self.context, unit);
        }
        lock(&self.proposed).remove(unit);
        lock(&self.refused).remove(unit);
        lock(&self.files)
            .remove(unit)
            .map_err(|error| files_error("remove the file of", unit, &error))?;
        // Its volumes may have been destroyed with it.
        self.context.cleanup_request.notify_one();
        Ok(())
    }

    /// Nothing to do: `[Install]` is about systemd's targets, and a container starts when the cluster wants it.
    async fn enable(&self, _: &[UnitName]) -> Result<(), RunnerError> {
        Ok(())
    }

    async fn disable(&self, _: &[UnitName]) -> Result<(), RunnerError> {
        Ok(())
    }

    async fn load(&self, unit: &UnitName) -> Result<StartOutcome, RunnerError> {
        let handle = self.find_or_take_up(unit);
        if let Some(problem) = lock(&self.refused).get(unit) {
            return Ok(StartOutcome::Failed { problem: problem.clone() });
        }
        if handle.is_none() {
            return Ok(StartOutcome::Failed {
                problem: format!("{unit} has no file on this machine"),
            });
        }
        Ok(StartOutcome::Done)
    }

    async fn start(&self, unit: &UnitName, generation: u64) -> Result<StartOutcome, RunnerError> {
        match self.load(unit).await? {
            StartOutcome::Done => self.carry_out(unit, UnitOrder::Start, Some(generation)).await,
            failed @ StartOutcome::Failed { .. } => Ok(failed),
        }
    }

    async fn find_replaced_run(&self, unit: &UnitName) -> Result<String, RunnerError> {
        let lost = |problem| RunnerError::Lost { during: format!("looking at {unit}"), problem };
        self.context.engine.wait_until_ready_within(ENGINE_TIMEOUT).await.map_err(lost)?;
        let Some(mut handle) = self.find_or_take_up(unit) else { return Ok(String::new()) };
        let adopted = handle.status.wait_for(|status| status.adopted);
        let status = muster_runtime::timeout(ENGINE_TIMEOUT, adopted).await;
        let run = status.ok().and_then(Result::ok).map(|status| status.invocation.clone());
        run.ok_or_else(|| lost("its container could not be looked at".to_owned()))
    }

    async fn restart(&self, unit: &UnitName, generation: u64) -> Result<StartOutcome, RunnerError> {
        match self.load(unit).await? {
            StartOutcome::Done => self.carry_out(unit, UnitOrder::Restart, Some(generation)).await,
            failed @ StartOutcome::Failed { .. } => Ok(failed),
        }
    }

    async fn stop(&self, unit: &UnitName) -> Result<StartOutcome, RunnerError> {
        self.carry_out(unit, UnitOrder::Stop, None).await
    }
}

/// The error of an engine that did not do as asked for a unit that has no task of its own.
fn given_back(error: EngineError, during: &str, unit: &UnitName) -> RunnerError {
    match error {
        EngineError::Lost(problem) => {
            RunnerError::Lost { during: format!("{during} {unit}"), problem }
        }
        refused @ EngineError::Refused { .. } => {
            RunnerError::Refused { problem: refused.to_string() }
        }
    }
}

fn files_error(what: &str, unit: &UnitName, error: &io::Error) -> RunnerError {
    RunnerError::Files { during: format!("{what} {unit}"), problem: error.to_string() }
}
