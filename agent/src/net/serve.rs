//! Connections.
//!
//! Owns accepting, the time a client has to say what it wants, and the end: when the daemon stops, requests under way
//! are answered, streams end, and what takes longer is cut off. Each listener has a loop and a number of connections of
//! its own (see [`super::gate`]), so that a flood at one of them is nobody else's.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::response::{IntoResponse, Response};
use futures::future::Either;
use http::{Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use muster_common::api::fleetlock::{Rejection, RejectionKind};
use rustix::net::sockopt;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::door::names::{Arrival, Names};
use super::door::{self, Refused};
use super::gate::{ConnectionPlace, Gate};
use super::limits::Limits;
use super::listen::{Sockets, Tcp};
use super::quota::{Caller, LocalUser, PeerCounts};
use super::tls::{self, TlsPeer};
use crate::http::error::json;
use crate::http::{App, api_router, no_sniffing, router_for};
use crate::stdx::errors::error_chain;

/// A client that takes longer to send a request's head holds a connection for nothing. It is also how long a kept
/// connection may be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Most bytes of a head: one of ours has a few hundred, a browser's with all its cookies a few thousand.
const HEAD_BYTES: usize = 64 * 1024;

/// The time requests under way may take once the daemon stops.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(3);

/// After a failed accept: out of file descriptors, most likely, and some will be free again.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// The time a TCP connection may be silent before the kernel asks whether its other end still exists, how often it asks,
/// and how many times in vain: whoever follows a journal and loses power is noticed within a minute.
const PROBE_AFTER: Duration = Duration::from_secs(30);
const PROBE_EVERY: Duration = Duration::from_secs(10);
const PROBE_COUNT: u32 = 3;

/// The things every connection needs.
#[derive(Clone)]
struct Server {
    connections: TaskTracker,
    shutdown: CancellationToken,
    names: Arc<Names>,
    most_of_a_peer: usize,
    tls: Option<Arc<ServerConfig>>,
    app: App,
}

/// The first thing that a request meets.
#[derive(Clone)]
struct ConnectionEntry {
    app: App,
    router: TowerToHyperService<Router>,
    caller: Caller,
    /// Over TCP.
    arrival: Option<(Arrival, Arc<Names>)>,
    /// Over TLS: the host at the other end.
    peer: Option<TlsPeer>,
    /// On the unix socket: the user at the other end.
    user: Option<LocalUser>,
}

/// Serves until `shutdown`, then until what is under way is answered.
pub async fn serve(mut sockets: Sockets, app: App, shutdown: CancellationToken) {
    let limits = sockets.limits.unwrap_or_else(|| fitted_limits(sockets.tcp.len()));
    let tls = match sockets.tls.map(|identity| identity.server_config()).transpose() {
        Ok(tls) => tls,
        // Rather nothing than plain TCP where TLS was meant.
        Err(error) => {
            tracing::error!(error = %error_chain(&error), "the API is not served over TCP");
            sockets.tcp.clear();
            None
        }
    };
    let server = Server {
        connections: TaskTracker::new(),
        shutdown,
        names: Arc::new(Names::new(sockets.names)),
        most_of_a_peer: limits.peer,
        tls,
        app,
    };
    let accepting = TaskTracker::new();
    for listener in sockets.unix {
        let gate = server.new_gate("unix".to_owned(), limits.local);
        accepting.spawn(server.clone().accept_unix(listener, gate));
    }
    for tcp in sockets.tcp {
        let Ok(address) = tcp.listener.local_addr() else { continue };
        let gate = server.new_gate(address.to_string(), limits.listener);
        accepting.spawn(server.clone().accept_tcp(tcp, address, gate));
    }
    server.shutdown.cancelled().await;
    accepting.close();
    accepting.wait().await;
    if let Some(path) = sockets.made {
        // Whoever connects from now on learns that nobody is there.
        let _ = std::fs::remove_file(path);
    }
    server.connections.close();
    if tokio::time::timeout(SHUTDOWN_GRACE, server.connections.wait()).await.is_err() {
        tracing::warn!("requests still under way were cut off");
    }
}

/// The limits, as far as this process may have descriptors.
fn fitted_limits(listeners: usize) -> Limits {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let allowed = limit.current.unwrap_or(u64::MAX);
    let (limits, needed) = Limits::default().fit_within(allowed, listeners);
    if let Some(needed) = needed {
        tracing::warn!(
            allowed,
            needed,
            each_listener = limits.listener,
            unix_socket = limits.local,
            "there are too few descriptors for as many connections as are meant, so there are fewer; LimitNOFILE= in the \
             unit, or `ulimit -n`, allows more"
        );
    }
    limits
}

impl Server {
    fn new_gate(&self, name: String, places: usize) -> Arc<Gate> {
        Arc::new(Gate::new(name, places, self.app.metrics.clone()))
    }

    async fn accept_unix(self, listener: UnixListener, gate: Arc<Gate>) {
        let entry = ConnectionEntry {
            app: self.app.clone(),
            router: TowerToHyperService::new(api_router(self.app.clone())),
            caller: Caller::Local,
            arrival: None,
            peer: None,
            user: None,
        };
        // Cancel-safe: a connection that was not accepted stays in the queue.
        while let Some(accepted) = self.shutdown.run_until_cancelled(listener.accept()).await {
            match accepted {
                Ok((stream, _)) => {
                    // Whom the kernel does not name may do what anybody may.
                    let user = stream.peer_cred().ok().map(|user| LocalUser { uid: user.uid() });
                    let entry = ConnectionEntry { user, ..entry.clone() };
                    self.enter_connection(stream, None, &gate, entry, ());
                }
                Err(error) => gate.note_failure(&error, ACCEPT_RETRY).await,
            }
        }
    }

    async fn accept_tcp(self, tcp: Tcp, address: SocketAddr, gate: Arc<Gate>) {
        let router = TowerToHyperService::new(router_for(self.app.clone(), tcp.serves));
        // What serves a part only is for clients that are no hosts.
        let secured = self.tls.clone().filter(|_| tcp.serves.api);
        let listener: TcpListener = tcp.listener;
        // Of this listener alone: who has filled one of them can still reach the others, and on loopback everybody is one peer.
        let peers = PeerCounts::default();
        while let Some(accepted) = self.shutdown.run_until_cancelled(listener.accept()).await {
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    gate.note_failure(&error, ACCEPT_RETRY).await;
                    continue;
                }
            };
            let Ok(local) = stream.local_addr() else { continue };
            prepare_socket(&stream);
            let caller = Caller::from_address(peer.ip());
            let Caller::Network(peer) = caller else { continue };
            let Some(place) = peers.take_place(peer, self.most_of_a_peer) else {
                gate.refuse_peer(stream, peer, self.most_of_a_peer);
                continue;
            };
            let arrival = Arrival { listener: address, local };
            let entry = ConnectionEntry {
                app: self.app.clone(),
                router: router.clone(),
                caller,
                arrival: Some((arrival, Arc::clone(&self.names))),
                peer: None,
                user: None,
            };
            self.enter_connection(stream, secured.clone(), &gate, entry, place);
        }
    }

    /// Serves a connection as soon as there is room for it, if there is any soon. `held` is kept as long as it lasts.
    fn enter_connection<S, H>(
        &self,
        stream: S,
        tls: Option<Arc<ServerConfig>>,
        gate: &Arc<Gate>,
        entry: ConnectionEntry,
        held: H,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        H: Send + 'static,
    {
        let (gate, shutdown) = (Arc::clone(gate), self.shutdown.clone());
        let hold = gate.try_enter();
        let turn = if hold.is_none() { gate.join_queue() } else { None };
        if hold.is_none() && turn.is_none() {
            return gate.refuse_all(stream);
        }
        self.connections.spawn(async move {
            let hold = match (hold, turn) {
                (None, Some(turn)) => gate.wait(turn).await,
                (hold, _) => hold,
            };
            match (hold, tls) {
                (Some(hold), None) => serve_connection(stream, entry, &gate, hold, shutdown).await,
                (Some(hold), Some(tls)) => match tls::accept_client(tls, stream).await {
                    Ok((stream, peer)) => {
                        let entry = ConnectionEntry { peer: Some(peer), ..entry };
                        serve_connection(stream, entry, &gate, hold, shutdown).await;
                    }
                    Err(error) => {
                        tracing::debug!(caller = ?entry.caller, %error, "a connection over TLS was refused");
                    }
                },
                (None, _) => gate.refuse_all(stream),
            }
            drop(held);
        });
    }
}

