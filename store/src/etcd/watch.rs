//! Watches: a listing, then what etcd says has changed since, over a stream that is never trusted to be alive.
//!
//! A stream that is silent is asked for a sign of life; one that gives none is opened anew elsewhere. As long as the
//! history since the last change is there, nothing can have been missed, and the watch goes on where it was. Otherwise,
//! and after every outage, it begins anew with a `Reset`.
//!
//! A stream is opened at the last revision the reader knows, not after it, and what is known is left out. Servers before
//! 3.4.36 and 3.5.18 open a watch at the very revision that was compacted and keep quiet about what was removed there;
//! one revision earlier they say that the history is gone.
//!
//! A store that was put back from a backup may have grown beyond what the reader knows by the time a stream is opened there. So a
//! stream that resumes has to tell the changes of the last known revision again, and the same ones: another history begins anew. So
//! does a store that calls itself another cluster's, or whose term has gone back.
//!
//! Progress is not passed on: servers before 3.4.25 and 3.5.8 tell of revisions whose changes they have not sent yet,
//! so here it is a sign of life and nothing more.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use muster_common::probe::is_planted;
use muster_runtime::{sleep, spawn, timeout};
use tokio::sync::mpsc;

use super::connection::{BorrowedClient, Connection};
use super::error::EtcdError;
use super::protocol::{
    MemberChange, StoreLineage, WatchEnd, WatchMessage, WatchQuery, WatchStream,
};
use super::read::read;
use crate::store::{KeyChange, Range, Watch, WatchEvent};

/// Events on their way to the reader. What does not fit waits in etcd.
const QUEUED_EVENTS: usize = 64;

/// Starts a watch; it runs until its receiver is dropped.
pub(super) fn watch(connection: &Arc<Connection>, range: Range) -> Watch {
    let (sender, events) = mpsc::channel(QUEUED_EVENTS);
    let watcher = EtcdWatcher { connection: Arc::clone(connection), range, events: sender };
    spawn(watcher.run());
    Watch { events }
}

struct EtcdWatcher {
    connection: Arc<Connection>,
    range: Range,
    events: mpsc::Sender<WatchEvent>,
}

/// What the reader knows.
struct KnownHistory {
    /// The revision up to which it knows everything.
    revision: u64,
    /// The changes of that very revision, if it was told of them as changes.
    told: Vec<KeyChange>,
    /// The store that told it, once a stream has said which.
    lineage: Option<StoreLineage>,
}

impl KnownHistory {
    fn from_listing(revision: u64) -> Self {
        Self { revision, told: Vec::new(), lineage: None }
    }

    /// True if the changes of the last known revision are told again as they were, or none are known.
    fn is_continued_by(&self, message: &WatchMessage) -> bool {
        let again = message.changes.iter().filter(|change| change.revision == self.revision);
        let again = again.filter_map(|change| change.change.as_ref());
        self.told.is_empty() || again.eq(&self.told)
    }

    /// Notes what has been passed on.
    fn extend(&mut self, revision: u64, changes: &[MemberChange]) {
        let last = changes.iter().filter(|change| change.revision == revision);
        self.told = last.filter_map(|change| change.change.clone()).collect();
        self.revision = revision;
    }
}

/// The reader is gone.
struct ReaderGone;

/// A stream, and the message that has been read from it already.
struct OpenedStream {
    stream: Box<dyn WatchStream>,
    first: Option<WatchMessage>,
}

/// Why a stream is read no further.
enum StreamEnd {
    ReaderGone,
    /// Go on from the last revision.
    Broken(String),
    /// The history is not there: begin anew.
    Compacted,
}

impl From<ReaderGone> for StreamEnd {
    fn from(_: ReaderGone) -> Self {
        Self::ReaderGone
    }
}

impl EtcdWatcher {
    async fn run(self) {
        let events = self.events.clone();
        tokio::select! {
            biased;
            // Nothing is at stake in a watch whose reader is gone, wherever it is.
            () = events.closed() => {}
            () = self.follow_range() => {}
        }
    }

