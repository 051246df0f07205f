//! Somebody's wish, a record in the store.
//!
//! Owns the watch of it. A store that is away changes nothing: what was wished stays wished.

use std::time::Duration;

use muster_common::machine::MachineId;
use muster_engine::reboot::due::reason_of_request;
use muster_store::{RebootScope, RebootWatchEvent, Registry, RegistryError};

use super::reasons::DueReasons;
use crate::config::DueSource;
use crate::stdx::errors::error_chain;

/// Pause before a record that could not be read is read again.
const READ_RETRY: Duration = Duration::from_secs(1);

pub(super) async fn follow_request(registry: Registry, machine: MachineId, reasons: DueReasons) {
    let mut events = registry.watch_reboots(&RebootScope::Request(machine.clone()));
    while let Some(event) = events.recv().await {
        if let RebootWatchEvent::Lost { .. } = event {
            continue;
        }
        loop {
            match registry.reboot_request(&machine).await {
                Ok(request) => {
                    reasons.set_reason(
                        DueSource::Request,
                        request.map(|(request, _)| reason_of_request(request)),
                    );
                    break;
                }
                Err(error @ RegistryError::Unreadable { .. }) => {
                    tracing::warn!(
                        error = error_chain(&error),
                        "a request to reboot cannot be read"
                    );
                    reasons.set_reason(DueSource::Request, None);
                    break;
                }
                Err(_) => muster_runtime::sleep(READ_RETRY).await,
            }
        }
    }
}
