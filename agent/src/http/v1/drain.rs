//! Drains, on a person's behalf, and the events of any.

use std::convert::Infallible;

use axum::extract::{Path, State};
use axum::response::Response;
use axum::response::sse::{Event, Sse};
use futures::stream::Stream;
use http::StatusCode;
use muster_common::api::drain::{DrainAnswer, DrainEvent, DrainRequest};
use muster_common::cordon::CordonHolder;
use muster_engine::wait::drain::Following;
use tokio::sync::mpsc;

use super::cordons::known;
use super::wait::stream;
use crate::cordon::{Cordons, Order};
use crate::http::App;
use crate::http::error::{ApiError, json};
use crate::http::extract::{Body, Params};
use crate::net::quota::Caller;
use crate::view::Reader;

/// Events that may wait for a slow client before the daemon stops looking on its behalf.
const BACKLOG: usize = 64;

pub(super) async fn drain(
    State(app): State<App>,
    Path(machine): Path<String>,
    Body(request): Body<DrainRequest>,
) -> Result<Response, ApiError> {
    let machine = known(&app, &machine).await?;
    let DrainRequest { by, reason, deadline, then, dry_run } = request;
    if dry_run {
        let reader = app.view.fresh().await?;
        let progress = reader.decide(|cluster| cluster.rehearse_drain(&machine));
        return Ok(json(StatusCode::OK, &DrainAnswer { progress, revision: 0 }));
    }
    let order = Order { holder: CordonHolder::Person, by: by.into(), reason: reason.into() };
    let cordons = Cordons::new(app.registry.clone());
    let cordon = cordons.drain(&machine, order, deadline, then).await?;
    let revision = cordon.revision;
    let reader = app.view.at_least(revision).await?;
    let progress = reader.decide(|cluster| cluster.drain_progress(&machine));
    Ok(json(StatusCode::OK, &DrainAnswer { progress, revision }))
}

pub(super) async fn progress(
    State(app): State<App>,
    Path(machine): Path<String>,
) -> Result<Response, ApiError> {
    let machine = known(&app, &machine).await?;
    let reader = app.view.fresh().await?;
    Ok(json(StatusCode::OK, &reader.decide(|cluster| cluster.drain_progress(&machine))))
}

pub(super) async fn events(
    State(app): State<App>,
    Path(machine): Path<String>,
    caller: Caller,
    params: Params,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    params.only(&["revision"])?;
    // Least store revision of the cluster that is told of; 0: as it is when asked.
    let revision: u64 = params.parse("revision", "the revision of a change")?.unwrap_or(0);
    let held = app.take(&app.quotas().streams, caller)?;
    let machine = known(&app, &machine).await?;
    let reader = app.view.at_least(revision).await?;
    let (events, received) = mpsc::channel(BACKLOG);
    tokio::spawn(tell(app, reader, Following::new(machine), events));
    Ok(stream(received, held))
}

/// Tells what is new until the drain is over, the client has gone, or the daemon stops.
async fn tell(
    app: App,
    mut reader: Reader,
    mut following: Following,
    events: mpsc::Sender<DrainEvent>,
) {
    let mut lost = None;
    loop {
        let position = reader.position();
        let mut news = Vec::new();
        if position.lost != lost {
            lost.clone_from(&position.lost);
            news.extend(position.lost.map(|problem| DrainEvent::Degraded {
                message: format!("the store cannot be reached ({problem}); waiting for it"),
            }));
        }
        news.extend(reader.decide(|cluster| following.look(cluster)));
        for event in news {
            if events.send(event).await.is_err() {
                return;
            }
        }
        if following.is_over() {
            return;
        }
        // All arms are cancel-safe: change notices.
        tokio::select! {
            () = reader.changed() => {}
            () = events.closed() => return,
            () = app.shutdown.cancelled() => return,
        }
    }
}
