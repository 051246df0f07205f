//! `/fleet/v1/state`: what machines report, as a list and of one unit.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use muster_common::api::fleet::{UnitState, UnitStatePage};
use muster_common::machine::MachineId;
use muster_common::snapshot::{self, Snapshot};
use muster_common::state::ObservedState;
use muster_common::unit::UnitName;
use serde_json::{Value, json};

use super::item::{Item, not_there};
use super::page::Page;
use crate::http::app::App;
use crate::http::error::{self, ApiError};
use crate::http::extract::Params;

pub(super) async fn list(State(app): State<App>, params: Params) -> Result<Response, ApiError> {
    let page = Page::asked_for(&params, app.token_limit)?;
    let unit = params.get("unitName");
    let machine = params.get("machineID");
    let reader = app.view.fresh().await?;
    let answer = reader.read(|snapshot| {
        let reports = snapshot
            .states
            .iter()
            .filter(|(name, _)| unit.is_none_or(|unit| name.as_str() == unit))
            .flat_map(|(name, reports)| reports.iter().map(move |(id, state)| (name, id, state)))
            .filter(|(_, id, _)| machine.is_none_or(|machine| id.as_str() == machine));
        let (reports, next_page_token) = page.cut(reports);
        let states = reports.into_iter().map(|(name, id, state)| told(name, id, state));
        UnitStatePage { states: states.collect(), next_page_token }
    });
    Ok(error::json(StatusCode::OK, &answer))
}

/// The state of one unit, where it is placed if it is reported from several machines. fleetctl asks for nothing but units
/// it has just started and goes on with the answer unseen, so a known unit always has one, of empty words if no machine
/// reports it.
pub(super) async fn get(State(app): State<App>, item: Item) -> Result<Response, ApiError> {
    let name = item.known()?;
    let reader = app.view.fresh().await?;
    let found = reader.read(|snapshot| of_unit(snapshot, &name)).ok_or_else(not_there)?;
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

fn of_unit(snapshot: &Snapshot, name: &UnitName) -> Option<UnitState> {
    let reports = snapshot.states.get(name);
    let homes = snapshot.places.get(name).into_iter().flat_map(snapshot::homes);
    let at_home = homes.map(|(id, _)| id).find_map(|id| reports?.get_key_value(id));
    // One that was destroyed and has yet to stop is still somewhere.
    let report = at_home.or_else(|| reports?.first_key_value());
    match report {
        Some((id, state)) => Some(told(name, id, state)),
        None => snapshot
            .units
            .contains_key(name)
            .then(|| UnitState { name: name.to_string(), ..UnitState::default() }),
    }
}

fn told(name: &UnitName, id: &MachineId, state: &ObservedState) -> UnitState {
    UnitState {
        name: name.to_string(),
        hash: state.hash.clone(),
        machine_id: id.to_string(),
        systemd_load_state: state.load.clone(),
        systemd_active_state: state.active.to_string(),
        systemd_sub_state: state.sub.clone(),
    }
}
