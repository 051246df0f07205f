//! A small systemd: units, their jobs, and how long those take.
//!
//! Owns what runs on one machine. It knows files by their hash, starts and stops as jobs that can be slow, fail, be joined or
//! cancelled, and tells what changes. Its chance hangs on the machine, the unit and the number of the run alone, so that one
//! request less elsewhere changes nothing here.

use std::collections::BTreeMap;

use muster_common::seed::Seed;
use muster_common::state::{ActiveState, load, sub};
use muster_common::unit::{FileHash, UnitName};
use muster_engine::machine::converge::Observed;
use muster_engine::machine::observation::{RunnerEvent, UnitObservation};
use musterd::runner::{RunnerError, StartOutcome};
use tokio::sync::oneshot;

use crate::moment::Micros;
use crate::seed::Chance;
use crate::wire::{RunnerAnswer, RunnerCall, RunnerResult};

/// The place for an answer.
pub(crate) type RunnerReply = oneshot::Sender<RunnerResult>;

/// The units that run on a machine.
#[derive(Debug)]
pub(crate) struct UnitsHost {
    seed: Seed,
    slow_per_mille: u64,
    failing_per_mille: u64,
    units: BTreeMap<UnitName, HostUnit>,
    jobs: BTreeMap<UnitName, UnitJob>,
    runs: u64,
    next_job: u64,
    output: HostOutput,
}

/// One unit on a machine.
#[derive(Debug, Clone, Default)]
pub(crate) struct HostUnit {
    /// The file at its place.
    pub(crate) file: Option<FileHash>,
    /// The file that its processes were started from, while there are any.
    pub(crate) running: Option<FileHash>,
    /// Its state.
    pub(crate) active: ActiveState,
    /// The generation with which it was started last.
    pub(crate) generation: u64,
    /// The number of its run.
    pub(crate) run: u64,
    /// True if it has ended by itself.
    pub(crate) ended: bool,
    since: u64,
}

#[derive(Debug)]
struct UnitJob {
    number: u64,
    kind: JobKind,
    generation: u64,
    replies: Vec<RunnerReply>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum JobKind {
    Start,
    Restart,
    Stop,
}

/// The next step of a job, when it is due.
#[derive(Debug, Clone)]
pub(crate) struct DueJob {
    /// The unit.
    pub(crate) unit: UnitName,
    number: u64,
    step: JobStep,
}

#[derive(Debug, Clone, Copy)]
enum JobStep {
    Begin,
    Run,
    Up,
    Down,
}

/// The outcome of a call or of a job.
#[derive(Debug, Default)]
pub(crate) struct HostOutput {
    /// Steps of jobs, and after which time they are due.
    pub(crate) due: Vec<(Micros, DueJob)>,
    /// Answers.
    pub(crate) answers: Vec<(RunnerReply, RunnerResult)>,
    /// Reports that nobody asked for.
    pub(crate) events: Vec<RunnerEvent>,
    /// Units whose state has changed.
    pub(crate) changed: Vec<UnitName>,
}

impl UnitsHost {
    /// A machine on which nothing runs.
    pub(crate) fn new(seed: Seed, slow_per_mille: u64, failing_per_mille: u64) -> Self {
        Self {
            seed,
            slow_per_mille,
            failing_per_mille,
            units: BTreeMap::new(),
            jobs: BTreeMap::new(),
            runs: 0,
            next_job: 0,
            output: HostOutput::default(),
        }
    }

    /// The units it knows.
    pub(crate) fn units(&self) -> &BTreeMap<UnitName, HostUnit> {
        &self.units
    }

    /// Power fails: nothing runs, and what is under `/run` is gone. Units have not failed by that.
    pub(crate) fn cut_power(&mut self) {
        self.units.clear();
        self.jobs.clear();
    }

    /// Fails one of the units that run by themselves, if there is any. Returns its name.
    pub(crate) fn fail_unit(&mut self, wall: u64, number: u64) -> Option<UnitName> {
        let up: Vec<UnitName> = self
            .units
            .iter()
            .filter(|(unit, found)| found.active.is_up() && !self.jobs.contains_key(*unit))
            .map(|(unit, _)| unit.clone())
            .collect();
        let index = usize::try_from(number.checked_rem(up.len() as u64)?).ok()?;
        let unit = up.get(index)?.clone();
        self.units.entry(unit.clone()).or_default().ended = true;
        self.set_active(wall, &unit, ActiveState::Failed);
        Some(unit)
    }

    /// The outcomes of everything since the last time.
    pub(crate) fn take_output(&mut self) -> HostOutput {
        std::mem::take(&mut self.output)
    }

