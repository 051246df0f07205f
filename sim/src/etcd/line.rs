//! A daemon's line to its store.
//!
//! Owns the client's side of a connection to a simulated member, which on a machine is `store/src/etcd/grpc.rs`: calls, streams, and the
//! pings by which a connection that is silent is found out. Everything above it is the product's own backend:
//!
//! | of the store | is the code of |
//! | --- | --- |
//! | a deadline for each call, another endpoint after each failure, pauses between tries | `store/src/etcd/connection.rs` |
//! | a commit without an answer: sent again, read back, or told to be in doubt | `store/src/etcd/commit.rs` |
//! | a listing in pages at one revision | `store/src/etcd/read.rs` |
//! | leases with ids of their own, keepalives over a stream that goes with its first failure | `store/src/etcd/leases.rs` |
//! | a watch: reset, changes, lost; resumed at the last revision; begun anew after a compaction or a restore | `store/src/etcd/watch.rs` |
//! | what an error says about the request | `store/src/etcd/error.rs`, whose sorting [`refusal`](super::refusal) has done |

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use async_trait::async_trait;
use muster_common::seed::Seed;
use muster_runtime::{Instant, sleep_until, spawn, timeout};
use muster_store::etcd_protocol::{
    EtcdError, EtcdTransport, EtcdUsers, KeepAliveStream, LeaseKept, LeaseSeconds,
    MemberConnection, Page, PageQuery, TransactionOutcome, WatchMessage, WatchQuery, WatchStream,
};
use muster_store::{EtcdOptions, Guard, LeaseId, Liveness, Op, Store, StoreError, open_etcd_over};
use tokio::sync::{mpsc, oneshot, watch};

use super::request::{EtcdAnswer, EtcdRequest, EtcdResult};
use super::wire::{EtcdConnectionId, EtcdMessage, EtcdStreamId, EtcdWire};

/// A line to be opened.
#[derive(Debug, Clone)]
pub struct LineOptions {
    /// Its number: another for each life of each daemon, so that nothing of a former life reaches a later one.
    pub line: u32,
    /// The members it knows, in the order in which it tries them.
    pub members: Vec<usize>,
    /// The product's time limits, or others.
    pub liveness: Liveness,
    /// The seed of its lease ids and of its pauses.
    pub seed: Seed,
}

/// A store on simulated members: the product's backend over a simulated wire. It waits for nobody, and has to be used on the node
/// that it belongs to.
pub fn open_line(
    wire: Arc<dyn EtcdWire>,
    options: &LineOptions,
) -> Result<Arc<dyn Store>, StoreError> {
    let LineOptions { line, members, liveness, seed } = options;
    let endpoint = |member: &usize| format!("http://etcd-{member}.test:2379");
    let line = Arc::new(Line {
        wire,
        id: *line,
        members: members.iter().map(|member| (endpoint(member), *member)).collect(),
        next_connection: AtomicU32::new(0),
        next_stream: AtomicU32::new(0),
        liveness: *liveness,
    });
    let options = EtcdOptions {
        endpoints: members.iter().map(endpoint).collect(),
        liveness: *liveness,
        seed: Some(*seed),
        ..EtcdOptions::default()
    };
    open_etcd_over(Box::new(LineTransport(line)), options)
}

struct Line {
    wire: Arc<dyn EtcdWire>,
    /// Its number.
    id: u32,
    members: Vec<(String, usize)>,
    next_connection: AtomicU32,
    next_stream: AtomicU32,
    liveness: Liveness,
}

struct LineTransport(Arc<Line>);

#[async_trait]
impl EtcdTransport for LineTransport {
    /// Nothing is sent: a client connects when it has something to ask.
    async fn connect(
        &self,
        endpoint: &str,
    ) -> Result<(Arc<dyn MemberConnection>, EtcdUsers), EtcdError> {
        let member = self.0.members.iter().find(|(known, _)| known == endpoint);
        let Some((_, member)) = member else {
            return Err(EtcdError::Refused("there is no such endpoint".to_owned()));
        };
        let number = self.0.next_connection.fetch_add(1, Ordering::Relaxed);
        let connection = LineConnection(Arc::new(Peer {
            line: Arc::clone(&self.0),
            id: EtcdConnectionId { line: self.0.id, number },
            member: *member,
            heard: Mutex::new(Instant::now()),
            streams: AtomicUsize::new(0),
            is_pinged: AtomicBool::new(false),
            is_dead: watch::Sender::new(false),
        }));
        Ok((Arc::new(connection), EtcdUsers::Disabled))
    }
}

