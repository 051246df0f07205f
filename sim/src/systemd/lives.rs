//! The lives of units: how they start, run, end and are started again.
//!
//! Owns what happens at which moment: services by their file's words, timers and sockets that start what they name.

use std::sync::Arc;
use std::time::Duration;

use muster_common::state::load;
use muster_common::unit::UnitName;
use musterd::runner::systemd::manager::{JobKind, ManagerSignal};

use super::definition::{Definition, RestartRule, ServiceKind, ServicePart, TypePart};
use super::state::{MainExit, Phase, ProgramStart, SystemdModel};

/// The signal that ends what does not end when it is asked to.
const KILLED: MainExit = MainExit { result: "timeout", code: 2, status: 9 };
/// The end of a start that was never done.
const START_TIMED_OUT: MainExit = MainExit { result: "timeout", code: 2, status: 15 };
/// The end of a unit that was started too often.
const START_LIMIT_HIT: MainExit = MainExit { result: "start-limit-hit", code: 0, status: 0 };

impl SystemdModel {
    /// Begins a unit's start. `again` is systemd's own after a failure, which counts.
    pub(super) fn launch_unit(&mut self, unit: &UnitName, again: bool) {
        let now = self.now;
        let Some(found) = self.units.get_mut(unit) else { return };
        let Some(definition) = found.definition.clone().filter(|_| found.load == load::LOADED)
        else {
            // Its file has gone since somebody asked for it.
            return self.end_run(unit, MainExit { result: "resources", code: 0, status: 0 }, false);
        };
        let interval = definition.limit_interval;
        found.started.retain(|at| now.saturating_sub(*at) < interval);
        if definition.limit_burst > 0 && found.started.len() >= definition.limit_burst {
            (found.exit, found.due) = (START_LIMIT_HIT, None);
            self.set_phase(unit, Phase::Failed);
            self.ends.push((unit.clone(), true));
            return self.job_is_down(unit, true);
        }
        found.started.push_back(now);
        found.restarts = if again { found.restarts + 1 } else { 0 };
        self.runs += 1;
        (found.run, found.exit) = (self.runs, MainExit::SUCCESS);
        match &definition.part {
            TypePart::Service(service) => self.launch_service(unit, &definition, service),
            part => {
                found.running = Some(Arc::clone(&definition));
                found.fires = match part {
                    TypePart::Timer(timer) => timer.first.map(|first| now + first),
                    TypePart::Socket(every) => every.map(|every| now + every),
                    _ => None,
                };
                self.set_phase(unit, Phase::Up);
                self.job_is_up(unit);
            }
        }
    }

    fn launch_service(
        &mut self,
        unit: &UnitName,
        definition: &Arc<Definition>,
        service: &ServicePart,
    ) {
        let (at, in_place) = (self.now, self.file_in_place(unit));
        let file = definition.file;
        self.starts.push(ProgramStart { at, unit: unit.clone(), file, in_place });
        let takes = self.draw_time(&service.program, service.program.takes, unit, "takes");
        // A hung start, and one that takes too long, are ended by their limit.
        let limit = service.start_limit;
        let due = if service.program.hangs { limit } else { Some(takes) };
        let due = match (due, limit) {
            (Some(due), Some(limit)) => Some(due.min(limit)),
            (due, _) => due,
        };
        if let Some(found) = self.units.get_mut(unit) {
            found.running = Some(Arc::clone(definition));
            found.due = due.map(|due| at + due);
        }
        // A simple service is up as soon as it has begun.
        let begun = service.kind == ServiceKind::Simple && takes.is_zero();
        self.set_phase(unit, Phase::Starting);
        if begun && !service.program.hangs {
            self.on_started(unit);
        }
        self.note_trigger(unit, true);
    }

