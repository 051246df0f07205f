//! The daemon's core: what runs units and the loops around it, from settings.
//!
//! Owns the wiring of registration, leading and converging on one machine, and the order in which they end. It reads no
//! configuration file and serves nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use muster_common::machine::{ContainerEngine, Machine, MachineId, RunnerKind};
use muster_store::Registry;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::host::{identity, modes};
use crate::machine::converge::{Converge, ConvergeConfig};
use crate::machine::ledger::Ledger;
use crate::machine::registration::RegistrationLoop;
use crate::machine::{last_known, shutdown};
use crate::runner::docker::{self, Docker};
use crate::runner::systemd::Systemd;
use crate::runner::{CombinedRunner, Runner};
use crate::stdx::clock::Wall;
use crate::stdx::disk::{Disk, HostDisk};
use crate::telemetry::health::{self, Health};
use crate::{config, leader};

/// What the daemon's core needs to know; made from the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// This machine's id; see [`identity::machine_id`].
    pub machine_id: MachineId,
    /// The address shown to people; see [`identity::own_address`].
    pub address: String,
    /// `host:port` where other daemons reach this one's HTTP API, if they do.
    pub api_address: Option<String>,
    /// Metadata from the configuration.
    pub metadata: BTreeMap<String, String>,
    /// A machine that is silent this long is gone.
    pub ttl: Duration,
    /// Whether this daemon may lead.
    pub engine: bool,
    /// Whether this machine takes units. One that does not is registered all the same, without a runner: leading hangs on
    /// its lease.
    pub agent: bool,
    /// What must survive a reboot: the last known placements. `/var/lib/muster`.
    pub state_dir: PathBuf,
    /// What must not: the memory of the units this daemon owns. `/run/muster`.
    pub run_dir: PathBuf,
    /// Where unit files go. `/run/systemd/system`.
    pub unit_dir: PathBuf,
    /// The container engine.
    pub docker: config::DockerConfig,
    /// The cluster, by the prefix of its store: containers are marked with it.
    pub cluster: String,
}

impl Settings {
    /// This machine as it registers itself.
    pub fn machine(&self) -> Machine {
        Machine {
            id: self.machine_id.clone(),
            host: identity::host_name(),
            address: self.address.clone(),
            api: self.api_address.clone(),
            metadata: self.metadata.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            runners: if self.agent { [RunnerKind::Systemd].into() } else { [].into() },
            containers_lost: None,
            boot: identity::boot_id(),
            created: 0,
        }
    }
}

/// Why the daemon's core could not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A directory of ours cannot be used.
    #[error("cannot use the directory {}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// How the names begin of what is kept in the state directory.
pub const STATE: [&str; 6] = ["jobs.", "named", "placements", "reboot.", "store.", ".muster-"];

/// What runs units on this machine.
pub struct Runners {
    all: Arc<dyn Runner>,
    containers: Option<Arc<Docker>>,
}

impl Runners {
    /// systemd, and the container engine where this machine takes units. Both are looked for in the background.
    pub fn new(settings: &Settings, registry: &Registry) -> Result<Self, RunError> {
        let Settings { state_dir, run_dir, unit_dir, .. } = settings;
        for (path, made) in [
            (state_dir, modes::state_directory(state_dir, &STATE)),
            (run_dir, modes::public_directory(run_dir)),
            (unit_dir, modes::public_directory(unit_dir)),
        ] {
            made.map_err(|source| RunError::Directory { path: path.clone(), source })?;
        }
        let systemd = Arc::new(Systemd::new(settings.unit_dir.clone()));
        if !settings.agent {
            return Ok(Self { all: systemd, containers: None });
        }
        let docker = Docker::new(docker::Settings {
            socket: settings.docker.socket.clone(),
            machine: settings.machine_id.clone(),
            cluster: settings.cluster.clone(),
            run_dir: settings.run_dir.clone(),
            state_dir: settings.state_dir.clone(),
            secrets: settings.docker.secrets.clone(),
            credentials: settings.docker.credentials.clone(),
            sources: Arc::new(registry.clone()),
        })
        .map_err(|source| RunError::Directory { path: settings.run_dir.clone(), source })?;
        let docker = Arc::new(docker);
        let all = Arc::new(CombinedRunner::new(systemd, Arc::<Docker>::clone(&docker)));
        Ok(Self { all, containers: Some(docker) })
    }

