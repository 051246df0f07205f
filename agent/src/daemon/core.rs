//! The daemon's core: what runs units and the loops around it, from settings.
//!
//! Owns the wiring of registration, leading and converging on one machine, and the order in which they end. It reads no
//! configuration file and serves nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use muster_common::boot::BootMark;
use muster_common::machine::{ContainerEngine, Machine, MachineId, RunnerKind};
use muster_engine::machine::registration::UnitsReported;
use muster_store::Registry;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::host::modes::{self, DIRECTORY};
use crate::host::power::HostPower;
use crate::machine::cluster_memory::ClusterMemory;
use crate::machine::converge::{Converge, ConvergeConfig};
use crate::machine::ledger::Ledger;
use crate::machine::outage_note::OutageNote;
use crate::machine::registration::RegistrationLoop;
use crate::machine::sight::MachineSight;
use crate::machine::{last_known, shutdown};
use crate::runner::docker::{self, Docker};
use crate::runner::podman::generator::PodmanGenerator;
use crate::runner::podman::{
    HostProcesses, Podman, PodmanProgram, PodmanSettings, PodmanUnits, QuadletDrafts,
};
use crate::runner::systemd::Systemd;
use crate::runner::{CombinedRunner, Runner, RunnerEvents};
use crate::stdx::clock::Wall;
use crate::stdx::disk::{Disk, HostDisk};
use crate::telemetry::health::Health;
use crate::{config, leader};

/// The settings of the daemon's core; made from the configuration.
#[derive(Debug, Clone)]
pub struct CoreSettings {
    /// This machine's id; see [`crate::host::identity::machine_id`].
    pub machine_id: MachineId,
    /// The name of the host; see [`crate::host::identity::host_name`].
    pub host_name: String,
    /// The address shown to people; see [`crate::host::identity::own_address`].
    pub address: String,
    /// `host:port` where other daemons reach this one's HTTP API, if they do.
    pub api_address: Option<String>,
    /// Metadata from the configuration.
    pub metadata: BTreeMap<String, String>,
    /// A machine that is silent this long is gone.
    pub ttl: Duration,
    /// True if this daemon may lead.
    pub engine: bool,
    /// True if this machine takes units. One that does not is registered all the same, without a runner: leading hangs on
    /// its lease.
    pub agent: bool,
    /// The directory of what must survive a reboot: the last known placements. `/var/lib/muster`.
    pub state_dir: PathBuf,
    /// The directory of what must not: the memory of the units this daemon owns. `/run/muster`.
    pub run_dir: PathBuf,
    /// Where unit files go. `/run/systemd/system`.
    pub unit_dir: PathBuf,
    /// The runners that the machine has beside systemd for as long as the daemon runs; a container engine comes and goes.
    pub more_runners: BTreeSet<RunnerKind>,
    /// The runner of container units whose files name none; absent where that is Docker.
    pub container_runner: Option<RunnerKind>,
    /// The container engine.
    pub docker: config::DockerConfig,
    /// The cluster, by the prefix of its store: containers are marked with it.
    pub cluster: String,
    /// True if the store is etcd, and not this machine's own: then the machine remembers whose it is before it carries anything out.
    pub shared_store: bool,
}

impl CoreSettings {
    /// The runners that the machine has for as long as the daemon runs.
    fn lasting_runners(&self) -> BTreeSet<RunnerKind> {
        let runners = self.more_runners.iter().copied().chain([RunnerKind::Systemd]);
        runners.filter(|_| self.agent).collect()
    }

    /// The record with which the machine registers itself in a boot.
    pub fn machine_record(&self, boot: String) -> Machine {
        Machine {
            id: self.machine_id.clone(),
            host: self.host_name.clone(),
            address: self.address.clone(),
            api: self.api_address.clone(),
            metadata: self.metadata.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            runners: self.lasting_runners(),
            container_runner: self.container_runner,
            containers_lost: None,
            leaving: false,
            boot,
            created: 0,
            revision: 0,
        }
    }
}

/// Why the daemon's core could not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CoreError {
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

/// The beginnings of the names of what is kept in the state directory.
pub const STATE_FILES: [&str; 10] = [
    "cluster.",
    "jobs.",
    "named",
    "outage.",
    "pki",
    "placements",
    "reboot.",
    "start-last-known",
    "store.",
    ".muster-",
];

/// The runners of this machine.
pub struct MachineRunners {
    /// All of them as one.
    pub all: Arc<dyn Runner>,
    /// Where their reports arrive that nobody asked for.
    pub events: RunnerEvents,
    /// The one of containers, if there is any.
    pub docker: Option<Arc<Docker>>,
    /// The units that are services which Podman makes.
    pub podman: Option<PodmanUnits>,
    /// Who knows what Podman's generator says of a file, where this machine has one.
    pub drafts: Option<Arc<QuadletDrafts>>,
}