/// The member at the other end of a connection.
struct Peer {
    line: Arc<Line>,
    id: EtcdConnectionId,
    member: usize,
    /// When anything came over the connection last.
    heard: Mutex<Instant>,
    streams: AtomicUsize,
    is_pinged: AtomicBool,
    is_dead: watch::Sender<bool>,
}

impl Peer {
    async fn ask(&self, request: EtcdRequest) -> EtcdResult {
        let (reply, answer) = oneshot::channel();
        let message = EtcdMessage::Call { connection: self.id, request, reply };
        self.line.wire.send_message(self.member, message);
        match answer.await {
            Ok(answer) => {
                self.mark_heard();
                answer
            }
            // Lost on its way: nobody says so.
            Err(_) => std::future::pending().await,
        }
    }

    fn mark_heard(&self) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn last_heard(&self) -> Instant {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A stream begins: from now on silence is looked into.
    fn add_stream(self: &Arc<Self>) {
        self.streams.fetch_add(1, Ordering::Relaxed);
        if !self.is_pinged.swap(true, Ordering::Relaxed) {
            spawn(ping_while_open(Arc::downgrade(self), self.line.liveness));
        }
    }

    fn remove_stream(&self) {
        self.streams.fetch_sub(1, Ordering::Relaxed);
    }

    /// Returns once the connection has been found dead.
    async fn until_dead(&self) {
        // The sender is ours, so this cannot fail.
        self.is_dead.subscribe().wait_for(|dead| *dead).await.ok();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.line.wire.send_message(self.member, EtcdMessage::Close { connection: self.id });
    }
}

/// Pings a connection that is silent while streams are open, and ends the streams when there is no answer: HTTP/2's keepalive.
async fn ping_while_open(peer: Weak<Peer>, liveness: Liveness) {
    loop {
        let Some(there) = peer.upgrade() else { return };
        let at = there.last_heard() + liveness.ping_interval;
        drop(there);
        sleep_until(at).await;
        let Some(there) = peer.upgrade() else { return };
        if there.streams.load(Ordering::Relaxed) == 0 {
            there.is_pinged.store(false, Ordering::Relaxed);
            return;
        }
        if there.last_heard() + liveness.ping_interval > Instant::now() {
            continue;
        }
        if timeout(liveness.ping_timeout, there.ask(EtcdRequest::Ping)).await.is_err() {
            there.is_dead.send_replace(true);
            return;
        }
        there.mark_heard();
    }
}

fn dead_connection() -> EtcdError {
    EtcdError::Unknown("connection error: keep-alive timed out".to_owned())
}

fn wrong_answer() -> EtcdError {
    EtcdError::Unknown("the answer is one to another request".to_owned())
}

struct LineConnection(Arc<Peer>);

#[async_trait]
impl MemberConnection for LineConnection {
    async fn read_page(&self, query: &PageQuery) -> Result<Page, EtcdError> {
        match self.0.ask(EtcdRequest::ReadPage(query.clone())).await? {
            EtcdAnswer::Page(page) => Ok(page),
            _ => Err(wrong_answer()),
        }
    }

    async fn send_transaction(
        &self,
        guards: &[Guard],
        ops: &[Op],
    ) -> Result<TransactionOutcome, EtcdError> {
        let request = EtcdRequest::Transact { guards: guards.to_vec(), ops: ops.to_vec() };
        match self.0.ask(request).await? {
            EtcdAnswer::Transaction(outcome) => Ok(outcome),
            _ => Err(wrong_answer()),
        }
    }

