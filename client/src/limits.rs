//! Limits of time and size.
//!
//! Owns the numbers that hold where a program has none of its own. It enforces nothing.

use std::time::Duration;

/// Longest time for a connection: many times what a host takes that is there, on a network that loses a packet.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest time for a request: a list of a large cluster from a busy machine takes a few seconds.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest silence of a stream. A daemon sends a sign of life every ten seconds; one whose machine has gone down says
/// nothing at all.
const SILENCE_LIMIT: Duration = Duration::from_secs(35);

/// Most bytes of an answer that is kept in memory. The largest there is holds all files of a cluster, 128 MiB at the most,
/// escaped as JSON has them, and a hundred thousand units.
const BODY_BYTES: usize = 512 * 1024 * 1024;

/// Time and room that a client allows a daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Longest time until a connection stands; absent: [`Self::request`] is the only limit.
    pub connect: Option<Duration>,
    /// Longest time for one request, from connecting to the end of the answer; where the answer is read as it comes, to
    /// its beginning.
    pub request: Duration,
    /// Longest time between two pieces of a stream that is followed.
    pub silence: Duration,
    /// Most bytes of an answer that is read as a whole.
    pub body_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Some(CONNECT_TIMEOUT),
            request: REQUEST_TIMEOUT,
            silence: SILENCE_LIMIT,
            body_bytes: BODY_BYTES,
        }
    }
}

impl Limits {
    /// Returns these limits with another time for making a connection.
    #[must_use]
    pub fn with_connect(self, connect: Option<Duration>) -> Self {
        Self { connect, ..self }
    }

    /// Returns these limits with another time for one request.
    #[must_use]
    pub fn with_request(self, request: Duration) -> Self {
        Self { request, ..self }
    }

    /// Returns these limits with another time for the silence of a stream.
    #[must_use]
    pub fn with_silence(self, silence: Duration) -> Self {
        Self { silence, ..self }
    }

    /// Returns these limits with another size of an answer that is read as a whole.
    #[must_use]
    pub fn with_body_bytes(self, body_bytes: usize) -> Self {
        Self { body_bytes, ..self }
    }
}
