//! One container unit: its life, and the work that its life asks for, one piece at a time.
//!
//! Owns the unit's [`Life`], the id of the container it last started and what is remembered of both. Whatever comes in
//! (a wish, a hint that something happened, an outcome, the clock) leads to at most one event for the life; the
//! engine's word is looked up, never taken from a hint. It chooses nothing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use muster_common::state::sub;
use muster_common::unit::UnitName;
use muster_engine::container::{
    Action, Event, Life, LifeResult, Memory, Owner, Phase, Policy, Rest, Seen,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::create::{self, Found, Prepared};
use super::kept::UnitMemory;
use super::machine::DockerContext;
use super::plan::ContainerPlan;
use super::standing::{UnitStatus, invocation, is_failure, settled};
use super::work::{self, WorkResult};
use super::{discard, host, late};
use crate::runner::{RunnerError, RunnerEvent};
use crate::stdx::timer::sleep_until_opt;
use crate::telemetry::health::unix_seconds;

/// The signal that asks a container to stop where neither its file nor its image says.
const STOP: &str = "SIGTERM";

/// How long a unit that is removed waits for a container that is just being made.
const LAST: Duration = Duration::from_secs(30);

/// What a unit is told.
#[derive(Debug)]
pub(super) enum Message {
    /// It has another file now.
    Plan(ContainerPlan),
    /// The cluster wants something; how many starts had failed until then is said once the wish has been heard.
    Wish {
        event: Event,
        /// Of the placement; `None` keeps the one before.
        generation: Option<u64>,
        heard: oneshot::Sender<u64>,
    },
    /// Something may have happened to it.
    Look,
    /// Somebody has started its container, most likely we.
    Started,
    /// It is to be forgotten, container and all.
    Remove(oneshot::Sender<Result<(), RunnerError>>),
}

/// A unit, to the runner.
#[derive(Debug, Clone)]
pub(super) struct Handle {
    /// What its container is called.
    pub(super) name: String,
    pub(super) messages: mpsc::UnboundedSender<Message>,
    pub(super) standing: watch::Receiver<UnitStatus>,
}

struct Unit {
    context: Arc<DockerContext>,
    name: UnitName,
    plan: ContainerPlan,
    generation: u64,
    life: Life,
    /// The container last started; none while another is being made.
    container: Option<String>,
    /// The one before, to be replaced.
    before: Option<String>,
    /// The signal its image asks for.
    stop_signal: Option<String>,
    prepared: Option<Prepared>,
    work: Option<BoxFuture<'static, WorkResult>>,
    /// What that is.
    working: Option<Action>,
    look: Option<BoxFuture<'static, (String, Option<Found>)>>,
    look_again: bool,
    waiting: VecDeque<Action>,
    failures: u64,
    problem: String,
    /// What kept the last start from being one, if anything did.
    fault: String,
    kept: UnitMemory,
    standing: watch::Sender<UnitStatus>,
    remarks: watch::Sender<String>,
    /// Who is to be told, once it has been said how things stand now, that a wish was heard.
    heard: Vec<(oneshot::Sender<u64>, u64)>,
    /// How often the engine had been met when its container was last known to run.
    ran_at: u64,
}

/// Begins to look after a unit. What was remembered of it is said until the engine has been asked.
pub(super) fn spawn(context: &Arc<DockerContext>, unit: UnitName, plan: ContainerPlan) -> Handle {
    let (messages, inbox) = mpsc::unbounded_channel();
    let kept = context.memories.load(&unit);
    let first = match &kept {
        Some(kept) => UnitStatus {
            active: kept.active.clone(),
            sub: kept.sub.clone(),
            since: kept.since,
            invocation: kept.container.as_deref().map(invocation).unwrap_or_default(),
            container: kept.container.clone(),
            remark: kept.remark.clone(),
            ..UnitStatus::default()
        },
        None => UnitStatus { sub: sub::DEAD.to_owned(), ..UnitStatus::default() },
    };
    let (standing, seen) = watch::channel(first);
    let context = Arc::clone(context);
    let name = plan.spec.name.clone();
    tokio::spawn(async move {
        let kept = kept.unwrap_or_default();
        let (unit, actions) = Unit::adopt(context, unit, plan, kept, standing).await;
        unit.run(inbox, actions).await;
    });
    Handle { name, messages, standing: seen }
}

impl Unit {
    /// Finds out what there is of it.
    async fn adopt(
        context: Arc<DockerContext>,
        unit: UnitName,
        plan: ContainerPlan,
        kept: UnitMemory,
        standing: watch::Sender<UnitStatus>,
    ) -> (Self, Vec<Action>) {
        let ours = work::find(&context, &unit, kept.container.as_deref()).await;
        let generation = match ours.as_ref().map(|found| &found.owner) {
            Some(Owner::Ours(identity)) => identity.generation,
            _ => 0,
        };
        let seen = ours.as_ref().map_or(Seen::Absent, |found| found.seen);
        let mut memory = kept.memory.clone();
        if memory == Memory::default() {
            // Nothing is remembered. One of ours that runs was made because it was wanted.
            memory.wanted = matches!(seen, Seen::Running(_));
            memory.rest = (!memory.wanted).then_some(Rest::Dead);
        }
        let (life, actions) = Life::adopt(Policy::of(&plan.spec), memory, seen, host::now());
        let ran_at = context.engine.meetings();
        let unit = Self {
            context,
            name: unit,
            plan,
            generation,
            life,
            container: ours.as_ref().map(|found| found.id.clone()),
            before: None,
            stop_signal: ours.and_then(|found| found.stop_signal),
            prepared: None,
            work: None,
            working: None,
            look: None,
            look_again: false,
            waiting: VecDeque::new(),
            failures: 0,
            problem: String::new(),
            fault: kept.fault.clone(),
            kept,
            standing,
            remarks: watch::Sender::new(String::new()),
            heard: Vec::new(),
            ran_at,
        };
        (unit, actions)
    }

    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Message>, actions: Vec<Action>) {
        let mut remarks = self.remarks.subscribe();
        self.take(actions);
        self.say();
        loop {
            let deadline =
                self.life.deadline().map(|at| Instant::now() + at.saturating_sub(host::now()));
            // Every arm is cancel-safe: channels, a timer, and futures that stay where they are.
            tokio::select! {
                biased;
                came = done(&mut self.work) => self.came(came),
                (id, found) = done(&mut self.look) => self.found(&id, found),
                message = inbox.recv() => match message {
                    Some(Message::Remove(answer)) => {
                        let removed = self.remove().await;
                        let gone = removed.is_ok();
                        let _ = answer.send(removed);
                        if gone {
                            return;
                        }
                    }
                    Some(message) => self.told(message),
                    None => return,
                },
                Ok(()) = remarks.changed() => {}
                () = sleep_until_opt(deadline) => self.step(Event::Tick),
            }
            self.next();
            self.say();
            for (heard, failures) in self.heard.drain(..) {
                let _ = heard.send(failures);
            }
        }
    }

    fn told(&mut self, message: Message) {
        match message {
            Message::Plan(plan) => {
                self.life.set_policy(Policy::of(&plan.spec));
                self.plan = plan;
            }
            Message::Wish { event, generation, heard } => {
                if let Some(generation) = generation {
                    self.generation = generation;
                }
                let failures = self.failures;
                self.step(event);
                self.heard.push((heard, failures));
            }
            Message::Look => {
                let Some(id) = &self.container else { return };
                if self.look.is_some() {
                    // What is on its way may have been seen before it happened.
                    self.look_again = true;
                    return;
                }
                self.look = Some(work::look(Arc::clone(&self.context), id.clone()));
            }
            Message::Started => {
                use Phase::{Dead, Exited, Failed, Wait};
                if matches!(self.life.phase(), Dead | Exited | Failed(_) | Wait { .. }) {
                    self.told(Message::Look);
                }
            }
            Message::Remove(_) => {}
        }
    }

    /// A piece of work is done.
    fn came(&mut self, came: WorkResult) {
        match came {
            // It has another file meanwhile, which may ask for something else.
            WorkResult::Prepared(prepared) if prepared.plan.file != self.plan.file => {
                self.waiting.push_front(Action::Prepare);
            }
            WorkResult::Prepared(prepared) => {
                self.told(Message::Plan(prepared.plan.clone()));
                self.prepared = Some(prepared);
                self.step(Event::Prepared);
            }
            WorkResult::Unmet(reason) => {
                self.fault = reason;
                self.step(Event::Unmet);
            }
            WorkResult::AssertFailed(reason) => {
                self.fault.clone_from(&reason);
                self.problem = reason;
                self.step(Event::AssertFailed);
            }
            WorkResult::Unprepared(problem) => {
                self.fault.clone_from(&problem);
                self.problem = problem;
                self.step(Event::Unprepared);
            }
            WorkResult::Started(id) => {
                self.container = Some(id);
                self.ran_at = self.context.engine.meetings();
                self.before = None;
                self.fault.clear();
                self.step(Event::Started);
                // It may have ended before anybody knew that it is ours.
                self.told(Message::Look);
            }
            WorkResult::NotStarted(problem) => {
                self.fault.clone_from(&problem);
                self.problem = problem;
                self.step(Event::NotStarted);
            }
            WorkResult::Sent => {
                if matches!(self.life.phase(), Phase::Stop { .. } | Phase::Kill { .. }) {
                    self.told(Message::Look);
                }
            }
        }
    }

    /// The engine has said how a container is.
    fn found(&mut self, id: &str, found: Option<Found>) {
        if std::mem::take(&mut self.look_again) {
            self.told(Message::Look);
        }
        // Of one before the present one nothing is to be said any more, and none while another is being made.
        if self.container.as_deref() != Some(id) {
            return;
        }
        let Some(found) = found else {
            if !matches!(self.life.phase(), Phase::Dead | Phase::Exited | Phase::Failed(_)) {
                self.step(Event::Gone);
            }
            self.container = None;
            return;
        };
        self.stop_signal.clone_from(&found.stop_signal);
        match found.seen {
            Seen::Absent => {}
            Seen::Running(health) => {
                self.ran_at = self.context.engine.meetings();
                if matches!(
                    self.life.phase(),
                    Phase::Dead | Phase::Exited | Phase::Failed(_) | Phase::Wait { .. }
                ) {
                    self.step(Event::Started);
                }
                if let Some(health) = health
                    && self.life.health() != Some(health)
                {
                    self.step(Event::Health(health));
                }
            }
            Seen::Ended(ended) => {
                if !found.fault.is_empty() {
                    self.problem.clone_from(&found.fault);
                }
                let along = self.context.engine.took_along(self.ran_at);
                self.step(if along { Event::TakenAlong(ended) } else { Event::Ended(ended) });
            }
        }
    }

    fn step(&mut self, event: Event) {
        let before = self.life.phase();
        let actions = self.life.step(host::now(), event);
        let after = self.life.phase();
        if before != after {
            tracing::debug!(unit = %self.name, ?event, ?after, "a container unit goes on");
        }
        if before != after && matches!(after, Phase::Wait { .. }) {
            self.context.engine.tally.restarts();
        }
        // A wish that is refused at once leaves the phase as it was, and has failed all the same.
        let refused = matches!(event, Event::Start | Event::Restart);
        if is_failure(after) && (before != after || refused) {
            self.failures += 1;
            if !matches!(event, Event::Unprepared | Event::NotStarted | Event::AssertFailed) {
                self.problem = self.why();
            }
        }
        if before != after && matches!(after, Phase::Dead | Phase::Exited | Phase::Failed(_)) {
            discard::after_stop(&self.context, &self.plan.spec);
        }
        self.take(actions);
    }

    /// Lines up what is to be done.
    fn take(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::CancelPrepare => {
                    self.waiting.retain(|action| *action != Action::Prepare);
                    if self.working == Some(Action::Prepare) {
                        self.work = None;
                    }
                    self.remarks.send_replace(String::new());
                }
                // An engine that is away for long is not to be told the same a hundred times once it is back.
                Action::Kill if self.waiting.back() == Some(&Action::Kill) => {}
                other => self.waiting.push_back(other),
            }
        }
        self.next();
    }

    /// Begins the next piece of work if none is under way.
    fn next(&mut self) {
        while self.work.is_none() {
            let Some(action) = self.waiting.pop_front() else { return };
            let context = Arc::clone(&self.context);
            self.working = Some(action);
            self.work = match action {
                Action::Prepare => {
                    let remarks = self.remarks.clone();
                    let unit = self.name.clone();
                    let told = move |text: String| {
                        tracing::debug!(%unit, text, "preparing");
                        remarks.send_replace(text);
                    };
                    let (unit, plan) = (self.name.clone(), self.plan.clone());
                    Some(work::prepare(context, unit, plan, Arc::new(told)))
                }
                Action::Start => {
                    self.remarks.send_replace(String::new());
                    self.before = self.container.take().or(self.before.take());
                    let (unit, before) = (self.name.clone(), self.before.clone());
                    self.prepared.clone().map(|prepared| {
                        work::start(context, unit, prepared, before, self.generation)
                    })
                }
                Action::Signal => {
                    let given = self.plan.spec.stop_signal.clone();
                    let signal = given.or_else(|| self.stop_signal.clone());
                    self.send(signal.unwrap_or_else(|| STOP.to_owned()))
                }
                Action::Kill => self.send("SIGKILL".to_owned()),
                Action::CancelPrepare => None,
            };
        }
    }

    fn send(&self, signal: String) -> Option<BoxFuture<'static, WorkResult>> {
        let id = self.container.clone()?;
        Some(work::signal(Arc::clone(&self.context), id, signal))
    }

    /// Forgets it, container and all.
    async fn remove(&mut self) -> Result<(), RunnerError> {
        self.waiting.clear();
        // A container on its way is waited for, or nobody would know of it.
        if self.working == Some(Action::Start)
            && self.work.is_some()
            && let Ok(WorkResult::Started(id)) =
                tokio::time::timeout(LAST, done(&mut self.work)).await
        {
            self.container = Some(id);
        }
        self.work = None;
        self.look = None;
        let ids: Vec<String> = self.container.iter().chain(&self.before).cloned().collect();
        for id in ids {
            create::remove(&self.context, &id).await.map_err(|error| RunnerError::Lost {
                during: format!("removing the container of {}", self.name),
                problem: error.to_string(),
            })?;
        }
        self.context.memories.forget(&self.name);
        late::clear(&self.context, &self.name);
        Ok(())
    }

    /// Why it has failed, in the words that are used of a service.
    fn why(&self) -> String {
        let code = self.life.memory().ended.map(|ended| ended.code);
        let by_code = |code: i64| {
            if code > 128 {
                format!("killed by signal {}", code - 128)
            } else {
                format!("exit status {code}")
            }
        };
        match (self.life.phase(), code) {
            (Phase::Failed(LifeResult::ExitCode | LifeResult::Signal), Some(code)) => by_code(code),
            (Phase::Failed(result), _) => result.to_string(),
            (_, Some(code)) => by_code(code),
            (_, None) => self.problem.clone(),
        }
    }

    /// Says and remembers how things stand.
    fn say(&mut self) {
        let phase = self.life.phase();
        let (active, sub) = (self.life.active(), self.life.sub().to_owned());
        let changed = (&self.kept.active, &self.kept.sub) != (&active, &sub)
            || self.kept.container != self.container;
        let since = if changed { unix_seconds() } else { self.kept.since };
        let kept = UnitMemory {
            memory: self.life.memory().clone(),
            container: self.container.clone(),
            active: active.clone(),
            sub: sub.clone(),
            since,
            fault: self.fault.clone(),
            // What goes on is told often, and is no more after a restart.
            remark: if matches!(phase, Phase::Dead | Phase::Failed(_)) {
                self.remark()
            } else {
                String::new()
            },
        };
        if kept != self.kept {
            if let Err(error) = self.context.memories.save(&self.name, &kept) {
                tracing::error!(unit = %self.name, %error, "cannot remember a container");
            }
            self.kept = kept;
        }
        let runs = matches!(
            phase,
            Phase::Start { running: true, .. }
                | Phase::Running
                | Phase::Stop { .. }
                | Phase::Kill { .. }
        );
        let shown = if runs { self.container.as_deref().map(invocation) } else { None };
        let standing = UnitStatus {
            adopted: true,
            settled: settled(phase),
            active: active.clone(),
            sub: sub.clone(),
            invocation: shown.unwrap_or_default(),
            since,
            container: self.container.clone(),
            runs,
            failures: self.failures,
            problem: self.problem.clone(),
            result: match phase {
                Phase::Failed(result) => result.to_string(),
                _ => String::new(),
            },
            restarts: self.life.memory().restarts,
            remark: self.remark(),
        };
        let told = self.standing.borrow().clone();
        if told == standing {
            return;
        }
        let news = (&told.active, &told.sub, &told.invocation, &told.remark, told.adopted)
            != (&standing.active, &standing.sub, &standing.invocation, &standing.remark, true);
        let invocation = standing.invocation.clone();
        let remark = self.context.engine.remark(&standing.remark);
        // First, so that whoever waits for an outcome has heard of the state that goes with it.
        if news {
            let unit = self.name.clone();
            let changed = RunnerEvent::Changed { unit, active, sub, invocation, since, remark };
            self.context.news.tell(changed);
        }
        self.standing.send_replace(standing);
    }

    /// What there is to say besides: of its life, and why a start came to nothing where no exit code says it.
    fn remark(&self) -> String {
        let life = self.life.remark();
        match self.life.phase() {
            Phase::Prepare { .. } => self.remarks.borrow().clone(),
            Phase::Dead if !life.is_empty() => format!("{life}: {}", self.fault),
            Phase::Wait { .. }
            | Phase::Failed(
                LifeResult::Assert | LifeResult::Resources | LifeResult::StartLimitHit,
            ) if !self.fault.is_empty() => {
                format!("{life}: {}", self.fault)
            }
            _ => life,
        }
    }
}

/// Waits for what is in a place, and empties it.
async fn done<T>(place: &mut Option<BoxFuture<'static, T>>) -> T {
    match place {
        Some(future) => {
            let value = future.await;
            *place = None;
            value
        }
        None => std::future::pending().await,
    }
}
