//! A machine with the model of systemd, and the real runner on it.

#![allow(dead_code, reason = "each test uses some of it")]

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use muster_common::seed::Seed;
use muster_common::unit::{FileHash, UnitName};
use muster_doubles::LossyDisk;
use muster_runtime::simulated::Node;
use muster_sim::systemd::{
    ProgramStart, SimulatedSystemd, SystemdCall, SystemdModel, UNIT_DIRECTORY,
};
use musterd::runner::systemd::Systemd;
use musterd::runner::{Runner, RunnerError, RunnerEvents, StartOutcome, UnitObservation};
use musterd::stdx::clock::Wall;
use musterd::stdx::disk::Disk;

/// The second since the Unix epoch at which every test begins.
const WALL: u64 = 1_800_000_000;

/// A machine.
pub(crate) struct Bench {
    pub(crate) node: Node,
    pub(crate) systemd: SimulatedSystemd,
    pub(crate) disk: LossyDisk,
    pub(crate) runner: Arc<Systemd>,
    pub(crate) events: RunnerEvents,
    pub(crate) now: Duration,
    pub(crate) starts: Vec<ProgramStart>,
}

pub(crate) fn name(unit: &str) -> UnitName {
    unit.parse().unwrap()
}

impl Bench {
    pub(crate) fn new() -> Self {
        let disk = LossyDisk::new();
        let model = SystemdModel::new(Seed(7), Arc::new(disk.clone()));
        let systemd = SimulatedSystemd::new(model);
        let node = Node::new(Duration::ZERO);
        let (runner, events) =
            node.enter(|| systemd.connect(Arc::new(disk.clone()), Wall::new(|| WALL)));
        let (runner, starts) = (Arc::new(runner), Vec::new());
        Self { node, systemd, disk, runner, events, now: Duration::ZERO, starts }
    }

    /// The daemon is killed, and another one begins.
    pub(crate) fn restart_daemon(&mut self) {
        self.node.kill_tasks();
        self.systemd.lose_connection();
        let node = Node::new(self.now);
        let disk = Arc::new(self.disk.clone());
        let (runner, events) = node.enter(|| self.systemd.connect(disk, Wall::new(|| WALL)));
        (self.node, self.runner, self.events) = (node, Arc::new(runner), events);
    }

    /// Does something with the runner, however long it takes.
    pub(crate) fn ask<T, F>(&mut self, work: impl FnOnce(Arc<Systemd>) -> F) -> T
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
            self.collect();
            if let Some(result) = answer.lock().unwrap().take() {
                return result;
            }
            assert!(self.step(Duration::MAX), "nobody has anything to do, and it is not done");
        }
        panic!("it is never done");
    }

    /// Goes to the next moment at which something happens, not after `end`.
    fn step(&mut self, end: Duration) -> bool {
        let deadlines = [self.node.next_deadline(), self.systemd.next_deadline()];
        let Some(next) = deadlines.into_iter().flatten().min().filter(|next| *next <= end) else {
            return false;
        };
        self.now = self.now.max(next);
        self.systemd.advance_to(self.now, WALL);
        self.node.run_at(self.now);
        self.collect();
        true
    }

    fn collect(&mut self) {
        self.starts.extend(self.systemd.take_starts());
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        self.node.run_at(self.now);
        while self.step(end) {}
        self.now = end;
        self.systemd.advance_to(end, WALL);
        self.node.run_at(end);
        self.collect();
    }

    pub(crate) fn write(&mut self, unit: &str, text: &str) {
        let (unit, text) = (name(unit), text.to_owned());
        self.ask(async move |runner| runner.write(&unit, FileHash::of_text(&text), &text).await)
            .unwrap();
    }

    pub(crate) fn start(&mut self, unit: &str) -> StartOutcome {
        let unit = name(unit);
        self.ask(async move |runner| runner.start(&unit, 1).await).unwrap()
    }

    pub(crate) fn restart(&mut self, unit: &str) -> StartOutcome {
        let unit = name(unit);
        self.ask(async move |runner| runner.restart(&unit, 1).await).unwrap()
    }

    pub(crate) fn load(&mut self, unit: &str) -> StartOutcome {
        let unit = name(unit);
        self.ask(async move |runner| runner.load(&unit).await).unwrap()
    }

    pub(crate) fn stop(&mut self, unit: &str) -> StartOutcome {
        let unit = name(unit);
        self.ask(async move |runner| runner.stop(&unit).await).unwrap()
    }

    pub(crate) fn wait_until_empty(&mut self, unit: &str) -> bool {
        let unit = name(unit);
        self.ask(async move |runner| runner.wait_until_empty(&unit).await).unwrap()
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

    /// Puts a file in a unit's place behind the runner's back.
    pub(crate) fn put_file(&self, unit: &str, text: &str) {
        let path = Path::new(UNIT_DIRECTORY).join(unit);
        self.disk.write(&path, text.as_bytes(), 0o644).unwrap();
    }

    /// The host comes to have a unit of that name, and systemd reads its file.
    pub(crate) fn take_name(&mut self, unit: &str) {
        let path = Path::new("/etc/systemd/system").join(unit);
        self.disk.write(&path, b"[Service]\nExecStart=/sim/run --host\n", 0o644).unwrap();
        let now = self.now;
        let reload = |model: &mut SystemdModel| model.step(now, WALL, SystemdCall::ReloadUnits);
        self.systemd.with_model(reload).unwrap();
    }

    /// The state systemd has of a unit.
    pub(crate) fn active(&self, unit: &str) -> String {
        self.systemd.with_model(|model| model.active_state(&name(unit)).to_string())
    }

    /// The starts of a unit since this was asked last: true for each whose file was the one in its place.
    pub(crate) fn take_starts(&mut self, unit: &str) -> Vec<bool> {
        self.collect();
        let unit = name(unit);
        let (of, others) = self.starts.drain(..).partition::<Vec<_>, _>(|s| s.unit == unit);
        self.starts = others;
        of.into_iter().map(|start| start.in_place == Some(start.file)).collect()
    }
}
