//! A configuration that cannot be used.
//!
//! Owns the words for it, and which options are at fault. It judges nothing.

use std::net::SocketAddr;

use super::file_error::FileError;
use crate::host::identity::IdentityError;

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file is at fault.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file says something that makes no sense with the rest of it.
    #[error("{path}: line {line}: {problem}")]
    Line {
        /// The file.
        path: String,
        /// From 1.
        line: usize,
        /// The problem.
        #[source]
        problem: Box<ConfigError>,
    },
    /// The file that was named is not there.
    #[error("there is no configuration file {0}")]
    Missing(String),
    /// The whole API over plain TCP.
    #[error(
        "{key}: {address}: plain TCP, on loopback too, lets every user, container and web page that can reach it start \
         units as root; use the unix socket, let a [[http.listener]] serve only \"fleetlock\" or \"metrics\", or set \
         http.insecure = true (--http-insecure) if everybody who can reach it is trusted"
    )]
    Insecure {
        /// The key.
        key: &'static str,
        /// The address.
        address: SocketAddr,
    },
    /// One address in two places.
    #[error(
        "{key}: {address}: what comes to it goes to {taken} already; one address has one listener, which serves several \
         parts as serves = [\"fleetlock\", \"metrics\"]"
    )]
    DuplicateAddress {
        /// The key of the second.
        key: &'static str,
        /// The second.
        address: SocketAddr,
        /// The first.
        taken: SocketAddr,
    },
    /// A password that everybody on the way could read.
    #[error(
        "etcd.endpoints: a password (etcd.password, etcd.password_file) is never sent over plain HTTP, to {0}; let etcd speak \
         TLS and begin its endpoint with https://, or leave the login out"
    )]
    PlainPassword(String),
    /// A value that is none of its option's.
    #[error("{key}: {problem}")]
    Value {
        /// The key.
        key: &'static str,
        /// The problem, and what would be right.
        problem: String,
    },
    /// Two keys contradict each other, or one lacks the other.
    #[error("{problem}")]
    Contradiction {
        /// Those keys.
        keys: &'static [&'static str],
        /// The problem, naming them.
        problem: &'static str,
    },
    /// A file that a key names cannot be read.
    #[error("{key}: cannot read {path}")]
    Unreadable {
        /// The key.
        key: &'static str,
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The machine has no identity of its own and was given none.
    #[error("machine_id (--machine-id) is not set")]
    MachineId(#[from] IdentityError),
    /// The log filter is none.
    #[error("log.level: {level:?} is not a level (error, warn, info, debug, trace) nor a filter")]
    LogLevel {
        /// The text that was given.
        level: String,
    },
}

impl ConfigError {
    /// The options that are at fault.
    pub(super) fn option_keys(&self) -> &[&'static str] {
        match self {
            Self::Insecure { key, .. }
            | Self::DuplicateAddress { key, .. }
            | Self::Value { key, .. }
            | Self::Unreadable { key, .. } => std::slice::from_ref(key),
            Self::PlainPassword(_) => &["etcd.endpoints"],
            Self::Contradiction { keys, .. } => keys,
            Self::LogLevel { .. } => &["log.level"],
            Self::File(_) | Self::Line { .. } | Self::Missing(_) | Self::MachineId(_) => &[],
        }
    }
}
