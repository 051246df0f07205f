//! Muster's memory: the only crate that knows etcd.
//!
//! [`Store`] is a narrow trait (read, watch, commit, lease) with two backends: etcd for clusters, and an embedded
//! database for one machine. One suite of tests holds both to the same behaviour. [`Registry`] is the typed layer above
//! the trait, written once. This crate remembers; it never decides what to remember.
//!
//! # Records
//!
//! JSON, below a prefix that can be configured:
//!
//! | key | value | life |
//! | --- | --- | --- |
//! | `file/<sha256>` | a unit file's text as its user wrote it, shared by all units that name it | until no unit names it |
//! | `unit/<name>` | file hash, desired state, generation | until destroyed |
//! | `machine/<id>` | address, API address, metadata, version, runners, boot id | lease |
//! | `metadata/<id>/<key>` | metadata set at run time; the key is escaped as in a URL | until removed |
//! | `cordon/<id>` | who holds the machine's cordon and why, and each one's drain | until the last has taken it back |
//! | `place/<machine>/<unit>` | file hash, desired state, generation, its part in a move | the leader's |
//! | `state/<machine>/<unit>` | observed state | lease |
//! | `leader` | who leads, and the machines whose units are held where they are | lease |
//! | `reboot/<group>` | the semaphore: slots and who holds one | for ever |
//! | `reboot-host/<machine>` | how far a host is with its reboot | for ever |
//! | `reboot-request/<machine>` | somebody's wish that it reboots | until it has |
//! | `reboot-history/<group>` | the last hundred slots freed | for ever |
//! | `pki/state`, `pki/ca/<n>` | which authority the cluster has, and its certificate | for ever |
//! | `host/<machine>` | a host's public key, as a hash, and its part in the cluster | until the host is removed |
//! | `join/<id>` | a join token: the hash of its secret, and whom it lets in | until a day after its end |
//!
//! Keys of other kinds are a later version's and left alone. A record that cannot be read is reported as such
//! (`Snapshot::unreadable`) and harms nothing else; a file whose text does not have the hash in its key is one of those.
//!
//! # Versions
//!
//! Every record has a `schema` number that says which shape its writer knew. It decides nothing: readers take the fields
//! they know, ignore the others and need no number for it. So daemons of version N and N+1 run side by side, and the rule
//! for changing a record is that both must be right: new fields are optional, old ones keep their name and meaning.
//! A daemon that rewrites a record of a later version drops what it does not know, so new fields must bear that too.
//! A change that cannot follow the rule goes below another prefix. `store/fixtures/` holds records of every schema ever
//! written, and a test reads them all.
//!
//! # Promises
//!
//! - What is acknowledged is durable: by etcd's quorum, or by an fsync of the embedded database.
//! - A commit is all or nothing, and its outcome is [`CommitOutcome`] or an error that says whether it may have happened:
//!   [`StoreError::Ambiguous`] may have, every other error has not.
//! - A watch begins with everything and yields every change after it in order, or begins anew. It never ends by itself
//!   and never goes silent unnoticed.
//! - A lease that is answered for has the time it says, counted from the question.

mod embedded;
mod etcd;
mod limits;
mod options;
mod registry;
mod store;
mod system_seed;

pub use embedded::{LeaseClock, MemoryStore};
pub use etcd::protocol as etcd_protocol;
pub use options::{EtcdOptions, Liveness};
pub use registry::{
    ClusterWatch, CommitError, DestroyOutcome, ForgetOutcome, Leadership, Presence, RebootGroup,
    RebootRecords, RebootScope, RebootWatchEvent, Registry, RegistryError, StoreContents,
    StoredRegistration,
};
pub use store::{
    CommitOutcome, Guard, KeyChange, KeyValue, Lease, LeaseId, Listing, MAX_GUARDS, MAX_OPERATIONS,
    MAX_REQUEST_BYTES, Op, Range, Store, StoreError, TimeLeft, Watch, WatchEvent,
};

use std::path::Path;
use std::sync::Arc;

/// Opens the embedded store in a directory, creating it if need be.
///
/// Blocks while the file is read.
pub fn open_embedded(directory: &Path) -> Result<Arc<dyn Store>, StoreError> {
    open_embedded_with(directory, LeaseClock::default())
}

/// The same with leases that end by a given clock.
pub fn open_embedded_with(
    directory: &Path,
    clock: LeaseClock,
) -> Result<Arc<dyn Store>, StoreError> {
    Ok(Arc::new(embedded::Embedded::open(directory, clock)?))
}

/// Opens an etcd store. Does not wait for etcd: a store that cannot be reached answers `Unavailable` until it can. What
/// can be known to be wrong without etcd is an error at once: endpoints that are none, certificates of no use.
pub async fn open_etcd(options: EtcdOptions) -> Result<Arc<dyn Store>, StoreError> {
    Ok(Arc::new(etcd::Etcd::new(options).await?))
}

/// Opens an etcd store over a given way to its members: in a simulator they stand on the other side. The endpoints, time limits and
/// the seed of the options count; certificates and logins would be the transport's business.
pub fn open_etcd_over(
    transport: Box<dyn etcd_protocol::EtcdTransport>,
    options: EtcdOptions,
) -> Result<Arc<dyn Store>, StoreError> {
    Ok(Arc::new(etcd::Etcd::over_transport(transport, options)?))
}

/// The way to members of etcd over the network, as [`open_etcd`] uses it.
pub async fn etcd_transport(
    options: &EtcdOptions,
) -> Result<Box<dyn etcd_protocol::EtcdTransport>, StoreError> {
    Ok(Box::new(etcd::GrpcTransport::new(options).await?))
}
