//! The end of the daemon.
//!
//! Owns the one difference that matters: a daemon that is stopped, restarted or upgraded leaves its units and its
//! lease behind; a host that shuts down, or that Muster is removed from, gives its units up first, so that the others need
//! not wait for a lease, and nothing runs twice. The lease is kept until the last unit is down, and is left to end by itself
//! where one is not; after a minute that is so for units that may run twice for a moment. What nobody could be told is still this
//! machine's: its placements stay on disk, with a note that an outage had begun, and are taken up after the boot.

use std::path::{Path, PathBuf};
use std::time::Duration;

use muster_common::lease::Presence;
use muster_common::probe::{is_planted, reached};
use muster_runtime::timeout;
use muster_store::{Registry, StoreError};
use tokio::sync::watch;

use crate::host::power::HostPower;
use crate::machine::converge::Converge;
use crate::machine::outage_note::OutageNote;
use crate::machine::registration::Registration;
use crate::stdx::disk::Disk;

/// Time that units have to stop before others are started in their place, though these still run.
const STOP_GRACE: Duration = Duration::from_secs(60);
/// The same for units that may not run twice. The host does not go before they are down either, unless their own
/// `TimeoutStopSec=` ends first, which is 90 s where nobody says otherwise; ten minutes are what a database with a large cache is
/// given. systemd lets the daemon live that long (`TimeoutStopSec=` in musterd.service).
const SINGLE_STOP_GRACE: Duration = Duration::from_secs(600);
/// Time that the store has to end the lease; after that the lease ends by itself.
const REVOKE_TIMEOUT: Duration = Duration::from_secs(3);

/// Time that the store has to prolong the lease of a daemon that stops: an upgrade is not to be held up by an outage.
const PARTING_TIMEOUT: Duration = Duration::from_secs(1);

/// The file whoever removes Muster from the machine makes before it stops the daemon: the units are to stop as well.
pub(crate) fn give_up_mark(run_dir: &Path) -> PathBuf {
    run_dir.join("give-up")
}

/// Gives the units up if the host goes, or if the mark is there; otherwise leaves everything as it is, with a lease that has all of
/// its time before it.
pub(crate) async fn give_up_if_leaving(
    mut converge: Converge,
    host: &dyn HostPower,
    registry: &Registry,
    registration: &watch::Receiver<Registration>,
    (disk, mark): (&dyn Disk, &Path),
    leaving: &watch::Sender<bool>,
) {
    let presence = match &*registration.borrow() {
        Registration::Registered(presence) => Some(presence.clone()),
        _ => None,
    };
    // It is for this stop only.
    if disk.remove(mark).is_ok() {
        tracing::info!("Muster leaves this machine: giving up its units");
    } else if host.is_stopping().await || is_planted("stop-taken-for-shutdown") {
        tracing::info!("the host is shutting down: giving up its units");
    } else {
        if let Some(presence) = &presence {
            let boot = host.boot_id();
            prolong_lease(converge.outage_note(), &boot, registry, presence).await;
        }
        return;
    }
    // Before anything else, so that nothing comes that has to go again.
    leaving.send_replace(true);
    let mut told = false;
    if let Some(presence) = &presence {
        match timeout(REVOKE_TIMEOUT, registry.remove_member(&presence.machine)).await {
            Ok(Ok(_)) => told = true,
            Ok(Err(error)) => tracing::warn!(%error, "cannot take leave; it is counted as a loss"),
            Err(_) => tracing::warn!("cannot take leave in time; it is counted as a loss"),
        }
        // The lease lasts as long as the units do; nobody is to wait so long for somebody who leads.
        match timeout(REVOKE_TIMEOUT, registry.resign_leadership(presence)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "cannot leave the lead to others"),
            Err(_) => tracing::warn!("cannot leave the lead to others in time"),
        }
    }
    let down = converge.give_up(STOP_GRACE, SINGLE_STOP_GRACE).await;
    if told || is_planted("reboot-forgets-placements") {
        converge.forget_placements();
    } else if presence.is_some() {
        // Whoever places units elsewhere has not heard that this machine goes. One that was not registered, since it came up in the
        // outage for example, held nothing that it could keep.
        reached("leaves-in-an-outage");
        converge.outage_note().set_noted(true, &host.boot_id());
    }
    let Some(presence) = presence else { return };
    if !down {
        tracing::warn!(
            "not every unit is down: the lease ends by itself, and until then nothing begins elsewhere"
        );
        return;
    }
    match timeout(REVOKE_TIMEOUT, registry.revoke_lease(presence.lease.id)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "cannot end the lease; it ends by itself"),
        Err(_) => tracing::warn!("cannot end the lease in time; it ends by itself"),
    }
}

/// Prolongs the lease of a daemon that stops and leaves its units running: the next one has all of its time to come. A store that
/// does not answer now has not heard of a loss of this machine either, and an outage has begun.
async fn prolong_lease(outage: &OutageNote, boot: &str, registry: &Registry, presence: &Presence) {
    // In an outage the lease is no promise to anybody, and is not to become one while the note is there.
    if outage.is_noted() || is_planted("lease-left-half-over") {
        return;
    }
    match timeout(PARTING_TIMEOUT, registry.keep_alive(presence.lease.id)).await {
        // One that is gone is told to the next daemon as well.
        Ok(Ok(_) | Err(StoreError::LeaseGone { .. })) => {}
        Ok(Err(_)) | Err(_) => outage.set_noted(true, boot),
    }
}
