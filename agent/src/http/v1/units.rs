//! Changing units: submit, load, start, stop, unload, restart, destroy.
//!
//! Owns the carrying out of what [`muster_engine::request`] decides: one batch of writes, and another look for those that met
//! a conflict.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use muster_common::api::v1::{ChangeAnswer, ChangeRequest, DestroyAnswer, DestroyRequest};
use muster_common::unit::UnitName;
use muster_engine::request::batch::{BatchStep, ChangeBatch};
use muster_engine::request::change::ParsedChange;
use muster_engine::request::references;
use muster_store::DestroyOutcome;

use crate::http::app::App;
use crate::http::error::{ApiError, json};
use crate::http::extract::Body;

pub(super) async fn change_units(
    State(app): State<App>,
    Body(change): Body<ChangeRequest>,
) -> Result<Response, ApiError> {
    let dry_run = change.dry_run;
    let change = ParsedChange::parse(change).map_err(ApiError::bad_request)?;
    let answer = carry_out_change(&app, change, dry_run).await?;
    Ok(json(StatusCode::OK, &answer))
}

/// Carries a change out: until every unit of it is written or has failed.
pub(in crate::http) async fn carry_out_change(
    app: &App,
    change: ParsedChange,
    dry_run: bool,
) -> Result<ChangeAnswer, ApiError> {
    let mut batch = ChangeBatch::new(change, dry_run, app.client_quotas().store);
    loop {
        let reader = app.view.fresh_reader().await?;
        let mut step = reader.with_cluster(|cluster| batch.decide_units(cluster));
        if let BatchStep::Write(writes) = step {
            step = batch.on_written(app.registry.write_units(writes).await?);
        }
        match step {
            BatchStep::Answer(answer) => return Ok(answer),
            BatchStep::OverLimit(beyond) => {
                return Err(ApiError::new(StatusCode::INSUFFICIENT_STORAGE, beyond));
            }
            BatchStep::Retry | BatchStep::Write(_) => {}
        }
    }
}

pub(super) async fn destroy_units(
    State(app): State<App>,
    Body(names): Body<DestroyRequest>,
) -> Result<Response, ApiError> {
    let destroyed = destroy_unused(&app, &names.names).await?;
    let answer = DestroyAnswer {
        destroyed: destroyed.destroyed,
        unknown: destroyed.unknown,
        revision: destroyed.revision,
    };
    Ok(json(StatusCode::OK, &answer))
}

/// Destroys units, unless one of them is a volume or network that a unit which stays names.
pub(in crate::http) async fn destroy_unused(
    app: &App,
    units: &[UnitName],
) -> Result<DestroyOutcome, ApiError> {
    if units.iter().any(|unit| unit.unit_type().is_quadlet()) {
        let reader = app.view.fresh_reader().await?;
        let refusal = reader
            .with_cluster(|cluster| references::destroy_refusal(cluster.current_snapshot(), units));
        if let Some(refusal) = refusal {
            return Err(ApiError::in_conflict(refusal));
        }
    }
    Ok(app.registry.destroy_units(units).await?)
}

pub(super) async fn unfreeze_cluster(State(app): State<App>) -> Result<StatusCode, ApiError> {
    app.registry.clear_held_machines().await?;
    Ok(StatusCode::NO_CONTENT)
}
