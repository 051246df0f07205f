//! `POST /v1/wait`: server-sent events until every unit is done.
//!
//! Owns the stream: when to look, when to ask the engine for refusals, and the logs of what failed.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::StreamExt;
use futures::stream::{self as streams, Stream};
use muster_common::api::v1::{WaitEvent, WaitRequest};
use muster_engine::wait::units::{Failure, News, Waiting};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;

use super::inspect;
use crate::http::App;
use crate::http::error::ApiError;
use crate::http::extract::Body;
use crate::net::quota::{Caller, Ticket};
use crate::view::Reader;

/// How long a unit is without a place before the engine is asked why. The leader places a unit in a few milliseconds;
/// asking at once would plan beside it for nothing.
const PATIENCE: Duration = Duration::from_millis(100);

/// How often the reasons are looked at again while a unit stays without a place.
const AGAIN: Duration = Duration::from_secs(1);

/// Log lines told of a unit that failed: what `systemctl status` shows.
const LOG_LINES: u32 = 10;

/// How many logs are fetched at a time, and of how many failures of one look: a thousand units that fail alike need
/// not be explained a thousand times.
const LOGS_AT_ONCE: usize = 8;
const LOGS_AT_MOST: usize = 32;

/// Events that may wait for a slow client before the daemon stops looking on its behalf.
const BACKLOG: usize = 256;

pub(super) async fn wait(
    State(app): State<App>,
    caller: Caller,
    Body(wait): Body<WaitRequest>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let held = app.take(&app.quotas().streams, caller)?;
    let reader = match wait.revision {
        0 => app.view.fresh().await?,
        revision => app.view.at_least(revision).await?,
    };
    let (events, received) = mpsc::channel(BACKLOG);
    tokio::spawn(tell(app, reader, Waiting::new(wait), events));
    Ok(stream(received, held))
}

/// Events as they come, and a sign of life while none does. What is held for them is given back at their end.
pub(super) fn stream<E: Serialize + Send + 'static>(
    received: mpsc::Receiver<E>,
    held: Ticket,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let stream = ReceiverStream::new(received).filter_map(move |event: E| {
        let _ = &held;
        // No value of ours fails to serialize.
        std::future::ready(Event::default().json_data(event).ok().map(Ok))
    });
    Sse::new(stream).keep_alive(KeepAlive::new().interval(Duration::from_secs(10)))
}

/// Tells what is new until all is said, the client has gone, or the daemon stops.
async fn tell(app: App, mut reader: Reader, mut waiting: Waiting, events: mpsc::Sender<WaitEvent>) {
    let mut ask_at: Option<Instant> = None;
    let mut lost = None;
    loop {
        let position = reader.position();
        if position.lost != lost {
            lost.clone_from(&position.lost);
            if let Some(problem) = position.lost {
                let message = format!("the store cannot be reached ({problem}); waiting for it");
                if events.send(WaitEvent::Degraded { message }).await.is_err() {
                    return;
                }
            }
        }
        let News { events: news, failures } = reader.read(|snapshot| waiting.look(snapshot));
        for event in news {
            if events.send(event).await.is_err() {
                return;
            }
        }
        if !explain(&app, failures, &events).await || waiting.is_over() {
            return;
        }
        ask_at = match (waiting.has_unplaced(), ask_at) {
            (true, None) => Some(Instant::now() + PATIENCE),
            (true, at) => at,
            (false, _) => None,
        };
        // All arms are cancel-safe: change notices and a timer.
        tokio::select! {
            () = reader.changed() => {}
            () = events.closed() => return,
            () = app.shutdown.cancelled() => return,
            () = alarm(ask_at) => {
                ask_at = Some(Instant::now() + AGAIN);
                // Refusals of a cluster we cannot see would be guesses.
                if lost.is_none() {
                    for event in reader.decide(|cluster| waiting.refusals(cluster)) {
                        if events.send(event).await.is_err() {
                            return;
                        }
                    }
                }
            }
        }
    }
}

async fn alarm(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Tells failures with their last log lines; `false` when the client has gone.
async fn explain(app: &App, failures: Vec<Failure>, events: &mpsc::Sender<WaitEvent>) -> bool {
    let mut told = streams::iter(failures.into_iter().enumerate())
        .map(async |(index, failure)| {
            let Failure { name, machine, state } = failure;
            let log = if index < LOGS_AT_MOST {
                let start = state.invocation.parse().ok();
                inspect::last_lines(app, &name, &machine, start, LOG_LINES).await
            } else {
                Vec::new()
            };
            WaitEvent::Failed { name, machine, state, log }
        })
        .buffer_unordered(LOGS_AT_ONCE)
        .boxed();
    while let Some(event) = told.next().await {
        if events.send(event).await.is_err() {
            return false;
        }
    }
    true
}