    /// The time of a start is over.
    fn on_started(&mut self, unit: &UnitName) {
        let Some(found) = self.units.get(unit) else { return };
        let Some(service) =
            found.running.as_ref().and_then(|running| running.service_part()).cloned()
        else {
            return;
        };
        let takes = self.draw_time(&service.program, service.program.takes, unit, "takes");
        let late = service.start_limit.is_some_and(|limit| takes > limit);
        if service.program.hangs || late {
            return self.end_run(unit, START_TIMED_OUT, true);
        }
        let unlucky = self.chance_of(unit, "fails").next() % 1000 < service.program.fails_per_mille;
        let status = service.program.fails.or(unlucky.then_some(1));
        let simple = service.kind == ServiceKind::Simple;
        if let Some(status) = status
            && !simple
        {
            return self.end_run(unit, MainExit::by_itself(status), true);
        }
        if service.kind == ServiceKind::Oneshot {
            if service.remains {
                self.set_due(unit, None);
                self.set_phase(unit, Phase::Remains);
                return self.job_is_up(unit);
            }
            self.job_is_up(unit);
            return self.end_run(unit, MainExit::by_itself(0), true);
        }
        let lasts = match status {
            // It was begun, which is all that is asked of it, and ends right after.
            Some(_) => Some(Duration::from_millis(1)),
            None => service.program.runs.map(|runs| self.draw_span(runs, unit, "runs")),
        };
        let now = self.now;
        self.set_due(unit, lasts.map(|lasts| now + lasts));
        self.set_phase(unit, Phase::Up);
        self.job_is_up(unit);
    }

    /// Begins to stop what is there.
    pub(super) fn begin_stop(&mut self, unit: &UnitName) {
        let Some(found) = self.units.get(unit) else { return };
        let service = found.running.as_ref().and_then(|running| running.service_part()).cloned();
        let has_process = matches!(found.phase, Phase::Starting | Phase::Up);
        match (found.phase, service) {
            (Phase::Stopping, _) => {}
            (_, Some(service)) if has_process => {
                let takes = self.draw_time(&service.program, service.program.stops, unit, "stops");
                let due = service.stop_limit.map_or(takes, |limit| takes.min(limit));
                let now = self.now;
                self.set_due(unit, Some(now + due));
                self.set_phase(unit, Phase::Stopping);
                if due.is_zero() {
                    self.on_stopped(unit);
                }
            }
            _ => self.end_run(unit, MainExit::SUCCESS, false),
        }
    }

    /// The time of a stop is over.
    fn on_stopped(&mut self, unit: &UnitName) {
        let Some(found) = self.units.get(unit) else { return };
        let service = found.running.as_ref().and_then(|running| running.service_part()).cloned();
        let Some(service) = service else {
            return self.end_run(unit, MainExit::SUCCESS, false);
        };
        let takes = self.draw_time(&service.program, service.program.stops, unit, "stops");
        let late = service.stop_limit.filter(|limit| takes > *limit);
        let now = self.now;
        if let Some(limit) = late
            && service.spares
        {
            self.leftovers.insert(unit.clone(), now + takes.saturating_sub(limit));
        }
        if let Some(stays) = service.program.stays {
            let stays = self.draw_span(stays, unit, "stays");
            self.leftovers.insert(unit.clone(), now + stays);
        }
        self.end_run(unit, if late.is_some() { KILLED } else { MainExit::SUCCESS }, false);
    }

    /// A unit has gone down. `by_itself` is what `Restart=` is about.
    fn end_run(&mut self, unit: &UnitName, exit: MainExit, by_itself: bool) {
        let now = self.now;
        let Some(found) = self.units.get_mut(unit) else { return };
        (found.exit, found.due, found.fires) = (exit, None, None);
        let service = found.running.as_ref().and_then(|running| running.service_part()).cloned();
        let restart = service.as_ref().map_or(RestartRule::No, |service| service.restart);
        let again = by_itself
            && !self.stopping
            && match restart {
                RestartRule::No => false,
                RestartRule::Always => true,
                RestartRule::OnFailure => exit.has_failed(),
                RestartRule::OnSuccess => !exit.has_failed(),
            };
        if again {
            let after = service.map_or(Duration::ZERO, |service| service.restart_after);
            self.set_due(unit, Some(now + after));
            self.set_phase(unit, Phase::AwaitsRestart);
            return self.job_is_down(unit, exit.has_failed());
        }
        self.set_phase(unit, if exit.has_failed() { Phase::Failed } else { Phase::Down });
        self.ends.push((unit.clone(), by_itself));
        if let Some(found) = self.units.get_mut(unit) {
            found.running = None;
        }
        self.note_trigger(unit, false);
        self.job_is_down(unit, exit.has_failed());
    }

    /// Somebody kills the unit's processes.
    pub fn kill_unit(&mut self, unit: &UnitName) {
        if self.units.get(unit).is_some_and(|found| found.phase == Phase::Up) {
            self.end_run(unit, MainExit { result: "signal", code: 2, status: 9 }, true);
            self.run_queue();
        }
    }

