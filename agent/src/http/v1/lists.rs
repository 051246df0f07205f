//! Lists and details.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use muster_common::api::v1::{Plan, UnitDetail, Version};
use muster_common::decision::Decision;
use muster_common::snapshot::Snapshot;
use muster_engine::cluster::lists;

use crate::http::app::App;
use crate::http::error::{ApiError, json};
use crate::http::extract::Name;

pub(super) async fn units(State(app): State<App>) -> Result<Response, ApiError> {
    let units = app.view.fresh().await?.read(lists::list_units);
    Ok(json(StatusCode::OK, &units))
}

pub(super) async fn states(State(app): State<App>) -> Result<Response, ApiError> {
    let states = app.view.fresh().await?.read(lists::list_states);
    Ok(json(StatusCode::OK, &states))
}

pub(super) async fn machines(State(app): State<App>) -> Result<Response, ApiError> {
    let machines = app.view.fresh().await?.read(lists::list_machines);
    Ok(json(StatusCode::OK, &machines))
}

pub(super) async fn unit(State(app): State<App>, Name(name): Name) -> Result<Response, ApiError> {
    let reader = app.view.fresh().await?;
    let detail = reader.decide(|cluster| {
        let refusal = cluster.explain_refusal(&name);
        let snapshot = cluster.snapshot();
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

pub(super) async fn plan(State(app): State<App>) -> Result<Response, ApiError> {
    let reader = app.view.fresh().await?;
    let plan = reader.decide(|cluster| {
        let planned = cluster.plan().clone();
        let moves = planned.moves.iter().flat_map(|m| &m.decisions);
        Plan {
            moves: moves.map(|decision| sentence(cluster.snapshot(), decision)).collect(),
            refusals: planned
                .refused
                .iter()
                .filter_map(|unit| Some((unit.clone(), cluster.explain_refusal(unit)?)))
                .collect(),
        }
    });
    Ok(json(StatusCode::OK, &plan))
}

fn sentence(snapshot: &Snapshot, decision: &Decision) -> String {
    match decision {
        Decision::Place { machine, unit, placement, .. } => {
            let there = snapshot.places.get(unit).is_some_and(|p| p.contains_key(machine));
            let what = if there { "is to be" } else { "goes to" };
            let id = machine.short();
            if there {
                format!("{unit} on {id}... {what} {}", placement.desired)
            } else {
                format!("{unit} {what} {id}..., to be {}", placement.desired)
            }
        }
        Decision::Remove { machine, unit, .. } => {
            format!("{unit} leaves {}...", machine.short())
        }
    }
}

pub(super) async fn version() -> Response {
    json(StatusCode::OK, &Version { version: env!("CARGO_PKG_VERSION").to_owned() })
}