    /// What runs containers, if anything does.
    pub fn containers(&self) -> Option<Arc<Docker>> {
        self.containers.clone()
    }
}

/// Runs the daemon's core until `shutdown` is cancelled: presence, leadership, the schedule loop and the converge loop.
///
/// It returns once what must be flushed is flushed; when the host itself shuts down, once the units are given up.
///
/// `metadata`: what the machine's record says in the place of the settings', as that changes.
pub async fn run(
    settings: Settings,
    metadata: watch::Receiver<BTreeMap<String, String>>,
    registry: Registry,
    runners: Runners,
    shutdown: CancellationToken,
    health: Health,
) -> Result<(), RunError> {
    let answers = runners.containers.as_ref().map(|docker| docker.answers());
    if let Some(answers) = answers.clone() {
        let (health, shutdown) = (health.clone(), shutdown.clone());
        tokio::spawn(async move {
            shutdown.run_until_cancelled(health::watch_containers(&health, answers)).await;
        });
    }
    core(settings, Some(metadata), registry, runners.all, answers, shutdown, health).await
}

/// The same with any runner.
pub async fn run_with(
    settings: Settings,
    registry: Registry,
    runner: Arc<dyn Runner>,
    shutdown: CancellationToken,
    health: Health,
) -> Result<(), RunError> {
    core(settings, None, registry, runner, None, shutdown, health).await
}

async fn core(
    settings: Settings,
    metadata: Option<watch::Receiver<BTreeMap<String, String>>>,
    registry: Registry,
    runner: Arc<dyn Runner>,
    containers: Option<watch::Receiver<ContainerEngine>>,
    shutdown: CancellationToken,
    health: Health,
) -> Result<(), RunError> {
    let owned = settings.run_dir.join("owned");
    let disk: Arc<dyn Disk> = Arc::new(HostDisk);
    let ledger = modes::private_directory(&owned)
        .and_then(|()| Ledger::open(Arc::clone(&disk), owned.clone()))
        .map_err(|source| RunError::Directory { path: owned, source })?;
    let mut registrar = RegistrationLoop::new(
        settings.machine(),
        settings.ttl,
        registry.clone(),
        &settings.run_dir,
        health.clone(),
    );
    if let Some(containers) = containers {
        registrar = registrar.with_container_engine(containers);
    }
    if let Some(metadata) = metadata {
        registrar = registrar.with_metadata(metadata);
    }
    let converge = settings.agent.then(|| {
        Converge::new(ConvergeConfig {
            machine: settings.machine_id.clone(),
            registry: registry.clone(),
            runner: Arc::clone(&runner),
            ledger,
            registration: registrar.registration(),
            lease_suspect: registrar.lease_suspect(),
            disk,
            wall: Wall::default(),
            placements: last_known::path(&settings.state_dir),
            health: health.clone(),
        })
    });
    if converge.is_none() {
        health.update(|s| s.absent.extend(["runner", "placements"]));
    }
    let standing = registrar.registration();
    let followed = registrar.registration();
    let lead = async {
        if settings.engine {
            leader::run(registry.clone(), settings.ttl, followed, health, shutdown.clone()).await;
        }
    };
    // One that is there now was meant for a daemon that is gone.
    let mark = shutdown::mark(&settings.run_dir);
    let _ = std::fs::remove_file(&mark);
    // The lease outlives the loops that write under it.
    let stop_keeping = CancellationToken::new();
    let work = async {
        if let Some(converge) = converge {
            let (converge, ()) = tokio::join!(converge.run(shutdown.clone()), lead);
            shutdown::finish(converge, runner.as_ref(), &registry, &standing, &mark).await;
        } else {
            tokio::join!(shutdown.cancelled(), lead);
        }
        stop_keeping.cancel();
    };
    tokio::join!(work, registrar.run(stop_keeping.clone()));
    Ok(())
}
