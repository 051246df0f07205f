//! A runner in memory, complete, and a daemon's core around it on an embedded store.
#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    clippy::assigning_clones,
    clippy::unwrap_used,
    reason = "a module of test binaries: each uses its own part, and a panic is the failure"
)]

pub mod disk;
pub mod engine;
mod line;
mod power;
mod time;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use muster_common::decision::UnitWrite;
use muster_common::snapshot::Snapshot;
use muster_common::state::{ActiveState, DesiredState};
use muster_common::unit::{FileHash, UnitFile, UnitName};
use muster_engine::machine::converge::Observed;
use muster_store::Registry;
use musterd::runner::{
    Runner, RunnerError, RunnerEvent, RunnerEvents, StartOutcome, UnitObservation,
};
use musterd::{CoreSettings, CoreSetup, Health, run_core};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use self::line::Line;
pub use self::time::{LONG, long_after, open_timed, timed_store};

/// A runner in memory. What it runs outlives the daemon that asked for it, as systemd's units do.
pub struct Scripted {
    host: Arc<Host>,
}

/// The machine behind it.
#[derive(Default)]
pub struct Host {
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    units: BTreeMap<UnitName, Unit>,
    events: Option<mpsc::Sender<RunnerEvent>>,
    log: Vec<String>,
    failing: BTreeSet<UnitName>,
    unloadable: BTreeSet<UnitName>,
    slow: BTreeSet<UnitName>,
    queued: BTreeSet<UnitName>,
    brittle: BTreeSet<UnitName>,
    restarting: BTreeSet<UnitName>,
    oneshots: BTreeSet<UnitName>,
    jobs: BTreeSet<UnitName>,
    foreign: BTreeSet<UnitName>,
    lingering: BTreeSet<UnitName>,
    stubborn: BTreeSet<UnitName>,
    clinging: BTreeSet<UnitName>,
    runs: u64,
    stopping: bool,
    lost: bool,
}

#[derive(Default, Clone)]
struct Unit {
    file: Option<FileHash>,
    active: ActiveState,
    run: u64,
}

impl Host {
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let result = act(&mut self.state.lock().unwrap());
        self.changed.send_modify(|n| *n += 1);
        result
    }

    /// Everything asked of the runner that changes a unit, in order.
    pub fn log(&self) -> Vec<String> {
        self.state.lock().unwrap().log.clone()
    }

    /// `active`, and the number of its run.
    pub fn unit(&self, unit: &str) -> Option<(String, u64)> {
        let state = self.state.lock().unwrap();
        state.units.get(&name(unit)).map(|u| (u.active.to_string(), u.run))
    }

    pub fn fail(&self, unit: &str) {
        self.with(|s| s.failing.insert(name(unit)));
    }

    /// Its start does not end before it is told to, or is stopped.
    pub fn slow(&self, unit: &str, slow: bool) {
        self.with(|s| if slow { s.slow.insert(name(unit)) } else { s.slow.remove(&name(unit)) });
    }

    /// It fails as soon as it runs.
    pub fn break_at_once(&self, unit: &str) {
        self.with(|s| s.brittle.insert(name(unit)));
    }

    /// It fails as soon as it runs, and its runner is about to start it again.
    pub fn restart_at_once(&self, unit: &str) {
        self.with(|s| s.restarting.insert(name(unit)));
    }

    /// It ends well, and its start is over when it has.
    pub fn oneshot(&self, unit: &str) {
        self.with(|s| s.oneshots.insert(name(unit)));
    }

    /// Starts of it wait in the queue of jobs, and nobody sees them, until [`Host::work_off`].
    pub fn queue(&self, unit: &str) {
        self.with(|s| s.queued.insert(name(unit)));
    }

    /// Waits until a start of the unit is in the queue.
    pub async fn until_queued(&self, unit: &str) {
        let unit = name(unit);
        let wait = self.wait(|s| s.jobs.contains(&unit));
        assert!(tokio::time::timeout(Duration::from_secs(30), wait).await.is_ok(), "{unit}");
    }

    /// Waits until the runner has been asked for something, as [`Host::log`] has it.
    pub async fn until_asked(&self, what: &str) {
        let wait = self.wait(|s| s.log.iter().any(|line| line == what));
        assert!(tokio::time::timeout(Duration::from_secs(30), wait).await.is_ok(), "{what}");
    }

    /// What is in the queue is done, whether anybody waits for it or not.
    pub fn work_off(&self) {
        self.with(|s| {
            s.queued.clear();
            for unit in std::mem::take(&mut s.jobs) {
                s.set(&unit, "active");
            }
        });
    }

    /// Its stop does not end before it is told to.
    pub fn stop_slowly(&self, unit: &str, slowly: bool) {
        let unit = name(unit);
        self.with(|s| if slowly { s.clinging.insert(unit) } else { s.clinging.remove(&unit) });
    }

    /// Processes of the unit go on after its stop, until they are told to end.
    pub fn linger(&self, unit: &str, lingers: bool) {
        let unit = name(unit);
        self.with(|s| {
            if lingers {
                s.lingering.insert(unit);
            } else if s.lingering.remove(&unit) && s.is(&unit, "deactivating") {
                s.set(&unit, "inactive");
            }
        });
    }

    /// It does not stop, whoever asks.
    pub fn refuse_to_stop(&self, unit: &str, refuses: bool) {
        let unit = name(unit);
        self.with(|s| if refuses { s.stubborn.insert(unit) } else { s.stubborn.remove(&unit) });
    }

    /// A unit of the host's own, running.
    pub fn foreign(&self, unit: &str) {
        self.with(|s| {
            s.foreign.insert(name(unit));
            let unit = s.units.entry(name(unit)).or_default();
            unit.active = ActiveState::Active;
        });
    }

    pub fn shutting_down(&self) {
        self.with(|s| s.stopping = true);
    }

    /// The unit ends by itself.
    pub fn crash(&self, unit: &str) {
        self.with(|s| s.set(&name(unit), "failed"));
    }

    /// Power fails: nothing runs, and what was in `/run` is gone.
    pub fn power_cut(&self) {
        self.with(|s| s.units.clear());
    }

    /// The line to the runner breaks, or is mended.
    pub fn lose(&self, lost: bool) {
        self.with(|s| {
            s.lost = lost;
            let event = if lost {
                RunnerEvent::Lost { problem: "cut".to_owned() }
            } else {
                RunnerEvent::Relist
            };
            s.report(event);
        });
    }

    /// Waits until the unit's state is as it should be.
    pub async fn until(&self, holds: impl Fn(Option<&str>) -> bool, unit: &str) {
        let unit = name(unit);
        let wait = self.wait(|s| holds(s.units.get(&unit).map(|u| u.active.as_str())));
        assert!(tokio::time::timeout(Duration::from_secs(30), wait).await.is_ok(), "{unit}");
    }

    async fn wait(&self, until: impl Fn(&State) -> bool) {
        let mut changed = self.changed.subscribe();
        while !until(&self.state.lock().unwrap()) {
            changed.changed().await.unwrap();
        }
    }
}

