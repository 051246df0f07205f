//! One container unit: its life, and the work that its life asks for, one piece at a time.
//!
//! Owns the unit's [`ContainerLife`], the id of the container it last started, what is remembered of both, and what is published of
//! them. Whatever comes in (an order, a hint that something happened, an outcome, the clock) leads to at most one event for
//! the life. The engine's word is looked up, never taken from a hint. It does nothing itself: what is to be done goes out as
//! [`UnitEffect`]s, and what came of it comes back as [`UnitInput`]s.

mod events;
mod memory;
mod order;
mod removal;
mod status;

use std::collections::VecDeque;
use std::time::Duration;

use muster_common::probe::is_planted;

pub use self::events::{
    ContainerPlan, InspectedContainer, Moment, Prepared, UnitEffect, UnitInput, WorkResult,
};
pub use self::memory::UnitMemory;
pub use self::order::UnitOrder;
pub use self::status::{SettledOutcome, UnitStatus, run_name};
use self::status::{has_container_running, is_at_rest, is_between_runs, is_failure, settled_state};
use super::found::Owner;
use super::life::{
    ContainerAction, ContainerLife, ContainerPolicy, FoundContainer, LifeEvent, LifeMemory,
    LifeResult, Phase, RestState,
};
use super::sessions::{EngineRun, EngineSessions};
use crate::run_origin::RunOrigin;

/// The signal that asks a container to stop where neither its file nor its image says.
const STOP_SIGNAL: &str = "SIGTERM";

/// The rules that a unit of this plan lives by.
fn policy_of(plan: &ContainerPlan) -> ContainerPolicy {
    ContainerPolicy::from_spec(&plan.spec).with_job(plan.is_job)
}

/// One container unit.
#[derive(Debug)]
pub struct ContainerUnit {
    plan: ContainerPlan,
    generation: u64,
    life: ContainerLife,
    /// The container last started; none while another is being made.
    container: Option<String>,
    /// The one before, to be replaced.
    replaced: Option<String>,
    /// The signal its image asks for.
    stop_signal: Option<String>,
    prepared: Option<Prepared>,
    /// The piece of work that was begun and is not done.
    under_way: Option<ContainerAction>,
    /// The pieces that follow it.
    queue: VecDeque<ContainerAction>,
    inspection: Inspection,
    removal: UnitRemoval,
    failures: u64,
    /// The reason the last start failed.
    problem: String,
    /// The reason the last start was none, if anything kept it from being one.
    fault: String,
    /// The progress of the preparation, for people.
    progress: String,
    /// The sessions with the engine when its container was last known to run.
    ran_in: EngineSessions,
    /// The engine that an earlier daemon remembers it to have run with; nothing once this one has seen it run.
    ran_with: Option<EngineRun>,
    remembered: UnitMemory,
    published: UnitStatus,
}

/// The question to the engine about the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inspection {
    None,
    UnderWay,
    /// It is under way, and its answer may have been given before something happened.
    Outdated,
}

/// Where the removal of a unit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UnitRemoval {
    /// Nobody has asked for one.
    None,
    /// A container on its way is waited for, or nobody would know of it.
    WaitsForStart { until: Duration },
    /// Its containers are being removed.
    UnderWay,
}

