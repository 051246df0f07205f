//! The things that handlers work with.
//!
//! Owns the one handle that all of them share, and the taking of what a client may have some of.

use std::sync::Arc;
use std::time::Duration;

use muster_common::machine::MachineId;
use muster_common::reboot::Group;
use muster_store::Registry;
use tokio_util::sync::CancellationToken;

use super::error::ApiError;
use crate::identity::ClusterAuthority;
use crate::inspect::Inspector;
use crate::net::limits::TURN_TIMEOUT;
use crate::net::peer::Peers;
use crate::net::quota::{Caller, LimitReached, Quota, Quotas, Ticket};
use crate::reboot::Lock;
use crate::runner::podman::QuadletDrafts;
use crate::stdx::clock::Wall;
use crate::telemetry::health::Health;
use crate::telemetry::metrics::Metrics;
use crate::view::View;

/// The time a request about slots tries for an answer: less than `musterctl` waits for one by default. Whoever is told that
/// the store is away may ask again.
pub const SLOT_LIMIT: Duration = Duration::from_secs(8);

/// The things that handlers work with.
pub struct AppParts {
    /// The store.
    pub registry: Registry,
    /// The cluster, live.
    pub view: View,
    /// This machine.
    pub machine: MachineId,
    /// The way to the daemons of other machines.
    pub peers: Arc<dyn Peers>,
    /// The clock that dates what people order.
    pub wall: Wall,
    /// The daemon's health.
    pub health: Health,
    /// The counters.
    pub metrics: Metrics,
    /// Status and journal of units on this machine.
    pub inspector: Inspector,
    /// Who knows what Podman's generator says of a file, where this machine has one.
    pub drafts: Option<Arc<QuadletDrafts>>,
    /// The slots of rolling reboots; all of a daemon go through one.
    pub lock: Lock,
    /// The reboot group of this machine.
    pub group: Group,
    /// The time a request may try for an answer about slots; see [`SLOT_LIMIT`].
    pub slot_limit: Duration,
    /// Entries on a page of fleet's API.
    pub token_limit: u16,
    /// Most bytes of a request body.
    pub body_limit: usize,
    /// Cancelled when the daemon stops: streams end.
    pub shutdown: CancellationToken,
}

/// Shared by all handlers. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<AppParts>, Quotas, Option<ClusterAuthority>);

impl App {
    /// Puts the parts behind one handle.
    pub fn new(parts: AppParts) -> Self {
        Self::with_quotas(parts, Quotas::default())
    }

    /// The same with other numbers for what clients may hold.
    pub fn with_quotas(parts: AppParts, quotas: Quotas) -> Self {
        Self(Arc::new(parts), quotas, None)
    }

    /// The same on a machine that may let others join.
    #[must_use]
    pub fn with_authority(self, authority: ClusterAuthority) -> Self {
        Self(self.0, self.1, Some(authority))
    }

    /// The cluster's authority, where this machine is one of its servers.
    pub(super) fn cluster_authority(&self) -> Option<&ClusterAuthority> {
        self.2.as_ref()
    }

    pub(super) fn client_quotas(&self) -> &Quotas {
        &self.1
    }

    /// One of what clients may have some of, if there is one.
    pub(super) fn take_ticket(&self, quota: &Quota, caller: Caller) -> Result<Ticket, ApiError> {
        quota.take_ticket(caller).map_err(|full| self.count_refusal(quota, full))
    }

    /// The same, if there is one soon.
    pub(super) async fn wait_for_ticket(
        &self,
        quota: &Quota,
        caller: Caller,
    ) -> Result<Ticket, ApiError> {
        quota
            .wait_for_ticket(caller, TURN_TIMEOUT)
            .await
            .map_err(|full| self.count_refusal(quota, full))
    }

    fn count_refusal(&self, quota: &Quota, full: LimitReached) -> ApiError {
        self.metrics.count_refusal(quota.reason);
        full.into()
    }

    pub(super) fn body_limit(&self) -> usize {
        self.0.body_limit
    }
}

impl std::ops::Deref for App {
    type Target = AppParts;

    fn deref(&self) -> &AppParts {
        &self.0
    }
}
