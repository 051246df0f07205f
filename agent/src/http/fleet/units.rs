//! `/fleet/v1/units`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use muster_common::api::fleet::{FleetUnit, UnitPage};
use muster_common::api::v1::{ChangeOutcome, UnitChange};
use muster_common::snapshot::{self, Snapshot};
use muster_common::state::DesiredState;
use muster_common::unit::{Requirements, UnitFile, check};
use muster_engine::request::change::ParsedChange;
use serde_json::Value;

use super::current::{awaited, current};
use super::item::{Item, fold_keys, not_there};
use super::page::Page;
use crate::http::app::App;
use crate::http::error::{ApiError, json};
use crate::http::extract::{Body, Params};
use crate::http::v1::{carry_out_change, destroy_unused};

pub(super) async fn list(State(app): State<App>, params: Params) -> Result<Response, ApiError> {
    let page = Page::asked_for(&params, app.token_limit)?;
    let reader = app.view.fresh().await?;
    let answer = reader.read(|snapshot| {
        let (units, next_page_token) = page.cut(snapshot.units.values());
        UnitPage { units: units.into_iter().map(|u| unit(snapshot, u)).collect(), next_page_token }
    });
    Ok(json(StatusCode::OK, &answer))
}

pub(super) async fn get(State(app): State<App>, item: Item) -> Result<Response, ApiError> {
    let name = item.known()?;
    let reader = app.view.fresh().await?;
    let now = reader.now();
    let found = reader.decide(|cluster| {
        let snapshot = cluster.snapshot();
        let record = snapshot.units.get(&name)?;
        let (current, desired) = (current(snapshot, record), record.desired);
        let found = unit(snapshot, record);
        let current = awaited(current, desired, || cluster.was_launched(&name, now));
        Some(FleetUnit { current_state: current.to_string(), ..found })
    });
    let found = found.ok_or_else(not_there)?;
    Ok(json(StatusCode::OK, &found))
}

fn unit(snapshot: &Snapshot, unit: &snapshot::Unit) -> FleetUnit {
    let file = snapshot.files.get(&unit.file);
    let global =
        file.is_some_and(|file| Requirements::of(&unit.name, file).is_ok_and(|r| r.global));
    // A global unit is on many machines, so fleet names none.
    let places = snapshot.places.get(&unit.name).filter(|_| !global);
    let machine = places.and_then(|places| snapshot::homes(places).next()).map(|(id, _)| id);
    FleetUnit {
        name: unit.name.to_string(),
        options: file.map(|file| file.options().to_vec()).unwrap_or_default(),
        desired_state: unit.desired.to_string(),
        current_state: current(snapshot, unit).to_string(),
        machine_id: machine.map(ToString::to_string).unwrap_or_default(),
    }
}

/// Creates a unit, replaces its file, or changes what is wanted of it. A start that no machine can take is queued,
/// as it was in fleet. A new file without a word on what is wanted of it makes the unit inactive.
pub(super) async fn put(
    State(app): State<App>,
    item: Item,
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

    // fleet knows no comments: a file with the same options is the same file.
    let reader = app.view.fresh().await?;
    let same = reader.read(|snapshot| {
        snapshot.units.get(&name).map(|unit| match (&file, snapshot.files.get(&unit.file)) {
            (Some(given), Some(stored)) => given.options() == stored.options(),
            (given, _) => given.is_none(),
        })
    });
    drop(reader);
    let replaces = match same {
        None if file.is_none() => {
            return Err(ApiError::conflict("unit does not exist and options field empty"));
        }
        Some(true) if desired.is_none() => {
            return Err(ApiError::conflict("must provide DesiredState to update existing unit"));
        }
        None => true,
        Some(same) => !same,
    };
    if name.is_template() && desired.is_some_and(|d| d > DesiredState::Inactive) {
        let message = format!("cannot activate template {:?}", name.as_str());
        return Err(ApiError::bad_request(message));
    }

    let desired = desired.or(replaces.then_some(DesiredState::Inactive));
    let change = UnitChange { name, file: None, desired, restart: false };
    let change = ParsedChange::of_file(file.filter(|_| replaces), change);
    let answer = carry_out_change(&app, change, false).await?;
    let answer = answer.units.into_iter().next();
    // fleet's API has no place for them.
    for warning in answer.iter().flat_map(|unit| &unit.warnings) {
        tracing::warn!(warning, "a unit file came in over fleet's API");
    }
    match answer.map(|unit| unit.outcome) {
        Some(ChangeOutcome::Failed { message }) => Err(ApiError::conflict(message)),
        _ if replaces => Ok(StatusCode::CREATED),
        _ => Ok(StatusCode::NO_CONTENT),
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

pub(super) async fn delete(State(app): State<App>, item: Item) -> Result<StatusCode, ApiError> {
    let destroyed = destroy_unused(&app, &[item.known()?]).await?;
    if destroyed.destroyed.is_empty() {
        return Err(not_there());
    }
    Ok(StatusCode::NO_CONTENT)
}
