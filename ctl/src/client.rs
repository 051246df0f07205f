//! The transport: one HTTP/1.1 request on a connection of its own, over a socket or TCP.
//!
//! Owns connecting, deadlines and the reading of answers. It never prints an answer and never retries: callers know
//! whether trying again is right.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use muster_common::api::fleet::ErrorBody;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::endpoint::Endpoint;

/// Asks one daemon.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    endpoint: Endpoint,
    timeout: Duration,
    debug: bool,
}

/// A body that arrives piece by piece.
#[derive(Debug)]
pub(crate) struct Pieces {
    body: Incoming,
    endpoint: Endpoint,
}

/// A request that did not get the answer it was made for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// Nothing listens there.
    #[error("no daemon listens at {endpoint}")]
    NoDaemon {
        /// Where.
        endpoint: Endpoint,
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
        endpoint: Endpoint,
        /// What the kernel or the resolver said.
        source: io::Error,
    },
    /// No answer in time.
    #[error("{endpoint} did not answer {path} within {}", humantime::format_duration(*limit))]
    Timeout {
        /// Where.
        endpoint: Endpoint,
        /// The path asked for.
        path: String,
        /// How long was waited.
        limit: Duration,
    },
    /// The request could not be written or the answer not be read.
    #[error("the exchange with {endpoint} broke off")]
    Exchange {
        /// Where.
        endpoint: Endpoint,
        /// What went wrong.
        source: hyper::Error,
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
        endpoint: Endpoint,
        /// The path asked for.
        path: String,
    },
    /// An answer that no daemon gives.
    #[error("{endpoint} answered {path} with {status} and something that is not a daemon's answer")]
    NotDaemon {
        /// Where.
        endpoint: Endpoint,
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
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::NoDaemon { endpoint: Endpoint::Unix(_), .. } => Some(
                "`systemctl start musterd` starts it on this machine; `--endpoint` names another"
                    .to_owned(),
            ),
            Self::NoDaemon { .. } | Self::Connect { .. } => {
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
            Self::NotDaemon { .. } => Some("is it a musterd that listens there?".to_owned()),
            Self::Exchange { .. } => {
                Some("the daemon's log (`journalctl -u musterd`) may say why".to_owned())
            }
            Self::Request { .. } | Self::Refused { .. } => None,
        }
    }

    /// Whether the daemon may simply have been restarted.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::NoDaemon { .. }
                | Self::Connect { .. }
                | Self::Timeout { .. }
                | Self::Exchange { .. }
                | Self::Refused { status: StatusCode::SERVICE_UNAVAILABLE, .. }
        )
    }
}

impl Client {
    /// A client of the daemon at `endpoint`; each request may take `timeout` until its answer has begun (lists: is
    /// complete).
    pub(crate) fn new(endpoint: Endpoint, timeout: Duration, debug: bool) -> Self {
        Self { endpoint, timeout, debug }
    }

