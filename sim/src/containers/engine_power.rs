//! What becomes of containers when their engine, their machine's userspace or its power goes; and what a person does to them.
//!
//! Owns the remains: containers that ran are there afterwards and have ended, with the code that Docker gives them.

use std::time::Duration;

use muster_common::unit::UnitName;
use muster_engine::container::body;

use super::container::{ContainerState, SimulatedContainer};
use super::state::{DueEvent, EngineModel, EngineProcess};

/// The code of a container whose end nobody has seen.
const UNSEEN: i64 = 255;
/// The code of one that was killed.
const KILLED: i64 = 137;

impl EngineModel {
    /// The machine is on: the engine is started after a time.
    pub fn begin_boot(&mut self) {
        self.books.begin_boot();
        let after = self.draw_micros(200_000, 4_000_000);
        self.start_after(after);
    }

    /// Power fails, or the machine has gone down: nothing runs, and what has run is there.
    pub fn lose_power(&mut self) {
        let noted = self.books.starts.len();
        self.lose_process();
        // What begins in the very moment in which everything ends does nothing.
        self.books.starts.truncate(noted);
        self.drop_due(|_| true);
        for container in self.containers.values_mut() {
            // What was going is there again, whole.
            if container.is_up() || container.state == ContainerState::Removing {
                container.state = ContainerState::Exited;
                (container.exit_code, container.health) = (UNSEEN, None);
            }
        }
    }

    /// The machine goes down: the engine ends, and its containers with it. What has been asked to end already is not asked again.
    pub fn begin_shutdown(&mut self) {
        let mut ids = self.ids_up();
        ids.retain(|id| self.containers.get(id).is_some_and(|found| !found.is_stopping));
        for id in ids {
            self.begin_stop(&id);
        }
    }

    /// True if nothing runs.
    pub fn is_down(&self) -> bool {
        !self.containers.values().any(SimulatedContainer::is_up)
    }

    /// The engine is stopped, as a package does that replaces it, and is there again after a time. Without live-restore its
    /// containers end first.
    pub fn restart_engine(&mut self, after: Duration) {
        if self.process == EngineProcess::Down {
            return;
        }
        if !self.options.live_restore {
            for id in self.ids_up() {
                self.take_along(&id);
            }
        }
        self.lose_process();
        self.start_after(after);
    }

    /// The engine's process is killed where it stands, and is there again after a time. Its containers go on until then, and without
    /// live-restore no longer.
    pub fn kill_engine(&mut self, after: Duration) {
        if self.process == EngineProcess::Down {
            return;
        }
        self.lose_process();
        self.start_after(after);
    }

    /// The engine reads no calls, or reads them again.
    pub fn set_hung(&mut self, is_hung: bool) {
        self.process = match (self.process, is_hung) {
            (EngineProcess::Up, true) => EngineProcess::Hung,
            (EngineProcess::Hung, false) => EngineProcess::Up,
            (process, _) => process,
        };
    }

    fn lose_process(&mut self) {
        // Of what was under way some is done, and nobody hears of it.
        for open in std::mem::take(&mut self.calls).into_values() {
            if self.chance.next().is_multiple_of(2) {
                let _ = self.carry_out(&open.call, open.asked);
            }
        }
        self.process = EngineProcess::Down;
        self.processes += 1;
        self.forget_clients();
        for container in self.containers.values_mut() {
            if container.state == ContainerState::Removing {
                container.state = ContainerState::Exited;
            }
        }
    }

    fn start_after(&mut self, after: Duration) {
        self.push_due(after, DueEvent::EngineStarts(self.processes));
    }

    /// The engine is there, if nothing has come in between.
    pub(super) fn start_process(&mut self, process: u64) {
        if self.processes != process || self.process != EngineProcess::Down {
            return;
        }
        if !self.options.live_restore {
            // What it finds running has been left by an engine that was killed.
            for id in self.ids_up() {
                self.take_along(&id);
            }
        }
        self.process = EngineProcess::Up;
    }

    /// A container ends since its engine does. That is no end of its own.
    fn take_along(&mut self, id: &str) {
        if let Some(container) = self.containers.get_mut(id) {
            container.is_stopping = true;
        }
        self.end_container(id, KILLED, false);
    }

    fn ids_up(&self) -> Vec<String> {
        let up = self.containers.iter().filter(|(_, container)| container.is_up());
        up.map(|(id, _)| id.clone()).collect()
    }

    /// The registry does not answer, or does again.
    pub fn set_registry_away(&mut self, is_away: bool) {
        self.is_registry_away = is_away;
    }

