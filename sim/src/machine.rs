//! A machine: its clock, its disk, its power, what runs on it, and the daemon on it.
//!
//! Owns what a machine is made of and what is left of it after a kill, a power cut or a boot. When those come is the world's to say.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use muster_common::seed::Seed;
use muster_common::unit::UnitName;
use muster_doubles::{DiskImage, LossyDisk};
use muster_runtime::simulated::Node;
use muster_store::{Registry, Store};
use musterd::config::DockerConfig;
use musterd::reboot::role;
use musterd::runner::docker::Docker;
use musterd::runner::{CombinedRunner, Runner, RunnerEvents};
use musterd::stdx::clock::Wall;
use musterd::stdx::disk::Disk;
use musterd::{CoreSettings, CoreSetup, Health, run_core};
use tokio_util::sync::CancellationToken;

use crate::api_call::ApiCall;
use crate::api_line::serve_call;
use crate::clock::MachineClock;
use crate::containers::{EngineModel, SimulatedEngine};
use crate::daemon_parts::PartsOf;
use crate::etcd::{LineOptions, open_line};
use crate::host_line::PowerLine;
use crate::host_unit::HostUnit;
use crate::moment::Micros;
use crate::next_version::NextVersion;
use crate::plan::engines::is_container;
use crate::plan::shape::Shape;
use crate::systemd::{SimulatedSystemd, SystemdModel, UNIT_DIRECTORY};
use crate::watched_runner::{CallNotes, HostNotes, WatchedRunner};
use crate::wire::{Outbox, Outgoing};

/// The prefix of the store's records.
pub(crate) const PREFIX: &str = "/muster/v1/";

/// The directory of what does not outlast a boot.
const RUN_DIR: &str = "/run/muster";
/// The directory of what does.
const STATE_DIR: &str = "/var/lib/muster";

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
    /// Its systemd.
    pub(crate) systemd: SimulatedSystemd,
    /// Its container engine, if it has one.
    pub(crate) engine: Option<SimulatedEngine>,
    /// Faults of its container engine.
    pub(crate) engine_faults: u32,
    /// The requests of its daemon to its runner.
    pub(crate) notes: CallNotes,
    /// Its daemon, while there is one.
    pub(crate) daemon: Option<Daemon>,
    /// Faults by which its daemon stands still.
    pub(crate) pauses: u32,
    /// Faults by which its daemon has no line to systemd.
    pub(crate) broken_lines: u32,
    /// True if its next daemon is one of the next version.
    pub(crate) is_of_next_version: bool,
    /// Faults by which its systemd reads no calls.
    pub(crate) busies: u32,
    /// Faults by which it sleeps.
    pub(crate) sleeps: u32,
    /// The machine that it takes itself for, and what was on its own disk, while it is a copy of another.
    copies: Option<(usize, DiskImage)>,
    /// Its way down, while it goes.
    pub(crate) going_down: Option<GoingDown>,
    /// The last moment at which its daemon stood still.
    pub(crate) stood_still: Micros,
    daemons: u64,
    userspaces: u64,
    /// The last deadline of the daemon by its machine's clock, and the moment that is.
    known_deadline: Cell<Option<(Duration, Micros)>>,
}

/// A machine's way down.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GoingDown {
    /// The moment at which it began.
    pub(crate) since: Micros,
    /// The time after which it boots; `None`: only its userspace goes, and is there again at once.
    pub(crate) off: Option<Micros>,
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
    /// The machine goes down, and boots after a time; without one only its userspace goes, and is there again at once.
    GoDown(Option<Micros>),
}

