//! Drains, on a person's behalf, and the events of any.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::response::Response;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::StreamExt;
use futures::stream::Stream;
use http::StatusCode;
use muster_common::api::drain::{DrainEvent, DrainRequest, Draining};
use muster_common::cordon::Holder;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::cordons::known;
use crate::cordon::{Cordons, Order};
use crate::drain::Following;
use crate::http::App;
use crate::http::error::{ApiError, json};
use crate::http::extract::Body;
use crate::view::Reader;

/// Events that may wait for a slow client before the daemon stops looking on its behalf.
const BACKLOG: usize = 64;

/// From which revision on a drain is followed.
#[derive(Debug, Deserialize)]
pub(super) struct Since {
    /// Least store revision of the cluster that is told of; 0: as it is when asked.
    #[serde(default)]
    revision: u64,
}

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
        return Ok(json(StatusCode::OK, &Draining { progress, revision: 0 }));
    }
    let order = Order { holder: Holder::Person, by: by.into(), reason: reason.into() };
    let cordons = Cordons::new(app.registry.clone());
    let cordon = cordons.drain(&machine, order, deadline, then).await?;
    let revision = cordon.revision;
    let reader = app.view.at_least(revision).await?;
    let progress = reader.decide(|cluster| cluster.drain(&machine));
    Ok(json(StatusCode::OK, &Draining { progress, revision }))
}

pub(super) async fn progress(
    State(app): State<App>,
    Path(machine): Path<String>,
) -> Result<Response, ApiError> {
    let machine = known(&app, &machine).await?;
    let reader = app.view.fresh().await?;
    Ok(json(StatusCode::OK, &reader.decide(|cluster| cluster.drain(&machine))))
}

pub(super) async fn events(
    State(app): State<App>,
    Path(machine): Path<String>,
    Query(since): Query<Since>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let machine = known(&app, &machine).await?;
    let reader = app.view.at_least(since.revision).await?;
    let (events, received) = mpsc::channel(BACKLOG);
    tokio::spawn(tell(app, reader, Following::new(machine), events));
    let stream = ReceiverStream::new(received).filter_map(async |event: DrainEvent| {
        // No value of ours fails to serialize.
        Event::default().json_data(event).ok().map(Ok)
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(Duration::from_secs(10))))
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
