//! What calls do.
//!
//! Owns the time that each takes and what it changes, as Docker's API promises it.

use std::collections::BTreeMap;
use std::time::Duration;

use muster_engine::container::LABEL_UNIT;
use musterd::runner::docker::client::{CreatedContainer, EngineError, EngineSetup, MarkedResource};
use tokio::sync::oneshot;

use super::calls::{
    CallResult, EngineAnswer, EngineCall, OpenCall, engine_failure, not_found, state_conflict,
};
use super::container::{ContainerState, SimulatedContainer};
use super::state::{DueEvent, EngineModel, EngineProcess};

impl EngineModel {
    /// Puts a call on its way.
    pub(super) fn send_call(&mut self, call: EngineCall) -> oneshot::Receiver<CallResult> {
        let (reply, answer) = oneshot::channel();
        let takes = self.draw_time_of(&call);
        let number = self.take_number();
        self.calls.insert(number, OpenCall { call, reply, takes, asked: self.now });
        let after = self.draw_micros(50, 1_500);
        self.push_due(after, DueEvent::CallArrives(number));
        answer
    }

    fn draw_time_of(&self, call: &EngineCall) -> Duration {
        let (shortest, longest, slow) = match call {
            EngineCall::Create { .. } => (10_000, 150_000, 15),
            EngineCall::Start(_) => (30_000, 300_000, 15),
            EngineCall::Remove(_) => (5_000, 100_000, 10),
            EngineCall::Pull(_) => (200_000, 8_000_000, 40),
            EngineCall::Kill { .. } | EngineCall::Stop(_) | EngineCall::Unpause(_) => {
                (500, 10_000, 3)
            }
            EngineCall::WaitUntilRemoved(_) => (0, 0, 0),
            _ => (200, 3_000, 1),
        };
        if slow > 0 && self.happens_by_chance(self.options.slow_per_mille) {
            return self.draw_micros(1_000_000, slow * 1_000_000);
        }
        self.draw_micros(shortest, longest)
    }

    /// The engine has read a call.
    pub(super) fn take_up(&mut self, number: u64) {
        match self.process {
            EngineProcess::Hung => {
                return self.push_due(Duration::from_millis(500), DueEvent::CallArrives(number));
            }
            EngineProcess::Down => {
                self.calls.remove(&number);
                return;
            }
            EngineProcess::Up => {}
        }
        let Some(open) = self.calls.get(&number) else { return };
        let (takes, call) = (open.takes, open.call.clone());
        if let Err(refused) = self.begin_call(&call) {
            if let Some(open) = self.calls.remove(&number) {
                // Whoever asked may be gone.
                let _ = open.reply.send(Err(refused));
            }
            return;
        }
        if !matches!(call, EngineCall::WaitUntilRemoved(_) | EngineCall::Stop(_)) {
            self.push_due(takes, DueEvent::CallIsDone(number));
        }
    }

