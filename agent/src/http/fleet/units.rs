//! `/fleet/v1/units`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use muster_common::api::fleet::{FleetUnit, UnitPage};
use muster_common::api::v1::ChangeOutcome;
use muster_common::state::DesiredState;
use muster_common::unit::{UnitFile, check};
use muster_engine::cluster::fleet;
use muster_engine::request::fleet::{FleetPut, FleetPutError};
use serde_json::Value;

use super::item::{LastSegment, fold_keys, not_there};
use super::page::Page;
use crate::http::app::App;
use crate::http::error::{ApiError, json};
use crate::http::extract::{Body, Params};
use crate::http::v1::{carry_out_change, destroy_unused};

pub(super) async fn list(State(app): State<App>, params: Params) -> Result<Response, ApiError> {
    let page = Page::asked_for(&params, app.token_limit)?;
    let reader = app.view.fresh_reader().await?;
    let answer = reader.read(|snapshot| {
        let (units, next_page_token) = page.cut_page(snapshot.units.values());
        UnitPage {
            units: units.into_iter().map(|unit| fleet::fleet_unit(snapshot, unit)).collect(),
            next_page_token,
        }
    });
    Ok(json(StatusCode::OK, &answer))
}

pub(super) async fn get(State(app): State<App>, item: LastSegment) -> Result<Response, ApiError> {
    let name = item.known_unit()?;
    let reader = app.view.fresh_reader().await?;
    let now = reader.now();
    let found = reader.with_cluster(|cluster| fleet::awaited_unit(cluster, &name, now));
    let found = found.ok_or_else(not_there)?;
    Ok(json(StatusCode::OK, &found))
}

/// Creates a unit, replaces its file, or changes what is wanted of it, as [`FleetPut`] has it.
pub(super) async fn put(
    State(app): State<App>,
    item: LastSegment,
    Body(body): Body<Value>,
) -> Result<StatusCode, ApiError> {
    let given = read(body)?;
    if !given.name.is_empty() && given.name != item.as_str() {
        return Err(ApiError::bad_request(format!(
            "name in URL {:?} differs from unit name in request body {:?}",
            item.as_str(),
            given.name
        )));
    }
    let name = item.unit()?;
    let desired = match given.desired_state.as_str() {
        "" => None,
        word => {
            Some(word.parse::<DesiredState>().map_err(|e| ApiError::bad_request(e.to_string()))?)
        }
    };
    let file = if given.options.is_empty() {
        None
    } else {
        let file = UnitFile::from_options(given.options)
            .map_err(|error| ApiError::bad_request(format!("{name}: {error}")))?;
        check(&name, &file).map_err(|error| ApiError::bad_request(error.to_string()))?;
        Some(Arc::new(file))
    };

    let reader = app.view.fresh_reader().await?;
    let put = reader.read(|snapshot| FleetPut::plan(snapshot, name, file, desired))?;
    drop(reader);
    let FleetPut { change, replaces } = put;
    let answer = carry_out_change(&app, change, false).await?;
    let answer = answer.units.into_iter().next();
    // fleet's API has no place for them.
    for warning in answer.iter().flat_map(|unit| &unit.warnings) {
        tracing::warn!(warning, "a unit file came in over fleet's API");
    }
    match answer.map(|unit| unit.outcome) {
        Some(ChangeOutcome::Failed { message }) => Err(ApiError::in_conflict(message)),
        _ if replaces => Ok(StatusCode::CREATED),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}

impl From<FleetPutError> for ApiError {
    fn from(error: FleetPutError) -> Self {
        let message = error.to_string();
        match error {
            FleetPutError::NoOptions | FleetPutError::NoDesiredState => Self::in_conflict(message),
            FleetPutError::Template(_) => Self::bad_request(message),
        }
    }
}

/// The unit in a body.
fn read(mut body: Value) -> Result<FleetUnit, ApiError> {
    fold_keys(&mut body, &["name", "options", "desiredState"]);
    for option in body.get_mut("options").and_then(Value::as_array_mut).into_iter().flatten() {
        fold_keys(option, &["section", "name", "value"]);
    }
    serde_json::from_value(body)
        .map_err(|error| ApiError::bad_request(format!("unable to decode body: {error}")))
}

pub(super) async fn delete(
    State(app): State<App>,
    item: LastSegment,
) -> Result<StatusCode, ApiError> {
    let destroyed = destroy_unused(&app, &[item.known_unit()?]).await?;
    if destroyed.destroyed.is_empty() {
        return Err(not_there());
    }
    Ok(StatusCode::NO_CONTENT)
}