impl State {
    fn set(&mut self, unit: &UnitName, active: &str) {
        let entry = self.units.entry(unit.clone()).or_default();
        entry.active = active.into();
        let run = entry.run;
        self.report(RunnerEvent::Changed {
            unit: unit.clone(),
            active: active.into(),
            sub: self.sub(unit, active).to_owned(),
            invocation: if active == "active" { format!("{run:032x}") } else { String::new() },
            since: 1,
            remark: String::new(),
        });
    }

    fn sub(&self, unit: &UnitName, active: &str) -> &'static str {
        match active {
            "active" => "running",
            "activating" if self.restarting.contains(unit) => "auto-restart",
            _ => "dead",
        }
    }

    fn is(&self, unit: &UnitName, active: &str) -> bool {
        self.units.get(unit).is_some_and(|u| u.active.as_str() == active)
    }

    fn report(&mut self, event: RunnerEvent) {
        if let Some(events) = &self.events {
            let _ = events.try_send(event);
        }
    }

    fn check(&self) -> Result<(), RunnerError> {
        if self.lost {
            return Err(RunnerError::Lost {
                during: "a call".to_owned(),
                problem: "cut".to_owned(),
            });
        }
        Ok(())
    }
}

impl Scripted {
    pub fn on(host: &Arc<Host>) -> (Self, RunnerEvents) {
        let (sender, events) = mpsc::channel(1024);
        host.with(|s| {
            s.events = Some(sender);
            s.report(RunnerEvent::Relist);
        });
        (Self { host: Arc::clone(host) }, events)
    }

