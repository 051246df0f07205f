//! The life of one container: what to do when it starts, ends, falls ill or takes too long.
//!
//! Owns `Restart=`, the start limit, the timeouts, `Notify=healthy` and `HealthOnFailure=`, as systemd.service(5) in Debian
//! 12 has them. The clock is passed in, as the time since the machine booted, which goes on over a restart of the daemon;
//! whoever carries the actions out says what came of them with the next event. A container's events are those of the one
//! it last started: what an engine still says of one before is not to be passed on.
//!
//! ```text
//!            Start                Prepared              Started, or well             Ended
//!   Dead ────────────▶ Prepare ────────────▶ Start ─────────────────────▶ Running ──────────┐
//!    ▲ ▲    allowed?      │ gives up           │ takes too long             │ Stop, ill      │ judged
//!    │ └──────────────────│────────────────────│────────────────────────────▼                ▼
//!    │                    ▼                    └──────────────────────────▶ Stop ──▶ Kill   Wait ──▶ Prepare
//!    └──── clean ◀──── judged ───▶ Failed                              grace is over      RestartSec= is over
//! ```

mod judge;
mod limit;
mod memory;
mod phase;
mod policy;
mod words;

use std::time::Duration;

use muster_common::container::{Notify, OnFailure, ServiceKind};
use muster_common::probe::is_planted;

pub use judge::{Ended, LifeResult};
pub use memory::{LifeMemory, RestState};
use phase::AfterStop;
pub use phase::Phase;
pub use policy::ContainerPolicy;

/// An event in the life of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LifeEvent {
    /// The cluster wants it to run.
    Start,
    /// The cluster wants it to run anew.
    Restart,
    /// The cluster does not want it to run any more.
    Stop,
    /// Image, volumes and networks are there.
    Prepared,
    /// They are not, and trying on is no use.
    Unprepared,
    /// Its conditions do not hold on this machine: the start comes to nothing.
    Unmet,
    /// An assertion of its does not hold on this machine: the start fails.
    AssertFailed,
    /// It runs.
    Started,
    /// The engine refused to make or to start it.
    NotStarted,
    /// Its health has changed.
    Health(HealthState),
    /// It has ended.
    Ended(Ended),
    /// It has ended because its engine did; absent: and is not there any more.
    TakenAlong(Option<Ended>),
    /// It is not there any more.
    Gone,
    /// Time has passed; see [`ContainerLife::next_deadline`].
    Tick,
}

/// The health of a container, as its engine reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthState {
    /// Not known yet.
    Starting,
    /// Well.
    Healthy,
    /// Not well.
    Unhealthy,
}

/// One thing to do; several are done in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerAction {
    /// Get its image, make its volumes and networks.
    Prepare,
    /// Give that up.
    CancelPrepare,
    /// Make it, in the place of one before it, and start it.
    Start,
    /// Send it its stop signal.
    Signal,
    /// Kill it.
    Kill,
}

/// The container that a daemon that has just started finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoundContainer {
    /// No container, or one that never ran.
    Absent,
    /// One that runs.
    Running(Option<HealthState>),
    /// One that has ended.
    Ended(Ended),
}

/// One container's life.
#[derive(Debug, Clone)]
pub struct ContainerLife {
    policy: ContainerPolicy,
    phase: Phase,
    memory: LifeMemory,
    health: Option<HealthState>,
}

/// After this a kill is sent again.
const KILL_AGAIN: Duration = Duration::from_secs(10);

impl ContainerLife {
    /// A container that was never started.
    pub fn new(policy: ContainerPolicy) -> Self {
        let memory = LifeMemory { rest: Some(RestState::Dead), ..LifeMemory::default() };
        Self { policy, phase: Phase::Dead, memory, health: None }
    }

