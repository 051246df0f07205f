//! The state of the model, and what happens to it by itself.
//!
//! Owns the containers, the images, the calls that are under way and the order in which all of it goes on. What a call does is
//! [`super::work`]'s, what becomes of it all when the engine or its machine goes [`super::engine_power`]'s.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use muster_common::seed::{RandomSequence, Seed};
use muster_common::unit::UnitName;
use musterd::runner::docker::client::{EngineError, EngineEvent};
use tokio::sync::mpsc;

use super::books::{ContainerBooks, ContainerStart};
use super::calls::{CallResult, EngineCall, OpenCall};
use super::container::{ContainerState, SimulatedContainer};
use super::program::TimeRange;

/// Events that an engine has kept for those who ask for earlier ones.
const KEPT_EVENTS: usize = 256;

/// The settings of an engine, and how well it works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineOptions {
    /// True if containers go on while it is away.
    pub live_restore: bool,
    /// Calls of a thousand that take seconds.
    pub slow_per_mille: u64,
    /// Calls of a thousand that fail.
    pub failing_per_mille: u64,
    /// The images that are there.
    pub images: BTreeSet<String>,
}

impl Default for EngineOptions {
    fn default() -> Self {
        let images = BTreeSet::new();
        Self { live_restore: true, slow_per_mille: 0, failing_per_mille: 0, images }
    }
}

/// Something that happens by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DueEvent {
    /// A call has come to the engine, which takes it up.
    CallArrives(u64),
    /// A call is done.
    CallIsDone(u64),
    /// The program of a container ends in a run.
    ProgramEnds { id: String, run: u64, code: i64 },
    /// A container that was asked to end has had the time.
    GraceIsOver { id: String, run: u64 },
    /// A check has said how a container is.
    HealthIs { id: String, run: u64, health: &'static str },
    /// The engine is started.
    EngineStarts(u64),
}

/// The engine, as it answers or does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EngineProcess {
    /// It does.
    Up,
    /// It reads no calls, and says nothing.
    Hung,
    /// There is none.
    Down,
}

/// The engine of one machine.
#[derive(Debug)]
pub struct EngineModel {
    pub(super) now: Duration,
    pub(super) wall: u64,
    pub(super) options: EngineOptions,
    pub(super) process: EngineProcess,
    /// Counts its processes.
    pub(super) processes: u64,
    pub(super) containers: BTreeMap<String, SimulatedContainer>,
    pub(super) images: BTreeSet<String>,
    pub(super) volumes: BTreeMap<String, BTreeMap<String, String>>,
    pub(super) networks: BTreeMap<String, BTreeMap<String, String>>,
    /// True while images cannot be fetched.
    pub(super) is_registry_away: bool,
    /// True while nobody is told of what happens.
    pub(super) loses_events: bool,
    pub(super) calls: BTreeMap<u64, OpenCall>,
    due: BTreeMap<(Duration, u64), DueEvent>,
    next_number: u64,
    next_id: u64,
    pub(super) chance: RandomSequence,
    listeners: Vec<mpsc::UnboundedSender<Result<EngineEvent, EngineError>>>,
    kept_events: Vec<(u64, EngineEvent)>,
    pub(super) books: ContainerBooks,
}

impl EngineModel {
    /// An engine that is not started.
    pub fn new(seed: Seed, options: EngineOptions) -> Self {
        Self {
            now: Duration::ZERO,
            wall: 0,
            images: options.images.clone(),
            options,
            process: EngineProcess::Down,
            processes: 0,
            containers: BTreeMap::new(),
            volumes: BTreeMap::new(),
            networks: BTreeMap::new(),
            is_registry_away: false,
            loses_events: false,
            calls: BTreeMap::new(),
            due: BTreeMap::new(),
            next_number: 0,
            next_id: 0,
            chance: seed.random_sequence(),
            listeners: Vec::new(),
            kept_events: Vec::new(),
            books: ContainerBooks::default(),
        }
    }

    /// The moment at which something happens by itself.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    /// Lets time pass, up to a moment.
    pub fn advance_to(&mut self, now: Duration, wall: u64) {
        self.wall = wall;
        while let Some(first) = self.due.first_entry() {
            let (at, _) = *first.key();
            if at > now {
                break;
            }
            let event = first.remove();
            self.now = self.now.max(at);
            self.happen(event);
        }
        self.now = self.now.max(now);
    }

    fn happen(&mut self, event: DueEvent) {
        match event {
            DueEvent::CallArrives(number) => self.take_up(number),
            DueEvent::CallIsDone(number) => self.finish_call(number),
            DueEvent::ProgramEnds { id, run, code } => {
                if self.is_in_run(&id, run) {
                    self.end_container(&id, code, false);
                }
            }
            DueEvent::GraceIsOver { id, run } => {
                if self.is_in_run(&id, run) {
                    self.kill_later(&id);
                }
            }
            DueEvent::HealthIs { id, run, health } => {
                if self.is_in_run(&id, run) {
                    self.set_health(&id, health);
                }
            }
            DueEvent::EngineStarts(process) => self.start_process(process),
        }
    }