    async fn grant_lease(&self, lease: LeaseId, seconds: i64) -> Result<i64, EtcdError> {
        match self.0.ask(EtcdRequest::GrantLease { lease, seconds }).await? {
            EtcdAnswer::Granted(seconds) => Ok(seconds),
            _ => Err(wrong_answer()),
        }
    }

    async fn read_lease(&self, lease: LeaseId) -> Result<LeaseSeconds, EtcdError> {
        match self.0.ask(EtcdRequest::ReadLease { lease }).await? {
            EtcdAnswer::Lease(seconds) => Ok(seconds),
            _ => Err(wrong_answer()),
        }
    }

    async fn revoke_lease(&self, lease: LeaseId) -> Result<(), EtcdError> {
        self.0.ask(EtcdRequest::RevokeLease { lease }).await.map(drop)
    }

    async fn open_keep_alive(&self, lease: LeaseId) -> Result<Box<dyn KeepAliveStream>, EtcdError> {
        self.0.add_stream();
        Ok(Box::new(LineKeepAlive { peer: Arc::clone(&self.0), lease }))
    }

    async fn open_watch(&self, query: &WatchQuery) -> Result<Box<dyn WatchStream>, EtcdError> {
        let line = &self.0.line;
        let number = line.next_stream.fetch_add(1, Ordering::Relaxed);
        let stream = EtcdStreamId { connection: self.0.id, stream: number };
        let (sender, messages) = mpsc::unbounded_channel();
        let message = EtcdMessage::OpenWatch { stream, query: query.clone(), messages: sender };
        line.wire.send_message(self.0.member, message);
        self.0.add_stream();
        Ok(Box::new(LineWatch { peer: Arc::clone(&self.0), stream, messages }))
    }

    async fn read_version(&self) -> Result<String, EtcdError> {
        match self.0.ask(EtcdRequest::ReadVersion).await? {
            EtcdAnswer::Version(version) => Ok(version),
            _ => Err(wrong_answer()),
        }
    }
}

struct LineKeepAlive {
    peer: Arc<Peer>,
    lease: LeaseId,
}

#[async_trait]
impl KeepAliveStream for LineKeepAlive {
    async fn keep_alive(&mut self) -> Result<LeaseKept, EtcdError> {
        let asked = self.peer.ask(EtcdRequest::KeepAlive { lease: self.lease });
        tokio::select! {
            biased;
            // An answer that has come counts, whatever became of the connection.
            answer = asked => match answer? {
                EtcdAnswer::KeptAlive(kept) => Ok(kept),
                _ => Err(wrong_answer()),
            },
            () = self.peer.until_dead() => Err(dead_connection()),
        }
    }
}

impl Drop for LineKeepAlive {
    fn drop(&mut self) {
        self.peer.remove_stream();
    }
}

struct LineWatch {
    peer: Arc<Peer>,
    stream: EtcdStreamId,
    messages: mpsc::UnboundedReceiver<Result<WatchMessage, EtcdError>>,
}

impl LineWatch {
    async fn receive_message(&mut self) -> Result<WatchMessage, EtcdError> {
        match self.messages.recv().await {
            Some(message) => message,
            // Lost on its way: nobody says so.
            None => std::future::pending().await,
        }
    }
}

#[async_trait]
impl WatchStream for LineWatch {
    async fn next_message(&mut self) -> Result<Option<WatchMessage>, EtcdError> {
        let peer = Arc::clone(&self.peer);
        tokio::select! {
            biased;
            // What has come is passed on first. Nothing is taken out that is not returned.
            message = self.receive_message() => {
                peer.mark_heard();
                message.map(Some)
            }
            () = peer.until_dead() => Err(dead_connection()),
        }
    }

    async fn request_progress(&mut self) -> Result<(), EtcdError> {
        let message = EtcdMessage::RequestProgress { stream: self.stream };
        self.peer.line.wire.send_message(self.peer.member, message);
        Ok(())
    }
}

impl Drop for LineWatch {
    fn drop(&mut self) {
        let message = EtcdMessage::CloseWatch { stream: self.stream };
        self.peer.line.wire.send_message(self.peer.member, message);
        self.peer.remove_stream();
    }
}
