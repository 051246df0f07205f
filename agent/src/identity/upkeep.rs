//! The loop that keeps this host's certificate renewed.
//!
//! Owns when it looks, whom it asks and what it says about it: once when it fails, and once when it works again. A certificate is due from a third of its
//! life on, so that failing is no news for anybody but the log for twenty days. It never ends by itself: one that is over is asked for as
//! one that is due, and a clock that is wrong is put right by somebody else.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use muster_client::Route;
use muster_common::machine::MachineId;
use muster_common::pki::HostRole;
use muster_identity::{HostCredentials, renewal_due};
use muster_store::Registry;
use tokio_util::sync::CancellationToken;

use super::authority::ClusterAuthority;
use super::error::MembershipError;
use super::renewing::{RenewalError, RenewingHost};
use crate::stdx::clock::Wall;
use crate::stdx::errors::error_chain;

/// The pause between two looks: short for whoever waits for a host to come back, and nothing beside a certificate's life.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// Finds the servers that may be asked.
#[async_trait]
pub trait FindServers: Send + Sync {
    /// The ways to them; those that do not answer are among them.
    async fn find_servers(&self) -> Result<Vec<Route>, MembershipError>;
}

/// The servers by the records in the store: hosts that are servers, where their machines say that they are asked.
#[derive(Debug, Clone)]
pub struct RegistryServers {
    /// The store.
    pub registry: Registry,
    /// This machine, which asks others.
    pub machine: MachineId,
}

/// The loop.
pub struct CertificateUpkeep {
    /// The host.
    pub host: RenewingHost,
    /// The authority, where this machine has its key: then nobody else is asked.
    pub authority: Option<ClusterAuthority>,
    /// Whom to ask.
    pub servers: Arc<dyn FindServers>,
    /// The clock by which a certificate is due.
    pub wall: Wall,
    /// The pause between two looks; see [`LOOK_INTERVAL`].
    pub interval: Duration,
}

impl CertificateUpkeep {
    /// Runs until it is told to stop.
    pub async fn keep_renewed(self, credentials: HostCredentials, shutdown: CancellationToken) {
        let mut credentials = credentials;
        let mut is_failing = false;
        loop {
            if renewal_due(self.wall.unix_seconds(), credentials.own_certificate()) {
                match self.renew_once(&credentials).await {
                    Ok(next) => {
                        let until = next.own_certificate().validity.not_after;
                        tracing::info!(until, "this host's certificate is renewed");
                        if std::mem::take(&mut is_failing) {
                            tracing::info!(component = "certificate", "component recovered");
                        }
                        credentials = next;
                    }
                    Err(error) if !is_failing => {
                        is_failing = true;
                        let until = credentials.own_certificate().validity.not_after;
                        tracing::warn!(component = "certificate", until, error = %error_chain(&error), "component failed");
                    }
                    Err(_) => {}
                }
            }
            // Cancel-safe: nothing goes on meanwhile.
            let pause = muster_runtime::sleep(self.interval);
            if shutdown.run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
    }

    async fn renew_once(
        &self,
        credentials: &HostCredentials,
    ) -> Result<HostCredentials, RenewalError> {
        if let Some(authority) = &self.authority {
            return self.host.renew_by(credentials, authority).await;
        }
        let mut failure = MembershipError::NoServer.into();
        for server in self.servers.find_servers().await? {
            match self.host.renew_at(credentials, [server]).await {
                Ok(renewed) => return Ok(renewed),
                // The next may have what this one lacks.
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}

#[async_trait]
impl FindServers for RegistryServers {
    async fn find_servers(&self) -> Result<Vec<Route>, MembershipError> {
        let mut routes = Vec::new();
        for (machine, host) in self.registry.host_records().await? {
            if host.record.role != HostRole::Server || machine == self.machine {
                continue;
            }
            // One that is away, or cannot be read, is one less to be asked.
            let found = self.registry.read_registration(&machine).await.ok().flatten();
            let api = found.and_then(|found| found.machine.api);
            let address = api.and_then(|api| api.parse::<std::net::SocketAddr>().ok());
            routes.extend(address.map(Route::from));
        }
        Ok(routes)
    }
}
