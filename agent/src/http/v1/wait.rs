//! `POST /v1/wait`: server-sent events until every unit is done.
//!
//! Owns the logs of what failed, which are fetched from wherever they are. What is told and when is
//! [`muster_engine::wait::units`]'s.

use axum::extract::State;
use axum::response::Response;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use muster_common::api::v1::{WaitEvent, WaitRequest};
use muster_engine::wait::units::{UnitFailure, UnitsWait, WaitUpdate};

use super::inspect;
use crate::http::app::App;
use crate::http::error::ApiError;
use crate::http::events::{ClusterEvents, EventSource, stream_events};
use crate::http::extract::Body;
use crate::net::quota::Caller;

/// Most logs that are fetched at a time.
const LOGS_AT_ONCE: usize = 8;

/// Events that may wait for a slow client.
const BACKLOG: usize = 256;

pub(super) async fn wait_for_units(
    State(app): State<App>,
    caller: Caller,
    Body(request): Body<WaitRequest>,
) -> Result<Response, ApiError> {
    let held = app.take_ticket(&app.client_quotas().streams, caller)?;
    let reader = match request.revision {
        0 => app.view.fresh_reader().await?,
        revision => app.view.reader_at_least(revision).await?,
    };
    let updates = ClusterEvents::new(reader, UnitsWait::new(request));
    let events = WaitEvents { app: app.clone(), updates, failures: stream::empty().boxed() };
    Ok(stream_events(&app, held, BACKLOG, events))
}

/// The events of a wait, with the logs of what failed.
struct WaitEvents {
    app: App,
    updates: ClusterEvents<UnitsWait>,
    /// Failures of the last look, as their logs come.
    failures: BoxStream<'static, WaitEvent>,
}

impl EventSource for WaitEvents {
    type Event = WaitEvent;

    async fn next_events(&mut self) -> Option<Vec<WaitEvent>> {
        if let Some(failure) = self.failures.next().await {
            return Some(vec![failure]);
        }
        let (mut events, mut failures) = (Vec::new(), Vec::new());
        for update in self.updates.next_updates().await? {
            match update {
                WaitUpdate::Event(event) => events.push(event),
                WaitUpdate::Failure(failure) => failures.push(failure),
            }
        }
        let app = self.app.clone();
        self.failures = stream::iter(failures)
            .map(move |failure| with_log(app.clone(), failure))
            .buffer_unordered(LOGS_AT_ONCE)
            .boxed();
        Some(events)
    }
}

/// A failure with its last log lines, as far as they can be had.
async fn with_log(app: App, failure: UnitFailure) -> WaitEvent {
    let UnitFailure { name, machine, state, log_lines } = failure;
    let log = if log_lines > 0 {
        let start = state.invocation.parse().ok();
        inspect::last_lines(&app, &name, &machine, start, log_lines).await
    } else {
        Vec::new()
    };
    WaitEvent::Failed { name, machine, state, log }
}
