//! The etcd backend.
//!
//! Everything that can go wrong between us and etcd is dealt with here: deadlines, the choice of an endpoint, streams
//! that die silently, answers that never come. Callers see an outcome or a [`StoreError`].

mod commit;
mod connection;
mod error;
mod faults;
mod grpc;
mod leases;
pub mod protocol;
mod read;
mod survey;
mod tls;
mod turns;
mod warnings;
mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use crate::limits;
use crate::options::EtcdOptions;
use crate::store::{
    CommitOutcome, Guard, Lease, LeaseId, Listing, Op, Range, Store, StoreError, TimeLeft, Watch,
};
use crate::system_seed::draw_seed;
use connection::Connection;
pub(crate) use grpc::GrpcTransport;
use leases::Leases;
use protocol::EtcdTransport;

/// A store in etcd.
#[derive(Debug)]
pub(crate) struct Etcd {
    connection: Arc<Connection>,
    leases: Leases,
    /// Whether the servers are looked at; that begins with the first use.
    surveyed: AtomicBool,
}

impl Etcd {
    /// Prepares the connection: reads the files of certificates, makes sure they are of use, reaches nobody.
    pub(crate) async fn new(options: EtcdOptions) -> Result<Self, StoreError> {
        let transport = GrpcTransport::new(&options).await?;
        Self::over_transport(Box::new(transport), options)
    }

    /// The same over a given way to the members. Of the options, those of TLS and the login are the transport's.
    pub(crate) fn over_transport(
        transport: Box<dyn EtcdTransport>,
        options: EtcdOptions,
    ) -> Result<Self, StoreError> {
        let seed = options.seed.unwrap_or_else(draw_seed);
        let connection = Connection::new(options.endpoints, transport, options.liveness, seed)?;
        let connection = Arc::new(connection);
        Ok(Self { connection, leases: Leases::with_seed(seed), surveyed: AtomicBool::new(false) })
    }

    /// Begins to look at the servers in the background: now that something is asked of them it is known which keys we may read.
    fn start_survey(&self, range: &Range) {
        if !self.surveyed.swap(true, Ordering::Relaxed) {
            let key = range.as_str().to_owned();
            muster_runtime::spawn(survey::run(Arc::downgrade(&self.connection), key));
        }
    }
}

#[async_trait]
impl Store for Etcd {
    async fn read(&self, range: Range) -> Result<Listing, StoreError> {
        self.start_survey(&range);
        read::read(&self.connection, &range)
            .await
            .map_err(|error| error.into_store_error(&format!("read of {}", range.as_str()), None))
    }

    fn watch(&self, range: Range) -> Watch {
        self.start_survey(&range);
        watch::watch(&self.connection, range)
    }

    async fn commit(&self, guards: Vec<Guard>, ops: Vec<Op>) -> Result<CommitOutcome, StoreError> {
        limits::check(&guards, &ops)?;
        commit::commit(&self.connection, &guards, &ops).await
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease, StoreError> {
        limits::check_ttl(ttl)?;
        self.leases.grant(&self.connection, ttl).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<Lease, StoreError> {
        self.leases.keep_alive(&self.connection, lease).await
    }

    async fn time_left(&self, lease: LeaseId) -> Result<TimeLeft, StoreError> {
        self.leases.time_left(&self.connection, lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), StoreError> {
        self.leases.revoke(&self.connection, lease).await
    }

    fn current_warnings(&self) -> Vec<String> {
        self.connection.server_warnings().list()
    }
}