    /// A container found by a daemon that has just started, and what to do about it. One that runs is left alone, and so is one that has
    /// ended by itself; `was_taken_along` says that it ended because its engine did.
    ///
    /// One that would be started again is [`Phase::Interrupted`]: while nobody looked after it its unit may have been moved, and it
    /// goes on with the next start that is asked for.
    pub fn adopt_container(
        policy: ContainerPolicy,
        memory: LifeMemory,
        (seen, was_taken_along): (FoundContainer, bool),
        now: Duration,
    ) -> (Self, Vec<ContainerAction>) {
        let rest = memory.rest;
        let wanted = memory.wanted;
        let mut life = Self { policy, phase: Phase::Dead, memory, health: None };
        let actions = match (seen, rest) {
            (FoundContainer::Running(health), _) => {
                life.phase = life.starting_phase(now);
                life.step(now, LifeEvent::Started)
                    .into_iter()
                    .chain(
                        health
                            .into_iter()
                            .flat_map(|health| life.step(now, LifeEvent::Health(health))),
                    )
                    .collect()
            }
            (_, Some(rest)) => {
                life.phase = rest.to_phase();
                Vec::new()
            }
            (FoundContainer::Ended(ended), None) if wanted => {
                life.phase = life.starting_phase(now);
                life.step(now, LifeEvent::Started);
                let along = was_taken_along;
                let event = if along {
                    LifeEvent::TakenAlong(Some(ended))
                } else {
                    LifeEvent::Ended(ended)
                };
                let actions = life.step(now, event);
                life.hold_start(actions)
            }
            (FoundContainer::Absent, None) if wanted => {
                let actions = life.begin(now);
                life.hold_start(actions)
            }
            (FoundContainer::Absent | FoundContainer::Ended(_), None) => {
                life.come_to_rest(RestState::Dead);
                Vec::new()
            }
        };
        life.check_invariants(&actions);
        (life, actions)
    }

    /// The phase that it is in.
    pub fn current_phase(&self) -> Phase {
        self.phase
    }

    /// The part to keep for [`ContainerLife::adopt_container`].
    pub fn persistent_memory(&self) -> &LifeMemory {
        &self.memory
    }

    /// Its health, where it has a check.
    pub fn health_state(&self) -> Option<HealthState> {
        self.health
    }

    /// New rules, from its next decision on.
    pub fn set_policy(&mut self, policy: ContainerPolicy) {
        self.policy = policy;
    }

    /// When a [`Event::Tick`] is due, if ever.
    pub fn next_deadline(&self) -> Option<Duration> {
        match self.phase {
            Phase::Prepare { deadline }
            | Phase::Start { deadline, .. }
            | Phase::Stop { deadline, .. } => deadline,
            Phase::Kill { again, .. } => Some(again),
            Phase::Wait { until } => Some(until),
            Phase::Dead
            | Phase::Running
            | Phase::Exited
            | Phase::Interrupted
            | Phase::Failed(_) => None,
        }
    }

    /// Takes one event and says what to do.
    pub fn step(&mut self, now: Duration, event: LifeEvent) -> Vec<ContainerAction> {
        let actions = match event {
            LifeEvent::Start => self.on_start(now),
            LifeEvent::Restart => self.on_restart(now),
            LifeEvent::Stop => self.on_stop(now),
            LifeEvent::Prepared => self.on_prepared(now),
            LifeEvent::Started => self.on_started(),
            LifeEvent::Unprepared | LifeEvent::NotStarted => self.on_refused(now, event),
            LifeEvent::Unmet => self.on_unmet(RestState::Dead),
            LifeEvent::AssertFailed => self.on_unmet(RestState::Failed(LifeResult::Assert)),
            LifeEvent::Health(health) => self.on_health(now, health),
            LifeEvent::Ended(ended) => self.on_end(now, Some(ended)),
            LifeEvent::TakenAlong(ended) => self.on_taken_along(now, ended),
            LifeEvent::Gone => self.on_end(now, None),
            LifeEvent::Tick => self.on_tick(now),
        };
        self.check_invariants(&actions);
        actions
    }

    fn on_start(&mut self, now: Duration) -> Vec<ContainerAction> {
        self.memory.wanted = true;
        if self.phase == Phase::Interrupted {
            // It goes on, as it would have with a daemon there.
            return self.begin(now);
        }
        self.memory.restarts = 0;
        match &mut self.phase {
            Phase::Dead | Phase::Failed(_) | Phase::Wait { .. } => self.begin(now),
            Phase::Stop { then, .. } | Phase::Kill { then, .. } => {
                *then = AfterStop::Start;
                Vec::new()
            }
            Phase::Prepare { .. }
            | Phase::Start { .. }
            | Phase::Running
            | Phase::Exited
            | Phase::Interrupted => Vec::new(),
        }
    }

    fn on_restart(&mut self, now: Duration) -> Vec<ContainerAction> {
        match self.phase {
            Phase::Start { .. } | Phase::Running => {
                self.memory.wanted = true;
                self.memory.restarts = 0;
                self.stop(now, AfterStop::Start)
            }
            Phase::Exited => {
                self.phase = Phase::Dead;
                self.on_start(now)
            }
            _ => self.on_start(now),
        }
    }

