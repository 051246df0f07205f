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

/// A failed call. The texts are for people: what etcd or the connection said, where, and what may help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EtcdError {
    /// It certainly had no effect; another try, maybe at another endpoint, may succeed.
    NotCarriedOut(String),
    /// It may have had its effect, may have it later, or never.
    Unknown(String),
    /// The revision asked for is compacted.
    Compacted,
    /// The answer was larger than we take.
    AnswerTooLarge,
    /// The lease is not there. It had no effect.
    LeaseNotFound,
    /// etcd does not know us, or no more. It had no effect.
    NotLoggedIn(String),
    /// We logged in where there are no users. It had no effect.
    NoUsers(String),
    /// etcd has no room. It had no effect.
    Full(String),
    /// etcd will never do this. It had no effect.
    Refused(String),
}

impl EtcdError {
    /// No answer came in time.
    pub(super) fn no_answer(after: Duration) -> Self {
        Self::Unknown(format!("no answer within {after:?}"))
    }

    /// The same, saying at which endpoint, and what may help.
    pub(super) fn at_endpoint(self, endpoint: &str) -> Self {
        let tell = |problem: String| match advice_for(&problem, endpoint) {
            Some(advice) => format!("{endpoint}: {problem}; {advice}"),
            None => format!("{endpoint}: {problem}"),
        };
        match self {
            Self::NotCarriedOut(problem) => Self::NotCarriedOut(tell(problem)),
            Self::Unknown(problem) => Self::Unknown(tell(problem)),
            Self::NotLoggedIn(problem) => Self::NotLoggedIn(tell(problem)),
            Self::NoUsers(problem) => Self::NoUsers(tell(problem)),
            Self::Full(problem) => Self::Full(tell(problem)),
            Self::Refused(problem) => Self::Refused(tell(problem)),
            Self::Compacted | Self::AnswerTooLarge | Self::LeaseNotFound => self,
        }
    }

    /// True when the call certainly had no effect and will not have any.
    pub(super) fn is_certain(&self) -> bool {
        !matches!(self, Self::Unknown(_))
    }

    /// True when another endpoint or another moment may help.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Self::NotCarriedOut(_) | Self::Unknown(_))
    }

    /// As the caller of an operation without side effects is told.
    pub(super) fn into_store_error(self, during: &str, lease: Option<LeaseId>) -> StoreError {
        let during = during.to_owned();
        match self {
            Self::NotCarriedOut(problem) | Self::Unknown(problem) => {
                StoreError::Unavailable { during, source: Some(problem.into()) }
            }
            Self::Full(problem) => StoreError::Full { during, source: Some(problem.into()) },
            Self::Refused(problem) | Self::NotLoggedIn(problem) | Self::NoUsers(problem) => {
                StoreError::Rejected { during, problem }
            }
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

impl std::fmt::Display for EtcdError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotCarriedOut(problem)
            | Self::Unknown(problem)
            | Self::Full(problem)
            | Self::NotLoggedIn(problem)
            | Self::NoUsers(problem)
            | Self::Refused(problem) => problem,
            Self::Compacted => "the history needed is compacted",
            Self::AnswerTooLarge => "the answer is too large",
            Self::LeaseNotFound => "no such lease",
        })
    }
}