    /// How long one request may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Reads one thing.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.answer(Method::GET, path, Bytes::new()).await
    }

    /// Sends one thing and reads the answer.
    pub(crate) async fn post<B: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, ClientError> {
        let body = encode(path, body)?;
        self.answer(Method::POST, path, body).await
    }

    /// Sends a request whose answer has no body.
    pub(crate) async fn post_empty(&self, path: &str) -> Result<(), ClientError> {
        self.within(path, self.exchange(Method::POST, path, Bytes::new())).await.map(|_| ())
    }

    /// Reads a body as it comes. Only its beginning is timed.
    pub(crate) async fn get_pieces(&self, path: &str) -> Result<Pieces, ClientError> {
        self.pieces(Method::GET, path, Bytes::new()).await
    }

    /// Sends one thing and reads the answer as it comes. Only its beginning is timed.
    pub(crate) async fn post_pieces<B: Serialize>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<Pieces, ClientError> {
        let body = encode(path, body)?;
        self.pieces(Method::POST, path, body).await
    }

    async fn pieces(&self, method: Method, path: &str, body: Bytes) -> Result<Pieces, ClientError> {
        let response = self.within(path, self.exchange(method, path, body)).await?;
        Ok(Pieces { body: response.into_body(), endpoint: self.endpoint.clone() })
    }

    async fn answer<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<T, ClientError> {
        self.within(path, async {
            let response = self.exchange(method, path, body).await?;
            let status = response.status();
            let body = self.whole(response).await?;
            serde_json::from_slice(&body).map_err(|source| self.not_daemon(path, status, source))
        })
        .await
    }

    /// One exchange up to the head of a successful answer; any other answer becomes an error.
    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>, ClientError> {
        let begun = Instant::now();
        let what = if self.debug { format!("{method} {path}") } else { String::new() };
        let changes = method != Method::GET;
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.endpoint.authority())
            .header(USER_AGENT, concat!("musterctl/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, "*/*");
        // Over TCP a daemon takes no change without it, be it one without a body.
        if changes {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request
            .body(Full::new(body))
            .map_err(|e| ClientError::Request { path: path.to_owned(), source: e.into() })?;
        let response = match &self.endpoint {
            Endpoint::Unix(socket) => {
                let stream = UnixStream::connect(socket).await.map_err(|e| self.unconnected(e))?;
                self.send(stream, request).await?
            }
            Endpoint::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port))
                    .await
                    .map_err(|e| self.unconnected(e))?;
                self.send(stream, request).await?
            }
        };
        if self.debug {
            let took = begun.elapsed();
            let _ = writeln!(io::stderr(), "debug: {what}: {} after {took:.1?}", response.status());
        }
        if response.status().is_success() {
            Ok(response)
        } else {
            Err(self.refused(path, response).await)
        }
    }

    async fn send<S>(
        &self,
        stream: S,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, ClientError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let broke = |source| ClientError::Exchange { endpoint: self.endpoint.clone(), source };
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(broke)?;
        // What ends the connection also ends the body that is read from it, which reports it.
        tokio::spawn(connection);
        sender.send_request(request).await.map_err(broke)
    }

    async fn whole(&self, response: Response<Incoming>) -> Result<Bytes, ClientError> {
        let body = response.into_body().collect().await;
        body.map(http_body_util::Collected::to_bytes)
            .map_err(|source| ClientError::Exchange { endpoint: self.endpoint.clone(), source })
    }

    /// What an answer other than success means. A path under `/v1/units/`, `/v1/machines/` or `/v1/reboot` that is not found may be a
    /// unit, a machine or a group that does not exist; any other is a server that is not ours.
    async fn refused(&self, path: &str, response: Response<Incoming>) -> ClientError {
        let status = response.status();
        let body = match self.whole(response).await {
            Ok(body) => body,
            Err(error) => return error,
        };
        let other_version =
            || ClientError::OtherVersion { endpoint: self.endpoint.clone(), path: path.to_owned() };
        let missing = matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED);
        match serde_json::from_slice::<ErrorBody>(&body) {
            Ok(body) if missing && !names_something(status, path, &body) => other_version(),
            Ok(body) => ClientError::Refused { status, message: body.error.message },
            Err(_) if missing => other_version(),
            Err(source) => self.not_daemon(path, status, source),
        }
    }

    async fn within<T>(
        &self,
        path: &str,
        work: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        tokio::time::timeout(self.timeout, work).await.unwrap_or_else(|_| {
            Err(ClientError::Timeout {
                endpoint: self.endpoint.clone(),
                path: path.to_owned(),
                limit: self.timeout,
            })
        })
    }

    fn unconnected(&self, source: io::Error) -> ClientError {
        let endpoint = self.endpoint.clone();
        match (source.kind(), endpoint.socket()) {
            (io::ErrorKind::PermissionDenied, Some(path)) => {
                ClientError::Permission { path: path.to_owned(), source }
            }
            (io::ErrorKind::NotFound, Some(_)) | (io::ErrorKind::ConnectionRefused, _) => {
                ClientError::NoDaemon { endpoint, source }
            }
            _ => ClientError::Connect { endpoint, source },
        }
    }

    fn not_daemon(&self, path: &str, status: StatusCode, source: serde_json::Error) -> ClientError {
        let (endpoint, path) = (self.endpoint.clone(), path.to_owned());
        ClientError::NotDaemon { endpoint, path, status, source }
    }
}

impl Pieces {
    /// The next piece; `None` at the end. Cancel safe: a piece is only taken out when it is returned.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|source| ClientError::Exchange {
                endpoint: self.endpoint.clone(),
                source,
            })?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}

/// Whether what is missing may be what the path or the body names, and not the path itself.
fn names_something(status: StatusCode, path: &str, body: &ErrorBody) -> bool {
    // A listener that serves other things than this says so itself, and what it serves.
    if body.error.message.starts_with("this listener serves ") {
        return true;
    }
    if path.starts_with("/v1/reboot") || path.starts_with("/v1/machines/") {
        return status == StatusCode::NOT_FOUND
            && !body.error.message.starts_with("there is nothing at ");
    }
    path.starts_with("/v1/units/")
}

/// A path segment or query value with everything escaped that means something in a URL.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~@:".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

fn encode<B: Serialize>(path: &str, body: &B) -> Result<Bytes, ClientError> {
    serde_json::to_vec(body)
        .map(Bytes::from)
        .map_err(|e| ClientError::Request { path: path.to_owned(), source: e.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_backslash_makes_a_path() {
        let path = format!("/v1/units/{}", escape(r"dev-disk\x2d1@a:b.service"));
        assert_eq!(path, "/v1/units/dev-disk%5Cx2d1@a:b.service");
        assert!(path.parse::<http::Uri>().is_ok());
    }
}