impl MachineRunners {
    /// Makes the directories of units, and the runners: systemd, and the container engine where this machine takes units. Both
    /// are looked for in the background. `userspace` is the boot of the machine's, where it is known.
    pub fn new(
        settings: &CoreSettings,
        registry: &Registry,
        userspace: Option<String>,
    ) -> Result<Self, CoreError> {
        let CoreSettings { state_dir, run_dir, unit_dir, .. } = settings;
        let (owned, quadlet) = (ledger_directory(run_dir), run_dir.join("quadlet"));
        let copies = state_dir.join("named-quadlet");
        for (path, made) in [
            (state_dir, modes::state_directory(state_dir, &STATE_FILES)),
            (run_dir, modes::public_directory(run_dir)),
            (unit_dir, modes::public_directory(unit_dir)),
            (&owned, modes::private_directory(&owned)),
            (&quadlet, modes::private_directory(&quadlet)),
            (&copies, modes::private_directory(&copies)),
        ] {
            made.map_err(|source| CoreError::Directory { path: path.clone(), source })?;
        }
        let (systemd, systemd_events) = Systemd::new(settings.unit_dir.clone());
        let systemd = Arc::new(systemd);
        if !settings.agent {
            return Ok(Self {
                all: systemd,
                events: systemd_events,
                docker: None,
                podman: None,
                drafts: None,
            });
        }
        let units = PodmanUnits::in_directory(quadlet);
        let generator = PodmanGenerator::find_program(run_dir.join("quadlet-made"));
        let has_generator = generator.is_present();
        let generator = Arc::new(generator);
        let drafts = has_generator.then(|| {
            let asked: Arc<PodmanGenerator> = Arc::clone(&generator);
            Arc::new(QuadletDrafts::new(asked, run_dir.join("quadlet-drafts")))
        });
        let (podman, podman_events) = Podman::new(
            (systemd, systemd_events),
            PodmanSettings {
                generator,
                units: units.clone(),
                unit_dir: unit_dir.clone(),
                sources: Arc::new(registry.clone()),
                copies,
                cluster: settings.cluster.clone(),
                made: Arc::new(PodmanProgram),
                watch: Arc::new(HostProcesses),
            },
        );
        let (docker, docker_events) = Docker::new(docker::Settings {
            socket: settings.docker.socket.clone(),
            machine: settings.machine_id.clone(),
            cluster: settings.cluster.clone(),
            userspace,
            run_dir: settings.run_dir.clone(),
            state_dir: settings.state_dir.clone(),
            secrets: settings.docker.secrets.clone(),
            credentials: settings.docker.credentials.clone(),
            sources: Arc::new(registry.clone()),
        })
        .map_err(|source| CoreError::Directory { path: settings.run_dir.clone(), source })?;
        let docker = Arc::new(docker);
        let (all, events) = CombinedRunner::with_podman(
            (Arc::new(podman), podman_events),
            (Arc::<Docker>::clone(&docker), docker_events),
            settings.container_runner.unwrap_or(RunnerKind::Docker),
        );
        Ok(Self { all: Arc::new(all), events, docker: Some(docker), podman: Some(units), drafts })
    }
}

/// The parts that the core is made from.
pub struct CoreSetup {
    /// The settings.
    pub settings: CoreSettings,
    /// The store.
    pub registry: Registry,
    /// The runner of the machine's units.
    pub runner: Arc<dyn Runner>,
    /// Where its reports arrive that nobody asked for.
    pub runner_events: RunnerEvents,
    /// The machine's power: which boot this is, and whether it goes down.
    pub host: Arc<dyn HostPower>,
    /// The state of the machine's container engine, where it has one.
    pub container_engine: Option<watch::Receiver<ContainerEngine>>,
    /// The metadata that the machine's record has in the place of the settings', as that changes.
    pub metadata: Option<watch::Receiver<BTreeMap<String, String>>>,
    /// The disk of its records.
    pub disk: Arc<dyn Disk>,
    /// The clock that dates what the runner does not.
    pub wall: Wall,
    /// The daemon's health.
    pub health: Health,
}

impl CoreSetup {
    /// A core with any runner, given with its events, on this host's disk and by its clock, without a container engine and with the
    /// metadata of its settings.
    pub fn new(
        settings: CoreSettings,
        registry: Registry,
        (runner, runner_events): (Arc<dyn Runner>, RunnerEvents),
        host: Arc<dyn HostPower>,
        health: Health,
    ) -> Self {
        Self {
            settings,
            registry,
            runner,
            runner_events,
            host,
            container_engine: None,
            metadata: None,
            disk: Arc::new(HostDisk),
            wall: Wall::default(),
            health,
        }
    }
}