    /// Timers that count from the start or the end of this unit.
    fn note_trigger(&mut self, unit: &UnitName, started: bool) {
        let now = self.now;
        for found in self.units.values_mut().filter(|found| found.phase == Phase::Up) {
            let Some(definition) = &found.definition else { continue };
            let TypePart::Timer(timer) = &definition.part else { continue };
            if definition.triggers.as_ref() != Some(unit) {
                continue;
            }
            let after = if started { timer.after_start } else { timer.after_end };
            if let Some(after) = after {
                found.fires = Some(now + after);
            }
        }
    }

    /// The moment at which something happens by itself.
    pub fn next_deadline(&self) -> Option<Duration> {
        let units = self.units.values().flat_map(|unit| [unit.due, unit.fires]).flatten();
        units.chain(self.leftovers.values().copied()).min()
    }

    /// Lets time pass. `wall` is what the machine's clock shows at the end of it.
    pub fn advance_to(&mut self, now: Duration, wall: u64) {
        while let Some(due) = self.next_deadline().filter(|due| *due <= now) {
            self.now = self.now.max(due);
            self.wall = wall;
            self.on_deadline(due);
            self.run_queue();
            self.collect_garbage();
        }
        self.pass_time(now, wall);
    }

    /// Lets time pass in which nothing happens by itself.
    pub(super) fn pass_time(&mut self, now: Duration, wall: u64) {
        (self.now, self.wall) = (self.now.max(now), wall);
    }

    fn on_deadline(&mut self, due: Duration) {
        self.leftovers.retain(|_, until| *until > due);
        let is_due = |at: Option<Duration>| at.is_some_and(|at| at <= due);
        let units: Vec<UnitName> = self
            .units
            .iter()
            .filter(|(_, unit)| is_due(unit.due) || is_due(unit.fires))
            .map(|(unit, _)| unit.clone())
            .collect();
        for unit in units {
            let Some(found) = self.units.get_mut(&unit) else { continue };
            if is_due(found.fires) {
                self.fire(&unit);
            }
            let Some(found) = self.units.get_mut(&unit).filter(|found| is_due(found.due)) else {
                continue;
            };
            found.due = None;
            match found.phase {
                Phase::Starting => self.on_started(&unit),
                Phase::Up => {
                    let program = found.running.as_ref().and_then(|running| running.service_part());
                    let status = program
                        .map_or(0, |service| service.program.fails.unwrap_or(service.program.exit));
                    self.end_run(&unit, MainExit::by_itself(status), true);
                }
                Phase::Stopping => self.on_stopped(&unit),
                Phase::AwaitsRestart => self.launch_unit(&unit, true),
                Phase::Down | Phase::Failed | Phase::Remains => {}
            }
        }
    }

    /// A timer elapses, or somebody connects to a socket: what they name is started, if it is not there.
    fn fire(&mut self, unit: &UnitName) {
        let now = self.now;
        let Some(found) = self.units.get_mut(unit) else { return };
        let Some(definition) = found.definition.clone() else {
            found.fires = None;
            return;
        };
        found.fires = match &definition.part {
            TypePart::Socket(every) => every.map(|every| now + every),
            TypePart::Timer(timer) => timer.after_start.map(|after| now + after),
            _ => None,
        };
        if let Some(named) = &definition.triggers {
            // One whose unit cannot be started has failed itself.
            if self.request_by_systemd(JobKind::Start, named).is_err() {
                self.end_run(unit, MainExit { result: "resources", code: 0, status: 0 }, true);
            }
        }
    }

    fn set_due(&mut self, unit: &UnitName, due: Option<Duration>) {
        if let Some(found) = self.units.get_mut(unit) {
            found.due = due;
        }
    }

    pub(super) fn set_phase(&mut self, unit: &UnitName, phase: Phase) {
        let wall = self.wall;
        let Some(found) = self.units.get_mut(unit) else { return };
        if found.phase == phase {
            return;
        }
        (found.phase, found.since) = (phase, wall);
        self.signals.push(ManagerSignal::UnitChanged {
            unit: unit.clone(),
            active: found.active_state(),
            sub: found.sub_state().to_owned(),
            invocation: found.last_run(),
            since: wall,
        });
    }
}
