//! Changing units: submit, load, start, stop, unload, restart, destroy.
//!
//! Owns the carrying out of what [`muster_engine::request`] decides: one batch of writes, and another look for those that met
//! a conflict.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use muster_common::api::v1::{
    ChangeAnswer, ChangeRequest, DestroyAnswer, DestroyRequest, UnitChange,
};
use muster_common::machine::{RunnerDemand, RunnerKind};
use muster_common::unit::{UnitFile, UnitName, runner_demand_of};
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
    let drafts = quadlet_drafts(&app, &change);
    let change = ParsedChange::parse(change).map_err(ApiError::bad_request)?;
    let mut answer = carry_out_change(&app, change, dry_run).await?;
    judge_drafts(&app, drafts, &mut answer).await?;
    Ok(json(StatusCode::OK, &answer))
}

/// The files of a change that Podman may run, where the generator of this machine can be asked about them.
fn quadlet_drafts(app: &App, change: &ChangeRequest) -> BTreeMap<UnitName, Arc<UnitFile>> {
    if app.drafts.is_none() {
        return BTreeMap::new();
    }
    let draft = |unit: &UnitChange| -> Option<(UnitName, Arc<UnitFile>)> {
        let text = change.files.get(&unit.file?)?;
        if !unit.name.unit_type().is_quadlet() {
            return None;
        }
        let file: UnitFile = text.parse().ok()?;
        let kinds = runner_demand_of(&unit.name, &file).possible_kinds();
        kinds.contains(&RunnerKind::Podman).then(|| (unit.name.clone(), Arc::new(file)))
    };
    change.units.iter().filter_map(draft).collect()
}

/// Adds what the generator says to the warnings of units that were taken.
async fn judge_drafts(
    app: &App,
    mut drafts: BTreeMap<UnitName, Arc<UnitFile>>,
    answer: &mut ChangeAnswer,
) -> Result<(), ApiError> {
    let Some(judge) = app.drafts.as_ref().filter(|_| !drafts.is_empty()) else { return Ok(()) };
    let reader = app.view.fresh_reader().await?;
    let known: BTreeMap<UnitName, Arc<UnitFile>> = reader.with_cluster(|cluster| {
        let snapshot = cluster.current_snapshot();
        let choices = snapshot.container_runners();
        // What names no runner is Podman's only where a machine would have it so.
        drafts.retain(|unit, file| match runner_demand_of(unit, file) {
            RunnerDemand::Kind(kind) => kind == RunnerKind::Podman,
            RunnerDemand::MachineChoice => choices.contains(&RunnerKind::Podman),
        });
        let quadlets = snapshot.units.iter().filter(|(name, _)| name.unit_type().is_quadlet());
        quadlets
            .filter_map(|(name, unit)| {
                Some((name.clone(), snapshot.files.get(&unit.file)?.clone()))
            })
            .collect()
    });
    let find_file = |unit: &UnitName| {
        let of_template = || known.get(&unit.template_name()?);
        drafts.get(unit).or_else(|| known.get(unit)).or_else(of_template).cloned()
    };
    let mut said = judge.judge_files(&drafts, &find_file).await;
    for unit in &mut answer.units {
        let words = said.remove(&unit.name).unwrap_or_default();
        unit.warnings.extend(words.into_iter().map(|word| format!("{}: {word}", unit.name)));
    }
    Ok(())
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