impl ContainerUnit {
    /// Takes up a unit: what was remembered of it, and the container that the engine has of it.
    pub fn adopt_container(
        plan: ContainerPlan,
        remembered: Option<UnitMemory>,
        found: Option<InspectedContainer>,
        at: &Moment,
    ) -> (Self, Vec<UnitEffect>) {
        let published = UnitStatus::from_memory(remembered.as_ref());
        let remembered = remembered.unwrap_or_default();
        let generation = match found.as_ref().map(|found| &found.owner) {
            Some(Owner::Ours(identity)) => identity.generation,
            // Somebody has removed it, and it is made again as what it was.
            _ => remembered.generation,
        };
        let seen = found.as_ref().map_or(FoundContainer::Absent, |found| found.seen);
        let mut memory = remembered.memory.clone();
        if memory == LifeMemory::default() {
            // Nothing is remembered. One of ours that runs was made because it was wanted.
            memory.wanted = matches!(seen, FoundContainer::Running(_));
            memory.rest = (!memory.wanted).then_some(RestState::Dead);
        }
        // A job that had a container was begun, and is not begun again because somebody has removed that.
        let is_begun_job = plan.is_job && remembered.container.is_some() && memory.rest.is_none();
        if found.is_none() && is_begun_job && !is_planted("removed-job-begun-again") {
            memory.rest = Some(RestState::Failed(LifeResult::Signal));
        }
        let ran_with = remembered.engine;
        let along = ran_with.is_some_and(|run| at.sessions.took_along_after(run));
        let (life, actions) =
            ContainerLife::adopt_container(policy_of(&plan), memory, (seen, along), at.now);
        let runs = matches!(seen, FoundContainer::Running(_));
        let mut unit = Self {
            plan,
            generation,
            life,
            container: found.as_ref().map(|found| found.id.clone()),
            replaced: None,
            stop_signal: found.and_then(|found| found.stop_signal),
            prepared: None,
            under_way: None,
            queue: VecDeque::new(),
            inspection: Inspection::None,
            removal: UnitRemoval::None,
            failures: 0,
            problem: String::new(),
            fault: remembered.fault.clone(),
            progress: String::new(),
            ran_in: at.sessions,
            ran_with: ran_with.filter(|_| !runs),
            remembered,
            published,
        };
        let mut effects = Vec::new();
        unit.enqueue_actions(actions, &mut effects);
        unit.publish_state(at.wall, &mut effects);
        unit.check_invariants();
        (unit, effects)
    }

    /// The number of starts that have failed since the daemon began.
    pub fn failure_count(&self) -> u64 {
        self.failures
    }

    /// True from [`UnitInput::Remove`] until it is removed or that has failed. In between it takes neither orders nor another
    /// file.
    pub fn is_being_removed(&self) -> bool {
        self.removal != UnitRemoval::None
    }

    /// When a [`UnitInput::Tick`] is due, if ever, as the time since the machine booted.
    pub fn next_deadline(&self) -> Option<Duration> {
        match self.removal {
            UnitRemoval::None => self.life.next_deadline(),
            UnitRemoval::WaitsForStart { until } => Some(until),
            UnitRemoval::UnderWay => None,
        }
    }

    /// Takes one input and says what to do, in order.
    pub fn step(&mut self, at: &Moment, input: UnitInput) -> Vec<UnitEffect> {
        let mut effects = Vec::new();
        if self.is_being_removed() {
            self.go_on_removing(at, input, &mut effects);
        } else {
            match input {
                UnitInput::Plan(plan) => self.set_plan(plan),
                UnitInput::Order { order, generation } => {
                    self.generation = generation.unwrap_or(self.generation);
                    self.live_on(at, order.life_event(), &mut effects);
                }
                UnitInput::Hint => self.request_inspection(&mut effects),
                UnitInput::StartHint => self.on_start_hint(&mut effects),
                UnitInput::WorkDone(result) => self.on_work_done(at, result, &mut effects),
                UnitInput::Inspected { container, found } => {
                    self.on_inspected(at, &container, found, &mut effects);
                }
                UnitInput::Progress(text) => self.progress = text,
                UnitInput::Remove => self.begin_removal(at.now, &mut effects),
                // Of a removal that is over.
                UnitInput::Removed(_) => {}
                UnitInput::Tick => self.live_on(at, LifeEvent::Tick, &mut effects),
            }
            self.begin_next(&mut effects);
            self.publish_state(at.wall, &mut effects);
        }
        self.check_invariants();
        effects
    }

    fn set_plan(&mut self, plan: ContainerPlan) {
        self.life.set_policy(policy_of(&plan));
        self.plan = plan;
    }

    fn on_start_hint(&mut self, effects: &mut Vec<UnitEffect>) {
        if is_at_rest(self.life.current_phase())
            || matches!(self.life.current_phase(), Phase::Wait { .. })
        {
            // One that a start has left behind which came to nothing.
            if self.container.is_none() && self.inspection == Inspection::None {
                self.inspection = Inspection::UnderWay;
                effects.push(UnitEffect::FindContainer);
            }
            self.request_inspection(effects);
        }
    }

    /// Asks the engine about its container.
    fn request_inspection(&mut self, effects: &mut Vec<UnitEffect>) {
        let Some(id) = &self.container else { return };
        self.inspection = match self.inspection {
            Inspection::None => {
                effects.push(UnitEffect::Inspect(id.clone()));
                Inspection::UnderWay
            }
            // What is on its way may have been seen before it happened.
            Inspection::UnderWay | Inspection::Outdated => Inspection::Outdated,
        };
    }

