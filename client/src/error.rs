//! What can come between a request and its answer, in words for people.
//!
//! Owns the sentences and the ways out. It never asks again and never prints.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use crate::client::LARGEST;
use crate::endpoint::Door;

/// A request that did not get the answer it was made for.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nothing listens there.
    #[error("no daemon listens at {endpoint}")]
    NoDaemon {
        /// Where.
        endpoint: Arc<Door>,
        /// What the kernel said.
        source: io::Error,
    },
    /// The socket is not ours to use.
    #[error("you may not use the daemon's socket {}", path.display())]
    Permission {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// It cannot be reached.
    #[error("cannot connect to {endpoint}")]
    Connect {
        /// Where.
        endpoint: Arc<Door>,
        /// What the kernel or the resolver said.
        source: io::Error,
    },
    /// No answer in time.
    #[error("{endpoint} did not answer {path} within {}", humantime::format_duration(*limit))]
    Timeout {
        /// Where.
        endpoint: Arc<Door>,
        /// The path asked for.
        path: String,
        /// How long was waited.
        limit: Duration,
    },
    /// None of several daemons can be reached.
    #[error("none of the daemons can be reached: {problems}")]
    NoneOfThem {
        /// Each with what is in the way.
        problems: String,
    },
    /// A stream on which nothing comes any more.
    #[error("{endpoint} has said nothing for {}", humantime::format_duration(*silence))]
    Silent {
        /// Where.
        endpoint: Arc<Door>,
        /// For how long.
        silence: Duration,
    },
    /// The request could not be written or the answer not be read.
    #[error("the exchange with {endpoint} broke off")]
    Exchange {
        /// Where.
        endpoint: Arc<Door>,
        /// What went wrong.
        source: hyper::Error,
    },
    /// It goes on and on.
    #[error("the answer of {endpoint} has more than {LARGEST} bytes, which is no daemon's")]
    Endless {
        /// Where.
        endpoint: Arc<Door>,
    },
    /// The request could not be put together.
    #[error("cannot make the request for {path}")]
    Request {
        /// The path.
        path: String,
        /// What went wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The daemon says no.
    #[error("{message}")]
    Refused {
        /// Its status.
        status: StatusCode,
        /// Its words.
        message: String,
    },
    /// A server that has none of our paths.
    #[error("{endpoint} does not know {path}")]
    OtherVersion {
        /// Where.
        endpoint: Arc<Door>,
        /// The path asked for.
        path: String,
    },
    /// An answer that no daemon gives.
    #[error("{endpoint} answered {path} with {status} and something that is not a daemon's answer")]
    NotDaemon {
        /// Where.
        endpoint: Arc<Door>,
        /// The path asked for.
        path: String,
        /// The status.
        status: StatusCode,
        /// What is wrong with the body.
        source: serde_json::Error,
    },
}

impl ClientError {
    /// The way out, where there is one.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoDaemon { endpoint, .. } if endpoint.endpoint.socket().is_some() => Some(
                "`systemctl start musterd` starts it on this machine; `--endpoint` names another"
                    .to_owned(),
            ),
            Self::Exchange { endpoint, .. } if endpoint.tunnel.is_some() => Some(
                "what ssh says above may tell why; does musterd listen there, and may your user there ask it?"
                    .to_owned(),
            ),
            Self::NoDaemon { .. } | Self::Connect { .. } | Self::NoneOfThem { .. } => {
                Some("`--endpoint` or MUSTERCTL_ENDPOINT names the daemon to ask".to_owned())
            }
            Self::Permission { .. } => {
                Some("members of the group `muster` and root may".to_owned())
            }
            Self::Timeout { .. } => Some("`--request-timeout` allows more time".to_owned()),
            Self::OtherVersion { .. } => Some(format!(
                "it is no musterd, or one of another version than this musterctl {}",
                env!("CARGO_PKG_VERSION")
            )),
            Self::NotDaemon { .. } | Self::Endless { .. } => Some("is it a musterd that listens there?".to_owned()),
            Self::Exchange { .. } | Self::Silent { .. } => {
                Some("the daemon's log (`journalctl -u musterd`) may say why".to_owned())
            }
            Self::Request { .. } | Self::Refused { .. } => None,
        }
    }

    /// Whether the daemon may simply have been restarted.
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::NoDaemon { .. }
                | Self::NoneOfThem { .. }
                | Self::Connect { .. }
                | Self::Silent { .. }
                | Self::Timeout { .. }
                | Self::Exchange { .. }
                | Self::Refused { status: StatusCode::SERVICE_UNAVAILABLE, .. }
        )
    }
}
