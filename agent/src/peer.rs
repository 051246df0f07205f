//! Asking another machine's daemon.
//!
//! Owns the one way from daemon to daemon: one HTTP request on one connection to the address the machine registered.
//! Transport security between daemons has its place here and nowhere else.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use muster_common::machine::Machine;
use tokio::net::TcpStream;

/// Marks a request that comes from a daemon, which must not be passed on again.
pub const FORWARDED: &str = "muster-forwarded";

/// A host on the same network answers a connection within milliseconds, or is not there.
const CONNECT: Duration = Duration::from_secs(3);

/// systemctl status on a busy machine.
const ANSWER: Duration = Duration::from_secs(20);

/// Why another daemon did not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// The machine registered no address.
    #[error(
        "machine {machine} can be asked by no other: its daemon listens on no network address (http.listen); ask it \
         on that machine"
    )]
    NoAddress {
        /// The machine.
        machine: String,
    },
    /// No connection.
    #[error("cannot reach the daemon of machine {machine} at {api}")]
    Connect {
        /// The machine.
        machine: String,
        /// Its address.
        api: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// No answer.
    #[error("the daemon of machine {machine} at {api} did not answer")]
    Answer {
        /// The machine.
        machine: String,
        /// Its address.
        api: String,
        /// Why; absent when the time was over.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

/// Asks a machine's daemon. The answer's body streams; dropping it closes the connection.
pub async fn get(machine: &Machine, path_and_query: &str) -> Result<Response<Incoming>, PeerError> {
    let name = machine.id.to_string();
    let Some(api) = machine.api.clone() else {
        return Err(PeerError::NoAddress { machine: name });
    };
    let connected = tokio::time::timeout(CONNECT, TcpStream::connect(&api)).await;
    let stream = connected
        .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
        .map_err(|source| PeerError::Connect { machine: name.clone(), api: api.clone(), source })?;
    let failed = |source: Option<Box<dyn std::error::Error + Send + Sync>>| PeerError::Answer {
        machine: name.clone(),
        api: api.clone(),
        source,
    };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failed(Some(error.into())))?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection to another daemon ended");
        }
    });
    let request = Request::get(path_and_query)
        .header(header::HOST, &api)
        .header(FORWARDED, "1")
        .body(Empty::<Bytes>::new())
        .map_err(|error| failed(Some(error.into())))?;
    match tokio::time::timeout(ANSWER, sender.send_request(request)).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(error)) => Err(failed(Some(error.into()))),
        Err(_) => Err(failed(None)),
    }
}