    fn on_work_done(&mut self, at: &Moment, result: WorkResult, effects: &mut Vec<UnitEffect>) {
        let done = self.under_way.take();
        // An outcome belongs to the work that was begun: whoever carries it out drops what is cancelled.
        debug_assert!(
            match &result {
                WorkResult::Prepared(_)
                | WorkResult::Unprepared(_)
                | WorkResult::Unmet(_)
                | WorkResult::AssertFailed(_) => done == Some(ContainerAction::Prepare),
                WorkResult::Started { .. } | WorkResult::NotStarted(_) =>
                    done == Some(ContainerAction::Start),
                WorkResult::Sent =>
                    matches!(done, Some(ContainerAction::Signal | ContainerAction::Kill)),
            },
            "{result:?} of {done:?}"
        );
        match result {
            // It has another file meanwhile, which may ask for something else.
            WorkResult::Prepared(prepared) if prepared.plan.file != self.plan.file => {
                self.queue.push_front(ContainerAction::Prepare);
            }
            WorkResult::Prepared(prepared) => {
                self.set_plan(prepared.plan.clone());
                self.prepared = Some(prepared);
                self.live_on(at, LifeEvent::Prepared, effects);
            }
            WorkResult::Unmet(reason) => {
                self.fault = reason;
                self.live_on(at, LifeEvent::Unmet, effects);
            }
            WorkResult::AssertFailed(reason) => {
                self.on_no_start(at, reason, LifeEvent::AssertFailed, effects);
            }
            WorkResult::Unprepared(reason) => {
                self.on_no_start(at, reason, LifeEvent::Unprepared, effects);
            }
            // Called off, most likely: it is as it is wanted.
            WorkResult::NotStarted(_) if self.is_ending() => {
                self.live_on(at, LifeEvent::NotStarted, effects);
            }
            WorkResult::NotStarted(reason) => {
                self.on_no_start(at, reason, LifeEvent::NotStarted, effects);
            }
            WorkResult::Started { id, since } => {
                self.container = Some(id);
                // An answer that did not come was that of an engine which may have gone since, and taken it along.
                let since =
                    if is_planted("start-dated-by-its-answer") { at.sessions } else { since };
                self.note_running(since);
                self.replaced = None;
                self.fault.clear();
                self.live_on(at, LifeEvent::Started, effects);
                // It may have ended before anybody knew that it is ours.
                self.request_inspection(effects);
            }
            WorkResult::Sent => {
                if self.is_ending() {
                    self.request_inspection(effects);
                }
            }
        }
    }

    fn is_ending(&self) -> bool {
        matches!(self.life.current_phase(), Phase::Stop { .. } | Phase::Kill { .. })
    }

    fn on_no_start(
        &mut self,
        at: &Moment,
        reason: String,
        event: LifeEvent,
        effects: &mut Vec<UnitEffect>,
    ) {
        self.fault.clone_from(&reason);
        self.problem = reason;
        self.live_on(at, event, effects);
    }

    /// The engine has said how a container is.
    fn on_inspected(
        &mut self,
        at: &Moment,
        id: &str,
        found: Option<InspectedContainer>,
        effects: &mut Vec<UnitEffect>,
    ) {
        let before = std::mem::replace(&mut self.inspection, Inspection::None);
        debug_assert_ne!(before, Inspection::None, "an answer that nobody asked for: {id}");
        if before == Inspection::Outdated {
            self.request_inspection(effects);
        }
        let rests = is_at_rest(self.life.current_phase());
        if let Some(found) = &found
            && self.container.is_none()
            && rests
            && matches!(found.seen, FoundContainer::Running(_))
            && !is_planted("left-container-unknown")
        {
            self.container = Some(found.id.clone());
            // It is the one itself, or that is gone.
            self.replaced = None;
        }
        // Of one before the present one nothing is to be said any more, and none while another is being made.
        if self.container.as_deref() != Some(id) {
            return;
        }
        let session = self.ran_in.current_session();
        let along = at.sessions.took_along_since(session);
        let Some(found) = found else {
            if !is_at_rest(self.life.current_phase()) {
                // What its engine took along and somebody then cleared away goes on as what lies there does.
                let along = along && !is_planted("cleared-away-counts-as-failed");
                let event = if along { LifeEvent::TakenAlong(None) } else { LifeEvent::Gone };
                self.live_on(at, event, effects);
            }
            self.container = None;
            return;
        };
        self.stop_signal.clone_from(&found.stop_signal);
        match found.seen {
            FoundContainer::Absent => {}
            FoundContainer::Running(health) => {
                self.note_running(at.sessions);
                let phase = self.life.current_phase();
                if is_at_rest(phase) || matches!(phase, Phase::Wait { .. }) {
                    self.live_on(at, LifeEvent::Started, effects);
                }
                if let Some(health) = health
                    && self.life.health_state() != Some(health)
                {
                    self.live_on(at, LifeEvent::Health(health), effects);
                }
            }
            FoundContainer::Ended(ended) => {
                if !found.fault.is_empty() {
                    self.problem.clone_from(&found.fault);
                }
                let event = if along {
                    LifeEvent::TakenAlong(Some(ended))
                } else {
                    LifeEvent::Ended(ended)
                };
                self.live_on(at, event, effects);
            }
        }
    }

