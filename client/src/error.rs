//! The errors that come between a request and its answer, in words for people.
//!
//! Owns the sentences, and what kind of failure it is. It never asks again and never prints.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use muster_common::errors::error_chain;

use crate::connect::Route;
use crate::sse::EventTooLong;

/// A request as it is named: its method, and its path with the query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Such as `GET`.
    pub method: Method,
    /// Such as `/v1/units/web.service/journal?lines=10`.
    pub path: String,
}

/// A request that did not get the answer it was made for. Its causes are its [`source`](std::error::Error::source)s and
/// are not repeated in its sentence.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Connecting: nothing listens there.
    #[error("no daemon listens at {route}")]
    NoDaemon {
        /// The way to the daemon.
        route: Arc<Route>,
        /// The error of the kernel.
        source: io::Error,
    },
    /// Connecting: the socket is not ours to use.
    #[error("you may not use the daemon's socket {}", path.display())]
    Permission {
        /// The socket.
        path: PathBuf,
        /// The error of the kernel.
        source: io::Error,
    },
    /// Connecting: it cannot be reached; after [`Limits::connect`](crate::Limits::connect), of kind
    /// [`TimedOut`](io::ErrorKind::TimedOut).
    #[error("cannot connect to {route}")]
    Connect {
        /// The way to the daemon.
        route: Arc<Route>,
        /// The error of the kernel or of the resolver.
        source: io::Error,
    },
    /// Connecting: none of several daemons can be reached.
    #[error("none of the daemons can be reached: {}", join_problems(attempts))]
    NoneReachable {
        /// The problem with each, in the order in which they were tried.
        attempts: Vec<ClientError>,
    },
    /// Asking: no answer within [`Limits::request`](crate::Limits::request).
    #[error("{route} did not answer {} within {}", operation.path, humantime::format_duration(*limit))]
    Timeout {
        /// The way to the daemon.
        route: Arc<Route>,
        /// The request.
        operation: Arc<Operation>,
        /// The limit.
        limit: Duration,
    },
    /// Asking: the request could not be written or the answer not be read.
    #[error("the exchange with {route} broke off")]
    Exchange {
        /// The way to the daemon.
        route: Arc<Route>,
        /// The request.
        operation: Arc<Operation>,
        /// The cause.
        source: hyper::Error,
    },
    /// Asking: the request could not be put together.
    #[error("cannot make the request for {}", operation.path)]
    Request {
        /// The request.
        operation: Arc<Operation>,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The answer: the daemon says no.
    #[error("{message}")]
    Refused {
        /// The way to the daemon that says so.
        route: Arc<Route>,
        /// The request.
        operation: Arc<Operation>,
        /// The status.
        status: StatusCode,
        /// The daemon's words, as they came; whoever shows them cleans them ([`muster_common::text::clean_text`]).
        message: String,
    },
    /// The answer: a server that has none of our paths.
    #[error("{route} does not know {}", operation.path)]
    UnknownPath {
        /// The way to the daemon.
        route: Arc<Route>,
        /// The request.
        operation: Arc<Operation>,
    },
    /// The answer: one that no daemon gives.
    #[error("{route} answered {} with {status} and something that is not a daemon's answer", operation.path)]
    NotDaemon {
        /// The way to the daemon.
        route: Arc<Route>,
        /// The request.
        operation: Arc<Operation>,
        /// The status.
        status: StatusCode,
        /// The problem with the body.
        source: serde_json::Error,
    },
    /// The answer: it goes on and on.
    #[error("the answer of {route} has more than {limit} bytes, which is no daemon's")]
    TooLarge {
        /// The way to the daemon.
        route: Arc<Route>,
        /// The request.
        operation: Arc<Operation>,
        /// Most bytes that are taken.
        limit: usize,
    },
    /// Following: nothing came for [`Limits::silence`](crate::Limits::silence).
    #[error("{route} has said nothing for {}", humantime::format_duration(*silence))]
    Silent {
        /// The way to the daemon.
        route: Arc<Route>,
        /// For how long.
        silence: Duration,
    },
    /// Following: the daemon ended the stream.
    #[error("{route} ended the stream")]
    StreamEnded {
        /// The way to the daemon.
        route: Arc<Route>,
    },
    /// Following: an event that no daemon sends.
    #[error("cannot read the daemon's events")]
    Events(#[from] EventTooLong),
}

impl ClientError {
    /// A connection that was not made.
    pub(crate) fn not_connected(route: Arc<Route>, source: io::Error) -> Self {
        let socket = route.endpoint.socket_path().filter(|_| route.tunnel.is_none());
        match (source.kind(), socket) {
            (io::ErrorKind::PermissionDenied, Some(path)) => {
                Self::Permission { path: path.to_owned(), source }
            }
            (io::ErrorKind::NotFound, Some(_)) | (io::ErrorKind::ConnectionRefused, _) => {
                Self::NoDaemon { route, source }
            }
            _ => Self::Connect { route, source },
        }
    }

    /// Returns whether no connection was made, so that nothing has been asked.
    pub fn is_connection_failure(&self) -> bool {
        matches!(
            self,
            Self::NoDaemon { .. }
                | Self::Permission { .. }
                | Self::Connect { .. }
                | Self::NoneReachable { .. }
        )
    }

    /// Returns whether the daemon may simply have been restarted, so that asking again later may help. What was asked may
    /// have been done nevertheless.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::NoDaemon { .. }
                | Self::NoneReachable { .. }
                | Self::Connect { .. }
                | Self::Silent { .. }
                | Self::StreamEnded { .. }
                | Self::Timeout { .. }
                | Self::Exchange { .. }
                | Self::Refused { status: StatusCode::SERVICE_UNAVAILABLE, .. }
        )
    }

    /// Returns the status with which a daemon refused.
    pub fn refused_status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

fn join_problems(attempts: &[ClientError]) -> String {
    attempts.iter().map(|error| error_chain(error)).collect::<Vec<_>>().join("; ")
}