impl Machine {
    /// A machine that is off, with an empty disk.
    pub(crate) fn new(number: usize, seed: Seed, shape: &Shape) -> Self {
        let seed = seed.for_purpose(&format!("machine {number}"));
        let drift = shape.drifts.get(number).copied().unwrap_or(0);
        let disk = LossyDisk::new();
        let mut model = SystemdModel::new(seed.for_purpose("systemd"), Arc::new(disk.clone()));
        model.lose_power(|_| ());
        let systemd = SimulatedSystemd::new(model);
        systemd.set_latency(seed.for_purpose("bus"));
        let engine = shape.engines.as_ref().and_then(|engines| engines.options_of(number));
        let engine = engine.map(|options| {
            SimulatedEngine::new(EngineModel::new(seed.for_purpose("container engine"), options))
        });
        Self {
            number,
            seed,
            ttl: Duration::from_secs(shape.ttl_seconds),
            reboots: shape.reboots,
            clock: MachineClock::started_at(Micros::ZERO, drift),
            disk,
            boots: 0,
            is_on: false,
            power: PowerLine::new(String::new(), String::new()),
            systemd,
            engine,
            engine_faults: 0,
            notes: CallNotes::default(),
            daemon: None,
            pauses: 0,
            broken_lines: 0,
            is_of_next_version: false,
            busies: 0,
            sleeps: 0,
            copies: None,
            going_down: None,
            stood_still: Micros::ZERO,
            daemons: 0,
            userspaces: 0,
            known_deadline: Cell::new(None),
        }
    }

    /// The machine's name in the cluster.
    pub(crate) fn machine_name(&self) -> String {
        Shape::machine_name(self.number)
    }

    /// The machine that it takes itself for.
    pub(crate) fn own_belief(&self) -> usize {
        self.copies.as_ref().map_or(self.number, |(of, _)| *of)
    }

    /// True while it is a copy of another.
    pub(crate) fn is_copy(&self) -> bool {
        self.copies.is_some()
    }

    /// The address under which its daemon registers.
    pub(crate) fn own_address(&self) -> String {
        format!("10.0.0.{}", self.number)
    }

    /// Its disk, while it is off, becomes a copy of another's.
    pub(crate) fn become_copy(&mut self, of: usize, image: DiskImage) {
        self.copies = Some((of, self.disk.take_image()));
        self.disk.put_image(image);
        self.disk.clear_below(&PathBuf::from("/run"));
    }

    /// Its own disk is put back, while it is off.
    pub(crate) fn take_own_disk(&mut self) {
        if let Some((_, image)) = self.copies.take() {
            self.disk.put_image(image);
        }
    }

    /// A person removes a file of the host's own: from the disk that is set aside as well, while the machine is a copy of another.
    pub(crate) fn remove_own_file(&mut self, path: &Path) {
        // It may be gone already.
        let _ = self.disk.remove(path);
        if let Some((of, image)) = self.copies.take() {
            let aside = LossyDisk::new();
            aside.put_image(image);
            let _ = aside.remove(path);
            self.copies = Some((of, aside.take_image()));
        }
    }

    /// A unit as it is here; `None`: there is nothing of it.
    pub(crate) fn find_unit(&self, unit: &UnitName) -> Option<HostUnit> {
        match &self.engine {
            Some(engine) if is_container(unit) => engine.find_unit(unit, &self.disk),
            _ => self.systemd.find_unit(unit),
        }
    }

    /// Switches it on. Its daemon is yet to be started.
    pub(crate) fn boot_machine(&mut self, now: Micros) {
        self.boots += 1;
        self.is_on = true;
        self.clock.restart(now);
        self.known_deadline.set(None);
        self.advance_host(now);
        self.begin_userspace();
        self.systemd.with_model(SystemdModel::begin_boot);
        self.with_engine(EngineModel::begin_boot);
    }

    /// Does something with its container engine, if it has one.
    pub(crate) fn with_engine(&self, act: impl FnOnce(&mut EngineModel)) {
        if let Some(engine) = &self.engine {
            engine.with_model(act);
        }
    }

    /// True if none of its units runs any more.
    pub(crate) fn is_down(&self) -> bool {
        let containers_down =
            self.engine.as_ref().is_none_or(|engine| engine.with_model(|model| model.is_down()));
        self.systemd.with_model(|model| model.is_down()) && containers_down
    }

