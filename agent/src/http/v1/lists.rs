//! Lists and details.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use muster_common::api::plan::{Plan, PlannedDecision, PlannedMove};
use muster_common::api::v1::{UnitDetail, Version};
use muster_common::decision::Decision;
use muster_engine::cluster::lists;

use crate::http::app::App;
use crate::http::error::{ApiError, json};
use crate::http::extract::Name;

pub(super) async fn list_units(State(app): State<App>) -> Result<Response, ApiError> {
    let units = app.view.fresh_reader().await?.read(lists::list_units);
    Ok(json(StatusCode::OK, &units))
}

pub(super) async fn list_states(State(app): State<App>) -> Result<Response, ApiError> {
    let states = app.view.fresh_reader().await?.read(lists::list_states);
    Ok(json(StatusCode::OK, &states))
}

pub(super) async fn list_machines(State(app): State<App>) -> Result<Response, ApiError> {
    let machines = app.view.fresh_reader().await?.read(lists::list_machines);
    Ok(json(StatusCode::OK, &machines))
}

pub(super) async fn show_unit(
    State(app): State<App>,
    Name(name): Name,
) -> Result<Response, ApiError> {
    let reader = app.view.fresh_reader().await?;
    let detail = reader.with_cluster(|cluster| {
        let refusal = cluster.explain_refusal(&name);
        let snapshot = cluster.current_snapshot();
        if let Some(record) = snapshot.unreadable.get(&format!("unit/{name}")) {
            let message =
                format!("the record of {name} cannot be read ({}); destroy it", record.problem);
            return Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, message));
        }
        let unit = snapshot
            .units
            .get(&name)
            .ok_or_else(|| ApiError::not_found(format!("unit {name} does not exist")))?;
        Ok(UnitDetail {
            text: snapshot.files.get(&unit.file).map(|f| f.text().to_owned()).unwrap_or_default(),
            states: snapshot.states.get(&name).cloned().unwrap_or_default(),
            refusal,
            unit: lists::UnitRows::new(snapshot).summarize_unit(unit),
        })
    })?;
    Ok(json(StatusCode::OK, &detail))
}

pub(super) async fn show_plan(State(app): State<App>) -> Result<Response, ApiError> {
    let reader = app.view.fresh_reader().await?;
    let plan = reader.with_cluster(|cluster| {
        let planned = cluster.plan().clone();
        let moves = planned.moves.iter().map(|decided| PlannedMove {
            unit: decided.unit.clone(),
            reason: decided.reason.clone(),
            decisions: decided.decisions.iter().map(shown_decision).collect(),
        });
        let refusals = planned.refused.iter();
        let refusals =
            refusals.filter_map(|unit| Some((unit.clone(), cluster.explain_refusal(unit)?)));
        Plan::new(moves.collect(), refusals.collect())
    });
    Ok(json(StatusCode::OK, &plan))
}

/// A decision without the revisions that it rests on.
fn shown_decision(decision: &Decision) -> PlannedDecision {
    let (unit, machine) = (decision.unit().clone(), decision.machine().clone());
    match decision {
        Decision::Place { placement, .. } if placement.revision == 0 => {
            PlannedDecision::Place { unit, machine, desired: placement.desired }
        }
        Decision::Place { placement, .. } => {
            PlannedDecision::Update { unit, machine, desired: placement.desired }
        }
        Decision::Remove { .. } => PlannedDecision::Remove { unit, machine },
    }
}

pub(super) async fn show_version() -> Response {
    json(StatusCode::OK, &Version { version: env!("CARGO_PKG_VERSION").to_owned() })
}
