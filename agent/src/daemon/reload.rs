//! SIGHUP: the configuration is read again, what a running daemon can take on is, and the rest is named.
//!
//! Owns what is said of it. Which options differ and which can be taken on is [`crate::config`]'s to say. A configuration that
//! cannot be used changes nothing.

use std::collections::BTreeMap;

use tokio::signal::unix::Signal;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Flags};
use crate::daemon::service;
use crate::stdx::errors::error_chain;
use crate::telemetry::logs::LogLevel;

/// The options that can be changed in a running daemon.
pub struct LiveOptions {
    /// The filter of the log.
    pub level: LogLevel,
    /// The metadata of the machine's record.
    pub metadata: watch::Sender<BTreeMap<String, String>>,
}

/// Reads the configuration again at every signal, until `shutdown`. `running` is the one that the daemon was started with.
pub async fn reload_on_hangup(
    mut hangup: Signal,
    flags: Flags,
    mut running: Config,
    live: LiveOptions,
    shutdown: CancellationToken,
) {
    while shutdown.run_until_cancelled(hangup.recv()).await.flatten().is_some() {
        service::notify_reloading();
        // The file may be on a slow disk.
        let flags = flags.clone();
        match tokio::task::spawn_blocking(move || Config::load(flags)).await {
            Ok(Ok(new)) => apply_live(&mut running, new, &live),
            Ok(Err(error)) => {
                tracing::error!(
                    error = error_chain(&error),
                    "the configuration cannot be used; the one from before stays in force"
                );
            }
            Err(error) => tracing::error!(%error, "the configuration could not be read"),
        }
        service::notify_ready();
    }
}

fn apply_live(running: &mut Config, new: Config, live: &LiveOptions) {
    for exposed in new.find_exposures() {
        tracing::warn!(exposed, "others may read or write what the configuration rests on");
    }
    let changes = running.changes_to(&new);
    if changes.is_empty() {
        tracing::info!("the configuration was read again, and nothing has changed");
        return;
    }
    // So that what follows is logged as the new configuration has it.
    if running.log.level != new.log.level {
        match live.level.set(&new.log.level) {
            Ok(()) => running.log.level.clone_from(&new.log.level),
            Err(error) => tracing::error!(error, "the log level cannot be changed"),
        }
    }
    if running.metadata != new.metadata {
        running.metadata.clone_from(&new.metadata);
        live.metadata.send_replace(new.metadata);
    }
    for change in changes {
        let (option, old, new) = (change.option, change.old, change.new);
        if change.live {
            tracing::info!(option, old, new, "an option has changed and is in force");
        } else {
            tracing::warn!(
                option,
                old,
                new,
                "an option has changed and needs a restart of musterd"
            );
        }
    }
}