    async fn follow_range(self) {
        // `None`: the reader must begin anew.
        let mut seen: Option<KnownHistory> = None;
        let mut failures = 0;
        let mut lost = false;
        let mut pauses = reconnect_pauses(self.connection.next_jitter());
        loop {
            let end = match self.follow_stream(&mut seen, &mut lost, &mut failures).await {
                StreamEnd::ReaderGone => return,
                StreamEnd::Compacted => {
                    seen = None;
                    continue;
                }
                StreamEnd::Broken(problem) => problem,
            };
            tracing::debug!(problem = %end, range = self.range.as_str(), "a watch was interrupted");
            if failures == 0 {
                // It worked before it broke: the next endpoint is tried at once.
                pauses = reconnect_pauses(self.connection.next_jitter());
            }
            failures += 1;
            if failures > self.connection.len() && !lost {
                lost = true;
                // Whoever was told that the store is gone is told all when it is back.
                seen = None;
                if self.send(WatchEvent::Lost { problem: end }).await.is_err() {
                    return;
                }
            }
            if failures > 1 {
                sleep(pauses.next().unwrap_or(MAX_PAUSE)).await;
            }
        }
    }

    async fn send(&self, event: WatchEvent) -> Result<(), ReaderGone> {
        self.events.send(event).await.map_err(|_| ReaderGone)
    }

    /// Lists if need be, opens one stream and reads it to its end.
    async fn follow_stream(
        &self,
        seen: &mut Option<KnownHistory>,
        lost: &mut bool,
        failures: &mut usize,
    ) -> StreamEnd {
        let (known, resumed) = match seen {
            Some(known) => (known, true),
            None => match read(&self.connection, &self.range).await {
                Err(error) => {
                    // A listing is tried at every endpoint before it fails.
                    *failures = self.connection.len();
                    return StreamEnd::Broken(error.to_string());
                }
                Ok(listing) => {
                    let known = KnownHistory::from_listing(listing.revision);
                    if self.send(WatchEvent::Reset(listing)).await.is_err() {
                        return StreamEnd::ReaderGone;
                    }
                    *lost = false;
                    *failures = 0;
                    (seen.insert(known), false)
                }
            },
        };
        let borrowed = match self.connection.borrow_client().await {
            Ok(borrowed) => borrowed,
            Err(error) => return StreamEnd::Broken(error.to_string()),
        };
        let end = match self.open(&borrowed, known, resumed).await {
            Err(end) => end,
            Ok(opened) => {
                *failures = 0;
                tokio::select! {
                    biased;
                    // What has come is passed on before its sender is given up.
                    end = self.read_stream(opened, known) => end,
                    // Cancel-safe: `known` moves on once a change has been passed on, so what was read and not passed
                    // on is read again.
                    () = self.connection.until_given_up(&borrowed) => {
                        StreamEnd::Broken("its endpoint was given up".to_owned())
                    }
                }
            }
        };
        if matches!(end, StreamEnd::Broken(_)) {
            self.connection.mark_failed(&borrowed);
        }
        end
    }

