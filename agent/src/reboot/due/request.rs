//! Somebody's wish, a record in the store.
//!
//! Owns the watch of it. A store that is away changes nothing: what was wished stays wished.

use std::time::Duration;

use muster_common::machine::MachineId;
use muster_common::reboot::{DueReason, Request};
use muster_store::{RebootNews, RebootScope, Registry, RegistryError};

use super::Found;
use crate::config::DueSource;
use crate::stdx::errors::error_chain;

/// Pause before a record that could not be read is read again.
const RETRY: Duration = Duration::from_secs(1);

pub(super) async fn follow(registry: Registry, machine: MachineId, found: Found) {
    let mut news = registry.watch_reboots(&RebootScope::Request(machine.clone()));
    while let Some(told) = news.recv().await {
        if let RebootNews::Lost { .. } = told {
            continue;
        }
        loop {
            match registry.reboot_request(&machine).await {
                Ok(request) => {
                    found.say(DueSource::Request, request.map(|(request, _)| reason(request)));
                    break;
                }
                Err(error @ RegistryError::Unreadable { .. }) => {
                    tracing::warn!(
                        error = error_chain(&error),
                        "a request to reboot cannot be read"
                    );
                    found.say(DueSource::Request, None);
                    break;
                }
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        }
    }
}

/// A wish as a reason.
pub(in crate::reboot) fn reason(request: Request) -> DueReason {
    DueReason::Requested { by: request.by, at: request.at, because: request.because }
}
