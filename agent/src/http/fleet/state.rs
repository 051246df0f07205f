//! `/fleet/v1/state`: what machines report, as a list and of one unit.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use muster_common::api::fleet::{UnitState, UnitStatePage};
use muster_engine::cluster::fleet;
use serde_json::{Value, json};

use super::item::{LastSegment, not_there};
use super::page::Page;
use crate::http::app::App;
use crate::http::error::{self, ApiError};
use crate::http::extract::Params;

pub(super) async fn list(State(app): State<App>, params: Params) -> Result<Response, ApiError> {
    let page = Page::asked_for(&params, app.token_limit)?;
    let unit = params.get("unitName");
    let machine = params.get("machineID");
    let reader = app.view.fresh_reader().await?;
    let answer = reader.read(|snapshot| {
        let reports = snapshot
            .states
            .iter()
            .filter(|(name, _)| unit.is_none_or(|unit| name.as_str() == unit))
            .flat_map(|(name, reports)| reports.iter().map(move |(id, state)| (name, id, state)))
            .filter(|(_, id, _)| machine.is_none_or(|machine| id.as_str() == machine));
        let (reports, next_page_token) = page.cut_page(reports);
        let states =
            reports.into_iter().map(|(name, id, state)| fleet::reported_state(name, id, state));
        UnitStatePage { states: states.collect(), next_page_token }
    });
    Ok(error::json(StatusCode::OK, &answer))
}

pub(super) async fn get(State(app): State<App>, item: LastSegment) -> Result<Response, ApiError> {
    let name = item.known_unit()?;
    let reader = app.view.fresh_reader().await?;
    let found = reader.read(|snapshot| fleet::unit_state(snapshot, &name)).ok_or_else(not_there)?;
    Ok(error::json(StatusCode::OK, &in_full(&found)))
}

/// A state with all its fields, empty ones too.
fn in_full(state: &UnitState) -> Value {
    json!({
        "name": state.name,
        "hash": state.hash,
        "machineID": state.machine_id,
        "systemdLoadState": state.systemd_load_state,
        "systemdActiveState": state.systemd_active_state,
        "systemdSubState": state.systemd_sub_state,
    })
}
