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
mod registry;
mod store;

pub use embedded::LeaseClock;
pub use registry::{
    ClusterWatch, CommitError, DestroyOutcome, Leadership, Presence, RebootGroup, RebootNews,
    RebootRecords, RebootScope, Registry, RegistryError,
};
pub use store::{
    CommitOutcome, Guard, KeyChange, KeyValue, Lease, LeaseId, Listing, MAX_OPERATIONS,
    MAX_REQUEST_BYTES, Op, Range, Store, StoreError, TimeLeft, Watch, WatchEvent,
};

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

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
    /// How a silent member is found out.
    pub liveness: Liveness,
}

/// When a member of etcd that says nothing is taken for gone.
#[derive(Debug, Clone, Copy)]
pub struct Liveness {
    /// How long one call may take.
    pub call: Duration,
    /// How long one keepalive of a lease may take.
    pub keep_alive: Duration,
    /// How long a watch may be silent before it is asked for a sign of life.
    pub silence: Duration,
    /// How long the sign of life may take.
    pub sign_of_life: Duration,
    /// Between two pings of a connection. etcd closes connections that ping more often than every five seconds.
    pub ping_interval: Duration,
    /// How long the answer to a ping may take.
    pub ping_timeout: Duration,
}

impl Default for Liveness {
    /// Calls take milliseconds; a leader election of etcd takes one second. The shortest lease is two seconds, and all
    /// endpoints must have their turn before it ends: a member that needs longer for a keepalive is stalled or cut off from
    /// its leader. Who only listens finds out within ten seconds, the default time to live of a machine's lease, that a
    /// member is without power. Each question for a sign of life costs etcd and us a message.
    fn default() -> Self {
        Self {
            call: Duration::from_secs(2),
            keep_alive: Duration::from_millis(400),
            silence: Duration::from_secs(6),
            sign_of_life: Duration::from_secs(3),
            ping_interval: Duration::from_secs(5),
            ping_timeout: Duration::from_secs(3),
        }
    }
}

impl std::fmt::Debug for EtcdOptions {
    /// Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EtcdOptions")
            .field("endpoints", &self.endpoints)
            .field("user", &self.login.as_ref().map(|(user, _)| user))
            .field("ca_file", &self.ca_file)
            .field("identity_files", &self.identity_files)
            .field("liveness", &self.liveness)
            .finish()
    }
}

/// Opens an etcd store. Does not wait for etcd: a store that cannot be reached answers `Unavailable` until it can. What
/// can be known to be wrong without etcd is an error at once: endpoints that are none, certificates of no use.
pub async fn open_etcd(options: EtcdOptions) -> Result<Arc<dyn Store>, StoreError> {
    Ok(Arc::new(etcd::Etcd::new(options).await?))
}
