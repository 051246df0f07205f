//! Server-sent events.
//!
//! Owns the one loop from a source of events to a client: a bounded backlog, a sign of life while nothing comes, and the end, which is
//! the source's, the client's or the daemon's. What the events are is the source's.

use std::future::Future;
use std::time::Duration;

use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use futures::stream::{self, Stream};
use muster_engine::wait::{ClusterWait, PatientWait};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::app::App;
use crate::net::quota::Ticket;
use crate::stdx::timer::sleep_until_opt;
use crate::view::Reader;

/// Pause after which a silent stream says that it is alive: a third of what `musterctl` waits for a sign of life.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

/// Something that events come from, some at a time.
pub(super) trait EventSource: Send + 'static {
    /// One event, which is told as JSON.
    type Event: Serialize + Send + 'static;

    /// The next events; `None` when there are no more. An answer may be empty. The future is dropped unfinished only with the source.
    fn next_events(&mut self) -> impl Future<Output = Option<Vec<Self::Event>>> + Send;
}

/// The answer that tells a source's events as they come. `held` is given back at its end; `backlog` is how many events may wait for a
/// slow client before the daemon stops looking on its behalf.
pub(super) fn stream_events<S: EventSource>(
    app: &App,
    held: Ticket,
    backlog: usize,
    source: S,
) -> Response {
    let (events, received) = mpsc::channel(backlog);
    muster_runtime::spawn(send_events(source, events, app.shutdown.clone()));
    let stream = ReceiverStream::new(received).filter_map(move |event: S::Event| {
        let _ = &held;
        // No value of ours fails to serialize.
        std::future::ready(Event::default().json_data(event).ok().map(Ok::<_, axum::Error>))
    });
    Sse::new(with_signs_of_life(stream)).into_response()
}

/// The same events, and a comment whenever none has come for a while.
fn with_signs_of_life<E>(
    events: impl Stream<Item = Result<Event, E>> + Unpin,
) -> impl Stream<Item = Result<Event, E>> {
    stream::unfold(events, |mut events| async move {
        match muster_runtime::timeout(SIGN_OF_LIFE, events.next()).await {
            Ok(event) => event.map(|event| (event, events)),
            Err(_) => Some((Ok(Event::DEFAULT_KEEP_ALIVE), events)),
        }
    })
}

/// Sends events until the source has no more, the client has gone, or the daemon stops.
async fn send_events<S: EventSource>(
    mut source: S,
    events: mpsc::Sender<S::Event>,
    shutdown: CancellationToken,
) {
    loop {
        // The first two arms end the loop, so that what they cut off in the third is lost with the source.
        let next = tokio::select! {
            biased;
            () = events.closed() => return,
            () = shutdown.cancelled() => return,
            next = source.next_events() => next,
        };
        let Some(next) = next else { return };
        for event in next {
            if events.send(event).await.is_err() {
                return;
            }
        }
    }
}

/// The events of a wait for something in the cluster.
pub(super) struct ClusterEvents<W> {
    reader: Reader,
    wait: PatientWait<W>,
    has_looked: bool,
}

impl<W: ClusterWait> ClusterEvents<W> {
    /// Looks at the cluster with a reader.
    pub(super) fn new(reader: Reader, wait: W) -> Self {
        let wait = PatientWait::new(wait, reader.made_ready_at());
        Self { reader, wait, has_looked: false }
    }

    /// The next events, at least one; `None` when the wait is over. Cancel-safe: nothing is taken from the wait before it is returned.
    pub(super) async fn next_updates(&mut self) -> Option<Vec<W::Update>> {
        loop {
            if self.has_looked {
                if self.wait.is_over() {
                    return None;
                }
                let deadline = self.wait.next_deadline().map(|at| self.reader.instant_of(at));
                tokio::select! {
                    biased;
                    () = self.reader.wait_for_change() => {}
                    () = sleep_until_opt(deadline) => {}
                }
            }
            self.has_looked = true;
            let now = self.reader.now();
            let events = self.reader.with_cluster(|cluster| self.wait.update(now, cluster));
            if !events.is_empty() {
                return Some(events);
            }
        }
    }
}

impl<W> EventSource for ClusterEvents<W>
where
    W: ClusterWait<Update: Serialize + Send + 'static> + Send + 'static,
{
    type Event = W::Update;

    async fn next_events(&mut self) -> Option<Vec<W::Update>> {
        self.next_updates().await
    }
}