    /// Opens a stream that begins with the changes of the last known revision (see above). A stream that resumes comes with its first
    /// message, which has told them again.
    async fn open(
        &self,
        borrowed: &BorrowedClient,
        known: &mut KnownHistory,
        resumed: bool,
    ) -> Result<OpenedStream, StreamEnd> {
        // Zero is "from now on".
        let query = WatchQuery { range: self.range.without_beside(), from: known.revision.max(1) };
        let open = async {
            let mut stream = borrowed.client.open_watch(&query).await?;
            let created = stream.next_message().await?;
            Ok::<_, EtcdError>((stream, created))
        };
        let deadline = self.connection.liveness.call;
        let (mut stream, created) = match timeout(deadline, open).await {
            Err(_) => return Err(StreamEnd::Broken(format!("no answer within {deadline:?}"))),
            Ok(Err(error)) => return Err(StreamEnd::Broken(error.to_string())),
            Ok(Ok((_, None))) => return Err(StreamEnd::Broken("the stream ended".to_owned())),
            Ok(Ok((stream, Some(created)))) => (stream, created),
        };
        if let Some(end) = &created.end {
            return Err(end_of_canceled(end));
        }
        let any_is_ours = is_planted("restored-history-taken-for-ours");
        let is_other_history = |earlier| !created.lineage.may_follow(earlier) && !any_is_ours;
        // Put back from a backup, or somebody else's.
        if resumed
            && (created.revision < known.revision || known.lineage.is_some_and(is_other_history))
        {
            return Err(StreamEnd::Compacted);
        }
        let mut first = None;
        if resumed && !known.told.is_empty() {
            // One that keeps quiet has nothing at that revision: it may have been compacted there, or is another's.
            first = match timeout(deadline, stream.next_message()).await {
                Err(_) => return Err(StreamEnd::Compacted),
                Ok(Err(error)) => return Err(StreamEnd::Broken(error.to_string())),
                Ok(Ok(first)) => first,
            };
            let is_another = |first: &WatchMessage| !known.is_continued_by(first) && !any_is_ours;
            if first.as_ref().is_some_and(|first| first.end.is_none() && is_another(first)) {
                return Err(StreamEnd::Compacted);
            }
        }
        known.lineage = Some(created.lineage);
        Ok(OpenedStream { stream, first })
    }

    /// Reads a stream until something is wrong with it.
    async fn read_stream(&self, opened: OpenedStream, known: &mut KnownHistory) -> StreamEnd {
        let OpenedStream { mut stream, mut first } = opened;
        let liveness = self.connection.liveness;
        let mut asked = false;
        loop {
            let patience = if asked { liveness.sign_of_life } else { liveness.silence };
            let next = async {
                match first.take() {
                    Some(first) => Ok(Some(first)),
                    None => stream.next_message().await,
                }
            };
            let message = match timeout(patience, next).await {
                Err(_) if asked => {
                    return StreamEnd::Broken("the watch is silent, signs of life too".to_owned());
                }
                Err(_) => {
                    asked = true;
                    if let Err(error) = stream.request_progress().await {
                        return StreamEnd::Broken(error.to_string());
                    }
                    continue;
                }
                Ok(Err(error)) => {
                    return match error {
                        EtcdError::AnswerTooLarge => StreamEnd::Compacted,
                        error => StreamEnd::Broken(error.to_string()),
                    };
                }
                Ok(Ok(None)) => return StreamEnd::Broken("the stream ended".to_owned()),
                Ok(Ok(Some(message))) => message,
            };
            asked = false;
            if let Some(end) = &message.end {
                return end_of_canceled(end);
            }
            let news = || message.changes.iter().filter(|change| change.revision > known.revision);
            let last = news().map(|change| change.revision).max();
            if let Some(revision) = last {
                let changes: Vec<KeyChange> =
                    news().filter_map(|change| change.change.clone()).collect();
                if self.send(WatchEvent::Changes { revision, changes }).await.is_err() {
                    return StreamEnd::ReaderGone;
                }
                known.extend(revision, &message.changes);
            }
        }
    }
}

fn end_of_canceled(end: &WatchEnd) -> StreamEnd {
    // A compaction comes without a reason.
    if end.compact_revision > 0 {
        return StreamEnd::Compacted;
    }
    StreamEnd::Broken(format!("etcd ended the watch: {}", end.reason))
}

/// Longest pause between tries to reach a store that is gone: how long its return may go unnoticed.
const MAX_PAUSE: Duration = Duration::from_secs(1);

fn reconnect_pauses(jitter: u64) -> impl Iterator<Item = Duration> + Send {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(MAX_PAUSE)
        .without_max_times()
        .with_jitter()
        .with_jitter_seed(jitter)
        .build()
}
