//! A machine with the model of a container engine, and the real runner on it.

#![allow(dead_code, reason = "each test uses some of it")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use muster_common::seed::Seed;
use muster_common::unit::{FileHash, UnitFile, UnitName};
use muster_doubles::LossyDisk;
use muster_runtime::simulated::Node;
use muster_sim::containers::{EngineModel, EngineOptions, SimulatedEngine};
use musterd::runner::Sources;
use musterd::runner::docker::Docker;
use musterd::runner::{
    Runner, RunnerError, RunnerEvent, RunnerEvents, StartOutcome, UnitObservation,
};
use musterd::stdx::clock::Wall;

/// The second since the Unix epoch at which every test begins.
const WALL: u64 = 1_800_000_000;

/// The image that is there.
pub(crate) const IMAGE: &str = "registry.example/web:1";

/// A machine.
pub(crate) struct EngineBench {
    pub(crate) node: Node,
    pub(crate) engine: SimulatedEngine,
    pub(crate) disk: LossyDisk,
    pub(crate) runner: Arc<Docker>,
    pub(crate) events: RunnerEvents,
    pub(crate) now: Duration,
    userspaces: u64,
}

/// A cluster that knows no volumes and networks.
struct NoSources;

#[async_trait]
impl Sources for NoSources {
    async fn fetch_files(
        &self,
        _: &[UnitName],
    ) -> Result<BTreeMap<UnitName, Arc<UnitFile>>, String> {
        Ok(BTreeMap::new())
    }
}

pub(crate) fn name(unit: &str) -> UnitName {
    unit.parse().unwrap()
}

/// A container's file, with these lines in `[Container]` and after it.
pub(crate) fn container(lines: &str) -> String {
    format!("[Container]\nImage={IMAGE}\n{lines}\n")
}

/// One that runs until it is stopped.
pub(crate) fn good() -> String {
    container("RunInit=yes\nExec=sleep 1000000")
}

impl EngineBench {
    /// A machine whose engine answers.
    pub(crate) fn new() -> Self {
        Self::with_options(7, EngineOptions::default())
    }

    pub(crate) fn with_options(seed: u64, mut options: EngineOptions) -> Self {
        options.images.insert(IMAGE.to_owned());
        let engine = SimulatedEngine::new(EngineModel::new(Seed(seed), options));
        engine.with_model(EngineModel::begin_boot);
        let (disk, node) = (LossyDisk::new(), Node::new(Duration::ZERO));
        let (runner, events) = connect(&engine, &disk, &node, Some(1));
        let now = Duration::ZERO;
        let mut bench = Self { node, engine, disk, runner, events, now, userspaces: 1 };
        bench.wait_for_relist();
        bench
    }

    /// The daemon is killed, and another one begins.
    pub(crate) fn restart_daemon(&mut self) {
        self.restart_daemon_in(Some(self.userspaces));
    }

    /// The same while nobody can say in which userspace.
    pub(crate) fn restart_daemon_untold(&mut self) {
        self.restart_daemon_in(None);
    }

    /// The daemon is told in which userspace it is.
    pub(crate) fn tell_userspace(&mut self) {
        self.runner.learn_userspace(&self.userspaces.to_string());
    }

    fn restart_daemon_in(&mut self, userspace: Option<u64>) {
        self.node.kill_tasks();
        self.engine.lose_connection();
        let node = Node::new(self.now);
        let (runner, events) = connect(&self.engine, &self.disk, &node, userspace);
        (self.node, self.runner, self.events) = (node, runner, events);
        self.wait_for_relist();
    }

    /// The machine's userspace goes, and is there again; what lies in `/run` is as it was.
    pub(crate) fn restart_userspace(&mut self) {
        self.engine.with_model(EngineModel::lose_power);
        self.engine.with_model(EngineModel::begin_boot);
        self.userspaces += 1;
        self.restart_daemon();
    }

