//! The connection: one endpoint at a time, another turn after every failure.
//!
//! A client of all endpoints at once keeps sending to one that is paused, so the choice of the endpoint is made here.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use muster_common::probe::is_planted;
use muster_common::seed::{RandomSequence, Seed};
use muster_runtime::{Instant, sleep, timeout};
use tokio::sync::watch;

use super::error::EtcdError;
use super::protocol::{EtcdTransport, EtcdUsers, MemberConnection};
use super::turns::EndpointTurns;
use super::warnings::ServerWarnings;
use crate::options::Liveness;
use crate::store::StoreError;

/// When an operation is not tried once more. Three endpoints that keep silent get their turn before it, and whoever waits
/// for an answer has it within ten seconds.
const LAST_TRY: Duration = Duration::from_secs(5);

/// The endpoints, and the client of one of them.
pub(super) struct Connection {
    endpoints: Vec<String>,
    transport: Box<dyn EtcdTransport>,
    pub(super) liveness: Liveness,
    jitter: RandomSequence,
    current: Mutex<Current>,
    /// Tells whoever holds on to a client that its endpoint was given up.
    turns: watch::Sender<usize>,
    warnings: ServerWarnings,
}

impl std::fmt::Debug for Connection {
    /// Without what the transport knows.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("endpoints", &self.endpoints).finish_non_exhaustive()
    }
}

struct Current {
    turns: EndpointTurns,
    client: Option<Arc<dyn MemberConnection>>,
    unanswered: Unanswered,
    /// The time that a member has for a keepalive of the lease that is kept; absent: none is.
    patience: Option<Duration>,
}

/// A client and the turn it belongs to, for [`Connection::mark_failed`].
#[derive(Clone)]
pub(super) struct BorrowedClient {
    pub(super) client: Arc<dyn MemberConnection>,
    turn: usize,
}

/// A call on its way. Whoever drops it has changed its mind, which is no fault of the endpoint; only when nothing else is answered
/// either, for as long as a call may take, or a keepalive of the lease that hangs on it, has it fallen silent.
struct PendingCall<'a> {
    connection: &'a Connection,
    turn: Option<usize>,
    began: Instant,
}

impl<'a> PendingCall<'a> {
    fn begin(connection: &'a Connection, turn: usize) -> Self {
        Self { connection, turn: Some(turn), began: Instant::now() }
    }

    /// It has come to its end by itself.
    fn end(&mut self) {
        self.turn = None;
    }
}

impl Drop for PendingCall<'_> {
    fn drop(&mut self) {
        if let Some(turn) = self.turn {
            self.connection.on_call_dropped(turn, self.began);
        }
    }
}

/// The time for which calls waited in vain that were then dropped, since an endpoint answered last. Calls that waited at the same
/// time count once.
#[derive(Debug, Clone, Copy, Default)]
struct Unanswered {
    waited: Duration,
    until: Option<Instant>,
}

impl Unanswered {
    fn add(&mut self, began: Instant, now: Instant) {
        let from = self.until.map_or(began, |until| until.max(began));
        self.waited += now.saturating_duration_since(from);
        self.until = Some(now);
    }
}

impl Connection {
    /// Endpoints and the way to them. There has to be one at least. Reaches nobody.
    pub(super) fn new(
        endpoints: Vec<String>,
        transport: Box<dyn EtcdTransport>,
        liveness: Liveness,
        seed: Seed,
    ) -> Result<Self, StoreError> {
        if endpoints.is_empty() {
            return Err(StoreError::Rejected {
                during: "connection to etcd".to_owned(),
                problem: "no endpoint is configured".to_owned(),
            });
        }
        let current = Current {
            turns: EndpointTurns::new(endpoints.len()),
            client: None,
            unanswered: Unanswered::default(),
            patience: None,
        };
        Ok(Self {
            endpoints,
            transport,
            liveness,
            jitter: seed.for_purpose("jitter of retries").random_sequence(),
            current: Mutex::new(current),
            turns: watch::Sender::new(0),
            warnings: ServerWarnings::default(),
        })
    }

