//! How a store is reached.
//!
//! Owns the options of the etcd backend and the argued defaults of its time limits. It reads nothing.

use std::path::PathBuf;
use std::time::Duration;

use muster_common::seed::Seed;

/// Endpoints of etcd and what it takes to be let in.
#[derive(Clone, Default)]
pub struct EtcdOptions {
    /// Endpoints, `http://host:port` or `https://host:port`.
    pub endpoints: Vec<String>,
    /// User and password.
    pub login: Option<(String, String)>,
    /// PEM file with the authorities to trust.
    pub ca_file: Option<PathBuf>,
    /// PEM files of our certificate and its key.
    pub identity_files: Option<(PathBuf, PathBuf)>,
    /// The time limits by which a silent member is found out.
    pub liveness: Liveness,
    /// Where the ids of leases and the jitter of retries come from; absent: drawn from the system. Two daemons with the same seed
    /// would ask for the same leases.
    pub seed: Option<Seed>,
}

/// The time limits after which a member of etcd that says nothing is taken for gone.
#[derive(Debug, Clone, Copy)]
pub struct Liveness {
    /// The time one call may take.
    pub call: Duration,
    /// The time one keepalive of a lease may take at the least; of a longer lease it is in proportion, up to that of a call.
    pub keep_alive: Duration,
    /// The time a watch may be silent before it is asked for a sign of life.
    pub silence: Duration,
    /// The time the sign of life may take.
    pub sign_of_life: Duration,
    /// The time between two pings of a connection. etcd closes connections that ping more often than every five seconds.
    pub ping_interval: Duration,
    /// The time the answer to a ping may take.
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
            .field("seed", &self.seed)
            .finish()
    }
}