    /// Does as it is asked, or begins to.
    pub(crate) fn carry_out(&mut self, wall: u64, call: RunnerCall, reply: RunnerReply) {
        let answer = match call {
            RunnerCall::Observe(units) => RunnerAnswer::Seen(
                units.into_iter().map(|unit| (unit.clone(), self.observe(&unit))).collect(),
            ),
            RunnerCall::Write { unit, file } => {
                self.units.entry(unit).or_default().file = Some(file);
                RunnerAnswer::Ended(StartOutcome::Done)
            }
            RunnerCall::Remove(unit) => {
                self.remove_file(&unit);
                RunnerAnswer::Ended(StartOutcome::Done)
            }
            RunnerCall::Load(_) | RunnerCall::Nothing => RunnerAnswer::Ended(StartOutcome::Done),
            RunnerCall::Start { unit, generation } => {
                return self.launch(wall, unit, generation, JobKind::Start, reply);
            }
            RunnerCall::Restart { unit, generation } => {
                return self.launch(wall, unit, generation, JobKind::Restart, reply);
            }
            RunnerCall::Stop(unit) => return self.begin_stop(wall, unit, reply),
        };
        self.output.answers.push((reply, Ok(answer)));
    }

    fn remove_file(&mut self, unit: &UnitName) {
        let has_job = self.jobs.contains_key(unit);
        if let Some(found) = self.units.get_mut(unit) {
            found.file = None;
            if found.active.is_down() && !has_job {
                self.units.remove(unit);
            }
        }
    }

    fn observe(&self, unit: &UnitName) -> UnitObservation {
        let known = self.units.get(unit);
        let found = known.cloned().unwrap_or_default();
        let up = !found.active.is_down();
        UnitObservation {
            observed: Observed {
                load: if known.is_some() { load::LOADED } else { load::NOT_FOUND }.to_owned(),
                sub: sub_state(&found.active).to_owned(),
                active: found.active,
                foreign: false,
                obstacle: String::new(),
                file: found.file,
            },
            invocation: if up { format!("{:032x}", found.run) } else { String::new() },
            since: if up { found.since } else { 0 },
            remark: String::new(),
        }
    }

    fn launch(
        &mut self,
        wall: u64,
        unit: UnitName,
        generation: u64,
        kind: JobKind,
        reply: RunnerReply,
    ) {
        let active = self.units.get(&unit).map(|found| found.active.clone()).unwrap_or_default();
        let begun = active == ActiveState::Activating;
        if kind == JobKind::Start && active.is_up() && !self.jobs.contains_key(&unit) {
            let done = Ok(RunnerAnswer::Ended(StartOutcome::Done));
            return self.output.answers.push((reply, done));
        }
        if let Some(job) = self.jobs.get_mut(&unit) {
            // As systemd merges jobs: a start joins a start, a restart joins one that waits, and makes one that has begun to
            // start begin anew.
            let joins = match (job.kind, kind) {
                (JobKind::Start, JobKind::Start) => true,
                (JobKind::Restart, _) => !begun || kind == JobKind::Start,
                _ => false,
            };
            if joins {
                job.generation = generation;
                job.replies.push(reply);
                if begun && let Some(found) = self.units.get_mut(&unit) {
                    found.generation = generation;
                }
                return;
            }
            if job.kind != JobKind::Stop && kind == JobKind::Restart {
                self.next_job += 1;
                (job.number, job.kind, job.generation) = (self.next_job, kind, generation);
                job.replies.push(reply);
                let due = DueJob { unit, number: self.next_job, step: JobStep::Begin };
                return self.output.due.push((Micros::from_millis(5), due));
            }
            self.cancel_job(&unit);
        }
        self.next_job += 1;
        let chance = self.chance_of(&unit, "job");
        let waits = if chance.happens_by_chance(100) {
            chance.time_within(Micros::from_millis(10), Micros::from_secs(3))
        } else {
            chance.time_within(Micros(100), Micros::from_millis(5))
        };
        let number = self.next_job;
        self.jobs.insert(unit.clone(), UnitJob { number, kind, generation, replies: vec![reply] });
        let _ = wall;
        self.output.due.push((waits, DueJob { unit, number, step: JobStep::Begin }));
    }

    fn begin_stop(&mut self, wall: u64, unit: UnitName, reply: RunnerReply) {
        if let Some(job) = self.jobs.get_mut(&unit) {
            if job.kind == JobKind::Stop {
                return job.replies.push(reply);
            }
            self.cancel_job(&unit);
        }
        if self.units.get(&unit).is_none_or(|found| found.active.is_down()) {
            let done = Ok(RunnerAnswer::Ended(StartOutcome::Done));
            return self.output.answers.push((reply, done));
        }
        self.next_job += 1;
        let number = self.next_job;
        let (kind, generation) = (JobKind::Stop, 0);
        self.jobs.insert(unit.clone(), UnitJob { number, kind, generation, replies: vec![reply] });
        self.set_active(wall, &unit, ActiveState::Deactivating);
        let chance = self.chance_of(&unit, "stop");
        let takes = self.draw_length(&chance, Micros::from_millis(200), Micros::from_secs(15));
        self.output.due.push((takes, DueJob { unit, number, step: JobStep::Down }));
    }

