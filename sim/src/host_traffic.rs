//! What passes between a daemon and its host.
//!
//! Owns the checks on what a daemon asks its runner for and on what happens to units, and their lines in the trace. The host itself is
//! [`crate::systemd`]'s, its power [`crate::host_power`]'s, and what goes wrong on it [`crate::host_faults`]'s.

use std::collections::BTreeMap;
use std::time::Duration;

use muster_common::unit::{UnitName, UnitType};

use crate::conditions::RETURN;
use crate::containers::{EngineNews, SimulatedEngine};
use crate::host_faults::is_own_run;
use crate::invariants::{Findings, containers, removed_text, steps, twice};
use crate::machine::Machine;
use crate::systemd::SystemdNews;
use crate::watched_runner::{NotedCall, RunnerCall};
use crate::world::World;

impl World {
    /// Looks at what a machine's daemon has asked for, and at what has happened to its units, since this was called last.
    pub(crate) fn take_host_news(&mut self, number: usize) {
        let Some(machine) = self.machines.get(number) else { return };
        let (calls, news) = (machine.notes.take_all(), machine.systemd.take_news());
        let of_engine = machine.engine.as_ref().map(SimulatedEngine::take_news);
        let (name, goes_down) = (machine.machine_name(), machine.power.goes_down());
        let is_copy = machine.is_copy();
        let stood_still = machine.clock.awake_time(machine.stood_still).to_duration();
        for noted in calls {
            self.check_call(number, goes_down, &noted);
        }
        let SystemdNews { starts, begun, changes, unsound } = news;
        // The notes of jobs on a copy's disk are as old as the disk: once it bears the name, it cannot know of later ones.
        for (unit, generation) in begun.into_iter().filter(|_| !is_copy) {
            let found = steps::check_job(&mut self.facts, &name, &unit, generation);
            self.report_violations(found);
        }
        for (unit, active) in changes {
            if unit.unit_type() != UnitType::Target {
                self.trace.note_event(self.now, format_args!("{name} {unit} is {active}"));
            }
        }
        for noted in starts {
            let unit = &noted.start.unit;
            if noted.notes.by_others {
                self.coverage.count_world("unit started past its daemon");
                self.trace.note_event(self.now, format_args!("{name} {unit} is started by others"));
            } else {
                self.check_twice(&name, unit);
            }
            let sound_since = unsound.max(stood_still);
            self.report_violations(removed_text::check_start(&name, &noted, sound_since));
        }
        if let Some(news) = of_engine {
            self.take_engine_news(number, &name, news);
        }
    }

    fn take_engine_news(&mut self, number: usize, name: &str, news: EngineNews) {
        for (unit, word) in news.changes {
            self.trace.note_event(self.now, format_args!("{name} container of {unit} {word}"));
        }
        for start in news.starts {
            let unit = &start.unit;
            let in_place = self.machines.get(number).and_then(|machine| machine.find_unit(unit));
            let in_place = in_place.and_then(|found| found.file);
            if start.is_by_hand {
                self.coverage.count_world("container started by hand");
            } else {
                let found = steps::check_job(&mut self.facts, name, unit, start.generation);
                self.report_violations(found);
                self.report_violations(containers::check_start(name, &start, in_place));
                // A call that the engine had before its machine came back is taken back by nobody.
                if !self.was_asked_before_return(number, start.asked) {
                    self.check_twice(name, unit);
                }
            }
        }
    }

    /// True if a machine's engine was asked for something, at a moment of the machine's clock, before the machine was well again and had had
    /// the time to hear what has moved: its daemon restarts a container as systemd does a service, and a slow engine starts it later.
    fn was_asked_before_return(&self, number: usize, asked: Duration) -> bool {
        let Some(machine) = self.machines.get(number) else { return false };
        let condition = self.facts.machines.get(&machine.machine_name());
        let heard = |since| machine.clock.awake_time(since + RETURN).to_duration();
        condition.is_some_and(|it| asked < heard(it.since))
    }

    fn check_call(&mut self, number: usize, goes_down: bool, noted: &NotedCall) {
        let (call, was) = (&noted.call, noted.was.as_ref());
        let Some(machine) = self.machines.get(number) else { return };
        let name = &machine.machine_name();
        let found = match call {
            RunnerCall::Start { unit, .. } | RunnerCall::Restart { unit, .. }
                if machine.is_copy() =>
            {
                self.check_copy(number, unit)
            }
            RunnerCall::Start { unit, generation } | RunnerCall::Restart { unit, generation } => {
                steps::check_start(&self.facts, name, unit, *generation, was)
            }
            RunnerCall::Stop(unit) if !goes_down && !machine.is_copy() => {
                steps::check_stop(&self.facts, name, unit, was)
            }
            _ => Findings::new(),
        };
        self.trace.note_event(self.now, format_args!("{name} {}", call.describe()));
        self.report_violations(found);
    }

    fn check_twice(&mut self, machine: &str, unit: &UnitName) {
        if !twice::is_single(unit) {
            return;
        }
        let mut up = BTreeMap::new();
        for other in self.machines.iter().filter(|other| other.machine_name() != machine) {
            let is = other.find_unit(unit).filter(|is| !is.active.is_down() && !is_own_run(is));
            up.extend(is.map(|is| (Machine::machine_name(other), is.active.to_string())));
        }
        let found = twice::check_single(&self.facts, machine, unit, &up);
        self.report_violations(found);
    }
}
