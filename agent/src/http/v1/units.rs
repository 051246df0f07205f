//! Changing units: submit, load, start, stop, unload, restart, destroy.
//!
//! Owns the carrying out of what [`muster_engine::request`] decides: one batch of writes, and another look for those that met
//! a conflict.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use muster_common::api::v1::{
    ChangeAnswer, ChangeOutcome, ChangeRequest, DestroyAnswer, DestroyRequest, UnitChanged,
};
use muster_common::decision::{UnitWrite, UnitWritten};
use muster_common::unit::UnitName;
use muster_store::DestroyOutcome;

use crate::http::App;
use crate::http::error::{ApiError, json};
use crate::http::extract::Body;
use muster_engine::request::change::{Decided, Request};
use muster_engine::request::references;

/// How often units that others change at the same time are decided anew. Each time somebody else got through, so a
/// unit that meets its fifth conflict is being fought over.
const ATTEMPTS: usize = 5;

pub(super) async fn change(
    State(app): State<App>,
    Body(change): Body<ChangeRequest>,
) -> Result<Response, ApiError> {
    let dry_run = change.dry_run;
    let request = Request::read(change).map_err(ApiError::bad_request)?;
    let answer = carry_out(&app, &request, dry_run).await?;
    Ok(json(StatusCode::OK, &answer))
}

/// Decides and writes until every unit is written or has failed.
pub(in crate::http) async fn carry_out(
    app: &App,
    request: &Request,
    dry_run: bool,
) -> Result<ChangeAnswer, ApiError> {
    let mut answers: BTreeMap<usize, UnitChanged> = BTreeMap::new();
    let mut open = request.all();
    let mut revision = 0;
    for _ in 0..ATTEMPTS {
        let reader = app.view.fresh().await?;
        let (decided, beyond, seen) = reader.decide(|cluster| {
            let decided = request.decide(cluster, &open);
            let beyond = app.quotas().store.refusal(cluster.snapshot(), &decided.writes);
            (decided, beyond, cluster.snapshot().revision)
        });
        if let Some(beyond) = beyond {
            return Err(ApiError::new(StatusCode::INSUFFICIENT_STORAGE, beyond));
        }
        revision = revision.max(seen);
        let Decided { answers: decided, writes } = decided;
        answers.extend(decided);
        if dry_run || writes.is_empty() {
            open.clear();
            break;
        }
        let (written, conflicts) = write(app, writes).await?;
        revision = revision.max(written);
        open = request.places_of(&conflicts);
        if open.is_empty() {
            break;
        }
    }
    for place in open {
        if let Some(answer) = answers.get_mut(&place) {
            let message = format!("{} kept changing while it was written; try again", answer.name);
            answer.outcome = ChangeOutcome::Failed { message };
        }
    }
    Ok(ChangeAnswer { units: answers.into_values().collect(), revision })
}

/// Writes a batch; returns the last revision and the units that met a conflict.
async fn write(app: &App, writes: Vec<UnitWrite>) -> Result<(u64, BTreeSet<UnitName>), ApiError> {
    let names: Vec<UnitName> = writes.iter().map(|write| write.name.clone()).collect();
    let written = app.registry.write_units(writes).await?;
    let mut revision = 0;
    let mut conflicts = BTreeSet::new();
    for (name, written) in names.into_iter().zip(written) {
        match written {
            UnitWritten::Done { revision: at } => revision = revision.max(at),
            UnitWritten::Conflict => {
                conflicts.insert(name);
            }
        }
    }
    Ok((revision, conflicts))
}

pub(super) async fn destroy(
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
    if units.iter().any(|unit| !unit.unit_type().starts_by_itself()) {
        let reader = app.view.fresh().await?;
        let refusal = reader.decide(|cluster| references::refusal(cluster.snapshot(), units));
        if let Some(refusal) = refusal {
            return Err(ApiError::conflict(refusal));
        }
    }
    Ok(app.registry.destroy_units(units).await?)
}

pub(super) async fn unfreeze(State(app): State<App>) -> Result<StatusCode, ApiError> {
    app.registry.clear_held_machines().await?;
    Ok(StatusCode::NO_CONTENT)
}