    fn begin_userspace(&mut self) {
        self.userspaces += 1;
        self.going_down = None;
        self.systemd.begin_boot();
        let boot = format!("boot-{}-{}", self.number, self.boots);
        self.power = PowerLine::new(boot, format!("userspace-{}", self.userspaces));
        self.power.set_askable(self.broken_lines == 0);
    }

    /// Lets time pass for systemd on it.
    pub(crate) fn advance_host(&self, now: Micros) {
        if self.is_on {
            let awake = self.clock.awake_time(now).to_duration();
            let wall = self.clock.wall_at(now);
            self.systemd.advance_to(awake, wall);
            if let Some(engine) = &self.engine {
                engine.advance_to(awake, wall, self.clock.up_at(now));
            }
        }
    }

    /// It goes to sleep.
    pub(crate) fn fall_asleep(&mut self, now: Micros) {
        self.sleeps += 1;
        self.clock.fall_asleep(now);
    }

    /// It is woken, unless another fault keeps it asleep. Gives the time that it slept.
    pub(crate) fn wake_up(&mut self, now: Micros) -> Micros {
        self.sleeps = self.sleeps.saturating_sub(1);
        if self.sleeps > 0 {
            return Micros::ZERO;
        }
        self.power.note_wake();
        self.known_deadline.set(None);
        self.stood_still = now;
        self.clock.wake_up(now)
    }

    /// Power fails.
    pub(crate) fn cut_power(&mut self) {
        self.disk.cut_power();
        self.go_down();
    }

    /// It goes down in order: what is on its disk is written.
    pub(crate) fn go_down(&mut self) {
        self.kill_daemon();
        self.is_on = false;
        self.going_down = None;
        self.systemd.begin_boot();
        self.systemd.with_model(|model| model.lose_power(|run| self.disk.clear_below(run)));
        self.with_engine(EngineModel::lose_power);
    }

    /// Its userspace goes, and is there again: the kernel, its boot and what lies in `/run` are as they were.
    pub(crate) fn restart_userspace(&mut self) {
        self.kill_daemon();
        self.begin_userspace();
        self.systemd.with_model(SystemdModel::restart_softly);
        self.with_engine(EngineModel::lose_power);
        self.with_engine(EngineModel::begin_boot);
    }

    /// True if the note lies on its disk that the store is away.
    pub(crate) fn has_outage_note(&self) -> bool {
        self.disk.read(&PathBuf::from(STATE_DIR).join("outage.json")).is_ok()
    }

    /// True if its daemon can be started.
    pub(crate) fn needs_daemon(&self) -> bool {
        self.daemon.is_none() && self.is_on && self.going_down.is_none()
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
            let disk = Arc::new(self.disk.clone());
            let (runner, runner_events, docker) =
                self.connect_runners(disk, &time_of_day, &settings, &registry);
            let power = Arc::new(self.power.clone());
            let mut setup =
                CoreSetup::new(settings, registry, (runner, runner_events), power, health.clone());
            setup.container_engine = docker.map(|docker| docker.watch_engine_state());
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
        let then = AfterEnd::Nothing;
        self.daemon = Some(Daemon { node, api, outbox, shutdown, health, ended, wall, then });
    }

