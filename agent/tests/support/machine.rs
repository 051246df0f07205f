//! A daemon's core on an embedded store, with a runner in memory.
#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    clippy::unwrap_used,
    reason = "a module of test binaries: each uses its own part, and a panic is the failure"
)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use muster_common::decision::UnitWrite;
use muster_common::snapshot::Snapshot;
use muster_common::state::DesiredState;
use muster_common::unit::{UnitFile, UnitName};
pub use muster_doubles::{
    LONG, LossyDisk, ScriptedHost, ScriptedRunner, StoreLine, long_after, open_timed, timed_store,
};
use muster_store::Registry;
use musterd::{CoreSettings, CoreSetup, Health, run_core};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A machine with its disks, on which daemons come and go.
pub struct Machine {
    pub host: Arc<ScriptedHost>,
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
            host_name: String::new(),
            address: address.to_owned(),
            api_address: None,
            metadata: BTreeMap::new(),
            ttl: Duration::from_secs(2),
            engine: true,
            agent: true,
            more_runners: [].into(),
            state_dir: below("state"),
            run_dir: below("run"),
            unit_dir: below("units"),
            container_runner: None,
            docker: musterd::config::DockerConfig {
                socket: "/nonexistent/docker.sock".into(),
                credentials: None,
                secrets: "/nonexistent/secrets".into(),
            },
            cluster: "/muster/v1/".to_owned(),
            shared_store: true,
        };
        Self { host: ScriptedHost::new(), settings, _disk: disk }
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
        let (runner, events) = ScriptedRunner::on_host(&self.host);
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
pub async fn request_unit(registry: &Registry, unit: &str, text: &str, desired: DesiredState) {
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
pub async fn wait_until(
    registry: &Registry,
    what: &str,
    holds: impl Fn(&Snapshot) -> bool,
) -> Snapshot {
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