    /// Does something with the runner, however long it takes.
    pub(crate) fn ask<T, F>(&mut self, work: impl FnOnce(Arc<Docker>) -> F) -> T
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let answer = Arc::new(Mutex::new(None));
        let (work, place) = (work(Arc::clone(&self.runner)), Arc::clone(&answer));
        self.node.spawn(async move {
            let result = work.await;
            *place.lock().unwrap() = Some(result);
        });
        for _ in 0..100_000 {
            self.node.run_at(self.now);
            if let Some(result) = answer.lock().unwrap().take() {
                return result;
            }
            assert!(self.step(Duration::MAX), "nobody has anything to do, and it is not done");
        }
        panic!("it is never done");
    }

    /// Goes to the next moment at which something happens, not after `end`.
    pub(crate) fn step(&mut self, end: Duration) -> bool {
        let deadlines = [self.node.next_deadline(), self.engine.next_deadline()];
        let Some(next) = deadlines.into_iter().flatten().min().filter(|next| *next <= end) else {
            return false;
        };
        self.now = self.now.max(next);
        self.engine.advance_to(self.now, WALL + self.now.as_secs(), self.now);
        self.node.run_at(self.now);
        true
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        self.node.run_at(self.now);
        while self.step(end) {}
        self.now = end;
        self.engine.advance_to(end, WALL + end.as_secs(), end);
        self.node.run_at(end);
    }

    /// Waits until the runner says that everything is to be looked at.
    pub(crate) fn wait_for_relist(&mut self) {
        for _ in 0..100_000 {
            match self.events.try_recv() {
                Ok(RunnerEvent::Relist) => return,
                Ok(_) => {}
                Err(_) => assert!(self.step(Duration::MAX)),
            }
        }
        panic!("it never says so");
    }

    /// The states that were told of a unit since this was asked last.
    pub(crate) fn told(&mut self, unit: &str) -> Vec<String> {
        let mut told = Vec::new();
        while let Ok(event) = self.events.try_recv() {
            if let RunnerEvent::Changed { unit: of, active, .. } = event
                && of == name(unit)
            {
                told.push(active.to_string());
            }
        }
        told
    }

    pub(crate) fn try_write(&mut self, unit: &str, text: &str) -> Result<(), RunnerError> {
        let (unit, text) = (name(unit), text.to_owned());
        self.ask(async move |runner| runner.write(&unit, FileHash::of_text(&text), &text).await)
    }

    pub(crate) fn write(&mut self, unit: &str, text: &str) {
        self.try_write(unit, text).unwrap();
    }

    pub(crate) fn start_at(&mut self, unit: &str, generation: u64) -> StartOutcome {
        let unit = name(unit);
        self.ask(async move |runner| runner.start(&unit, generation).await).unwrap()
    }

    /// Begins a start that nobody waits for.
    pub(crate) fn begin_start(&mut self, unit: &str) {
        let (unit, runner) = (name(unit), Arc::clone(&self.runner));
        self.node.spawn(async move {
            let _ = runner.start(&unit, 1).await;
        });
        self.node.run_at(self.now);
    }

    /// Begins a stop whose outcome nobody waits for.
    pub(crate) fn begin_stop(&mut self, unit: &str) {
        let (unit, runner) = (name(unit), Arc::clone(&self.runner));
        self.node.spawn(async move {
            let _ = runner.stop(&unit).await;
        });
        self.node.run_at(self.now);
    }

    pub(crate) fn start(&mut self, unit: &str) -> StartOutcome {
        self.start_at(unit, 1)
    }

    pub(crate) fn restart(&mut self, unit: &str) -> StartOutcome {
        let unit = name(unit);
        self.ask(async move |runner| runner.restart(&unit, 2).await).unwrap()
    }

    pub(crate) fn load(&mut self, unit: &str) -> StartOutcome {
        let unit = name(unit);
        self.ask(async move |runner| runner.load(&unit).await).unwrap()
    }

    pub(crate) fn stop(&mut self, unit: &str) -> StartOutcome {
        let unit = name(unit);
        self.ask(async move |runner| runner.stop(&unit).await).unwrap()
    }

    pub(crate) fn remove(&mut self, unit: &str) -> Result<(), RunnerError> {
        let unit = name(unit);
        self.ask(async move |runner| runner.remove(&unit).await)
    }

    pub(crate) fn see(&mut self, unit: &str) -> UnitObservation {
        let unit = name(unit);
        let units = [unit.clone()].into();
        let seen = self.ask(async move |runner| runner.observe_units(&units).await);
        seen.unwrap().remove(&unit).unwrap()
    }

    pub(crate) fn active(&mut self, unit: &str) -> String {
        self.see(unit).observed.active.to_string()
    }

    /// Stops and removes a unit; nothing of it is left.
    pub(crate) fn clean(&mut self, unit: &str) {
        self.stop(unit);
        self.remove(unit).unwrap();
        let place = Path::new(muster_sim::containers::FILE_DIRECTORY).join(unit);
        assert!(musterd::stdx::disk::Disk::look_at(&self.disk, &place).is_none());
        assert!(!self.engine.is_running(&name(unit)));
    }
}

fn connect(
    engine: &SimulatedEngine,
    disk: &LossyDisk,
    node: &Node,
    userspace: Option<u64>,
) -> (Arc<Docker>, RunnerEvents) {
    let machine = "0123456789abcdef0123456789abcdef".parse().unwrap();
    let world = (Arc::new(disk.clone()) as _, Wall::new(|| WALL));
    let parts = (Arc::new(NoSources) as _, userspace.map(|number| number.to_string()));
    let (runner, events) = node.enter(|| engine.connect(machine, "/test/", world, parts));
    (Arc::new(runner), events)
}
