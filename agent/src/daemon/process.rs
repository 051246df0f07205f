//! The process: the sockets, the store, the API and the core put together, and the order in which they begin and end.
//!
//! Owns the signals that end the daemon. Sockets are opened first, so that a second daemon on the same machine stops before it
//! touches anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use muster_common::reboot::HostStatus;
use muster_store::{Registry, Store};
use prometheus_client::collector::Collector;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Flags, Roles};
use crate::daemon::core::{self, Runners, STATE, Settings};
use crate::daemon::{reload, service};
use crate::host::logind::Logind;
use crate::host::{identity, modes};
use crate::http::{App, AppParts, SLOT_LIMIT};
use crate::inspect::Inspector;
use crate::net::{listen, serve};
use crate::reboot::{Lock, RoleCollector, role};
use crate::runner::docker::Gauges;
use crate::stdx::clock::Wall;
use crate::telemetry::health::{self, Health};
use crate::telemetry::logs;
use crate::telemetry::metrics::Metrics;
use crate::view::View;

/// Opens the sockets and the store, serves and works until it is told to stop.
pub async fn run_daemon(config: Config, flags: Flags, level: logs::LogLevel) -> anyhow::Result<()> {
    let shutdown = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("cannot await signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot await signals")?;
    let hangup = signal(SignalKind::hangup()).context("cannot await signals")?;

    // Sockets first: a second daemon on the same machine stops here, before it touches anything.
    let mut sockets = listen::open(&config.http)?;
    let made = sockets.made.clone();
    let result = async {
        let store = open_store(&config).await?;
        let registry = Registry::new(store, &config.prefix);
        let settings = settings(&config);
        // What the machine is called in lists it is asked by.
        sockets.names.extend(settings.address.parse());
        let health = Health::new();
        let view = View::new(registry.clone());
        let lock = Lock::new(registry.clone(), config.reboot.known_groups());
        let registers = config.roles.registers_machine();
        let runners = registers.then(|| Runners::new(&settings, &registry)).transpose()?;
        let containers = runners.as_ref().and_then(Runners::containers);
        let told = watch::Sender::new(HostStatus::default());
        let mut collectors: Vec<Box<dyn Collector>> = Vec::new();
        if config.roles.reboot {
            collectors.push(Box::new(RoleCollector::new(told.subscribe())));
        }
        if let Some(containers) = &containers {
            collectors.push(Box::new(Gauges::new(containers)));
        }
        let metrics = Metrics::with_collectors(health.clone(), collectors);
        let app = App::new(AppParts {
            registry: registry.clone(),
            view: view.clone(),
            machine: settings.machine_id.clone(),
            address: settings.address.clone(),
            health: health.clone(),
            metrics,
            inspector: Inspector { containers, ..Inspector::default() },
            lock: lock.clone(),
            group: config.reboot.group.clone(),
            slot_limit: SLOT_LIMIT,
            token_limit: config.token_limit,
            body_limit: config.http.body_limit,
            shutdown: shutdown.clone(),
        });
        tracing::info!(
            machine = %settings.machine_id,
            address = %settings.address,
            version = env!("CARGO_PKG_VERSION"),
            roles = %config.roles,
            store = if config.etcd.is_some() { "etcd" } else { "embedded" },
            "musterd starts"
        );
        if config.api_is_elsewhere(&settings.address) {
            tracing::warn!(
                address = settings.address,
                "other daemons will not ask this one for the status and the journal of its units: the API is served at other \
                 addresses than the machine's (address, http.listen)"
            );
        }
        let serving = tokio::spawn(serve::serve(sockets, app, shutdown.clone()));
        tokio::spawn(health::log_transitions(health.subscribe(), shutdown.clone()));
        let rebooting = role::RoleSetup {
            machine: settings.machine_id.clone(),
            config: config.reboot.clone(),
            agent: config.roles.agent,
            registry: registry.clone(),
            view,
            lock,
            host: Arc::new(Logind::default()),
            state_dir: config.state_dir.clone(),
            health: health.clone(),
            wall: Wall::default(),
            status: told,
            look_interval: role::LOOK_INTERVAL,
        };
        let metadata = watch::Sender::new(settings.metadata.clone());
        let roles = config.roles;
        let work = tokio::spawn(work(
            settings,
            metadata.subscribe(),
            runners,
            roles,
            rebooting,
            shutdown.clone(),
        ));
        service::notify_ready();
        let live = reload::LiveOptions { level, metadata };
        tokio::spawn(reload::reload_on_hangup(hangup, flags, config.clone(), live, shutdown.clone()));
        tokio::spawn(service::stay_alive(shutdown.clone()));
        let signals = shutdown.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!("musterd stops; its units go on");
            service::notify_stopping();
            signals.cancel();
        });
        let outcome = work.await.context("the daemon's core broke down")?;
        shutdown.cancel();
        serving.await.context("the API broke down")?;
        outcome
    }
    .await;
    if let Some(path) = made {
        // The server removes it as it stops; this is for a start that failed before there was a server.
        let _ = std::fs::remove_file(path);
    }
    result
}

/// The roles, until the daemon is told to stop. The reboot role stops in the middle of whatever it does.
async fn work(
    settings: Settings,
    metadata: watch::Receiver<BTreeMap<String, String>>,
    runners: Option<Runners>,
    roles: Roles,
    rebooting: role::RoleSetup,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let (registry, health) = (rebooting.registry.clone(), rebooting.health.clone());
    modes::state_directory(&rebooting.state_dir, &STATE).with_context(|| {
        format!("cannot make the state directory {}", rebooting.state_dir.display())
    })?;
    let role = async {
        if roles.reboot {
            role::run(rebooting, shutdown.clone()).await;
        }
    };
    if let Some(runners) = runners {
        let core = core::run(settings, metadata, registry, runners, shutdown.clone(), health);
        let (outcome, ()) = tokio::join!(core, role);
        return Ok(outcome?);
    }
    // Alone: this machine does not belong to the cluster, it only takes its turn with it.
    tokio::join!(health::watch_store(health, registry, shutdown.clone()), role);
    Ok(())
}

async fn open_store(config: &Config) -> anyhow::Result<Arc<dyn Store>> {
    if let Some(etcd) = &config.etcd {
        return muster_store::open_etcd(etcd.store_options())
            .await
            .map_err(|e| etcd.explain_error(e));
    }
    modes::state_directory(&config.state_dir, &STATE).with_context(|| {
        format!("cannot make the state directory {}", config.state_dir.display())
    })?;
    Ok(muster_store::open_embedded(&config.state_dir)?)
}

fn settings(config: &Config) -> Settings {
    let address = config.own_address().unwrap_or_else(identity::own_address);
    Settings {
        machine_id: config.machine_id.clone(),
        api_address: config.advertised_api(&address),
        address,
        metadata: config.metadata.clone(),
        ttl: config.ttl,
        engine: config.roles.engine,
        agent: config.roles.agent,
        state_dir: config.state_dir.clone(),
        run_dir: "/run/muster".into(),
        unit_dir: "/run/systemd/system".into(),
        docker: config.docker.clone(),
        cluster: config.prefix.clone(),
    }
}