    /// Its container is known to run, or to have run, in this session.
    fn note_running(&mut self, sessions: EngineSessions) {
        self.ran_in = sessions;
        self.ran_with = None;
    }

    /// Has its life take an event.
    fn live_on(&mut self, at: &Moment, event: LifeEvent, effects: &mut Vec<UnitEffect>) {
        let before = self.life.current_phase();
        let actions = self.life.step(at.now, event);
        let after = self.life.current_phase();
        if before != after {
            effects.push(UnitEffect::LogPhase { event, phase: after });
            if matches!(after, Phase::Wait { .. }) {
                effects.push(UnitEffect::CountRestart);
            }
        }
        // An order that is refused at once leaves the phase as it was, and has failed all the same.
        let refused = matches!(event, LifeEvent::Start | LifeEvent::Restart);
        if is_failure(after) && (before != after || refused) {
            self.failures += 1;
            if !matches!(
                event,
                LifeEvent::Unprepared | LifeEvent::NotStarted | LifeEvent::AssertFailed
            ) {
                self.problem = self.failure_text();
            }
        }
        if before != after && is_at_rest(after) {
            effects.push(UnitEffect::DiscardNetworks(self.plan.spec.clone()));
        }
        self.enqueue_actions(actions, effects);
    }

    /// Lines up what is to be done.
    fn enqueue_actions(&mut self, actions: Vec<ContainerAction>, effects: &mut Vec<UnitEffect>) {
        for action in actions {
            match action {
                ContainerAction::CancelPrepare => {
                    self.queue.retain(|action| *action != ContainerAction::Prepare);
                    if self.under_way == Some(ContainerAction::Prepare) {
                        self.under_way = None;
                        effects.push(UnitEffect::CancelWork);
                    }
                    self.progress.clear();
                }
                // An engine that is away for long is not to be told the same a hundred times once it is back.
                ContainerAction::Kill if self.queue.back() == Some(&ContainerAction::Kill) => {}
                other => {
                    let ends = matches!(other, ContainerAction::Signal | ContainerAction::Kill);
                    if ends && self.under_way == Some(ContainerAction::Start) {
                        effects.push(UnitEffect::CallOffStart);
                    }
                    self.queue.push_back(other);
                }
            }
        }
        self.begin_next(effects);
    }

    /// Begins the next piece of work if none is under way.
    fn begin_next(&mut self, effects: &mut Vec<UnitEffect>) {
        while self.under_way.is_none() {
            let Some(action) = self.queue.pop_front() else { return };
            let work = match action {
                ContainerAction::Prepare => {
                    self.progress.clear();
                    Some(UnitEffect::Prepare(self.plan.clone()))
                }
                ContainerAction::Start => self.begin_start(),
                ContainerAction::Signal => {
                    let given = self.plan.spec.stop_signal.as_deref();
                    let signal = given.or(self.stop_signal.as_deref()).unwrap_or(STOP_SIGNAL);
                    self.signal_with(signal)
                }
                ContainerAction::Kill => self.signal_with("SIGKILL"),
                ContainerAction::CancelPrepare => None,
            };
            if let Some(work) = work {
                self.under_way = Some(action);
                effects.push(work);
            }
        }
    }

    fn begin_start(&mut self) -> Option<UnitEffect> {
        self.replaced = self.container.take().or(self.replaced.take());
        self.prepared.clone().map(|prepared| UnitEffect::Start {
            prepared,
            replaces: self.replaced.clone(),
            generation: self.generation,
        })
    }

