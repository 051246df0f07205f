//! A machine: its clock, its disk, its power, what runs on it, and the daemon on it.
//!
//! Owns what a machine is made of and what is left of it after a kill, a power cut or a boot. When those come is the world's to say.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use muster_common::seed::Seed;
use muster_doubles::LossyDisk;
use muster_engine::machine::observation::RunnerEvent;
use muster_runtime::simulated::Node;
use muster_store::{Registry, Store};
use musterd::config::DockerConfig;
use musterd::reboot::role;
use musterd::stdx::clock::Wall;
use musterd::{CoreSettings, CoreSetup, Health, run_core};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::api_call::ApiCall;
use crate::api_line::serve_call;
use crate::clock::MachineClock;
use crate::daemon_parts::PartsOf;
use crate::etcd::{LineOptions, open_line};
use crate::host_line::{PowerLine, RunnerLine};
use crate::moment::Micros;
use crate::next_version::NextVersion;
use crate::plan::shape::Shape;
use crate::units_host::UnitsHost;
use crate::wire::{Outbox, Outgoing};

/// The prefix of the store's records.
pub(crate) const PREFIX: &str = "/muster/v1/";

/// Reports of systemd that a daemon has not read.
const QUEUED_REPORTS: usize = 8192;

/// A machine.
pub(crate) struct Machine {
    number: usize,
    seed: Seed,
    ttl: Duration,
    /// True if its daemons have the reboot role.
    reboots: bool,
    /// Its clock.
    pub(crate) clock: MachineClock,
    /// Its disk. What lies in its run directory is gone with a boot.
    pub(crate) disk: LossyDisk,
    /// Boots so far.
    pub(crate) boots: u64,
    /// False while it is off.
    pub(crate) is_on: bool,
    /// Its power in this boot.
    pub(crate) power: PowerLine,
    /// The units that run on it.
    pub(crate) units: UnitsHost,
    /// Its daemon, while there is one.
    pub(crate) daemon: Option<Daemon>,
    /// Faults by which its daemon stands still.
    pub(crate) pauses: u32,
    /// Faults by which its daemon has no line to systemd.
    pub(crate) broken_lines: u32,
    /// True if its next daemon is one of the next version.
    pub(crate) is_of_next_version: bool,
    daemons: u64,
    /// The last deadline of the daemon by its machine's clock, and the moment that is.
    known_deadline: Cell<Option<(Duration, Micros)>>,
}

/// A daemon's process.
pub(crate) struct Daemon {
    node: Node,
    /// Its API.
    api: Router,
    outbox: Outbox,
    shutdown: CancellationToken,
    /// Its health, as it tells it.
    pub(crate) health: Health,
    ended: Arc<AtomicBool>,
    wall: Arc<AtomicU64>,
    reports: mpsc::Sender<RunnerEvent>,
    /// The thing that comes after its end.
    pub(crate) then: AfterEnd,
}

/// The thing that comes after the end of a daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AfterEnd {
    /// It is not to end.
    Nothing,
    /// It is started again after a time.
    StartAgain(Micros),
    /// The machine goes down, and boots after a time.
    GoDown(Micros),
}

impl Machine {
    /// A machine that is off, with an empty disk.
    pub(crate) fn new(number: usize, seed: Seed, shape: &Shape) -> Self {
        let seed = seed.for_purpose(&format!("machine {number}"));
        let drift = shape.drifts.get(number).copied().unwrap_or(0);
        Self {
            number,
            seed,
            ttl: Duration::from_secs(shape.ttl_seconds),
            reboots: shape.reboots,
            clock: MachineClock::started_at(Micros::ZERO, drift),
            disk: LossyDisk::new(),
            boots: 0,
            is_on: false,
            power: PowerLine::new(String::new()),
            units: UnitsHost::new(
                seed.for_purpose("units"),
                shape.slow_per_mille,
                shape.failing_per_mille,
            ),
            daemon: None,
            pauses: 0,
            broken_lines: 0,
            is_of_next_version: false,
            daemons: 0,
            known_deadline: Cell::new(None),
        }
    }