    /// What is true of a call as soon as the engine has taken it up: a removal bars the way to all others.
    fn begin_call(&mut self, call: &EngineCall) -> Result<(), EngineError> {
        match call {
            EngineCall::Remove(name) => {
                let id = self.existing_id(name)?;
                let Some(container) = self.containers.get_mut(&id) else { return Ok(()) };
                if container.state == ContainerState::Removing {
                    let problem = format!("removal of container {id} is already in progress");
                    return Err(state_conflict(problem));
                }
                if container.is_up() {
                    container.is_stopping = true;
                    self.end_container(&id, 137, false);
                }
                if let Some(container) = self.containers.get_mut(&id) {
                    container.state = ContainerState::Removing;
                }
            }
            EngineCall::Stop(name) => {
                let id = self.existing_id(name)?;
                self.begin_stop(&id);
                self.answer_stops(&id);
            }
            EngineCall::WaitUntilRemoved(name) => {
                self.existing_id(name)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Asks a container to end, and has it killed if it does not.
    pub(super) fn begin_stop(&mut self, id: &str) {
        let Some(container) = self.containers.get_mut(id).filter(|found| found.is_up()) else {
            return;
        };
        container.is_stopping = true;
        let (run, grace) = (container.run, container.stop_grace);
        self.tell_event(id, "kill");
        self.ask_to_end(id);
        self.push_due(grace, DueEvent::GraceIsOver { id: id.to_owned(), run });
    }

    /// Answers those who wait for the end of a container, if it is over.
    pub(super) fn answer_stops(&mut self, id: &str) {
        if self.containers.get(id).is_some_and(SimulatedContainer::is_up) {
            return;
        }
        // Whoever waits for a removal is told of one that has failed, too.
        let found = self.containers.get(id).map(|found| found.state);
        let is_over = found != Some(ContainerState::Removing);
        let waits = |call: &EngineCall| match call {
            EngineCall::Stop(name) => name == id,
            EngineCall::WaitUntilRemoved(name) => is_over && name == id,
            _ => false,
        };
        let numbers: Vec<u64> =
            self.calls.iter().filter(|(_, open)| waits(&open.call)).map(|(at, _)| *at).collect();
        for number in numbers {
            self.push_due(Duration::from_micros(300), DueEvent::CallIsDone(number));
        }
    }

    fn existing_id(&self, name: &str) -> Result<String, EngineError> {
        self.find_id(name).ok_or_else(|| not_found("container", name))
    }

    /// A call that was made at a moment is done. What it answers is true now.
    pub(super) fn carry_out(&mut self, call: &EngineCall, asked: Duration) -> CallResult {
        let fails = |model: &Self| model.happens_by_chance(model.options.failing_per_mille);
        match call {
            EngineCall::Version => Ok(EngineAnswer::Version("1.47".to_owned())),
            EngineCall::Setup => Ok(EngineAnswer::Setup(self.read_setup())),
            EngineCall::List(labels) => {
                let found = self.containers.iter().filter(|(_, of)| of.has_labels(labels));
                for unit in found.clone().filter_map(|(_, of)| of.unit()) {
                    self.books.note_heard(&unit);
                }
                // One that goes is in no list of Docker's any more, or still is; here it is.
                Ok(EngineAnswer::Containers(found.map(|(id, of)| of.to_entry(id)).collect()))
            }
            EngineCall::Inspect(name) => {
                let id = self.existing_id(name)?;
                let found = self.containers.get(&id).ok_or_else(|| not_found("container", name))?;
                if let Some(unit) = found.unit() {
                    self.books.note_heard(&unit);
                }
                Ok(EngineAnswer::Details(Box::new(found.to_details(&id))))
            }
            EngineCall::Create { name, body } => {
                if !self.images.contains(&body.image) {
                    return Err(not_found("image", &body.image));
                }
                if let Some(id) = self.find_id(name) {
                    return Err(state_conflict(format!(
                        "Conflict. The container name \"/{name}\" is already in use by container \"{id}\"."
                    )));
                }
                if fails(self) {
                    if let Some(unit) = body.labels.get(LABEL_UNIT).and_then(|of| of.parse().ok()) {
                        self.books.on_failed_start(&unit);
                    }
                    return Err(engine_failure("no space left on device"));
                }
                let id = self.take_id();
                let made = SimulatedContainer::new(name, body, self.wall);
                self.containers.insert(id.clone(), made);
                self.tell_event(&id, "create");
                let warnings = Vec::new();
                Ok(EngineAnswer::Created(CreatedContainer { id, warnings }))
            }
            EngineCall::Start(name) => self.start_by_call(name, asked, fails(self)),
            EngineCall::Kill { id, signal } => self.kill_by_call(id, signal),
            EngineCall::Unpause(name) => {
                let id = self.existing_id(name)?;
                let found = self.containers.get_mut(&id);
                match found.filter(|found| found.state == ContainerState::Paused) {
                    Some(found) => {
                        found.state = ContainerState::Running;
                        self.tell_event(&id, "unpause");
                        Ok(EngineAnswer::Done)
                    }
                    None => Err(engine_failure(format!("Container {id} is not paused"))),
                }
            }
            EngineCall::Remove(name) => self.remove_by_call(name, fails(self)),
            EngineCall::InspectImage(name) if !self.images.contains(name) => {
                Err(not_found("image", name))
            }
            EngineCall::Pull(name) => self.pull_image(name, fails(self)),
            EngineCall::Stop(_) | EngineCall::WaitUntilRemoved(_) | EngineCall::InspectImage(_) => {
                Ok(EngineAnswer::Done)
            }
            resource => self.keep_resources(resource),
        }
    }

    fn read_setup(&self) -> EngineSetup {
        EngineSetup {
            log_driver: "json-file".to_owned(),
            log_drivers: vec!["json-file".to_owned(), "journald".to_owned()],
            cgroup_driver: "systemd".to_owned(),
            live_restore: Some(self.options.live_restore),
            process: Some(self.processes),
            ..EngineSetup::default()
        }
    }

    fn start_by_call(&mut self, name: &str, asked: Duration, fails: bool) -> CallResult {
        let id = self.existing_id(name)?;
        let Some(container) = self.containers.get_mut(&id) else {
            return Err(not_found("container", name));
        };
        match container.state {
            ContainerState::Running | ContainerState::Paused => return Ok(EngineAnswer::Done),
            ContainerState::Removing => {
                return Err(state_conflict(
                    "container is marked for removal and cannot be started",
                ));
            }
            ContainerState::Created | ContainerState::Exited => {}
        }
        if fails {
            "OCI runtime create failed".clone_into(&mut container.error);
            container.exit_code = 128;
            if let Some(unit) = container.unit() {
                self.books.on_failed_start(&unit);
            }
            return Err(engine_failure("OCI runtime create failed"));
        }
        self.begin_run(&id, asked, false);
        Ok(EngineAnswer::Done)
    }

    fn kill_by_call(&mut self, name: &str, signal: &str) -> CallResult {
        let id = self.existing_id(name)?;
        let found = self.containers.get_mut(&id);
        let Some(container) = found.filter(|found| found.state == ContainerState::Running) else {
            return Err(state_conflict(format!("container {id} is not running")));
        };
        container.is_stopping = true;
        self.tell_event(&id, "kill");
        if signal == "SIGKILL" {
            self.kill_later(&id);
        } else {
            self.ask_to_end(&id);
        }
        Ok(EngineAnswer::Done)
    }

    fn remove_by_call(&mut self, name: &str, fails: bool) -> CallResult {
        let id = self.existing_id(name)?;
        if fails {
            if let Some(container) = self.containers.get_mut(&id) {
                container.state = ContainerState::Exited;
                // Its name is not free, so that a start that was to take it fails.
                if let Some(unit) = container.unit() {
                    self.books.on_failed_start(&unit);
                }
            }
            self.answer_stops(&id);
            return Err(engine_failure("unable to remove filesystem: device or resource busy"));
        }
        self.remove_now(&id);
        Ok(EngineAnswer::Done)
    }

    /// A container is gone.
    pub(super) fn remove_now(&mut self, id: &str) {
        self.tell_event(id, "destroy");
        self.containers.remove(id);
        self.answer_stops(id);
    }

    fn pull_image(&mut self, name: &str, fails: bool) -> CallResult {
        if self.is_registry_away || fails {
            self.books.on_failed_pull();
            return Err(engine_failure("dial tcp: lookup registry.example: i/o timeout"));
        }
        self.images.insert(name.to_owned());
        Ok(EngineAnswer::Done)
    }

    fn keep_resources(&mut self, call: &EngineCall) -> CallResult {
        match call {
            EngineCall::FindVolume(name) if !self.volumes.contains_key(name) => {
                return Err(not_found("volume", name));
            }
            EngineCall::FindNetwork(name) if !self.networks.contains_key(name) => {
                return Err(not_found("network", name));
            }
            EngineCall::CreateVolume(body) => {
                self.volumes.insert(body.name.clone(), body.labels.clone());
            }
            EngineCall::CreateNetwork(body) => {
                self.networks.insert(body.name.clone(), body.labels.clone());
            }
            EngineCall::ListVolumes(labels) => return Ok(list_marked(&self.volumes, labels)),
            EngineCall::ListNetworks(labels) => return Ok(list_marked(&self.networks, labels)),
            EngineCall::RemoveVolume(name) => {
                self.volumes.remove(name);
            }
            EngineCall::RemoveNetwork(name) => {
                self.networks.remove(name);
            }
            _ => {}
        }
        Ok(EngineAnswer::Done)
    }
}

/// The volumes or networks that have all of these labels, `NAME=VALUE` each.
fn list_marked(
    all: &BTreeMap<String, BTreeMap<String, String>>,
    labels: &[String],
) -> EngineAnswer {
    let is_meant = |of: &BTreeMap<String, String>| {
        labels
            .iter()
            .filter_map(|label| label.split_once('='))
            .all(|(name, value)| of.get(name).is_some_and(|is| is == value))
    };
    let found = all.iter().filter(|(_, of)| is_meant(of));
    let found = found.map(|(name, labels)| MarkedResource {
        name: name.clone(),
        id: name.clone(),
        labels: labels.clone(),
    });
    EngineAnswer::Resources(found.collect())
}