    fn on_stop(&mut self, now: Duration) -> Vec<ContainerAction> {
        self.memory.wanted = false;
        match &mut self.phase {
            Phase::Prepare { .. } => {
                self.come_to_rest(RestState::Dead);
                vec![ContainerAction::CancelPrepare]
            }
            Phase::Start { .. } | Phase::Running => self.stop(now, AfterStop::Rest),
            Phase::Stop { then, .. } | Phase::Kill { then, .. } => {
                *then = AfterStop::Rest;
                Vec::new()
            }
            Phase::Exited | Phase::Wait { .. } | Phase::Interrupted => {
                self.come_to_rest(RestState::Dead);
                Vec::new()
            }
            // As in systemd, a failure stays to be seen.
            Phase::Dead | Phase::Failed(_) => Vec::new(),
        }
    }

    fn on_prepared(&mut self, now: Duration) -> Vec<ContainerAction> {
        let Phase::Prepare { deadline } = self.phase else { return Vec::new() };
        let deadline = deadline.or_else(|| deadline_after(now, self.policy.service.start_timeout));
        self.phase = Phase::Start { running: false, deadline };
        vec![ContainerAction::Start]
    }

    fn on_started(&mut self) -> Vec<ContainerAction> {
        match self.phase {
            Phase::Start { deadline, .. } => {
                let at_once = self.policy.service.kind == ServiceKind::Notify
                    && self.policy.notify == Notify::Running;
                self.phase =
                    if at_once { Phase::Running } else { Phase::Start { running: true, deadline } };
            }
            // By hand, and who may start a unit of the cluster's by hand may see it run.
            Phase::Dead
            | Phase::Exited
            | Phase::Failed(_)
            | Phase::Wait { .. }
            | Phase::Interrupted => {
                self.memory.rest = None;
                self.memory.unmet = false;
                self.phase = Phase::Running;
            }
            Phase::Prepare { .. } | Phase::Running | Phase::Stop { .. } | Phase::Kill { .. } => {}
        }
        Vec::new()
    }

    fn on_refused(&mut self, now: Duration, event: LifeEvent) -> Vec<ContainerAction> {
        let expected = match self.phase {
            Phase::Prepare { .. } => event == LifeEvent::Unprepared,
            Phase::Start { running, .. } => event == LifeEvent::NotStarted && !running,
            // It never came to be, so there is nothing to wait for.
            Phase::Stop { .. } | Phase::Kill { .. } if event == LifeEvent::NotStarted => {
                return self.on_end(now, None);
            }
            _ => false,
        };
        if expected { self.judge_result(now, LifeResult::Resources) } else { Vec::new() }
    }

    /// As in systemd such a start was none: `Restart=` is not asked, and the start limit does not count it.
    fn on_unmet(&mut self, rest: RestState) -> Vec<ContainerAction> {
        if matches!(self.phase, Phase::Prepare { .. }) {
            self.memory.starts.pop();
            self.memory.unmet = rest == RestState::Dead;
            self.come_to_rest(rest);
        }
        Vec::new()
    }

    fn on_health(&mut self, now: Duration, health: HealthState) -> Vec<ContainerAction> {
        self.health = Some(health);
        let up = matches!(self.phase, Phase::Running | Phase::Start { running: true, .. });
        match health {
            HealthState::Healthy => {
                let waits = self.policy.service.kind == ServiceKind::Notify;
                if waits && matches!(self.phase, Phase::Start { running: true, .. }) {
                    self.phase = Phase::Running;
                }
                Vec::new()
            }
            HealthState::Unhealthy if up => match self.policy.on_failure {
                OnFailure::None => Vec::new(),
                OnFailure::Kill => self.kill_container(now, false, AfterStop::Judge(None)),
                // One that somebody started by hand is nobody's to start again.
                OnFailure::Restart if !self.memory.wanted => self.stop(now, AfterStop::Rest),
                OnFailure::Restart => self.stop(now, AfterStop::Start),
                OnFailure::Stop => self.stop(now, AfterStop::Judge(None)),
            },
            HealthState::Starting | HealthState::Unhealthy => Vec::new(),
        }
    }

