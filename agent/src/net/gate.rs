//! A listener's door: how many come in, and what those are told who do not.
//!
//! Owns the places of one listener. Whoever finds none waits a little, while connections that are only kept are asked to
//! end; then it is told so, as HTTP tells it, and the connection is closed. How many wait, and how many are being told, is
//! limited as well: in a flood the rest is closed at once.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::StatusCode;
use muster_common::api::fleet::{ErrorBody, ErrorDetail};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::http::error::RETRY_AFTER;
use crate::stdx::sync::lock;
use crate::telemetry::metrics::{Metrics, OpenConnection};

/// Most that wait for a place at a time. Those behind them would wait in vain.
const MOST_WAITING: usize = 32;

/// The time one waits: longer than it takes kept connections to end.
const PLACE_TIMEOUT: Duration = Duration::from_secs(3);

/// The time a kept connection goes on once somebody waits for its place: a client that asks one thing after another has
/// asked again by then.
const IDLE_GRACE: Duration = Duration::from_secs(1);

/// Most that are being told at a time that there is no room.
const MOST_REFUSALS: usize = 32;

/// The time telling may take. A connection that is closed with unread bytes is reset, and the client may never see the
/// answer, so what it sends is read for that long.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Most bytes that are read of it: more than any head.
const REFUSAL_READ_LIMIT: u64 = 128 * 1024;

/// The pause after which a full listener is logged again: a flood is news once, and the metrics count it.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The places of a listener.
pub(super) struct Gate {
    name: String,
    count: usize,
    places: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    refusing: Arc<Semaphore>,
    /// Raised whenever somebody waits.
    crowd: watch::Sender<u64>,
    logged: Mutex<Option<Instant>>,
    metrics: Metrics,
}

/// A place; given back when it is dropped.
pub(super) struct ConnectionPlace {
    _place: OwnedSemaphorePermit,
    _counted: OpenConnection,
}

impl Gate {
    /// A listener with this many places.
    pub(super) fn new(name: String, count: usize, metrics: Metrics) -> Self {
        Self {
            name,
            count,
            places: Arc::new(Semaphore::new(count)),
            waiting: Arc::new(Semaphore::new(MOST_WAITING)),
            refusing: Arc::new(Semaphore::new(MOST_REFUSALS)),
            crowd: watch::Sender::new(0),
            logged: Mutex::default(),
            metrics,
        }
    }

    /// A place, if there is one.
    pub(super) fn try_enter(&self) -> Option<ConnectionPlace> {
        Arc::clone(&self.places).try_acquire_owned().ok().map(|place| self.hold_place(place))
    }

    fn hold_place(&self, place: OwnedSemaphorePermit) -> ConnectionPlace {
        ConnectionPlace { _place: place, _counted: self.metrics.open_connection(&self.name) }
    }

    /// A turn in the queue for a place, unless so many wait that it would be in vain. Kept connections are asked to end.
    pub(super) fn join_queue(&self) -> Option<OwnedSemaphorePermit> {
        self.crowd.send_modify(|times| *times += 1);
        Arc::clone(&self.waiting).try_acquire_owned().ok()
    }

    /// Waits in the queue; a place, if there is one in time.
    pub(super) async fn wait(&self, turn: OwnedSemaphorePermit) -> Option<ConnectionPlace> {
        let place = Arc::clone(&self.places).acquire_owned();
        let place = tokio::time::timeout(PLACE_TIMEOUT, place).await;
        drop(turn);
        place.ok().and_then(Result::ok).map(|place| self.hold_place(place))
    }

    /// Ends when this listener has had somebody waiting and a kept connection should make room.
    pub(super) async fn needs_room(&self) {
        let mut crowd = self.crowd.subscribe();
        crowd.mark_unchanged();
        // The sender is ours.
        let _ = crowd.changed().await;
        tokio::time::sleep(IDLE_GRACE).await;
    }

    /// Tells a client that its address has all it may have.
    pub(super) fn refuse_peer<S>(&self, stream: S, peer: IpAddr, count: usize)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let message = format!(
            "{peer} has {count} connections to this listener already, which is as many as one address may have at once; end \
             some, or try again"
        );
        self.refuse_connection(stream, "peer_connections", message);
    }

    /// Tells a client that there is no room.
    pub(super) fn refuse_all<S>(&self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let message = format!(
            "there are {} connections already, which is as many as this daemon takes here at once; try again",
            self.count
        );
        self.refuse_connection(stream, "connections", message);
    }

    fn refuse_connection<S>(&self, stream: S, reason: &'static str, message: String)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.metrics.count_refusal(reason);
        if self.is_news() {
            tracing::warn!(listener = self.name, why = message, "connections are refused");
        }
        let Ok(turn) = Arc::clone(&self.refusing).try_acquire_owned() else { return };
        tokio::spawn(async move {
            let _ = tokio::time::timeout(REFUSAL_TIMEOUT, tell_refusal(stream, message)).await;
            drop(turn);
        });
    }

    /// True if something is to be logged: it was not a moment ago.
    fn is_news(&self) -> bool {
        let mut logged = lock(&self.logged);
        let due = logged.is_none_or(|at| at.elapsed() >= LOG_INTERVAL);
        if due {
            *logged = Some(Instant::now());
        }
        due
    }

    /// A connection could not be accepted: says so, makes room, and waits.
    pub(super) async fn note_failure(&self, error: &std::io::Error, pause: Duration) {
        self.metrics.count_refusal("accept");
        self.crowd.send_modify(|times| *times += 1);
        if self.is_news() {
            tracing::warn!(listener = self.name, %error, "cannot accept a connection");
        }
        tokio::time::sleep(pause).await;
    }
}

/// Answers 503 to whatever the client asks, and waits until it has read that.
async fn tell_refusal<S>(mut stream: S, message: String) -> std::io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let status = StatusCode::SERVICE_UNAVAILABLE;
    let body = ErrorBody { error: ErrorDetail { code: status.as_u16(), message } };
    // Nothing in it fails to serialize.
    let body = serde_json::to_string(&body).unwrap_or_default();
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nx-content-type-options: nosniff\r\n\
         retry-after: {RETRY_AFTER}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    let mut rest = stream.take(REFUSAL_READ_LIMIT);
    tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
    Ok(())
}
