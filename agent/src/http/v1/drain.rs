//! Drains, on a person's behalf, and the events of any.

use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use muster_common::api::drain::{DrainAnswer, DrainRequest};
use muster_common::cordon::CordonHolder;
use muster_engine::wait::drain::DrainWait;

use super::cordons::known_machine;
use crate::cordon::{CordonOrder, Cordons};
use crate::http::app::App;
use crate::http::error::{ApiError, json};
use crate::http::events::{ClusterEvents, stream_events};
use crate::http::extract::{Body, Params};
use crate::net::quota::Caller;

/// Events that may wait for a slow client.
const BACKLOG: usize = 64;

pub(super) async fn drain_machine(
    State(app): State<App>,
    Path(machine): Path<String>,
    Body(request): Body<DrainRequest>,
) -> Result<Response, ApiError> {
    let machine = known_machine(&app, &machine).await?;
    let DrainRequest { by, reason, deadline, then, dry_run } = request;
    if dry_run {
        let reader = app.view.fresh_reader().await?;
        let progress = reader.with_cluster(|cluster| cluster.rehearse_drain(&machine));
        return Ok(json(StatusCode::OK, &DrainAnswer { progress, revision: 0 }));
    }
    let order = CordonOrder { holder: CordonHolder::Person, by: by.into(), reason: reason.into() };
    let cordons = Cordons::new(app.registry.clone(), app.wall.clone());
    let cordon = cordons.drain_machine(&machine, order, deadline, then).await?;
    let revision = cordon.revision;
    let reader = app.view.reader_at_least(revision).await?;
    let progress = reader.with_cluster(|cluster| cluster.drain_progress(&machine));
    Ok(json(StatusCode::OK, &DrainAnswer { progress, revision }))
}

pub(super) async fn show_progress(
    State(app): State<App>,
    Path(machine): Path<String>,
) -> Result<Response, ApiError> {
    let machine = known_machine(&app, &machine).await?;
    let reader = app.view.fresh_reader().await?;
    Ok(json(StatusCode::OK, &reader.with_cluster(|cluster| cluster.drain_progress(&machine))))
}

pub(super) async fn follow_drain(
    State(app): State<App>,
    Path(machine): Path<String>,
    caller: Caller,
    params: Params,
) -> Result<Response, ApiError> {
    params.allow_only(&["revision"])?;
    // Least store revision of the cluster that is told of; 0: as it is when asked.
    let revision: u64 = params.parse("revision", "the revision of a change")?.unwrap_or(0);
    let held = app.take_ticket(&app.client_quotas().streams, caller)?;
    let machine = known_machine(&app, &machine).await?;
    let reader = app.view.reader_at_least(revision).await?;
    let events = ClusterEvents::new(reader, DrainWait::new(machine));
    Ok(stream_events(&app, held, BACKLOG, events))
}
