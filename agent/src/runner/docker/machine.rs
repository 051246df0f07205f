//! What every container of this machine has in common.

use crate::stdx::errors::error_chain;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bollard::models::SystemInfo;
use muster_common::container::Host;
use muster_common::machine::MachineId;
use muster_common::unit::{UnitFile, UnitName};
use muster_engine::container::{Abilities, ApiVersion, Logging};
use muster_store::Registry;

use super::copies::Copies;
use super::engine::{Api, Engine};
use super::host;
use super::images::Images;
use super::kept::MemoryStore;
use super::lock;
use super::news::EventQueue;
use super::output::has_journal;

/// The files of units that containers name and that are placed nowhere: volumes and networks.
#[async_trait]
pub trait Sources: Send + Sync + 'static {
    /// The file of each of these units that the cluster knows, or an instance's template's.
    ///
    /// # Errors
    ///
    /// What keeps it from being known, for the user.
    async fn files(&self, units: &[UnitName]) -> Result<BTreeMap<UnitName, Arc<UnitFile>>, String>;
}

#[async_trait]
impl Sources for Registry {
    async fn files(&self, units: &[UnitName]) -> Result<BTreeMap<UnitName, Arc<UnitFile>>, String> {
        self.files_of(units).await.map_err(|error| error_chain(&error))
    }
}

/// What the runner has to know.
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
    /// Where the files of volumes and networks come from.
    pub sources: Arc<dyn Sources>,
}

/// What every container of this machine has in common, for those who work on one.
pub(super) struct DockerContext {
    pub(super) engine: Engine,
    pub(super) host: Host,
    pub(super) cluster: String,
    /// Where units' files lie.
    pub(super) files: PathBuf,
    pub(super) memories: MemoryStore,
    /// Where secrets are laid for containers to see.
    pub(super) laid: PathBuf,
    pub(super) secrets: PathBuf,
    pub(super) credentials: Option<PathBuf>,
    pub(super) copies: Copies,
    pub(super) images: Images,
    pub(super) news: EventQueue,
    /// To be told when something may have to go.
    pub(super) tidy: tokio::sync::Notify,
    /// Held by the one who looks for a network and makes it: an engine makes two of the same name without a word.
    pub(super) making: tokio::sync::Mutex<()>,
    /// What the engine does with output.
    logging: Mutex<Logging>,
    /// What it knows of devices that go by CDI's names.
    cdi: Mutex<Cdi>,
    /// Who keeps the engine's control groups: `systemd`, or itself, `cgroupfs`.
    cgroups: Mutex<String>,
}

/// Devices by the names of the Container Device Interface.
#[derive(Debug, Clone, Default)]
struct Cdi {
    /// Whether the engine has directories with their descriptions.
    is_on: bool,
    /// Those it says it has found there.
    devices: BTreeSet<String>,
}

impl DockerContext {
    pub(super) fn new(settings: Settings, news: EventQueue) -> Self {
        let run = settings.run_dir;
        Self {
            engine: Engine::new(settings.socket),
            host: host::facts(&settings.machine),
            cluster: settings.cluster,
            files: run.join("containers"),
            memories: MemoryStore::new(run.join("lives")),
            laid: run.join("secrets"),
            secrets: settings.secrets,
            credentials: settings.credentials,
            images: Images::default(),
            copies: Copies::new(settings.sources, settings.state_dir.join("named")),
            news,
            tidy: tokio::sync::Notify::new(),
            making: tokio::sync::Mutex::new(()),
            logging: Mutex::default(),
            cdi: Mutex::default(),
            cgroups: Mutex::default(),
        }
    }

    /// Takes note of how the engine is set up.
    pub(super) fn meet(&self, info: &SystemInfo) {
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

    /// What the engine can do, that speaks this version of the API.
    pub(super) fn abilities(&self, api: Api) -> Abilities {
        let Cdi { is_on, devices } = lock(&self.cdi).clone();
        Abilities { api: ApiVersion(api.major, api.minor), cdi: is_on, cdi_devices: devices }
    }

    /// Who keeps the engine's control groups.
    pub(super) fn cgroups(&self) -> String {
        lock(&self.cgroups).clone()
    }

    /// What the engine and this machine can do with output.
    pub(super) fn logging(&self) -> Logging {
        Logging { journal: has_journal(), ..lock(&self.logging).clone() }
    }
}
