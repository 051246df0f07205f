//! The end of the daemon.
//!
//! Owns the loop around [`Departure`], which decides whether units are given up, who is told, and what becomes of the lease: it
//! looks for the mark and at the host, asks the store and carries out what is said.

use std::path::{Path, PathBuf};

use muster_engine::machine::departure::{
    Departure, DepartureAnswer, DepartureEffect, DepartureInput, DepartureRequest, LeaveReason,
};
use muster_runtime::timeout;
use muster_store::{Registry, RegistryError, StoreError};
use tokio::sync::watch;

use crate::host::power::HostPower;
use crate::machine::converge::Converge;
use crate::machine::lease_memory::forget_lease;
use crate::machine::registration::Registration;
use crate::stdx::disk::Disk;
use crate::stdx::errors::error_chain;

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
    (disk, run_dir): (&dyn Disk, &Path),
    leaving: &watch::Sender<bool>,
) {
    let presence = match &*registration.borrow() {
        Registration::Registered(presence) => Some(presence.clone()),
        _ => None,
    };
    // The mark is for this stop only.
    let reason = if disk.remove(&give_up_mark(run_dir)).is_ok() {
        Some(LeaveReason::Removed)
    } else {
        host.is_stopping().await.then_some(LeaveReason::HostStops)
    };
    let mut departure = Departure::new(presence, converge.outage_note().is_noted());
    let mut input = Some(DepartureInput::Stopping { reason });
    while let Some(next) = input.take() {
        for effect in departure.step(next) {
            match effect {
                DepartureEffect::SetLeaving => {
                    leaving.send_replace(true);
                }
                DepartureEffect::Ask { request, within } => {
                    if matches!(request, DepartureRequest::RevokeLease(_)) {
                        forget_lease(disk, run_dir);
                    }
                    let answer = timeout(within, ask_store(registry, request)).await;
                    let answer = answer.unwrap_or(DepartureAnswer::TimedOut);
                    input = Some(DepartureInput::Answer(answer));
                }
                DepartureEffect::StopUnits { grace, single_grace } => {
                    let soft = reason == Some(LeaveReason::HostStops) && host.goes_softly().await;
                    let all_down = converge.give_up(grace, single_grace, soft).await;
                    input = Some(DepartureInput::UnitsStopped { all_down });
                }
                DepartureEffect::ForgetPlacements => converge.forget_placements(),
                DepartureEffect::NoteOutage => {
                    converge.outage_note().set_noted(true, &host.boot_id());
                }
                DepartureEffect::LogLeaving(LeaveReason::Removed) => {
                    tracing::info!("Muster leaves this machine: giving up its units");
                }
                DepartureEffect::LogLeaving(LeaveReason::HostStops) => {
                    tracing::info!("the host is shutting down: giving up its units");
                }
                DepartureEffect::LogUnanswered { request, answer } => {
                    log_unanswered(&request, answer);
                }
                DepartureEffect::LogNotDown => tracing::warn!(
                    "not every unit is down: the lease ends by itself, and until then nothing begins elsewhere"
                ),
            }
        }
    }
}

async fn ask_store(registry: &Registry, request: DepartureRequest) -> DepartureAnswer {
    let answer = match request {
        DepartureRequest::ProlongLease(lease) => {
            registry.keep_alive(lease).await.map(drop).map_err(RegistryError::from)
        }
        DepartureRequest::TakeLeave(machine) => registry.remove_member(&machine).await.map(drop),
        DepartureRequest::ResignLeadership(presence) => registry.resign_leadership(&presence).await,
        DepartureRequest::RevokeLease(lease) => {
            registry.revoke_lease(lease).await.map_err(RegistryError::from)
        }
    };
    match answer {
        Ok(()) => DepartureAnswer::Done,
        Err(RegistryError::Store(StoreError::LeaseGone { .. })) => DepartureAnswer::LeaseGone,
        Err(error) => DepartureAnswer::Failed(error_chain(&error)),
    }
}

fn log_unanswered(request: &DepartureRequest, answer: DepartureAnswer) {
    let error = match answer {
        DepartureAnswer::Failed(problem) => problem,
        DepartureAnswer::LeaseGone => "the lease is gone".to_owned(),
        DepartureAnswer::TimedOut | DepartureAnswer::Done => "no answer in time".to_owned(),
    };
    match request {
        DepartureRequest::TakeLeave(_) => {
            tracing::warn!(error, "cannot take leave; it is counted as a loss");
        }
        DepartureRequest::ResignLeadership(_) => {
            tracing::warn!(error, "cannot leave the lead to others");
        }
        DepartureRequest::RevokeLease(_) | DepartureRequest::ProlongLease(_) => {
            tracing::warn!(error, "cannot end the lease; it ends by itself");
        }
    }
}