    /// Lets something happen after a time.
    pub(super) fn push_due(&mut self, after: Duration, event: DueEvent) {
        self.next_number += 1;
        self.due.insert((self.now + after, self.next_number), event);
    }

    /// Forgets what was to happen of a kind.
    pub(super) fn drop_due(&mut self, is_dropped: impl Fn(&DueEvent) -> bool) {
        self.due.retain(|_, event| !is_dropped(event));
    }

    /// A number that no call and no event has had.
    pub(super) fn take_number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// An id that no container has had.
    pub(super) fn take_id(&mut self) -> String {
        self.next_id += 1;
        format!("{:032x}{:032x}", self.next_id, self.chance.next())
    }

    /// A length from a range.
    pub(super) fn draw_length(&self, range: TimeRange) -> Duration {
        let width = range.longest.saturating_sub(range.shortest).as_micros();
        let width = u64::try_from(width).unwrap_or(u64::MAX).saturating_add(1);
        range.shortest + Duration::from_micros(self.chance.next().checked_rem(width).unwrap_or(0))
    }

    /// A length between two, in microseconds.
    pub(super) fn draw_micros(&self, shortest: u64, longest: u64) -> Duration {
        let shortest = Duration::from_micros(shortest);
        self.draw_length(TimeRange { shortest, longest: Duration::from_micros(longest) })
    }

    /// True this often of a thousand times.
    pub(super) fn happens_by_chance(&self, per_mille: u64) -> bool {
        per_mille > 0 && self.chance.next() % 1000 < per_mille
    }

    fn is_in_run(&self, id: &str, run: u64) -> bool {
        self.containers.get(id).is_some_and(|found| found.is_up() && found.run == run)
    }

    /// The id of a container, by id or name.
    pub(super) fn find_id(&self, name: &str) -> Option<String> {
        if self.containers.contains_key(name) {
            return Some(name.to_owned());
        }
        let found = self.containers.iter().find(|(_, container)| container.name == name);
        found.map(|(id, _)| id.clone())
    }

    /// A container's program begins, which was asked for at a moment.
    pub(super) fn begin_run(&mut self, id: &str, asked: Duration, is_by_hand: bool) {
        let now = self.now;
        let Some(container) = self.containers.get_mut(id) else { return };
        container.state = ContainerState::Running;
        container.run += 1;
        (container.is_stopping, container.is_oom) = (false, false);
        container.error.clear();
        container.health = container.has_check.then_some("starting");
        let (run, program) = (container.run, container.program.clone());
        let (unit, file, generation) =
            (container.unit(), container.unit_file(), container.generation());
        let has_check = container.has_check;
        if let (Some(unit), Some(file)) = (unit, file) {
            let others_up = self.count_up(&unit).saturating_sub(1);
            let at = now;
            let start = ContainerStart {
                unit,
                file,
                generation,
                at,
                asked,
                is_by_hand,
                others_up,
                is_file_settled: false,
            };
            self.books.on_start(start);
        }
        self.tell_event(id, "start");
        let fails =
            program.fails.or_else(|| self.happens_by_chance(program.fails_per_mille).then_some(1));
        let ends = match (fails, program.runs) {
            (Some(code), _) => Some((self.draw_micros(500, 50_000), code)),
            (None, Some(runs)) => Some((self.draw_length(runs), 0)),
            (None, None) => None,
        };
        if let Some((after, code)) = ends {
            self.push_due(after, DueEvent::ProgramEnds { id: id.to_owned(), run, code });
        }
        if has_check {
            let after = self.draw_micros(100_000, 3_000_000);
            let health = "healthy";
            self.push_due(after, DueEvent::HealthIs { id: id.to_owned(), run, health });
        }
    }

    /// The container of a unit that is up.
    pub(super) fn find_up(&self, unit: &UnitName) -> Option<&SimulatedContainer> {
        let of = |found: &&SimulatedContainer| found.is_up() && found.unit().as_ref() == Some(unit);
        self.containers.values().find(of)
    }

    /// The number of a unit's containers that are up.
    pub(super) fn count_up(&self, unit: &UnitName) -> usize {
        let of = |found: &&SimulatedContainer| found.is_up() && found.unit().as_ref() == Some(unit);
        self.containers.values().filter(of).count()
    }