    /// A signal to its container; none where it has none.
    fn signal_with(&self, signal: &str) -> Option<UnitEffect> {
        let container = self.container.clone()?;
        Some(UnitEffect::Signal { container, signal: signal.to_owned() })
    }

    /// The reason it has failed, in the words that are used of a service.
    fn failure_text(&self) -> String {
        let code = self.life.persistent_memory().ended.map(|ended| ended.code);
        let by_code = |code: i64| {
            if code > 128 {
                format!("killed by signal {}", code - 128)
            } else {
                format!("exit status {code}")
            }
        };
        match (self.life.current_phase(), code) {
            (Phase::Failed(LifeResult::ExitCode | LifeResult::Signal), Some(code)) => by_code(code),
            (Phase::Failed(result), _) => result.to_string(),
            (_, Some(code)) => by_code(code),
            (_, None) => self.problem.clone(),
        }
    }

    /// Remembers and publishes how things stand, where that has changed.
    fn publish_state(&mut self, wall: u64, effects: &mut Vec<UnitEffect>) {
        let phase = self.life.current_phase();
        let (active, sub) = (self.life.active_state(), self.life.sub_state().to_owned());
        let changed = (&self.remembered.active, &self.remembered.sub) != (&active, &sub)
            || self.remembered.container != self.container;
        let since = if changed { wall } else { self.remembered.since };
        let remark = self.remark_text();
        // What goes on is told often, and is no more after a restart.
        let lasts = matches!(phase, Phase::Dead | Phase::Failed(_));
        let memory = UnitMemory {
            memory: self.life.persistent_memory().clone(),
            container: self.container.clone(),
            active: active.clone(),
            sub: sub.clone(),
            since,
            fault: self.fault.clone(),
            remark: if lasts { remark.clone() } else { String::new() },
            generation: self.generation,
            engine: self.ran_with.or(self.ran_in.current_run()),
        };
        if memory != self.remembered {
            effects.push(UnitEffect::Remember(memory.clone()));
            self.remembered = memory;
        }
        let runs = has_container_running(phase);
        let is_wanted = self.life.persistent_memory().wanted;
        let origin = if runs && !is_wanted { RunOrigin::Others } else { RunOrigin::Cluster };
        let run = self.container.as_deref().filter(|_| runs).map(run_name);
        let status = UnitStatus {
            adopted: true,
            settled: settled_state(phase),
            active,
            sub,
            invocation: run.unwrap_or_default(),
            since,
            container: self.container.clone(),
            runs,
            origin,
            is_between_runs: is_between_runs(phase),
            failures: self.failures,
            problem: self.problem.clone(),
            result: match phase {
                Phase::Failed(result) => result.to_string(),
                _ => String::new(),
            },
            restarts: self.life.persistent_memory().restarts,
            remark,
        };
        if status != self.published {
            let is_news = status.differs_outside(&self.published);
            effects.push(UnitEffect::Publish { status: status.clone(), is_news });
            self.published = status;
        }
    }

    /// The remark on its state: of its life, and why a start came to nothing where no exit code says it.
    fn remark_text(&self) -> String {
        let life = self.life.remark_text();
        match self.life.current_phase() {
            Phase::Prepare { .. } => self.progress.clone(),
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

    /// The rules that hold between two steps, checked where debug assertions are on.
    fn check_invariants(&self) {
        let has = |action| self.under_way == Some(action) || self.queue.contains(&action);
        let removed = self.is_being_removed();
        // Work waits only for work: `begin_next` runs after everything that adds to the queue or ends a piece.
        debug_assert!(self.under_way.is_some() || self.queue.is_empty(), "{self:?}");
        // What is cancelled is taken out at once and is no piece of work.
        debug_assert!(!has(ContainerAction::CancelPrepare), "{self:?}");
        // Whatever leaves `Prepare` cancels the preparation or is its outcome, and whatever enters it asks for one; so a unit
        // can neither wait for a preparation that nobody makes nor be surprised by one.
        let prepares = matches!(self.life.current_phase(), Phase::Prepare { .. });
        debug_assert!(removed || has(ContainerAction::Prepare) == prepares, "{self:?}");
        // A start that was asked for is on its way until its outcome is in.
        let starts = matches!(self.life.current_phase(), Phase::Start { running: false, .. });
        debug_assert!(removed || !starts || has(ContainerAction::Start), "{self:?}");
        // The container and the one it replaces are two: the second is only known while the first is being made.
        debug_assert!(self.container.is_none() || self.replaced.is_none() || removed, "{self:?}");
    }
}
