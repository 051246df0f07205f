//! Muster's memory: the only crate that knows etcd.
//!
//! [`Store`] is the narrow trait, with an etcd and an embedded backend; [`Registry`] is the typed layer above it,
//! written once. This crate remembers; it never decides what to remember.

mod embedded;
mod etcd;
mod limits;
mod registry;
mod store;

pub use registry::{
    CommitError, Destroyed, Event, Leadership, PlaceWrite, PlacesCommitted, Presence, Registry,
    RegistryError, StateUpdate, UnitWrite, UnitWritten, Updates,
};
pub use store::{
    Commit, Guard, KeyChange, KeyValue, Lease, LeaseId, Listing, MAX_OPERATIONS, MAX_REQUEST_BYTES,
    Op, Range, Store, StoreError, Watch, WatchEvent,
};

use std::path::Path;
use std::sync::Arc;

/// Opens the embedded store in a directory, creating it if need be.
///
/// Blocks while the file is read.
pub fn open_embedded(directory: &Path) -> Result<Arc<dyn Store>, StoreError> {
    Ok(Arc::new(embedded::Embedded::open(directory)?))
}

/// How to reach etcd.
#[derive(Clone, Default)]
pub struct EtcdOptions {
    /// Endpoints, `http://host:port` or `https://host:port`.
    pub endpoints: Vec<String>,
    /// User and password.
    pub login: Option<(String, String)>,
    /// PEM file with the authorities to trust.
    pub ca_file: Option<std::path::PathBuf>,
    /// PEM files of our certificate and its key.
    pub identity_files: Option<(std::path::PathBuf, std::path::PathBuf)>,
}

impl std::fmt::Debug for EtcdOptions {
    /// Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EtcdOptions")
            .field("endpoints", &self.endpoints)
            .field("user", &self.login.as_ref().map(|(user, _)| user))
            .field("ca_file", &self.ca_file)
            .field("identity_files", &self.identity_files)
            .finish()
    }
}

/// Opens an etcd store. Does not wait for etcd: a store that cannot be reached answers `Unavailable` until it can.
pub async fn open_etcd(options: EtcdOptions) -> Result<Arc<dyn Store>, StoreError> {
    // The files of certificates may be on a slow disk.
    let opened = tokio::task::spawn_blocking(|| etcd::Etcd::new(options)).await;
    let failed = |error: tokio::task::JoinError| StoreError::Unavailable {
        during: "connection to etcd".to_owned(),
        source: Some(error.into()),
    };
    Ok(Arc::new(opened.map_err(failed)??))
}