    /// A container has ended.
    pub(super) fn end_container(&mut self, id: &str, code: i64, is_oom: bool) {
        let Some(container) = self.containers.get_mut(id).filter(|found| found.is_up()) else {
            return;
        };
        container.state = ContainerState::Exited;
        (container.exit_code, container.is_oom, container.health) = (code, is_oom, None);
        let by_itself = !container.is_stopping;
        if let Some(unit) = container.unit() {
            self.books.on_end(&unit, by_itself);
        }
        self.tell_event(id, "die");
        self.answer_stops(id);
    }

    /// Asks a container to end, as its program does.
    pub(super) fn ask_to_end(&mut self, id: &str) {
        let Some(container) = self.containers.get(id) else { return };
        if container.program.is_deaf || container.state != ContainerState::Running {
            return;
        }
        let (run, program) = (container.run, container.program.clone());
        let slow = self.happens_by_chance(program.slow_per_mille);
        let after = self.draw_length(if slow { program.slow } else { program.stops });
        let code = program.stopped_code;
        self.push_due(after, DueEvent::ProgramEnds { id: id.to_owned(), run, code });
    }

    /// The kernel ends a container in a moment.
    pub(super) fn kill_later(&mut self, id: &str) {
        let Some(container) = self.containers.get(id) else { return };
        let run = container.run;
        let after = self.draw_micros(200, 20_000);
        self.push_due(after, DueEvent::ProgramEnds { id: id.to_owned(), run, code: 137 });
    }

    /// A check has said how a container is.
    pub(super) fn set_health(&mut self, id: &str, health: &'static str) {
        let Some(container) = self.containers.get_mut(id).filter(|found| found.has_check) else {
            return;
        };
        container.health = Some(health);
        self.tell_event(id, &format!("health_status: {health}"));
    }

    /// Says that something has happened to a container, to those who listen.
    pub(super) fn tell_event(&mut self, id: &str, action: &str) {
        if self.process == EngineProcess::Down {
            return;
        }
        let Some(container) = self.containers.get(id) else { return };
        let event = EngineEvent { action: action.to_owned(), labels: container.labels.clone() };
        if self.kept_events.len() >= KEPT_EVENTS {
            self.kept_events.remove(0);
        }
        self.kept_events.push((self.wall, event.clone()));
        if !self.loses_events && self.process == EngineProcess::Up {
            self.listeners.retain(|listener| listener.send(Ok(event.clone())).is_ok());
            let unit = container.unit().filter(|_| !self.listeners.is_empty());
            if let Some(unit) = unit {
                self.books.note_heard(&unit);
            }
        }
    }

    /// Somebody listens, and hears first what is kept from a second on.
    pub(super) fn add_listener(
        &mut self,
        since: u64,
    ) -> mpsc::UnboundedReceiver<Result<EngineEvent, EngineError>> {
        let (sender, listener) = mpsc::unbounded_channel();
        for (_, event) in self.kept_events.iter().filter(|(at, _)| *at >= since) {
            // The other end is just below.
            let _ = sender.send(Ok(event.clone()));
        }
        self.listeners.push(sender);
        listener
    }

    /// Every line to it breaks: nobody hears more, and a call under way has no answer. By chance half of those that the engine has
    /// not taken up yet never come to it.
    pub(super) fn break_lines(&mut self) {
        self.listeners.clear();
        let numbers: Vec<u64> = self.calls.keys().copied().collect();
        for number in numbers {
            // A removal that has begun goes on, whether anybody waits for it or not.
            let is_begun = self.calls.get(&number).is_some_and(|open| self.is_removing(&open.call));
            if self.chance.next().is_multiple_of(2) && !is_begun {
                self.calls.remove(&number);
            } else if let Some(open) = self.calls.get_mut(&number) {
                let (nobody, _) = tokio::sync::oneshot::channel();
                open.reply = nobody;
            }
        }
    }

    fn is_removing(&self, call: &EngineCall) -> bool {
        let EngineCall::Remove(name) = call else { return false };
        let found = self.find_id(name).and_then(|id| self.containers.get(&id));
        found.is_some_and(|found| found.state == ContainerState::Removing)
    }

    /// The engine's process forgets what it was asked and whom it told.
    pub(super) fn forget_clients(&mut self) {
        self.listeners.clear();
        self.kept_events.clear();
        self.calls.clear();
        self.drop_due(|event| matches!(event, DueEvent::CallArrives(_) | DueEvent::CallIsDone(_)));
    }

    fn finish_call(&mut self, number: u64) {
        if self.process == EngineProcess::Hung {
            // It goes on when the engine does.
            return self.push_due(Duration::from_millis(500), DueEvent::CallIsDone(number));
        }
        let Some(open) = self.calls.remove(&number) else { return };
        let answer: CallResult = self.carry_out(&open.call, open.asked);
        // Whoever asked may be gone.
        let _ = open.reply.send(answer);
    }
}