    fn cancel_job(&mut self, unit: &UnitName) {
        if let Some(job) = self.jobs.remove(unit) {
            let problem = "the job was cancelled".to_owned();
            self.end_job(job, &StartOutcome::Failed { problem });
        }
    }

    fn end_job(&mut self, job: UnitJob, outcome: &StartOutcome) {
        for reply in job.replies {
            self.output.answers.push((reply, Ok(RunnerAnswer::Ended(outcome.clone()))));
        }
    }

    /// A job goes on, if it is still the unit's.
    pub(crate) fn continue_job(&mut self, wall: u64, due: DueJob) {
        let DueJob { unit, number, step } = due;
        let Some(job) = self.jobs.get(&unit).filter(|job| job.number == number) else { return };
        let (kind, generation) = (job.kind, job.generation);
        let active = self.units.get(&unit).map(|found| found.active.clone()).unwrap_or_default();
        match step {
            JobStep::Begin if kind == JobKind::Restart && active.is_up_or_starting() => {
                self.set_active(wall, &unit, ActiveState::Deactivating);
                let chance = self.chance_of(&unit, "stop to restart");
                let takes = chance.time_within(Micros::from_millis(1), Micros::from_millis(100));
                self.output.due.push((takes, DueJob { unit, number, step: JobStep::Run }));
            }
            JobStep::Begin | JobStep::Run => {
                self.runs += 1;
                let run = self.runs;
                let found = self.units.entry(unit.clone()).or_default();
                (found.run, found.running, found.generation, found.ended) =
                    (run, found.file, generation, false);
                self.set_active(wall, &unit, ActiveState::Activating);
                let chance = self.chance_of(&unit, "start");
                let takes =
                    self.draw_length(&chance, Micros::from_millis(300), Micros::from_secs(20));
                self.output.due.push((takes, DueJob { unit, number, step: JobStep::Up }));
            }
            JobStep::Up => {
                let fails =
                    self.chance_of(&unit, "end of start").happens_by_chance(self.failing_per_mille);
                let Some(job) = self.jobs.remove(&unit) else { return };
                // A oneshot's start is over when it has run, and then nothing of it is left.
                let oneshot = unit.as_str().starts_with("job");
                self.units.entry(unit.clone()).or_default().ended = fails || oneshot;
                let (active, outcome) = if fails {
                    let problem = "it failed: exit status 1".to_owned();
                    (ActiveState::Failed, StartOutcome::Failed { problem })
                } else if oneshot {
                    (ActiveState::Inactive, StartOutcome::Done)
                } else {
                    (ActiveState::Active, StartOutcome::Done)
                };
                self.set_active(wall, &unit, active);
                self.end_job(job, &outcome);
            }
            JobStep::Down => {
                let Some(job) = self.jobs.remove(&unit) else { return };
                self.set_active(wall, &unit, ActiveState::Inactive);
                if self.units.get(&unit).is_some_and(|found| found.file.is_none()) {
                    self.units.remove(&unit);
                }
                self.end_job(job, &StartOutcome::Done);
            }
        }
    }

    fn set_active(&mut self, wall: u64, unit: &UnitName, active: ActiveState) {
        let found = self.units.entry(unit.clone()).or_default();
        if active.is_down() {
            found.running = None;
        }
        (found.active, found.since) = (active, wall);
        let up = !found.active.is_down();
        self.output.events.push(RunnerEvent::Changed {
            unit: unit.clone(),
            sub: sub_state(&found.active).to_owned(),
            active: found.active.clone(),
            invocation: if up { format!("{:032x}", found.run) } else { String::new() },
            since: found.since,
            remark: String::new(),
        });
        self.output.changed.push(unit.clone());
    }

    fn chance_of(&self, unit: &UnitName, purpose: &str) -> Chance {
        Chance::for_purpose(self.seed, &format!("{purpose} {unit} {}", self.next_job))
    }

    fn draw_length(&self, chance: &Chance, usual: Micros, longest: Micros) -> Micros {
        if chance.happens_by_chance(self.slow_per_mille) {
            chance.time_within(Micros::from_secs(1), longest)
        } else {
            chance.time_within(Micros::from_millis(1), usual)
        }
    }
}

/// The answer to a call over a line that is broken.
pub(crate) fn broken_line() -> RunnerError {
    let (during, problem) = ("a call".to_owned(), "the connection is broken".to_owned());
    RunnerError::Lost { during, problem }
}

fn sub_state(active: &ActiveState) -> &'static str {
    match active {
        ActiveState::Active => sub::RUNNING,
        ActiveState::Failed => sub::FAILED,
        ActiveState::Activating => "start",
        ActiveState::Deactivating => "stop-sigterm",
        _ => sub::DEAD,
    }
}
