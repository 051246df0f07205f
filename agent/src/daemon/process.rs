//! The process: the order in which the parts of the daemon begin and end.
//!
//! Owns the signals that end the daemon. Sockets are opened first, so that a second daemon on the same machine stops before it
//! touches anything.

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Flags};
use crate::daemon::assembly::Assembly;
use crate::daemon::core::{self, CoreSetup};
use crate::daemon::{reload, service, store};
use crate::net::listen::{self, Sockets};
use crate::net::serve;
use crate::reboot::role::{self, RoleSetup};
use crate::telemetry::health;
use crate::telemetry::logs::LogLevel;

/// Runs the daemon until it is told to stop: opens the sockets and the store, serves and works.
///
/// # Errors
///
/// A socket, the store or a directory cannot be used, or a part of the daemon broke down.
pub async fn run_daemon(config: Config, flags: Flags, level: LogLevel) -> anyhow::Result<()> {
    let signals = ProcessSignals::new()?;
    // Sockets first: a second daemon on the same machine stops here, before it touches anything.
    let sockets = listen::open(&config.http)?;
    let made = sockets.made.clone();
    let result = Box::pin(run_parts(config, flags, level, signals, sockets)).await;
    if let Some(path) = made {
        // The server removes it as it stops; this is for a start that failed before there was a server.
        let _ = std::fs::remove_file(path);
    }
    result
}

/// Makes the parts, runs them, and ends them in their order.
async fn run_parts(
    config: Config,
    flags: Flags,
    level: LogLevel,
    signals: ProcessSignals,
    mut sockets: Sockets,
) -> anyhow::Result<()> {
    let shutdown = CancellationToken::new();
    let Assembly { address, registry, health, app, core, reboot, metadata } =
        Assembly::new(&config, &shutdown).await?;
    // What the machine is called in lists it is asked by.
    sockets.names.extend(address.parse());
    log_start(&config, &address);

    let serving = tokio::spawn(serve::serve(sockets, app, shutdown.clone()));
    tokio::spawn(health::log_transitions(health.subscribe(), shutdown.clone()));
    if core.is_none() {
        // Alone: this machine does not belong to the cluster, it only takes its turn with it.
        tokio::spawn(health::watch_store(health.clone(), registry, shutdown.clone()));
    }
    if let Some(engine) = core.as_ref().and_then(|core| core.container_engine.clone()) {
        let (health, shutdown) = (health, shutdown.clone());
        tokio::spawn(async move {
            shutdown.run_until_cancelled(health::watch_containers(&health, engine)).await;
        });
    }
    store::make_state_directory(&config)?;
    let roles = tokio::spawn(run_roles(core, reboot, shutdown.clone()));
    service::notify_ready();
    let ProcessSignals { hangup, stop } = signals;
    let live = reload::LiveOptions { level, metadata };
    tokio::spawn(reload::reload_on_hangup(hangup, flags, config, live, shutdown.clone()));
    tokio::spawn(service::stay_alive(shutdown.clone()));
    tokio::spawn(stop_on_signal(stop, shutdown.clone()));

    // The roles end once `shutdown` is cancelled and what is left to do is done; the API goes on until then.
    let outcome = roles.await.context("the daemon's core broke down")?;
    shutdown.cancel();
    serving.await.context("the API broke down")?;
    outcome
}

/// The signals that the daemon listens to.
struct ProcessSignals {
    hangup: Signal,
    stop: [Signal; 2],
}

impl ProcessSignals {
    fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot await signals");
        let stop = [listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?];
        Ok(Self { hangup: listen(SignalKind::hangup())?, stop })
    }
}

/// Cancels `shutdown` at the first signal to stop.
async fn stop_on_signal([mut terminate, mut interrupt]: [Signal; 2], shutdown: CancellationToken) {
    // Cancel-safe.
    tokio::select! {
        biased;
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("musterd stops; its units go on");
    service::notify_stopping();
    shutdown.cancel();
}

/// Runs the roles until the daemon is told to stop. The reboot role stops in the middle of whatever it does.
async fn run_roles(
    core: Option<CoreSetup>,
    reboot: Option<RoleSetup>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let reboot = async {
        if let Some(setup) = reboot {
            role::run(setup, shutdown.clone()).await;
        }
    };
    let core = async {
        if let Some(setup) = core {
            core::run_core(setup, shutdown.clone()).await
        } else {
            shutdown.cancelled().await;
            Ok(())
        }
    };
    let (outcome, ()) = tokio::join!(core, reboot);
    Ok(outcome?)
}

fn log_start(config: &Config, address: &str) {
    tracing::info!(
        machine = %config.machine_id,
        address = %address,
        version = env!("CARGO_PKG_VERSION"),
        roles = %config.roles,
        store = if config.etcd.is_some() { "etcd" } else { "embedded" },
        "musterd starts"
    );
    if config.api_is_elsewhere(address) {
        tracing::warn!(
            address,
            "other daemons will not ask this one for the status and the journal of its units: the API is served at other \
             addresses than the machine's (address, http.listen)"
        );
    }
}