    /// The endpoints.
    pub(super) fn all_endpoints(&self) -> impl Iterator<Item = &str> {
        self.endpoints.iter().map(String::as_str)
    }

    /// The warnings about the servers.
    pub(super) fn server_warnings(&self) -> &ServerWarnings {
        &self.warnings
    }

    /// The number of endpoints.
    pub(super) fn len(&self) -> usize {
        self.endpoints.len()
    }

    fn lock_current(&self) -> std::sync::MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client of the endpoint whose turn it is.
    pub(super) async fn borrow_client(&self) -> Result<BorrowedClient, EtcdError> {
        self.borrow_client_within(self.liveness.call).await
    }

    /// The endpoint of a turn.
    fn endpoint_of(&self, turn: usize) -> &str {
        let endpoint = self.lock_current().turns.endpoint_of(turn);
        // There is at least one, and the number is below theirs.
        self.endpoints.get(endpoint).map_or("", String::as_str)
    }

    /// A new connection to an endpoint, and whether its users are enabled.
    pub(super) async fn connect(
        &self,
        endpoint: &str,
    ) -> Result<(Arc<dyn MemberConnection>, EtcdUsers), EtcdError> {
        self.transport.connect(endpoint).await
    }

    async fn borrow_client_within(&self, deadline: Duration) -> Result<BorrowedClient, EtcdError> {
        let turn = {
            let current = self.lock_current();
            let turn = current.turns.current_turn();
            if let Some(client) = current.client.clone() {
                return Ok(BorrowedClient { client, turn });
            }
            turn
        };
        let endpoint = self.endpoint_of(turn);
        let mut pending = PendingCall::begin(self, turn);
        let connected = match timeout(deadline, Box::pin(self.connect(endpoint))).await {
            Ok(connected) => connected,
            Err(_) => Err(EtcdError::no_answer(deadline)),
        };
        pending.end();
        let client = match connected {
            Ok((client, _)) => client,
            Err(error) => {
                self.next_turn(turn);
                // Nothing but a login was sent.
                return Err(match error.at_endpoint(endpoint) {
                    EtcdError::Unknown(problem) => EtcdError::NotCarriedOut(problem),
                    other => other,
                });
            }
        };
        let mut current = self.lock_current();
        if current.turns.current_turn() == turn {
            current.client = Some(client.clone());
        }
        Ok(BorrowedClient { client, turn })
    }

    /// Returns once the endpoint of a client has been given up by anybody. A stream on a host that has lost its power is
    /// silent, and the first call to find that out finds it out for all.
    pub(super) async fn until_given_up(&self, borrowed: &BorrowedClient) {
        let mut turns = self.turns.subscribe();
        // An error would say that nobody can give it up any more, because the connection is gone and its clients with it.
        turns.wait_for(|turn| *turn != borrowed.turn).await.ok();
    }

    /// Says that a client was of no use; the next call goes to another, or has a new connection.
    pub(super) fn mark_failed(&self, borrowed: &BorrowedClient) {
        self.next_turn(borrowed.turn);
    }

    /// Says that the endpoint whose turn it is is of no use.
    pub(super) fn mark_current_failed(&self) {
        let turn = self.lock_current().turns.current_turn();
        self.next_turn(turn);
    }

    fn mark_answered(&self, turn: usize) {
        let mut current = self.lock_current();
        if current.turns.current_turn() == turn {
            current.turns.note_answer();
            current.unanswered = Unanswered::default();
        }
    }

    /// A call was dropped by its caller before its time was over.
    fn on_call_dropped(&self, turn: usize, began: Instant) {
        let mut current = self.lock_current();
        if current.turns.current_turn() != turn {
            return;
        }
        current.unanswered.add(began, Instant::now());
        let patience = current.patience.filter(|_| !is_planted("dropped-calls-outlast-lease"));
        let patience = patience.unwrap_or(self.liveness.call).min(self.liveness.call);
        let is_silent = current.unanswered.waited >= patience;
        drop(current);
        if is_silent || is_planted("dropped-call-blames-endpoint") {
            self.next_turn(turn);
        }
    }

