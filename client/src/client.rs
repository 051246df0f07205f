//! The transport: one HTTP/1.1 request on a connection of its own, over a socket or TCP.
//!
//! Owns connecting, deadlines and the reading of answers. It never prints an answer and never repeats a request: callers know
//! whether asking again is right. Of several daemons it asks the first that can be reached.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use muster_common::api::fleet::ErrorBody;
use muster_common::errors::error_chain;
use muster_common::text::clean;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use crate::endpoint::{Door, Endpoint};
use crate::error::ClientError;

/// How long a stream may be silent. A daemon sends a sign of life every ten seconds; one whose machine has gone down says
/// nothing at all.
const SILENCE: Duration = Duration::from_secs(35);

/// Most bytes of an answer that is kept in memory. The largest there is holds all files of a cluster, 128 MiB at the most,
/// escaped as JSON has them, and a hundred thousand units.
pub(crate) const LARGEST: usize = 512 * 1024 * 1024;

/// Asks one daemon.
#[derive(Debug, Clone)]
pub struct Client {
    /// In the order in which they are tried.
    doors: Arc<[Arc<Door>]>,
    /// The one that was reached last.
    open: Arc<AtomicUsize>,
    patience: Patience,
    debug: bool,
}

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// One request.
    request: Duration,
    /// No piece of a stream.
    silence: Duration,
    /// No news in a wait, until the wait says what it is for; `None`: it never does.
    notice: Option<Duration>,
}

/// A connection of either kind.
enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Patience {
    /// A request may take `request`; a wait without news for `notice` says what it is for.
    pub fn new(request: Duration, notice: Option<Duration>) -> Self {
        Self { request, silence: SILENCE, notice }
    }

    /// The same with less patience for a stream that falls silent.
    pub fn with_silence(self, silence: Duration) -> Self {
        Self { silence, ..self }
    }
}

/// A body that arrives piece by piece.
#[derive(Debug)]
pub struct Pieces {
    body: Incoming,
    endpoint: Arc<Door>,
}

impl Client {
    /// A client of the first of these daemons that can be reached.
    pub fn new(doors: Vec<Door>, patience: Patience, debug: bool) -> Self {
        let doors = doors.into_iter().map(Arc::new).collect();
        Self { doors, open: Arc::default(), patience, debug }
    }

    /// How long one request may take until its answer has begun (lists: is complete).
    pub fn timeout(&self) -> Duration {
        self.patience.request
    }

    /// How long a stream may be silent.
    pub fn silence(&self) -> Duration {
        self.patience.silence
    }

    /// How long a wait may be without news before it says what it is for.
    pub fn notice(&self) -> Option<Duration> {
        self.patience.notice
    }

    /// What is to be said of a stream that is silent for too long.
    pub fn fell_silent(&self) -> ClientError {
        ClientError::Silent { endpoint: self.door(), silence: self.patience.silence }
    }

    /// The daemon that is asked: the one that was reached last, the first before that.
    fn door(&self) -> Arc<Door> {
        let door = self.doors.get(self.open.load(Ordering::Relaxed));
        door.cloned().unwrap_or_else(|| Arc::new(Endpoint::Unix(Path::new("").into()).into()))
    }