/// Runs the daemon's core until `shutdown` is cancelled: registration, leading with its schedule loop, and the converge loop.
///
/// All that it touches of the world is in the setup: it runs on a simulated node as it does on a host.
/// It returns once what must be flushed is flushed; when the host itself shuts down, once the units are given up.
///
/// # Errors
///
/// The directory of what is remembered of units cannot be used.
pub async fn run_core(setup: CoreSetup, shutdown: CancellationToken) -> Result<(), CoreError> {
    let CoreSetup {
        settings,
        registry,
        runner,
        runner_events,
        host,
        container_engine,
        metadata,
        disk,
        wall,
        health,
    } = setup;
    // What is made: the memory of the machine's units, the registration, and the converge loop under it.
    let boot = BootMark { machine: host.boot_id(), userspace: host.userspace_id().await };
    let ledger_dir = ledger_directory(&settings.run_dir);
    let ledger = open_ledger(&disk, &ledger_dir)?.in_boot(boot);
    let (state_dir, cluster) = (&settings.state_dir, settings.cluster.as_str());
    let cluster = ClusterMemory::new(Arc::clone(&disk), state_dir, &ledger_dir, cluster)
        .with_shared_store(settings.shared_store);
    let outage = OutageNote::new(Arc::clone(&disk), state_dir, &settings.machine_id);
    let mut registrar = RegistrationLoop::new(
        settings.machine_record(host.boot_id()),
        settings.ttl,
        registry.clone(),
        &settings.run_dir,
        health.clone(),
    )
    .with_disk(Arc::clone(&disk))
    .with_memory(cluster.clone(), outage.clone());
    if let Some(engine) = container_engine {
        registrar = registrar.with_container_engine(engine);
    }
    if let Some(metadata) = metadata {
        registrar = registrar.with_metadata(metadata);
    }
    let leaving = watch::Sender::new(false);
    registrar = registrar.with_leaving(leaving.subscribe());
    let wakes = watch::Sender::new(());
    registrar = registrar.with_wakes(wakes.subscribe());
    let reported = watch::Sender::new(UnitsReported::NotYet);
    if settings.agent {
        registrar = registrar.with_units_reported(reported.subscribe());
    }
    let converge = settings.agent.then(|| {
        health.set_sight(Arc::new(MachineSight {
            runner: Arc::clone(&runner),
            disk: Arc::clone(&disk),
            placements: last_known::path(&settings.state_dir),
            cluster: cluster.clone(),
            boot: host.boot_id(),
        }));
        Converge::new(ConvergeConfig {
            machine: settings.machine_id.clone(),
            registry: registry.clone(),
            runner: Arc::clone(&runner),
            runner_events,
            ledger,
            host: Arc::clone(&host),
            registration: registrar.watch_registration(),
            lease_ends: registrar.watch_lease_end(),
            leaving: leaving.subscribe(),
            reported,
            lease_suspect: registrar.lease_suspect(),
            disk: Arc::clone(&disk),
            wall,
            placements: last_known::path(&settings.state_dir),
            cluster,
            outage: outage.clone(),
            health: health.clone(),
        })
    });
    if converge.is_none() {
        health.update(|s| s.absent.extend(["runner", "placements"]));
    }
    let registration = registrar.watch_registration();
    let followed = registrar.follow_registration();
    // A mark that is there now was meant for a daemon that is gone.
    let _ = disk.remove(&shutdown::give_up_mark(&settings.run_dir));

    // What runs, and how it ends. The lease outlives the loops that write under it.
    let stop_registrar = CancellationToken::new();
    let lead = async {
        if settings.engine {
            let shutdown = shutdown.clone();
            leader::run(registry.clone(), settings.ttl, followed, health, shutdown).await;
        }
    };
    let work = async {
        if let Some(converge) = converge {
            let (converge, ()) = tokio::join!(converge.run(shutdown.clone()), lead);
            let (host, files) = (host.as_ref(), (disk.as_ref(), settings.run_dir.as_path()));
            let parting = shutdown::give_up_if_leaving(
                converge,
                host,
                &registry,
                &registration,
                files,
                &leaving,
            );
            parting.await;
        } else {
            tokio::join!(shutdown.cancelled(), lead);
        }
        stop_registrar.cancel();
    };
    let follow = async {
        // A daemon that is on its way out goes by what it is told then.
        shutdown.run_until_cancelled(follow_shutdown(&*host, &leaving)).await;
    };
    let wake = stop_registrar.run_until_cancelled(follow_wakes(&*host, &wakes));
    tokio::join!(work, registrar.run(stop_registrar.clone()), follow, wake);
    Ok(())
}

/// Opens the memory of the machine's units, whose directory is made if it is missing.
fn open_ledger(disk: &Arc<dyn Disk>, directory: &Path) -> Result<Ledger, CoreError> {
    disk.make_directory(directory, DIRECTORY)
        .and_then(|()| Ledger::open(Arc::clone(disk), directory.to_owned()))
        .map_err(|source| CoreError::Directory { path: directory.to_owned(), source })
}

/// The directory of the ledger.
fn ledger_directory(run_dir: &Path) -> PathBuf {
    run_dir.join("owned")
}

/// Hears that the host has slept.
async fn follow_wakes(host: &dyn HostPower, wakes: &watch::Sender<()>) {
    loop {
        host.wait_for_wake().await;
        tracing::info!("the host has slept");
        wakes.send_replace(());
    }
}

/// Hears that the host is about to go down while the daemon still runs: from then on nothing new is to come.
async fn follow_shutdown(host: &dyn HostPower, leaving: &watch::Sender<bool>) {
    let mut leaves = false;
    loop {
        leaves = host.wait_for_shutdown(leaves).await;
        tracing::info!(leaves, "the host is about to shut down, or is not after all");
        leaving.send_replace(leaves);
    }
}