/// Sets the options of a TCP connection. None of it can fail on a socket that exists, and a connection serves without.
fn prepare_socket(stream: &TcpStream) {
    // Answers are small and complete: waiting for more to send only delays them.
    let _ = stream.set_nodelay(true);
    let _ = sockopt::set_socket_keepalive(stream, true);
    let _ = sockopt::set_tcp_keepidle(stream, PROBE_AFTER);
    let _ = sockopt::set_tcp_keepintvl(stream, PROBE_EVERY);
    let _ = sockopt::set_tcp_keepcnt(stream, PROBE_COUNT);
}

async fn serve_connection<S>(
    stream: S,
    entry: ConnectionEntry,
    gate: &Gate,
    hold: ConnectionPlace,
    shutdown: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), entry);
    let mut connection = pin!(connection);
    // All arms but the first only poll the connection further, so nothing is lost. An idle connection ends when it is told
    // to, one with a request under way after its answer. The connection is first: one that has ended has nothing to be told,
    // and while it goes on it is not ready, however much it carries, so that it keeps nobody behind it waiting.
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = gate.needs_room() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    drop(hold);
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke off");
    }
}

impl Service<Request<Incoming>> for ConnectionEntry {
    type Response = Response;
    type Error = Infallible;
    type Future = Either<
        Ready<Result<Response, Infallible>>,
        <TowerToHyperService<Router> as Service<Request<Incoming>>>::Future,
    >;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        if let Some((arrival, names)) = &self.arrival
            && let Err(refused) = door::check(&parts, |host| names.is_ours(host, *arrival))
        {
            self.app.metrics.count_refusal(refused.reason);
            tracing::debug!(
                caller = ?self.caller,
                reason = refused.reason,
                why = refused.error.message,
                "a request was refused"
            );
            return Either::Left(ready(Ok(refusal_answer(
                refused,
                door::is_fleetlocks(&parts.uri),
            ))));
        }
        parts.extensions.insert(self.caller);
        if let Some(user) = self.user {
            parts.extensions.insert(user);
        }
        if let Some(peer) = &self.peer {
            parts.extensions.insert(peer.clone());
        }
        Either::Right(self.router.call(Request::from_parts(parts, body)))
    }
}

/// A refusal, in the words that the client reads.
fn refusal_answer(refused: Refused, fleetlocks: bool) -> Response {
    let Refused { error, .. } = refused;
    let mut response = if fleetlocks {
        let status: StatusCode = error.status;
        json(status, &Rejection { kind: RejectionKind::Refused, value: error.message })
    } else {
        error.into_response()
    };
    no_sniffing(&mut response);
    response
}
