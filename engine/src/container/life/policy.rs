//! The rules that one container lives by, gathered from its file.

use std::time::Duration;

use muster_common::container::{ContainerSpec, Notify, OnFailure, ServiceSection, signal_number};

/// The rules a container lives by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerPolicy {
    pub(super) service: ServiceSection,
    pub(super) notify: Notify,
    pub(super) on_failure: OnFailure,
    /// Between being asked to stop and being killed; for ever without.
    pub(super) grace: Option<Duration>,
    /// The exit code of a container that the stop signal ended.
    pub(super) stopped: Option<i64>,
    /// True for a unit that is begun once for each time somebody starts it.
    pub(super) is_job: bool,
}

/// The time that a container has to stop where nothing says; Docker's and Podman's own.
const DEFAULT_GRACE: Duration = Duration::from_secs(10);

impl ContainerPolicy {
    /// The rules of a container.
    pub fn from_spec(spec: &ContainerSpec) -> Self {
        let service = spec.service.clone();
        // Podman's own limit first, within systemd's. Where only systemd's is written, that is meant.
        let grace = match (spec.stop_timeout, service.stop_timeout) {
            (Some(own), Some(outer)) => Some(own.min(outer)),
            (Some(own), None) => Some(own),
            (None, outer) if service.stop_timeout_is_given => outer,
            (None, _) => Some(DEFAULT_GRACE),
        };
        let stopped = spec.stop_signal.as_deref().and_then(code_of);
        let (notify, on_failure) = (spec.notify, spec.on_failure);
        Self { service, notify, on_failure, grace, stopped, is_job: false }
    }

    /// The same for a unit that is a job, or is none.
    #[must_use]
    pub fn with_job(self, is_job: bool) -> Self {
        Self { is_job, ..self }
    }
}

/// The exit code of a container that a signal, as Docker writes it, ended.
fn code_of(signal: &str) -> Option<i64> {
    signal_number(signal).map(|number| 128 + i64::from(number))
}
