//! The one place where the parts of the daemon are made and tied together.
//!
//! Owns which part is made from which others. It starts none of them: [`super::process`] does.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use muster_common::machine::RunnerKind;
use muster_common::reboot::HostStatus;
use muster_store::Registry;
use prometheus_client::collector::Collector;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, ContainerRunner};
use crate::daemon::core::{CoreSettings, CoreSetup, MachineRunners};
use crate::daemon::store::open_store;
use crate::host::identity;
use crate::host::power::HostPower;
use crate::host::systemd_host::SystemdHost;
use crate::http::{App, AppParts, SLOT_LIMIT};
use crate::inspect::Inspector;
use crate::net::peer::HostPeers;
use crate::reboot::role::{LOOK_INTERVAL, RoleSetup};
use crate::reboot::{Lock, RoleCollector};
use crate::runner::docker::{Docker, Gauges};
use crate::runner::podman::generator::PodmanGenerator;
use crate::stdx::clock::Wall;
use crate::stdx::disk::{Disk, HostDisk};
use crate::telemetry::health::Health;
use crate::telemetry::metrics::Metrics;
use crate::view::View;

/// The parts of a daemon, made and not yet started.
pub(super) struct Assembly {
    /// This machine's address, as it is shown to people.
    pub(super) address: String,
    /// The store.
    pub(super) registry: Registry,
    /// Where every part says how it fares.
    pub(super) health: Health,
    /// The state that the API's handlers share.
    pub(super) app: App,
    /// The setup of the core, which registers the machine, leads and runs units; absent where the daemon does not register its machine.
    pub(super) core: Option<CoreSetup>,
    /// The setup of the reboot role, where the daemon has it.
    pub(super) reboot: Option<RoleSetup>,
    /// The machine's metadata, for a reload to change.
    pub(super) metadata: watch::Sender<BTreeMap<String, String>>,
}

impl Assembly {
    /// Opens the store and makes everything over it.
    pub(super) async fn new(config: &Config, shutdown: &CancellationToken) -> anyhow::Result<Self> {
        let registry = Registry::new(open_store(config).await?, &config.prefix);
        let settings = core_settings(config);
        let address = settings.address.clone();
        let (wall, disk): (Wall, Arc<dyn Disk>) = (Wall::default(), Arc::new(HostDisk));
        let health = Health::with_wall(wall.clone());
        let view = View::new(registry.clone());
        let lock = Lock::with_wall(registry.clone(), config.reboot.known_groups(), wall.clone());
        let host: Arc<dyn HostPower> = Arc::new(SystemdHost::default());
        let role_status = watch::Sender::new(HostStatus::default());
        let metadata = watch::Sender::new(settings.metadata.clone());

        let runners = if config.roles.registers_machine() {
            Some(MachineRunners::new(&settings, &registry, host.userspace_id().await)?)
        } else {
            None
        };
        let docker = runners.as_ref().and_then(|runners| runners.docker.clone());
        let podman = runners.as_ref().and_then(|runners| runners.podman.clone());
        let drafts = runners.as_ref().and_then(|runners| runners.drafts.clone());
        let collectors = make_collectors(config, &role_status, &wall, docker.as_ref());
        let app = App::new(AppParts {
            registry: registry.clone(),
            view: view.clone(),
            machine: settings.machine_id.clone(),
            peers: Arc::new(HostPeers::new(address.clone())),
            wall: wall.clone(),
            health: health.clone(),
            metrics: Metrics::with_collectors(health.clone(), collectors),
            inspector: Inspector { containers: docker.clone(), podman, ..Inspector::default() },
            drafts,
            lock: lock.clone(),
            group: config.reboot.group.clone(),
            slot_limit: SLOT_LIMIT,
            token_limit: config.token_limit,
            body_limit: config.http.body_limit,
            shutdown: shutdown.clone(),
        });
        let reboot = config.roles.reboot.then(|| RoleSetup {
            machine: settings.machine_id.clone(),
            config: config.reboot.clone(),
            agent: config.roles.agent,
            registry: registry.clone(),
            view,
            lock,
            host: Arc::clone(&host),
            disk: Arc::clone(&disk),
            state_dir: config.state_dir.clone(),
            health: health.clone(),
            wall: wall.clone(),
            status: role_status,
            look_interval: LOOK_INTERVAL,
        });
        let core = runners.map(|runners| CoreSetup {
            container_engine: docker.map(|docker| docker.watch_engine_state()),
            metadata: Some(metadata.subscribe()),
            disk,
            wall,
            ..CoreSetup::new(
                settings,
                registry.clone(),
                (runners.all, runners.events),
                host,
                health.clone(),
            )
        });
        Ok(Self { address, registry, health, app, core, reboot, metadata })
    }
}

/// The metrics that a scrape shows beside the daemon's health.
fn make_collectors(
    config: &Config,
    role_status: &watch::Sender<HostStatus>,
    wall: &Wall,
    docker: Option<&Arc<Docker>>,
) -> Vec<Box<dyn Collector>> {
    let mut collectors: Vec<Box<dyn Collector>> = Vec::new();
    if config.roles.reboot {
        collectors.push(Box::new(RoleCollector::new(role_status.subscribe(), wall.clone())));
    }
    if let Some(docker) = docker {
        collectors.push(Box::new(Gauges::new(docker)));
    }
    collectors
}

/// The runner of container units whose files name none, if that is not Docker.
fn container_runner(chosen: ContainerRunner, has_podman: bool) -> Option<RunnerKind> {
    match chosen {
        ContainerRunner::Podman => {
            if !has_podman {
                tracing::warn!(
                    "containers.runner is podman, and this machine has no Podman with Quadlet: it takes no container units that name no runner"
                );
            }
            Some(RunnerKind::Podman)
        }
        ContainerRunner::Auto if has_podman => Some(RunnerKind::Podman),
        ContainerRunner::Auto | ContainerRunner::Docker => None,
    }
}

/// The settings that the configuration comes to on this machine.
fn core_settings(config: &Config) -> CoreSettings {
    let address = config.own_address().unwrap_or_else(identity::own_address);
    // One that is installed later is seen when the daemon starts next.
    let has_podman = PodmanGenerator::find_program(PathBuf::new()).is_present();
    CoreSettings {
        machine_id: config.machine_id.clone(),
        host_name: identity::host_name(),
        api_address: config.advertised_api(&address),
        address,
        metadata: config.metadata.clone(),
        ttl: config.ttl,
        engine: config.roles.engine,
        agent: config.roles.agent,
        more_runners: has_podman.then_some(RunnerKind::Podman).into_iter().collect(),
        container_runner: container_runner(config.container_runner, has_podman),
        state_dir: config.state_dir.clone(),
        run_dir: "/run/muster".into(),
        unit_dir: "/run/systemd/system".into(),
        docker: config.docker.clone(),
        cluster: config.prefix.clone(),
        shared_store: config.etcd.is_some(),
    }
}