    async fn launch(&self, verb: &str, unit: &UnitName) -> Result<StartOutcome, RunnerError> {
        let fails = self.host.with(|s| {
            s.check()?;
            s.log.push(format!("{verb} {unit}"));
            // As with systemd, what runs is not started.
            if verb == "start" && s.units.get(unit).is_some_and(|u| u.active == ActiveState::Active)
            {
                return Ok(None);
            }
            if s.queued.contains(unit) {
                s.jobs.insert(unit.clone());
                return Ok(Some(false));
            }
            s.runs += 1;
            let run = s.runs;
            s.units.entry(unit.clone()).or_default().run = run;
            s.set(unit, "activating");
            Ok(Some(s.failing.contains(unit)))
        })?;
        let Some(fails) = fails else { return Ok(StartOutcome::Done) };
        self.host.wait(|s| !s.jobs.contains(unit)).await;
        self.host
            .wait(|s| {
                !s.slow.contains(unit)
                    || s.units.get(unit).is_none_or(|u| u.active == ActiveState::Inactive)
            })
            .await;
        Ok(self.host.with(|s| {
            if s.units.get(unit).is_none_or(|u| u.active == ActiveState::Inactive) {
                return StartOutcome::Failed {
                    problem: "start was cancelled by another job".to_owned(),
                };
            }
            let ends = s.oneshots.contains(unit);
            s.set(
                unit,
                if fails {
                    "failed"
                } else if ends {
                    "inactive"
                } else {
                    "active"
                },
            );
            if s.brittle.contains(unit) {
                s.set(unit, "failed");
            }
            if s.restarting.contains(unit) {
                s.set(unit, "activating");
            }
            if fails {
                StartOutcome::Failed { problem: "start failed: exit status 1".to_owned() }
            } else {
                StartOutcome::Done
            }
        }))
    }
}

#[async_trait]
impl Runner for Scripted {
    async fn observe_units(
        &self,
        units: &BTreeSet<UnitName>,
    ) -> Result<BTreeMap<UnitName, UnitObservation>, RunnerError> {
        self.host.with(|s| {
            s.check()?;
            let seen = units.iter().map(|unit| {
                let found = s.units.get(unit).cloned().unwrap_or_default();
                let known = s.units.contains_key(unit);
                let active = found.active.as_str();
                let observed = Observed {
                    load: if known { "loaded" } else { "not-found" }.to_owned(),
                    active: active.into(),
                    sub: s.sub(unit, active).to_owned(),
                    foreign: s.foreign.contains(unit),
                    obstacle: String::new(),
                    file: found.file,
                };
                let invocation =
                    if active == "active" { format!("{:032x}", found.run) } else { String::new() };
                (
                    unit.clone(),
                    UnitObservation { observed, invocation, since: 1, remark: String::new() },
                )
            });
            Ok(seen.collect())
        })
    }

    async fn write(&self, unit: &UnitName, hash: FileHash, text: &str) -> Result<(), RunnerError> {
        self.host.with(|s| {
            s.log.push(format!("write {unit}"));
            // As systemd sees a service that would run nothing.
            if text.contains("ExecStart=") || !text.contains("[Service]") {
                s.unloadable.remove(unit);
            } else {
                s.unloadable.insert(unit.clone());
            }
            s.units.entry(unit.clone()).or_default().file = Some(hash);
        });
        Ok(())
    }

    async fn remove(&self, unit: &UnitName) -> Result<(), RunnerError> {
        self.host.with(|s| {
            s.check()?;
            s.log.push(format!("remove {unit}"));
            s.units.remove(unit);
            Ok(())
        })
    }

    async fn enable(&self, units: &[UnitName]) -> Result<(), RunnerError> {
        self.host.with(|s| s.log.extend(units.iter().map(|unit| format!("enable {unit}"))));
        Ok(())
    }

    async fn disable(&self, units: &[UnitName]) -> Result<(), RunnerError> {
        self.host.with(|s| s.log.extend(units.iter().map(|unit| format!("disable {unit}"))));
        Ok(())
    }

    async fn load(&self, unit: &UnitName) -> Result<StartOutcome, RunnerError> {
        self.host.with(|s| {
            s.check()?;
            s.log.push(format!("load {unit}"));
            if !s.unloadable.contains(unit) {
                return Ok(StartOutcome::Done);
            }
            Ok(StartOutcome::Failed { problem: "systemd cannot load it (bad-setting)".to_owned() })
        })
    }

    async fn start(&self, unit: &UnitName, _: u64) -> Result<StartOutcome, RunnerError> {
        self.launch("start", unit).await
    }

    async fn restart(&self, unit: &UnitName, _: u64) -> Result<StartOutcome, RunnerError> {
        self.launch("restart", unit).await
    }

    async fn stop(&self, unit: &UnitName) -> Result<StartOutcome, RunnerError> {
        let stops = self.host.with(|s| {
            s.check()?;
            s.log.push(format!("stop {unit}"));
            if s.stubborn.contains(unit) {
                return Ok(false);
            }
            s.jobs.remove(unit);
            s.set(unit, "deactivating");
            Ok(true)
        })?;
        if !stops {
            return Ok(StartOutcome::Failed { problem: "systemd does not stop it".to_owned() });
        }
        self.host.wait(|s| !s.clinging.contains(unit)).await;
        self.host.with(|s| {
            if !s.lingering.contains(unit) {
                s.set(unit, "inactive");
            }
        });
        Ok(StartOutcome::Done)
    }