    /// Reads one thing.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.answer(Method::GET, path, Bytes::new()).await
    }

    /// Sends one thing and reads the answer.
    pub async fn post<B: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, ClientError> {
        let body = encode(path, body)?;
        self.answer(Method::POST, path, body).await
    }

    /// Sends a request whose answer has no body.
    pub async fn post_empty(&self, path: &str) -> Result<(), ClientError> {
        self.within(path, self.exchange(Method::POST, path, Bytes::new())).await.map(|_| ())
    }

    /// Reads a body as it comes. Only its beginning is timed.
    pub async fn get_pieces(&self, path: &str) -> Result<Pieces, ClientError> {
        self.pieces(Method::GET, path, Bytes::new()).await
    }

    /// Sends one thing and reads the answer as it comes. Only its beginning is timed.
    pub async fn post_pieces<B: Serialize>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<Pieces, ClientError> {
        let body = encode(path, body)?;
        self.pieces(Method::POST, path, body).await
    }

    async fn pieces(&self, method: Method, path: &str, body: Bytes) -> Result<Pieces, ClientError> {
        let response = self.within(path, self.exchange(method, path, body)).await?;
        Ok(Pieces { body: response.into_body(), endpoint: self.door() })
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
        let stream = self.connect().await?;
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.door().endpoint.authority())
            .header(USER_AGENT, concat!("musterctl/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, "*/*");
        // Over TCP a daemon takes no change without it, be it one without a body.
        if changes {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request
            .body(Full::new(body))
            .map_err(|e| ClientError::Request { path: path.to_owned(), source: e.into() })?;
        let response = match stream {
            Stream::Unix(stream) => self.send(stream, request).await?,
            Stream::Tcp(stream) => self.send(stream, request).await?,
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

    /// A connection to the daemon that was reached last, else to the first that can be reached. Nothing has been asked of
    /// one that cannot, so asking the next does nothing twice.
    async fn connect(&self) -> Result<Stream, ClientError> {
        let count = self.doors.len();
        let last = self.open.load(Ordering::Relaxed);
        let mut failed = Vec::new();
        for index in (last..count).chain(0..last.min(count)) {
            let Some(door) = self.doors.get(index) else { continue };
            // One that is silent must leave time for the others.
            let share = self.patience.request / u32::try_from(count).unwrap_or(u32::MAX).max(1);
            let connected = async {
                match (&door.tunnel, &door.endpoint) {
                    (Some(tunnel), _) => {
                        // ssh takes every connection; whether there is a daemon behind it only an answer tells.
                        if count > 1 {
                            answers(&tunnel.socket).await?;
                        }
                        UnixStream::connect(&tunnel.socket).await.map(Stream::Unix)
                    }
                    (None, Endpoint::Unix(socket)) => {
                        UnixStream::connect(socket).await.map(Stream::Unix)
                    }
                    (None, Endpoint::Tcp { host, port }) => {
                        TcpStream::connect((host.as_str(), *port)).await.map(Stream::Tcp)
                    }
                }
            };
            let connected = if count == 1 {
                connected.await
            } else {
                let limited = tokio::time::timeout(share, connected).await;
                limited.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            };
            match connected {
                Ok(stream) => {
                    self.open.store(index, Ordering::Relaxed);
                    return Ok(stream);
                }
                Err(error) => failed.push(unconnected(door, error)),
            }
        }
        match (failed.pop(), failed.is_empty()) {
            (Some(only), true) => Err(only),
            (last, _) => {
                let problems: Vec<String> =
                    failed.iter().chain(&last).map(|error| error_chain(error)).collect();
                Err(ClientError::NoneOfThem { problems: problems.join("; ") })
            }
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
        let broke = |source| ClientError::Exchange { endpoint: self.door(), source };
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(broke)?;
        // What ends the connection also ends the body that is read from it, which reports it.
        tokio::spawn(connection);
        sender.send_request(request).await.map_err(broke)
    }

    async fn whole(&self, response: Response<Incoming>) -> Result<Bytes, ClientError> {
        match gather(response.into_body(), LARGEST).await {
            Ok(Some(body)) => Ok(body),
            Ok(None) => Err(ClientError::Endless { endpoint: self.door() }),
            Err(source) => Err(ClientError::Exchange { endpoint: self.door(), source }),
        }
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
            || ClientError::OtherVersion { endpoint: self.door(), path: path.to_owned() };
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
        let limited = async {
            tokio::time::timeout(self.patience.request, work).await.unwrap_or_else(|_| {
                Err(ClientError::Timeout {
                    endpoint: self.door(),
                    path: path.to_owned(),
                    limit: self.patience.request,
                })
            })
        };
        tokio::select! {
            biased;
            done = limited => done,
            never = self.say_what_is_waited_for(path) => match never {},
        }
    }

    /// Says that an answer is long in coming, ever more seldom.
    async fn say_what_is_waited_for(&self, path: &str) -> Infallible {
        let Some(mut pause) = self.patience.notice else { return std::future::pending().await };
        let begun = Instant::now();
        loop {
            tokio::time::sleep(pause).await;
            let waited =
                humantime::format_duration(Duration::from_secs(begun.elapsed().as_secs().max(1)));
            let door = self.door().to_string();
            let _ = writeln!(
                io::stderr(),
                "waiting: {} has not answered {} for {waited}",
                clean(&door),
                clean(path)
            );
            pause = begun.elapsed();
        }
    }

    fn not_daemon(&self, path: &str, status: StatusCode, source: serde_json::Error) -> ClientError {
        let (endpoint, path) = (self.door(), path.to_owned());
        ClientError::NotDaemon { endpoint, path, status, source }
    }
}

/// A whole body, or nothing if it has more than `most` bytes.
async fn gather<B: Body<Data = Bytes> + Unpin>(
    mut body: B,
    most: usize,
) -> Result<Option<Bytes>, B::Error> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if whole.len() + data.len() > most {
            return Ok(None);
        }
        whole.extend_from_slice(&data);
    }
    Ok(Some(whole.freeze()))
}

impl Pieces {
    /// The next piece; `None` at the end. Cancel safe: a piece is only taken out when it is returned.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
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

/// Asks at a tunnel's near end for as little as can be asked. Any answer will do.
async fn answers(socket: &Path) -> io::Result<()> {
    const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let mut stream = UnixStream::connect(socket).await?;
    let asked = async {
        stream.write_all(REQUEST).await?;
        stream.read(&mut [0]).await
    };
    match asked.await {
        // ssh closes what leads to nobody, as a rule before it has read anything.
        Ok(0) | Err(_) => Err(io::ErrorKind::ConnectionRefused.into()),
        Ok(_) => Ok(()),
    }
}

fn unconnected(door: &Arc<Door>, source: io::Error) -> ClientError {
    let endpoint = Arc::clone(door);
    match (source.kind(), door.endpoint.socket().filter(|_| door.tunnel.is_none())) {
        (io::ErrorKind::PermissionDenied, Some(path)) => {
            ClientError::Permission { path: path.to_owned(), source }
        }
        (io::ErrorKind::NotFound, Some(_)) | (io::ErrorKind::ConnectionRefused, _) => {
            ClientError::NoDaemon { endpoint, source }
        }
        _ => ClientError::Connect { endpoint, source },
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
    path.starts_with("/v1/units/") && !body.error.message.starts_with("there is nothing at ")
}

/// A path segment or query value with everything escaped that means something in a URL.
pub fn escape(text: &str) -> String {
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

    #[tokio::test]
    async fn an_answer_that_goes_on_and_on_is_given_up() {
        let body = |bytes: usize| Full::new(Bytes::from(vec![b' '; bytes]));
        assert_eq!(gather(body(8), 8).await.unwrap().map(|body| body.len()), Some(8));
        assert_eq!(gather(body(9), 8).await.unwrap(), None);
    }

    #[test]
    fn a_name_with_a_backslash_makes_a_path() {
        let path = format!("/v1/units/{}", escape(r"dev-disk\x2d1@a:b.service"));
        assert_eq!(path, "/v1/units/dev-disk%5Cx2d1@a:b.service");
        assert!(path.parse::<http::Uri>().is_ok());
    }
}
