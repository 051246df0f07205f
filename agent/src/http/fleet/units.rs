//! `/fleet/v1/units`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use muster_common::api::fleet::{Unit, UnitPage};
use muster_common::api::v1::{Outcome, UnitChange};
use muster_common::snapshot::{self, Snapshot};
use muster_common::state::DesiredState;
use muster_common::unit::{Requirements, UnitFile, check};

use super::page::Page;
use crate::change::Request;
use crate::http::App;
use crate::http::error::{ApiError, json};
use crate::http::extract::{Body, Name, Params};
use crate::http::v1::{carry_out, destroy_unused};
use crate::lists;

pub(super) async fn list(State(app): State<App>, params: Params) -> Result<Response, ApiError> {
    let page = Page::asked_for(&params, app.token_limit)?;
    let reader = app.view.fresh().await?;
    let answer = reader.read(|snapshot| {
        let (units, next_page_token) = page.cut(snapshot.units.values());
        UnitPage { units: units.into_iter().map(|u| unit(snapshot, u)).collect(), next_page_token }
    });
    Ok(json(StatusCode::OK, &answer))
}

pub(super) async fn get(State(app): State<App>, Name(name): Name) -> Result<Response, ApiError> {
    let reader = app.view.fresh().await?;
    let found = reader.read(|snapshot| snapshot.units.get(&name).map(|u| unit(snapshot, u)));
    let found = found.ok_or_else(|| ApiError::not_found("unit does not exist"))?;
    Ok(json(StatusCode::OK, &found))
}

fn unit(snapshot: &Snapshot, unit: &snapshot::Unit) -> Unit {
    let file = snapshot.files.get(&unit.file);
    let global =
        file.is_some_and(|file| Requirements::of(&unit.name, file).is_ok_and(|r| r.global));
    // A global unit is on many machines, so fleet names none.
    let places = snapshot.places.get(&unit.name).filter(|_| !global);
    let machine = places.and_then(|places| snapshot::homes(places).next()).map(|(id, _)| id);
    Unit {
        name: unit.name.to_string(),
        options: file.map(|file| file.options().to_vec()).unwrap_or_default(),
        desired_state: unit.desired.to_string(),
        current_state: lists::current(snapshot, &unit.name).to_string(),
        machine_id: machine.map(ToString::to_string).unwrap_or_default(),
    }
}

/// Creates a unit, replaces its file, or changes what is wanted of it. A start that no machine can take is queued,
/// as it was in fleet.
pub(super) async fn put(
    State(app): State<App>,
    Name(name): Name,
    Body(given): Body<Unit>,
) -> Result<StatusCode, ApiError> {
    if !given.name.is_empty() && given.name != name.as_str() {
        return Err(ApiError::bad_request(format!(
            "name in URL {:?} differs from unit name in request body {:?}",
            name.as_str(),
            given.name
        )));
    }
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

    let change = UnitChange { name, file: None, desired, restart: false };
    let request = Request::of_file(file.filter(|_| replaces), change);
    let answer = carry_out(&app, &request, false).await?;
    match answer.units.into_iter().next().map(|unit| unit.outcome) {
        Some(Outcome::Failed { message }) => Err(ApiError::conflict(message)),
        _ if replaces => Ok(StatusCode::CREATED),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}

pub(super) async fn delete(
    State(app): State<App>,
    Name(name): Name,
) -> Result<StatusCode, ApiError> {
    let destroyed = destroy_unused(&app, &[name]).await?;
    if destroyed.destroyed.is_empty() {
        return Err(ApiError::not_found("unit does not exist"));
    }
    Ok(StatusCode::NO_CONTENT)
}
