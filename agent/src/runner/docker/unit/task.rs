//! The task of one container unit.
//!
//! Owns the unit's inbox and the work under way for it. What to do is said by [`ContainerUnit`]: the task feeds it what comes
//! in, the clock among it, and carries out what it asks for. It chooses nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use muster_common::probe::is_planted;
use muster_common::unit::UnitName;
use muster_engine::container::unit::{
    ContainerPlan, ContainerUnit, InspectedContainer, Moment, UnitEffect, UnitInput, UnitMemory,
    UnitOrder, UnitStatus, WorkResult,
};
use muster_runtime::Instant;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::runner::docker::api::containers::remove_container;
use crate::runner::docker::clean::{discard, orphans};
use crate::runner::docker::client::EngineError;
use crate::runner::docker::context::DockerContext;
use crate::runner::docker::make::host_inputs;
use crate::runner::docker::unit::work;
use crate::runner::{RunnerError, RunnerEvent};
use crate::stdx::timer::sleep_until_opt;

/// A message to a unit's task.
#[derive(Debug)]
pub(crate) enum UnitMessage {
    /// It has another file now.
    Plan(ContainerPlan),
    /// The cluster wants something.
    Order {
        order: UnitOrder,
        /// Of the placement; `None` keeps the one before.
        generation: Option<u64>,
        /// Gets the number of starts that had failed until then, once the order has been published.
        accepted: oneshot::Sender<u64>,
    },
    /// Something may have happened to its container.
    Hint,
    /// Somebody has started its container, most likely we.
    StartHint,
    /// It is to be forgotten, container and all.
    Remove(oneshot::Sender<Result<(), RunnerError>>),
}

/// A unit's task, to the runner.
#[derive(Debug, Clone)]
pub(crate) struct UnitHandle {
    /// The name of its container.
    pub(crate) name: String,
    pub(crate) messages: mpsc::UnboundedSender<UnitMessage>,
    pub(crate) status: watch::Receiver<UnitStatus>,
}

/// The units that are looked after.
pub(crate) type Units = Arc<Mutex<BTreeMap<UnitName, UnitHandle>>>;

/// The answer to a look at a container: its id, and what the engine has of it.
type Inspection = (String, Option<InspectedContainer>);

struct UnitTask {
    context: Arc<DockerContext>,
    name: UnitName,
    unit: ContainerUnit,
    work: Option<BoxFuture<'static, WorkResult>>,
    /// Calls off the start that is under way.
    called_off: CancellationToken,
    inspection: Option<BoxFuture<'static, Inspection>>,
    removal: Option<BoxFuture<'static, Result<(), RunnerError>>>,
    /// Waits for the end of the removal.
    removed: Option<oneshot::Sender<Result<(), RunnerError>>>,
    /// The progress of the preparation that is under way.
    progress: watch::Receiver<String>,
    status: watch::Sender<UnitStatus>,
    is_forgotten: bool,
}

/// Begins to look after a unit. What was remembered of it is published until the engine has been asked.
pub(crate) fn spawn(
    context: &Arc<DockerContext>,
    unit: UnitName,
    plan: ContainerPlan,
) -> UnitHandle {
    let (messages, inbox) = mpsc::unbounded_channel();
    let memory = context.memories.load(&unit);
    let (sender, status) = watch::channel(UnitStatus::from_memory(memory.as_ref()));
    let context = Arc::clone(context);
    let name = plan.spec.name.clone();
    muster_runtime::spawn(adopt_and_run(context, unit, plan, memory, sender, inbox));
    UnitHandle { name, messages, status }
}

/// Finds out what there is of the unit, and looks after it for as long as it is here.
async fn adopt_and_run(
    context: Arc<DockerContext>,
    name: UnitName,
    plan: ContainerPlan,
    memory: Option<UnitMemory>,
    status: watch::Sender<UnitStatus>,
    inbox: mpsc::UnboundedReceiver<UnitMessage>,
) {
    let last = memory.as_ref().and_then(|memory| memory.container.as_deref());
    let found = work::find(&context, &name, last).await;
    let (unit, effects) =
        ContainerUnit::adopt_container(plan, memory, found, &current_moment(&context));
    let task = UnitTask {
        context,
        name,
        unit,
        work: None,
        called_off: CancellationToken::new(),
        inspection: None,
        removal: None,
        removed: None,
        progress: watch::channel(String::new()).1,
        status,
        is_forgotten: false,
    };
    task.run(inbox, effects).await;
}

fn current_moment(context: &DockerContext) -> Moment {
    Moment {
        now: context.world.host.since_boot(),
        wall: context.world.wall.unix_seconds(),
        sessions: context.engine.sessions_so_far(),
    }
}

impl UnitTask {
    async fn run(
        mut self,
        mut inbox: mpsc::UnboundedReceiver<UnitMessage>,
        effects: Vec<UnitEffect>,
    ) {
        self.carry_out(effects);
        while !self.is_forgotten {
            let deadline = self
                .unit
                .next_deadline()
                .map(|at| Instant::now() + at.saturating_sub(self.context.world.host.since_boot()));
            let takes_messages = !self.unit.is_being_removed();
            // Every arm is cancel-safe: channels, a timer, and futures that stay where they are.
            tokio::select! {
                biased;
                result = finish(&mut self.work) => self.feed_input(UnitInput::WorkDone(result)),
                (container, found) = finish(&mut self.inspection) => {
                    self.feed_input(UnitInput::Inspected { container, found });
                }
                result = finish(&mut self.removal) => self.on_removed(result),
                message = inbox.recv(), if takes_messages => match message {
                    Some(message) => self.on_message(message),
                    None => return,
                },
                Ok(()) = self.progress.changed() => {
                    let text = self.progress.borrow_and_update().clone();
                    self.feed_input(UnitInput::Progress(text));
                }
                () = sleep_until_opt(deadline) => self.feed_input(UnitInput::Tick),
            }
        }
    }