    /// Nobody is told of what happens, or is again.
    pub fn set_losing_events(&mut self, loses: bool) {
        self.loses_events = loses;
    }

    /// Sets how many calls of a thousand take seconds.
    pub fn set_slow(&mut self, per_mille: u64) {
        self.options.slow_per_mille = per_mille;
    }

    /// So many calls of a thousand fail from now on.
    pub fn set_failing(&mut self, per_mille: u64) {
        self.options.failing_per_mille = per_mille;
    }

    /// A person removes all images.
    pub fn prune_images(&mut self) {
        self.images.clear();
    }

    /// A person kills the container of a unit.
    pub fn kill_by_hand(&mut self, pick: u64) -> Option<UnitName> {
        let id = self.pick_id(pick, SimulatedContainer::is_up)?;
        self.end_container(&id, KILLED, false);
        self.containers.get(&id)?.unit()
    }

    /// The kernel kills the container of a unit for its memory.
    pub fn run_out_of_memory(&mut self, pick: u64) -> Option<UnitName> {
        let id = self.pick_id(pick, SimulatedContainer::is_up)?;
        self.end_container(&id, KILLED, true);
        self.containers.get(&id)?.unit()
    }

    /// A person stops the container of a unit.
    pub fn stop_by_hand(&mut self, pick: u64) -> Option<UnitName> {
        let id = self.pick_id(pick, SimulatedContainer::is_up)?;
        let code = self.containers.get(&id)?.program.stopped_code;
        self.end_container(&id, code, false);
        self.containers.get(&id)?.unit()
    }

    /// A person starts a container that has ended.
    pub fn start_by_hand(&mut self, pick: u64) -> Option<UnitName> {
        let has_ended = |found: &SimulatedContainer| found.state == ContainerState::Exited;
        let id = self.pick_id(pick, has_ended)?;
        self.begin_run(&id, self.now, true);
        self.containers.get(&id)?.unit()
    }

    /// A person removes the container of a unit, running or not.
    pub fn remove_by_hand(&mut self, pick: u64) -> Option<UnitName> {
        let id = self.pick_id(pick, |found| found.state != ContainerState::Removing)?;
        let unit = self.containers.get(&id)?.unit();
        self.end_container(&id, KILLED, false);
        self.remove_now(&id);
        unit
    }

    /// A person has the container of a unit stand still. Returns which.
    pub fn pause_by_hand(&mut self, pick: u64) -> Option<String> {
        let id = self.pick_id(pick, |found| found.state == ContainerState::Running)?;
        if let Some(container) = self.containers.get_mut(&id) {
            container.state = ContainerState::Paused;
        }
        self.tell_event(&id, "pause");
        Some(id)
    }

    /// A person lets all containers go on.
    pub fn unpause_all(&mut self) {
        let paused = self.containers.iter().filter(|(_, of)| of.state == ContainerState::Paused);
        let ids: Vec<String> = paused.map(|(id, _)| id.clone()).collect();
        for id in ids {
            if let Some(container) = self.containers.get_mut(&id) {
                container.state = ContainerState::Running;
            }
            self.tell_event(&id, "unpause");
        }
    }

    /// A person makes a container of this name, unless there is one. Returns whether there was none.
    pub fn make_foreign(&mut self, name: &str) -> bool {
        if self.find_id(name).is_some() {
            return false;
        }
        let id = self.take_id();
        let made = SimulatedContainer::new(name, &body::Create::default(), self.wall);
        self.containers.insert(id.clone(), made);
        self.begin_run(&id, self.now, true);
        true
    }

    /// A person removes the container of this name that a person has made.
    pub fn remove_foreign(&mut self, name: &str) {
        let Some(id) = self.find_id(name) else { return };
        if self.containers.get(&id).is_some_and(|found| found.labels.is_empty()) {
            self.remove_now(&id);
        }
    }

    fn pick_id(&self, pick: u64, is_meant: impl Fn(&SimulatedContainer) -> bool) -> Option<String> {
        if self.process == EngineProcess::Down {
            return None;
        }
        let ours = |found: &SimulatedContainer| found.unit().is_some() && is_meant(found);
        let ids: Vec<&String> =
            self.containers.iter().filter(|(_, found)| ours(found)).map(|(id, _)| id).collect();
        let index = usize::try_from(pick.checked_rem(ids.len() as u64)?).ok()?;
        ids.get(index).map(|id| (*id).clone())
    }
}
