//! The things that every container of this machine has in common.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bollard::models::SystemInfo;
use muster_common::container::HostFacts;
use muster_common::machine::MachineId;
use muster_engine::container::{Abilities, ApiVersion, Logging};

use crate::runner::docker::api::engine::{Api, Engine};
use crate::runner::docker::events::EventQueue;
use crate::runner::docker::make::image_cache::ImageCache;
use crate::runner::docker::make::unit_files::{Sources, UnitFileCopies};
use crate::runner::docker::unit::memory::MemoryStore;
use crate::runner::host_facts::{self, has_journal};
use crate::stdx::sync::lock;

/// The settings of the runner.
pub struct Settings {
    /// The engine's socket.
    pub socket: PathBuf,
    /// This machine.
    pub machine: MachineId,
    /// The cluster, by the prefix of its store: other clusters' containers on the same engine are left alone.
    pub cluster: String,
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

/// The things that every container of this machine has in common, for those who work on one.
pub(crate) struct DockerContext {
    pub(crate) engine: Engine,
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
    pub(crate) fn new(settings: Settings, events: EventQueue) -> Self {
        let run = settings.run_dir;
        Self {
            engine: Engine::new(settings.socket),
            host: host_facts::read_host_facts(&settings.machine),
            cluster: settings.cluster,
            files: run.join("containers"),
            memories: MemoryStore::new(run.join("lives")),
            secrets_in_use: run.join("secrets"),
            secrets: settings.secrets,
            credentials: settings.credentials,
            images: ImageCache::default(),
            copies: UnitFileCopies::new(settings.sources, settings.state_dir.join("named")),
            events,
            cleanup_request: tokio::sync::Notify::new(),
            creation_lock: tokio::sync::Mutex::new(()),
            logging: Mutex::default(),
            cdi: Mutex::default(),
            cgroups: Mutex::default(),
        }
    }

    /// Takes note of how the engine is set up.
    pub(crate) fn note_setup(&self, info: &SystemInfo) {
        let drivers = info.plugins.as_ref().and_then(|plugins| plugins.log.clone());
        *lock(&self.logging) = Logging {
            default: info.logging_driver.clone().unwrap_or_default(),
            drivers: drivers.unwrap_or_default(),
            journal: false,
        };
        let cgroups = info.cgroup_driver.map(|driver| driver.to_string());
        *lock(&self.cgroups) = cgroups.unwrap_or_default();
        let found = info.discovered_devices.iter().flatten();
        let of_cdi = found.filter(|device| device.source.as_deref() == Some("cdi"));
        *lock(&self.cdi) = Cdi {
            is_on: info.cdi_spec_dirs.as_ref().is_some_and(|directories| !directories.is_empty()),
            devices: of_cdi.filter_map(|device| device.id.clone()).collect(),
        };
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
        Logging { journal: has_journal(), ..lock(&self.logging).clone() }
    }
}