    fn feed_input(&mut self, input: UnitInput) {
        let effects = self.unit.step(&current_moment(&self.context), input);
        self.carry_out(effects);
    }

    fn on_message(&mut self, message: UnitMessage) {
        match message {
            UnitMessage::Plan(plan) => self.feed_input(UnitInput::Plan(plan)),
            UnitMessage::Order { order, generation, accepted } => {
                let failures = self.unit.failure_count();
                self.feed_input(UnitInput::Order { order, generation });
                let _ = accepted.send(failures);
            }
            UnitMessage::Hint => self.feed_input(UnitInput::Hint),
            UnitMessage::StartHint => self.feed_input(UnitInput::StartHint),
            UnitMessage::Remove(removed) => {
                self.removed = Some(removed);
                self.feed_input(UnitInput::Remove);
            }
        }
    }

    fn on_removed(&mut self, result: Result<(), RunnerError>) {
        self.feed_input(UnitInput::Removed(result.is_ok()));
        if let Some(removed) = self.removed.take() {
            let _ = removed.send(result);
        }
    }

    fn carry_out(&mut self, effects: Vec<UnitEffect>) {
        let context = Arc::clone(&self.context);
        for effect in effects {
            match effect {
                UnitEffect::Prepare(plan) => self.work = Some(self.begin_preparation(plan)),
                UnitEffect::Start { prepared, replaces, generation } => {
                    let (context, name) = (Arc::clone(&context), self.name.clone());
                    self.called_off = CancellationToken::new();
                    let before = (replaces, self.called_off.clone());
                    self.work = Some(work::start(context, name, prepared, before, generation));
                }
                UnitEffect::Signal { container, signal } => {
                    self.work =
                        Some(work::signal_container(Arc::clone(&context), container, signal));
                }
                UnitEffect::CancelWork => self.work = None,
                UnitEffect::CallOffStart => self.called_off.cancel(),
                UnitEffect::Inspect(id) => {
                    self.inspection = Some(work::look_at_container(Arc::clone(&context), id));
                }
                UnitEffect::FindContainer => {
                    let (context, name) = (Arc::clone(&context), self.name.clone());
                    self.inspection = Some(Box::pin(async move {
                        let found = work::find(&context, &name, None).await;
                        let id = found.as_ref().map(|found| found.id.clone());
                        (id.unwrap_or_default(), found)
                    }));
                }
                UnitEffect::RemoveContainers(ids) => {
                    let removal = remove_containers(Arc::clone(&context), self.name.clone(), ids);
                    self.removal = Some(Box::pin(removal));
                }
                UnitEffect::Forget => {
                    context.memories.forget_unit(&self.name);
                    host_inputs::clear(&context, &self.name);
                    self.is_forgotten = true;
                }
                UnitEffect::Remember(memory) => {
                    if let Err(error) = context.memories.save(&self.name, &memory) {
                        tracing::error!(unit = %self.name, %error, "cannot remember a container");
                    }
                }
                UnitEffect::Publish { status, is_news } => self.publish_state(status, is_news),
                UnitEffect::DiscardNetworks(spec) => discard::after_stop(&context, &spec),
                UnitEffect::CountRestart => context.engine.tally.count_restart(),
                UnitEffect::LogPhase { event, phase: after } => {
                    tracing::debug!(unit = %self.name, ?event, ?after, "a container unit goes on");
                }
            }
        }
    }

    fn begin_preparation(&mut self, plan: ContainerPlan) -> BoxFuture<'static, WorkResult> {
        let (sender, progress) = watch::channel(String::new());
        self.progress = progress;
        let unit = self.name.clone();
        let report = move |text: String| {
            tracing::debug!(%unit, text, "preparing");
            sender.send_replace(text);
        };
        work::prepare_start(Arc::clone(&self.context), self.name.clone(), plan, Arc::new(report))
    }

    fn publish_state(&self, status: UnitStatus, is_news: bool) {
        // First, so that whoever waits for an outcome has heard of the state that goes with it.
        if is_news {
            self.context.events.send_event(RunnerEvent::Changed {
                unit: self.name.clone(),
                active: status.active.clone(),
                sub: status.sub.clone(),
                invocation: status.invocation.clone(),
                since: status.since,
                remark: self.context.engine.remark_on(&status.remark),
            });
        }
        self.status.send_replace(status);
    }
}

async fn remove_containers(
    context: Arc<DockerContext>,
    unit: UnitName,
    ids: Vec<String>,
) -> Result<(), RunnerError> {
    let lost = |error: EngineError| RunnerError::Lost {
        during: format!("removing the container of {unit}"),
        problem: error.to_string(),
    };
    for id in ids {
        remove_container(&context, &id).await.map_err(lost)?;
    }
    if is_planted("left-container-not-removed") {
        return Ok(());
    }
    orphans::remove(&context, &unit).await.map_err(lost)
}

/// Waits for what is in a place, and empties it.
async fn finish<T>(place: &mut Option<BoxFuture<'static, T>>) -> T {
    match place {
        Some(future) => {
            let value = future.await;
            *place = None;
            value
        }
        None => std::future::pending().await,
    }
}