    /// It has ended, or is not there: whoever removed it killed it.
    fn on_end(&mut self, now: Duration, ended: Option<Ended>) -> Vec<ContainerAction> {
        let result = match ended {
            Some(ended) => judge::judge_end(&self.policy, ended),
            None => LifeResult::Signal,
        };
        match self.phase {
            Phase::Start { running: false, .. } if ended.is_none() => Vec::new(),
            Phase::Start { .. } | Phase::Running => {
                let early = matches!(self.phase, Phase::Start { .. })
                    && self.policy.service.kind == ServiceKind::Notify;
                let waits = self.policy.notify == Notify::Healthy;
                self.memory.ended = ended;
                // It was to be well first.
                self.judge_result(
                    now,
                    if early && waits && result == LifeResult::Success {
                        LifeResult::Protocol
                    } else {
                        result
                    },
                )
            }
            Phase::Stop { then, .. } => {
                self.memory.ended = ended;
                let stopped =
                    judge::is_stopped(&self.policy, ended) || result == LifeResult::Success;
                self.on_stopped(now, then, if stopped { LifeResult::Success } else { result })
            }
            Phase::Kill { then, late, .. } => {
                self.memory.ended = ended;
                self.on_stopped(now, then, if late { LifeResult::Timeout } else { result })
            }
            Phase::Dead
            | Phase::Prepare { .. }
            | Phase::Exited
            | Phase::Wait { .. }
            | Phase::Interrupted
            | Phase::Failed(_) => Vec::new(),
        }
    }

    /// Its engine stopped and took it along, as a machine that reboots does: that is no end of its own, and `Restart=` is not
    /// asked. Work that was done by then is done, and a job that was begun is not begun again.
    fn on_taken_along(&mut self, now: Duration, ended: Option<Ended>) -> Vec<ContainerAction> {
        let works = self.policy.service.kind != ServiceKind::Notify;
        // One that somebody has removed since says nothing of its end.
        let result =
            ended.map_or(LifeResult::Signal, |ended| judge::judge_end(&self.policy, ended));
        let done = works && result == LifeResult::Success;
        match self.phase {
            Phase::Start { running: true, .. } | Phase::Running if self.memory.wanted && !done => {
                self.memory.ended = ended;
                if self.policy.is_job && !is_planted("taken-job-begun-again") {
                    self.come_to_rest(RestState::Failed(result));
                    return Vec::new();
                }
                self.begin(now)
            }
            Phase::Stop { then, .. } => {
                self.memory.ended = ended;
                self.on_stopped(now, then, LifeResult::Success)
            }
            _ => self.on_end(now, ended),
        }
    }

    fn on_tick(&mut self, now: Duration) -> Vec<ContainerAction> {
        if self.next_deadline().is_none_or(|deadline| now < deadline) {
            return Vec::new();
        }
        match self.phase {
            Phase::Prepare { .. } => {
                let mut actions = vec![ContainerAction::CancelPrepare];
                actions.extend(self.judge_result(now, LifeResult::Timeout));
                actions
            }
            Phase::Start { .. } => self.stop(now, AfterStop::Judge(Some(LifeResult::Timeout))),
            Phase::Stop { then, .. } => self.kill_container(now, true, then),
            Phase::Kill { late, then, .. } => self.kill_container(now, late, then),
            Phase::Wait { .. } => self.begin(now),
            Phase::Dead
            | Phase::Running
            | Phase::Exited
            | Phase::Interrupted
            | Phase::Failed(_) => Vec::new(),
        }
    }

    /// Starts it, unless it has been started too often.
    fn begin(&mut self, now: Duration) -> Vec<ContainerAction> {
        self.health = None;
        self.memory.unmet = false;
        if !limit::take_start(self.policy.service.start_limit, &mut self.memory.starts, now) {
            self.come_to_rest(RestState::Failed(LifeResult::StartLimitHit));
            return Vec::new();
        }
        self.memory.rest = None;
        let service = &self.policy.service;
        // A limit that is written is written for all of it, as with Podman, which fetches while it starts.
        let deadline = if service.start_timeout_is_given {
            deadline_after(now, service.start_timeout)
        } else {
            None
        };
        self.phase = Phase::Prepare { deadline };
        vec![ContainerAction::Prepare]
    }

    /// Has what would be started again wait until somebody asks for it.
    fn hold_start(&mut self, actions: Vec<ContainerAction>) -> Vec<ContainerAction> {
        let begins = matches!(self.phase, Phase::Prepare { .. } | Phase::Wait { .. });
        if !begins || is_planted("interrupted-run-goes-on-unasked") {
            return actions;
        }
        if matches!(self.phase, Phase::Prepare { .. }) {
            // The start that it is to be is counted then.
            self.memory.starts.pop();
        }
        self.phase = Phase::Interrupted;
        Vec::new()
    }

