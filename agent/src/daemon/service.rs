//! Notices of the daemon to systemd about itself: that it is ready, alive, stopping.
//!
//! Owns the notify protocol. Everything here does nothing when the daemon was not started by systemd.

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

/// The API is served and the core is at work. The store may still be away: it is waited for in the daemon, not by whatever
/// systemd starts after it.
pub fn notify_ready() {
    notify_systemd(&[NotifyState::Ready]);
}

/// The daemon reads its configuration again; [`notify_ready`] says when it has.
pub fn notify_reloading() {
    notify_systemd(&[NotifyState::Reloading]);
}

/// The daemon was asked to stop and does what is left to do.
pub fn notify_stopping() {
    notify_systemd(&[NotifyState::Stopping]);
}

/// Tells systemd that tasks still get their turn, until `shutdown`; systemd restarts a daemon that falls silent.
pub async fn stay_alive(shutdown: CancellationToken) {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    // Twice in the limit, as systemd recommends: one late turn is not yet a failure.
    let mut turns = tokio::time::interval((limit / 2).max(std::time::Duration::from_millis(1)));
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            _ = turns.tick() => notify_systemd(&[NotifyState::Watchdog]),
        }
    }
}

fn notify_systemd(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "cannot tell systemd how the daemon is");
    }
}