    async fn wait_until_empty(&self, unit: &UnitName) -> Result<bool, RunnerError> {
        self.host.wait(|s| !s.is(unit, "deactivating")).await;
        self.host.with(|s| {
            s.check()?;
            Ok(!s.is(unit, "active"))
        })
    }
}

/// A machine with its disks, on which daemons come and go.
pub struct Machine {
    pub host: Arc<Host>,
    pub settings: CoreSettings,
    _disk: tempfile::TempDir,
}

/// A daemon's core, running.
pub struct Daemon {
    pub health: Health,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Machine {
    pub fn new(id: &str, address: &str) -> Self {
        let disk = tempfile::tempdir().unwrap();
        let below = |path: &str| -> PathBuf { disk.path().join(path) };
        for path in ["state", "run", "units"] {
            std::fs::create_dir(below(path)).unwrap();
        }
        let settings = CoreSettings {
            machine_id: id.parse().unwrap(),
            address: address.to_owned(),
            api_address: None,
            metadata: BTreeMap::new(),
            ttl: Duration::from_secs(2),
            engine: true,
            agent: true,
            state_dir: below("state"),
            run_dir: below("run"),
            unit_dir: below("units"),
            docker: musterd::config::DockerConfig {
                socket: "/nonexistent/docker.sock".into(),
                credentials: None,
                secrets: "/nonexistent/secrets".into(),
            },
            cluster: "/muster/v1/".to_owned(),
        };
        Self { host: Host::new(), settings, _disk: disk }
    }

    /// The machine goes down and comes back.
    pub fn reboot(&self) {
        self.host.power_cut();
        std::fs::remove_dir_all(&self.settings.run_dir).unwrap();
        std::fs::create_dir(&self.settings.run_dir).unwrap();
    }

    pub fn start(&self, registry: &Registry) -> Daemon {
        let health = Health::new();
        let shutdown = CancellationToken::new();
        let (runner, events) = Scripted::on(&self.host);
        let host = Arc::clone(&self.host) as Arc<dyn musterd::host::power::HostPower>;
        let (settings, registry) = (self.settings.clone(), registry.clone());
        let setup =
            CoreSetup::new(settings, registry, (Arc::new(runner), events), host, health.clone());
        let core = run_core(setup, shutdown.clone());
        Daemon { health, shutdown, task: tokio::spawn(async move { core.await.unwrap() }) }
    }
}

impl Daemon {
    /// Stops it as systemd would.
    pub async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }

    /// Ends it as `kill -9` would.
    pub async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

/// An embedded store in a directory of its own.
pub fn store() -> (Registry, tempfile::TempDir) {
    let disk = tempfile::tempdir().unwrap();
    let store = muster_store::open_embedded(disk.path()).unwrap();
    (Registry::new(store, "/muster/v1/"), disk)
}

pub fn name(text: &str) -> UnitName {
    text.parse().unwrap()
}

/// Asks for a unit as a user would; the generation rises.
pub async fn ask(registry: &Registry, unit: &str, text: &str, desired: DesiredState) {
    let file: Arc<UnitFile> = Arc::new(text.parse().unwrap());
    let before = registry.read_snapshot().await.unwrap();
    let old = before.units.get(&name(unit));
    let write = UnitWrite {
        name: name(unit),
        file,
        desired,
        generation: old.map_or(1, |u| u.generation + 1),
        expected: old.map_or(0, |u| u.revision),
    };
    registry.write_units(vec![write]).await.unwrap();
}

/// Waits, generously, until the store looks as it should.
pub async fn until(registry: &Registry, what: &str, holds: impl Fn(&Snapshot) -> bool) -> Snapshot {
    let mut last = Snapshot::default();
    let mut updates = registry.watch();
    let wait = async {
        loop {
            if updates.events.recv().await.is_none() {
                return;
            }
            last = registry.read_snapshot().await.unwrap();
            if holds(&last) {
                return;
            }
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(30), wait).await;
    assert!(waited.is_ok(), "{what}: never came to be; the store has {last:#?}");
    last
}

/// `active` of a unit wherever it is reported, with the generation that was carried out.
pub fn reported(snapshot: &Snapshot, unit: &str) -> Option<(String, u64)> {
    let states = snapshot.states.get(&name(unit))?;
    states.values().next().map(|state| (state.active.to_string(), state.generation))
}