    /// The time that a member has for a keepalive: one that says nothing for longer is of no use, whatever is asked of it.
    pub(super) fn set_patience(&self, patience: Duration) {
        self.lock_current().patience = Some(patience);
    }

    fn next_turn(&self, turn: usize) {
        let mut current = self.lock_current();
        // Several calls fail together when an endpoint does; that is one reason to go on, not several.
        if current.turns.current_turn() == turn {
            current.turns.give_up(Instant::now());
            current.client = None;
            current.unanswered = Unanswered::default();
            self.turns.send_replace(current.turns.current_turn());
        }
    }

    /// Makes one call with a deadline, and gives the endpoint up for the next call if it fails. A caller that gives up on it
    /// before is no fault of the endpoint.
    pub(super) async fn call_once<T, F>(
        &self,
        call: impl FnOnce(Arc<dyn MemberConnection>) -> F,
    ) -> Result<T, EtcdError>
    where
        F: Future<Output = Result<T, EtcdError>>,
    {
        self.call_within(self.liveness.call, call).await
    }

    /// The same with a deadline of its own.
    async fn call_within<T, F>(
        &self,
        deadline: Duration,
        call: impl FnOnce(Arc<dyn MemberConnection>) -> F,
    ) -> Result<T, EtcdError>
    where
        F: Future<Output = Result<T, EtcdError>>,
    {
        let borrowed = self.borrow_client_within(deadline).await?;
        let mut pending = PendingCall::begin(self, borrowed.turn);
        let answer = timeout(deadline, call(borrowed.client.clone())).await;
        pending.end();
        let outcome = match answer {
            Ok(outcome) => outcome,
            Err(_) => Err(EtcdError::no_answer(deadline)),
        };
        let outcome = outcome.map_err(|error| error.at_endpoint(self.endpoint_of(borrowed.turn)));
        if let Err(error) = &outcome
            && error.is_passing()
        {
            tracing::debug!(%error, "a call to etcd failed");
            self.mark_failed(&borrowed);
        } else {
            self.mark_answered(borrowed.turn);
        }
        outcome
    }

    /// Makes a call that can be repeated without harm until it succeeds, every endpoint has been tried, and another
    /// one besides.
    pub(super) async fn call_repeatedly<T, F>(
        &self,
        call: impl FnMut(Arc<dyn MemberConnection>) -> F,
    ) -> Result<T, EtcdError>
    where
        F: Future<Output = Result<T, EtcdError>>,
    {
        self.call_repeatedly_within(self.liveness.call, call).await
    }

    /// The same with a deadline of its own for each try.
    pub(super) async fn call_repeatedly_within<T, F>(
        &self,
        deadline: Duration,
        mut call: impl FnMut(Arc<dyn MemberConnection>) -> F,
    ) -> Result<T, EtcdError>
    where
        F: Future<Output = Result<T, EtcdError>>,
    {
        let mut pauses = self.retry_pauses();
        loop {
            match self.call_within(deadline, &mut call).await {
                Err(error) if error.is_passing() => match pauses.next() {
                    Some(pause) => sleep(pause).await,
                    None => return Err(error),
                },
                outcome => return outcome,
            }
        }
    }

    /// The seed of the next pauses' jitter.
    pub(super) fn next_jitter(&self) -> u64 {
        self.jitter.next()
    }

    /// The pauses between the tries of one operation that begins now.
    pub(super) fn retry_pauses(&self) -> impl Iterator<Item = Duration> + Send + use<> {
        let last_try = Instant::now() + LAST_TRY;
        ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(20))
            .with_max_delay(Duration::from_millis(500))
            .with_jitter()
            .with_jitter_seed(self.next_jitter())
            .with_max_times(self.endpoints.len().saturating_add(1))
            .build()
            .take_while(move |pause| Instant::now() + *pause <= last_try)
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