    /// The machine's name in the cluster.
    pub(crate) fn machine_name(&self) -> String {
        Shape::machine_name(self.number)
    }

    /// Switches it on. Its daemon is yet to be started.
    pub(crate) fn boot_machine(&mut self, now: Micros) {
        self.boots += 1;
        self.is_on = true;
        self.clock.restart(now);
        self.known_deadline.set(None);
        self.power = PowerLine::new(format!("boot-{}-{}", self.number, self.boots));
    }

    /// Power fails.
    pub(crate) fn cut_power(&mut self) {
        self.kill_daemon();
        self.is_on = false;
        self.units.cut_power();
        self.disk.cut_power();
        self.clear_run();
    }

    /// It goes down in order: what is on its disk is written.
    pub(crate) fn go_down(&mut self) {
        self.kill_daemon();
        self.is_on = false;
        self.units.cut_power();
        self.clear_run();
    }

    fn clear_run(&self) {
        use musterd::stdx::disk::Disk as _;
        let owned = self.run_dir().join("owned");
        for directory in [self.run_dir(), owned] {
            for name in self.disk.list(&directory).unwrap_or_default() {
                // It was listed.
                let _ = self.disk.remove(&directory.join(name));
            }
        }
    }

    /// True if the note lies on its disk that the store is away.
    pub(crate) fn has_outage_note(&self) -> bool {
        use musterd::stdx::disk::Disk as _;
        let path = PathBuf::from(format!("/sim/{}/state/outage.json", self.number));
        self.disk.read(&path).is_ok()
    }

    fn run_dir(&self) -> PathBuf {
        PathBuf::from(format!("/sim/{}/run", self.number))
    }

    /// True if its daemon can be started.
    pub(crate) fn needs_daemon(&self) -> bool {
        self.daemon.is_none() && self.is_on
    }

    /// Starts the daemon, unless there is one, with a line to its store.
    pub(crate) fn start_daemon(&mut self, now: Micros, line: &LineOptions) {
        if !self.needs_daemon() {
            return;
        }
        self.daemons += 1;
        let seed = self.seed.for_purpose(&format!("daemon {}", self.daemons));
        let node = Node::new(self.clock.shown_at(now));
        let outbox = Outbox::default();
        let (reports, runner_events) = mpsc::channel(QUEUED_REPORTS);
        let shutdown = CancellationToken::new();
        let (ended, wall) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        wall.store(self.clock.wall_at(now), Ordering::Relaxed);
        let shown = Arc::clone(&wall);
        let time_of_day = Wall::new(move || shown.load(Ordering::Relaxed));
        let health = Health::with_wall(time_of_day.clone());
        let (settings, of_next) = (self.core_settings(), self.is_of_next_version);
        let api = node.enter(|| {
            // It names the members that it knows, and there is one at least.
            let Ok(line) = open_line(Arc::new(outbox.clone()), line) else { return Router::new() };
            let store: Arc<dyn Store> = if of_next { Arc::new(NextVersion(line)) } else { line };
            let registry = Registry::with_seed(store, PREFIX, seed);
            let (api, role) = PartsOf {
                machine: settings.machine_id.clone(),
                registry: &registry,
                health: &health,
                wall: &time_of_day,
                outbox: &outbox,
                power: &self.power,
                disk: &self.disk,
                state_dir: settings.state_dir.clone(),
                shutdown: &shutdown,
            }
            .make_parts();
            let runner = Arc::new(RunnerLine::new(outbox.clone()));
            let power = Arc::new(self.power.clone());
            let mut setup =
                CoreSetup::new(settings, registry, (runner, runner_events), power, health.clone());
            setup.disk = Arc::new(self.disk.clone());
            setup.wall = time_of_day;
            let (stop, has_ended, reboots) = (shutdown.clone(), Arc::clone(&ended), self.reboots);
            node.spawn(async move {
                let reboot = async {
                    if reboots {
                        role::run(role, stop.clone()).await;
                    }
                };
                let _ = tokio::join!(run_core(setup, stop.clone()), reboot);
                has_ended.store(true, Ordering::Relaxed);
            });
            api
        });
        if self.broken_lines == 0 {
            let _ = reports.try_send(RunnerEvent::Relist);
        }
        let then = AfterEnd::Nothing;
        self.daemon =
            Some(Daemon { node, api, outbox, shutdown, health, ended, wall, reports, then });
    }

