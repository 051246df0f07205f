//! `/fleet/v1/state`.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use muster_common::api::fleet::{UnitState, UnitStatePage};

use super::page::Page;
use crate::http::App;
use crate::http::error::{ApiError, json};
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
        let states = reports.into_iter().map(|(name, id, state)| UnitState {
            name: name.to_string(),
            hash: state.hash.clone(),
            machine_id: id.to_string(),
            systemd_load_state: state.load.clone(),
            systemd_active_state: state.active.clone(),
            systemd_sub_state: state.sub.clone(),
        });
        UnitStatePage { states: states.collect(), next_page_token }
    });
    Ok(json(StatusCode::OK, &answer))
}
