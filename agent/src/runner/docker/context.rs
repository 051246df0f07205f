//! The things that every container of this machine has in common.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use muster_common::container::HostFacts;
use muster_common::machine::MachineId;
use muster_engine::container::{Abilities, ApiVersion, Logging};

use crate::runner::docker::api::engine::{Api, Engine};
use crate::runner::docker::client::{EngineClient, EngineSetup};
use crate::runner::docker::events::EventQueue;
use crate::runner::docker::host::ContainerHost;
use crate::runner::docker::make::image_cache::ImageCache;
use crate::runner::docker::this_machine::ThisMachine;
use crate::runner::docker::unit::memory::MemoryStore;
use crate::runner::unit_sources::{Sources, UnitFileCopies};
use crate::stdx::clock::Wall;
use crate::stdx::disk::{Disk, HostDisk};
use crate::stdx::sync::lock;

/// The settings of the runner.
pub struct Settings {
    /// The engine's socket.
    pub socket: PathBuf,
    /// This machine.
    pub machine: MachineId,
    /// The cluster, by the prefix of its store: other clusters' containers on the same engine are left alone.
    pub cluster: String,
    /// The boot of the machine's userspace, where it is known: another after a soft-reboot, too.
    pub userspace: Option<String>,
    /// A directory of ours that a reboot empties: unit files, memory and secrets lie below it.
    pub run_dir: PathBuf,
    /// A directory of ours that outlasts reboots: copies of the files of volumes and networks lie below it.
    pub state_dir: PathBuf,
    /// The machine's secrets, a file for each.
    pub secrets: PathBuf,
    /// Credentials for registries, a file such as `docker login` writes.
    pub credentials: Option<PathBuf>,
    /// The source of the files of volumes and networks.
    pub sources: Arc<dyn Sources>,
}

/// The world that a runner of containers works in.
pub struct ContainerWorld {
    /// The machine around the engine.
    pub host: Arc<dyn ContainerHost>,
    /// The disk of the runner's own files.
    pub disk: Arc<dyn Disk>,
    /// The clock of the day.
    pub wall: Wall,
}

impl Default for ContainerWorld {
    /// This machine.
    fn default() -> Self {
        Self { host: Arc::new(ThisMachine), disk: Arc::new(HostDisk), wall: Wall::default() }
    }
}

/// The things that every container of this machine has in common, for those who work on one.
pub(crate) struct DockerContext {
    pub(crate) engine: Engine,
    pub(crate) world: ContainerWorld,
    pub(crate) host: HostFacts,
    pub(crate) cluster: String,
    /// The directory of units' files.
    pub(crate) files: PathBuf,
    pub(crate) memories: MemoryStore,
    /// The directory of the secrets that containers see.
    pub(crate) secrets_in_use: PathBuf,
    pub(crate) secrets: PathBuf,
    pub(crate) credentials: Option<PathBuf>,
    pub(crate) copies: UnitFileCopies,
    pub(crate) images: ImageCache,
    pub(crate) events: EventQueue,
    /// Notified when something may have to be removed.
    pub(crate) cleanup_request: tokio::sync::Notify,
    /// Held by the one who looks for a network and makes it: an engine makes two of the same name without a word.
    pub(crate) creation_lock: tokio::sync::Mutex<()>,
    /// The ways in which the engine keeps output.
    logging: Mutex<Logging>,
    /// The devices that it knows by CDI's names.
    cdi: Mutex<Cdi>,
    /// Who keeps the engine's control groups: `systemd`, or itself, `cgroupfs`.
    cgroups: Mutex<String>,
}

/// Devices by the names of the Container Device Interface.
#[derive(Debug, Clone, Default)]
struct Cdi {
    /// True if the engine has directories with their descriptions.
    is_on: bool,
    /// Those it says it has found there.
    devices: BTreeSet<String>,
}

impl DockerContext {
    pub(crate) fn new(
        client: Arc<dyn EngineClient>,
        world: ContainerWorld,
        settings: Settings,
        events: EventQueue,
    ) -> Self {
        let run = settings.run_dir;
        let disk = || Arc::clone(&world.disk);
        Self {
            engine: Engine::new(client, settings.socket),
            host: world.host.read_facts(&settings.machine),
            cluster: settings.cluster,
            files: run.join("containers"),
            memories: MemoryStore::new(disk(), run.join("lives"), settings.userspace),
            secrets_in_use: run.join("secrets"),
            secrets: settings.secrets,
            credentials: settings.credentials,
            images: ImageCache::default(),
            copies: UnitFileCopies::new(settings.sources, disk(), settings.state_dir.join("named")),
            events,
            cleanup_request: tokio::sync::Notify::new(),
            creation_lock: tokio::sync::Mutex::new(()),
            logging: Mutex::default(),
            cdi: Mutex::default(),
            cgroups: Mutex::default(),
            world,
        }
    }

    /// Takes note of how the engine is set up.
    pub(crate) fn note_setup(&self, setup: EngineSetup) {
        *lock(&self.logging) =
            Logging { default: setup.log_driver, drivers: setup.log_drivers, journal: false };
        *lock(&self.cgroups) = setup.cgroup_driver;
        *lock(&self.cdi) = Cdi { is_on: setup.has_cdi, devices: setup.cdi_devices };
    }

    /// The abilities of an engine that speaks this version of the API.
    pub(crate) fn engine_abilities(&self, api: Api) -> Abilities {
        let Cdi { is_on, devices } = lock(&self.cdi).clone();
        Abilities { api: ApiVersion(api.major, api.minor), cdi: is_on, cdi_devices: devices }
    }

    /// Who keeps the engine's control groups.
    pub(crate) fn cgroup_driver(&self) -> String {
        lock(&self.cgroups).clone()
    }

    /// The ways in which the engine and this machine can keep output.
    pub(crate) fn logging_setup(&self) -> Logging {
        Logging { journal: self.world.host.has_journal(), ..lock(&self.logging).clone() }
    }
}