    /// The runners of a daemon that begins now: systemd's, and beside it that of containers where there is an engine.
    fn connect_runners(
        &self,
        disk: Arc<dyn Disk>,
        wall: &Wall,
        settings: &CoreSettings,
        registry: &Registry,
    ) -> (Arc<dyn Runner>, RunnerEvents, Option<Arc<Docker>>) {
        let (systemd, events) = self.systemd.connect(Arc::clone(&disk), wall.clone());
        let hosts = HostNotes {
            systemd: self.systemd.clone(),
            engine: self.engine.clone(),
            disk: self.disk.clone(),
            calls: self.notes.clone(),
        };
        let Some(engine) = &self.engine else {
            return (Arc::new(WatchedRunner::new(systemd, hosts)), events, None);
        };
        let sources = Arc::new(registry.clone());
        let machine = settings.machine_id.clone();
        let world = (disk, wall.clone());
        let parts = (sources as _, self.power.known_userspace());
        let (docker, of_engine) = engine.connect(machine, &settings.cluster, world, parts);
        let docker = Arc::new(docker);
        let containers: Arc<dyn Runner> = Arc::<Docker>::clone(&docker);
        let (both, events) =
            CombinedRunner::new((Arc::new(systemd), events), (containers, of_engine));
        (Arc::new(WatchedRunner::new(both, hosts)), events, Some(docker))
    }

    fn core_settings(&self) -> CoreSettings {
        let nowhere = PathBuf::from("/sim/nowhere");
        let name = Shape::machine_name(self.own_belief());
        CoreSettings {
            machine_id: name.parse().unwrap_or_else(|_| unreachable!()),
            host_name: name,
            address: self.own_address(),
            api_address: Some(format!("{}:7117", self.own_address())),
            metadata: [].into(),
            ttl: self.ttl,
            engine: true,
            agent: true,
            more_runners: [].into(),
            state_dir: PathBuf::from(STATE_DIR),
            run_dir: PathBuf::from(RUN_DIR),
            unit_dir: PathBuf::from(UNIT_DIRECTORY),
            container_runner: None,
            docker: DockerConfig { socket: nowhere.clone(), credentials: None, secrets: nowhere },
            cluster: PREFIX.to_owned(),
            shared_store: true,
        }
    }

    /// Kills the daemon where it stands.
    pub(crate) fn kill_daemon(&mut self) {
        if self.daemon.take().is_some() {
            self.systemd.lose_connection();
            if let Some(engine) = &self.engine {
                engine.lose_connection();
            }
        }
    }

    /// True if the daemon can do something.
    pub(crate) fn daemon_runs(&self) -> bool {
        self.daemon.is_some() && self.pauses == 0 && !self.clock.is_asleep()
    }

    /// The moment at which something on it wants to go on by itself.
    pub(crate) fn next_deadline(&self) -> Option<Micros> {
        if !self.is_on || self.clock.is_asleep() {
            return None;
        }
        let daemon = self.daemon.as_ref().filter(|_| self.pauses == 0);
        let shown = daemon.and_then(|daemon| daemon.node.next_deadline());
        let systemd = self.systemd.next_deadline().map(Micros::from);
        let systemd = systemd.map(|awake| self.clock.moment_awake(awake));
        let engine = self.engine.as_ref().and_then(SimulatedEngine::next_deadline);
        let engine = engine.map(|awake| self.clock.moment_awake(Micros::from(awake)));
        [shown.map(|shown| self.moment_of(shown)), systemd, engine].into_iter().flatten().min()
    }

    /// The moment at which its clock shows a time. It is asked for at every step of the world, and seldom for another one.
    fn moment_of(&self, shown: Duration) -> Micros {
        if let Some((known, moment)) = self.known_deadline.get()
            && known == shown
        {
            return moment;
        }
        let moment = self.clock.moment_of(shown);
        self.known_deadline.set(Some((shown, moment)));
        moment
    }

    /// Lets the daemon run until it waits. Returns what it asks for, or the words with which it panicked.
    pub(crate) fn run_daemon(&mut self, now: Micros) -> Result<Vec<Outgoing>, String> {
        self.advance_host(now);
        let Some(daemon) = self.daemon.as_ref().filter(|_| self.daemon_runs()) else {
            return Ok(Vec::new());
        };
        let shown = self.clock.shown_at(now);
        daemon.wall.store(self.clock.wall_at(now), Ordering::Relaxed);
        let up = self.clock.up_at(now).as_millis();
        self.power.set_up_millis(u64::try_from(up).unwrap_or(u64::MAX));
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
}