    /// The phase of a container whose start was asked for.
    fn starting_phase(&mut self, now: Duration) -> Phase {
        self.memory.rest = None;
        self.memory.unmet = false;
        Phase::Start {
            running: false,
            deadline: deadline_after(now, self.policy.service.start_timeout),
        }
    }

    fn stop(&mut self, now: Duration, then: AfterStop) -> Vec<ContainerAction> {
        self.phase = Phase::Stop { deadline: deadline_after(now, self.policy.grace), then };
        vec![ContainerAction::Signal]
    }

    fn kill_container(
        &mut self,
        now: Duration,
        late: bool,
        then: AfterStop,
    ) -> Vec<ContainerAction> {
        self.phase = Phase::Kill { again: now.saturating_add(KILL_AGAIN), late, then };
        vec![ContainerAction::Kill]
    }

    /// A container that was being stopped has ended.
    fn on_stopped(
        &mut self,
        now: Duration,
        then: AfterStop,
        result: LifeResult,
    ) -> Vec<ContainerAction> {
        match then {
            AfterStop::Start => self.begin(now),
            AfterStop::Judge(given) => self.judge_result(now, given.unwrap_or(result)),
            AfterStop::Rest => {
                self.come_to_rest(if result == LifeResult::Success {
                    RestState::Dead
                } else {
                    RestState::Failed(result)
                });
                Vec::new()
            }
        }
    }

    /// A container has ended without the cluster's wish.
    fn judge_result(&mut self, now: Duration, result: LifeResult) -> Vec<ContainerAction> {
        if self.memory.wanted && judge::starts_again(&self.policy, result, self.memory.ended) {
            self.memory.restarts = self.memory.restarts.saturating_add(1);
            self.phase =
                Phase::Wait { until: now.saturating_add(self.policy.service.restart_delay) };
            return Vec::new();
        }
        let remains = self.policy.service.kind == ServiceKind::Oneshot { remain: true };
        self.come_to_rest(match result {
            LifeResult::Success if remains => RestState::Exited,
            LifeResult::Success => RestState::Dead,
            result => RestState::Failed(result),
        });
        Vec::new()
    }

    fn come_to_rest(&mut self, rest: RestState) {
        self.memory.rest = Some(rest);
        self.phase = rest.to_phase();
    }

    /// The rules that hold after every step, checked where debug assertions are on.
    fn check_invariants(&self, actions: &[ContainerAction]) {
        // What is remembered is where it stands: `come_to_rest` sets both, and whatever leaves a rest forgets it. A daemon that
        // finds a rest takes it up, and one that finds none asks the engine.
        let rests = matches!(self.phase, Phase::Dead | Phase::Exited | Phase::Failed(_));
        debug_assert_eq!(self.memory.rest.map(RestState::to_phase), rests.then_some(self.phase));
        // Nobody starts what the cluster does not want: a stop takes every start that was to come out of the phases.
        let starts = match self.phase {
            Phase::Prepare { .. } | Phase::Wait { .. } | Phase::Interrupted => true,
            Phase::Stop { then, .. } | Phase::Kill { then, .. } => then == AfterStop::Start,
            _ => false,
        };
        debug_assert!(self.memory.wanted || !starts, "{self:?}");
        // A start that came to nothing has left it dead, and the next one is asked anew.
        debug_assert!(!self.memory.unmet || self.phase == Phase::Dead, "{self:?}");
        // Each phase is entered with the one action that leads out of it; only what is given up may come before that.
        let led = match actions {
            [] => true,
            [ContainerAction::CancelPrepare, rest @ ..] => {
                rest.is_empty() && !matches!(self.phase, Phase::Prepare { .. })
            }
            [ContainerAction::Prepare] => matches!(self.phase, Phase::Prepare { .. }),
            [ContainerAction::Start] => matches!(self.phase, Phase::Start { running: false, .. }),
            [ContainerAction::Signal] => matches!(self.phase, Phase::Stop { .. }),
            [ContainerAction::Kill] => matches!(self.phase, Phase::Kill { .. }),
            _ => false,
        };
        debug_assert!(led, "{actions:?} led to {self:?}");
    }
}

/// The end of a span that begins now, if it has one.
fn deadline_after(now: Duration, span: Option<Duration>) -> Option<Duration> {
    span.and_then(|span| now.checked_add(span))
}