impl From<Error> for EtcdError {
    fn from(error: Error) -> Self {
        let told = describe(&error);
        let Error::GRpcStatus(status) = &error else {
            return match &error {
                Error::InvalidArgs(_) | Error::InvalidUri(_) | Error::InvalidMetadataValue(_) => {
                    Self::Refused(told)
                }
                Error::LeaseKeepAliveError(text) if text == "lease not found" => {
                    Self::LeaseNotFound
                }
                _ => Self::Unknown(told),
            };
        };
        let message = status.message();
        match i32::from(status.code()) {
            _ if message.contains("requested lease not found") => Self::LeaseNotFound,
            _ if message.contains("has been compacted") => Self::Compacted,
            _ if message.contains("database space exceeded") => Self::Full(told),
            // Refused before it is proposed.
            _ if message == "etcdserver: no leader" || message.contains("too many requests") => {
                Self::NotCarriedOut(told)
            }
            // A token is forgotten when its time is over or its server restarts, and a signed one is of no use after
            // each change of users or roles.
            _ if message.contains("invalid auth token")
                || message.contains("user name is empty")
                || message.contains("revision of auth store is old") =>
            {
                Self::NotLoggedIn(told)
            }
            _ if message.contains("authentication is not enabled") => Self::NoUsers(told),
            code::OUT_OF_RANGE | code::RESOURCE_EXHAUSTED if message.contains("message length") => {
                Self::AnswerTooLarge
            }
            code::INVALID_ARGUMENT
            | code::PERMISSION_DENIED
            | code::UNAUTHENTICATED
            | code::UNIMPLEMENTED
            | code::FAILED_PRECONDITION => Self::Refused(told),
            _ if never_sent(&error) => Self::NotCarriedOut(told),
            _ => Self::Unknown(told),
        }
    }
}

/// What may help against what a person can help: certificates and logins. The words are those of etcd 3.4 to 3.6 and of
/// rustls; where they change the advice is missed, and nothing else.
fn advice_for(problem: &str, endpoint: &str) -> Option<&'static str> {
    let secure = endpoint.starts_with("https://");
    let certificate = "it may want a certificate that its --trusted-ca-file vouches for (etcd.cert_file, etcd.key_file)";
    let closed =
        if secure { certificate } else { "if it speaks TLS, its endpoint begins with https://" };
    // A server that waits for TLS may reset the connection instead of closing it, and so may one that waits for none.
    let reset = if secure {
        "if it does not speak TLS, its endpoint begins with http://; if it does, it may want a certificate (etcd.cert_file, etcd.key_file)"
    } else {
        closed
    };
    let table: [(&str, &str); 13] = [
        (
            "certificate not valid for name",
            "the endpoint must be one of the names or addresses in its certificate",
        ),
        (
            "invalid peer certificate",
            "etcd.ca_file must hold the authority that signed its certificate",
        ),
        ("received fatal alert", certificate),
        // The alert may come too late to be read.
        ("connection closed", closed),
        ("broken pipe", closed),
        // In the words of the system, or of the libraries in between.
        ("Connection reset by peer", reset),
        ("connection reset", reset),
        ("KeyMismatch", "etcd.key_file is not the key of etcd.cert_file"),
        ("tls handshake eof", "if it does not speak TLS, its endpoint begins with http://"),
        ("InvalidContentType", "if it does not speak TLS, its endpoint begins with http://"),
        ("user name is empty", "it wants a login (etcd.username, etcd.password_file)"),
        ("invalid user ID or password", "etcd.username or the password is not the one it knows"),
        (
            "permission denied",
            "the role of etcd.username must allow reading and writing all keys below the prefix",
        ),
    ];
    table.into_iter().find(|(words, _)| problem.contains(words)).map(|(_, advice)| advice)
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

/// What is wrong and its causes; the innermost says most.
fn describe(error: &Error) -> String {
    let (first, mut cause) = match error {
        Error::GRpcStatus(status) => (status.message().to_owned(), status.source()),
        Error::TransportError(error) => (error.to_string(), error.source()),
        Error::EndpointError(text) => return text.clone(),
        other => return other.to_string(),
    };
    let mut parts = vec![first];
    while let Some(inner) = cause {
        let text = inner.to_string();
        if !parts.iter().any(|part| part.contains(&text)) {
            parts.push(text);
        }
        cause = inner.source();
    }
    // Helps nobody who is told anything besides.
    if parts.len() > 1 {
        parts.retain(|part| part != "transport error");
    }
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_is_advised_on_in_the_words_of_whoever_tells_of_it() {
        for problem in
            ["Connection reset by peer (os error 104)", "connection error: connection reset"]
        {
            let advice = advice_for(problem, "http://127.0.0.1:2379").unwrap();
            assert!(advice.contains("https://"), "{advice}");
        }
        assert_eq!(advice_for("something else", "http://127.0.0.1:2379"), None);
    }
}