    fn core_settings(&self) -> CoreSettings {
        let nowhere = PathBuf::from("/sim/nowhere");
        CoreSettings {
            machine_id: self.machine_name().parse().unwrap_or_else(|_| unreachable!()),
            host_name: self.machine_name(),
            address: format!("10.0.0.{}", self.number),
            api_address: Some(format!("10.0.0.{}:7117", self.number)),
            metadata: [].into(),
            ttl: self.ttl,
            engine: true,
            agent: true,
            state_dir: PathBuf::from(format!("/sim/{}/state", self.number)),
            run_dir: self.run_dir(),
            unit_dir: PathBuf::from(format!("/sim/{}/units", self.number)),
            docker: DockerConfig { socket: nowhere.clone(), credentials: None, secrets: nowhere },
            cluster: PREFIX.to_owned(),
            shared_store: true,
        }
    }

    /// Kills the daemon where it stands.
    pub(crate) fn kill_daemon(&mut self) {
        self.daemon = None;
    }

    /// True if the daemon can do something.
    pub(crate) fn daemon_runs(&self) -> bool {
        self.daemon.is_some() && self.pauses == 0
    }

    /// The moment at which the daemon wants to run again.
    pub(crate) fn next_deadline(&self) -> Option<Micros> {
        let daemon = self.daemon.as_ref().filter(|_| self.pauses == 0)?;
        let shown = daemon.node.next_deadline()?;
        // It is asked for at every step of the world, and seldom another.
        if let Some((known, moment)) = self.known_deadline.get()
            && known == shown
        {
            return Some(moment);
        }
        let moment = self.clock.moment_of(shown);
        self.known_deadline.set(Some((shown, moment)));
        Some(moment)
    }

    /// Lets the daemon run until it waits. Returns what it asks for, or the words with which it panicked.
    pub(crate) fn run_daemon(&mut self, now: Micros) -> Result<Vec<Outgoing>, String> {
        let Some(daemon) = self.daemon.as_ref().filter(|_| self.pauses == 0) else {
            return Ok(Vec::new());
        };
        let shown = self.clock.shown_at(now);
        daemon.wall.store(self.clock.wall_at(now), Ordering::Relaxed);
        self.power.set_up_millis(u64::try_from(shown.as_millis()).unwrap_or(u64::MAX));
        catch_unwind(AssertUnwindSafe(|| daemon.node.run_at(shown))).map_err(|panic| {
            let said = panic.downcast_ref::<String>().cloned();
            said.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                .unwrap_or_default()
        })?;
        Ok(daemon.outbox.take_all())
    }

    /// Hands the daemon a request to its API. One that is not there breaks the line.
    pub(crate) fn serve_api(&self, call: ApiCall) {
        if let Some(daemon) = &self.daemon {
            serve_call(&daemon.node, daemon.api.clone(), call);
        }
    }

    /// True if the daemon's process has come to its end.
    pub(crate) fn daemon_has_ended(&self) -> bool {
        self.daemon.as_ref().is_some_and(|daemon| daemon.ended.load(Ordering::Relaxed))
    }
}

impl Daemon {
    /// Asks it to end.
    pub(crate) fn begin_shutdown(&mut self, then: AfterEnd) {
        self.then = then;
        self.shutdown.cancel();
    }

    /// Hands it a report of systemd.
    pub(crate) fn tell_report(&self, event: RunnerEvent) {
        // A daemon that does not read its reports is told to look at everything when it does.
        let _ = self.reports.try_send(event);
    }
}
