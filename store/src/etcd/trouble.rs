//! What went wrong with a call to etcd, sorted by what it says about the request.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use etcd_client::Error;

use crate::store::{LeaseId, StoreError};

/// gRPC status codes that tell something apart.
mod code {
    pub(super) const INVALID_ARGUMENT: i32 = 3;
    pub(super) const PERMISSION_DENIED: i32 = 7;
    pub(super) const RESOURCE_EXHAUSTED: i32 = 8;
    pub(super) const FAILED_PRECONDITION: i32 = 9;
    pub(super) const OUT_OF_RANGE: i32 = 11;
    pub(super) const UNIMPLEMENTED: i32 = 12;
    pub(super) const UNAUTHENTICATED: i32 = 16;
}

/// A failed call.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It certainly had no effect; another try, maybe at another endpoint, may succeed.
    NotCarriedOut(Error),
    /// It may have had its effect, may have it later, or never.
    Unknown(Error),
    /// No answer within the deadline; as `Unknown`.
    Silent(Duration),
    /// The revision asked for is compacted.
    Compacted,
    /// The answer was larger than we take.
    AnswerTooLarge,
    /// The lease is not there. It had no effect.
    LeaseNotFound,
    /// etcd has no room. It had no effect.
    Full(Error),
    /// etcd will never do this. It had no effect.
    Refused(String),
}

impl Trouble {
    /// Whether the call had no effect for certain, and will not have any.
    pub(super) fn is_certain(&self) -> bool {
        !matches!(self, Self::Unknown(_) | Self::Silent(_))
    }

    /// Whether another endpoint or another moment may help.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Self::NotCarriedOut(_) | Self::Unknown(_) | Self::Silent(_))
    }

    /// As the caller of an operation without side effects is told.
    pub(super) fn into_store_error(self, during: &str, lease: Option<LeaseId>) -> StoreError {
        let during = during.to_owned();
        match self {
            Self::NotCarriedOut(error) | Self::Unknown(error) => {
                StoreError::Unavailable { during, source: Some(describe(&error).into()) }
            }
            Self::Silent(after) => {
                let source = Some(format!("no answer within {after:?}").into());
                StoreError::Unavailable { during, source }
            }
            Self::Full(error) => StoreError::Full { during, source: Some(error.into()) },
            Self::Refused(problem) => StoreError::Rejected { during, problem },
            Self::LeaseNotFound => match lease {
                Some(lease) => StoreError::LeaseGone { lease },
                None => StoreError::Rejected { during, problem: "no such lease".to_owned() },
            },
            Self::Compacted => StoreError::Unavailable {
                during,
                source: Some("compactions overtook it again and again".into()),
            },
            Self::AnswerTooLarge => {
                let problem = "a single record is larger than etcd takes".to_owned();
                StoreError::Rejected { during, problem }
            }
        }
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotCarriedOut(error) | Self::Unknown(error) | Self::Full(error) => {
                f.write_str(&describe(error))
            }
            Self::Silent(after) => write!(f, "no answer within {after:?}"),
            Self::Compacted => f.write_str("the history needed is compacted"),
            Self::AnswerTooLarge => f.write_str("the answer is too large"),
            Self::LeaseNotFound => f.write_str("no such lease"),
            Self::Refused(problem) => f.write_str(problem),
        }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        let Error::GRpcStatus(status) = &error else {
            return match &error {
                Error::InvalidArgs(_) | Error::InvalidUri(_) | Error::InvalidMetadataValue(_) => {
                    Self::Refused(error.to_string())
                }
                Error::LeaseKeepAliveError(text) if text == "lease not found" => {
                    Self::LeaseNotFound
                }
                _ => Self::Unknown(error),
            };
        };
        let message = status.message();
        match i32::from(status.code()) {
            _ if message.contains("requested lease not found") => Self::LeaseNotFound,
            _ if message.contains("has been compacted") => Self::Compacted,
            _ if message.contains("database space exceeded") => Self::Full(error),
            // Refused before it is proposed.
            _ if message == "etcdserver: no leader" || message.contains("too many requests") => {
                Self::NotCarriedOut(error)
            }
            code::OUT_OF_RANGE | code::RESOURCE_EXHAUSTED if message.contains("message length") => {
                Self::AnswerTooLarge
            }
            code::INVALID_ARGUMENT
            | code::PERMISSION_DENIED
            | code::UNAUTHENTICATED
            | code::UNIMPLEMENTED
            | code::FAILED_PRECONDITION => Self::Refused(message.to_owned()),
            _ if never_sent(&error) => Self::NotCarriedOut(error),
            _ => Self::Unknown(error),
        }
    }
}

/// Whether there was no connection to send anything on. Only establishing one is answered by these.
fn never_sent(error: &Error) -> bool {
    let Error::GRpcStatus(status) = error else { return false };
    let mut cause = status.source();
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            return matches!(
                io.kind(),
                io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::HostUnreachable
                    | io::ErrorKind::NetworkUnreachable
                    | io::ErrorKind::AddrNotAvailable
            );
        }
        cause = inner.source();
    }
    false
}

/// The innermost cause says most: `transport error` alone helps nobody.
fn describe(error: &Error) -> String {
    let Error::GRpcStatus(status) = error else { return error.to_string() };
    let mut text = status.message().to_owned();
    let mut cause = status.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.ends_with(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}
