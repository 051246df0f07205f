//! Cordons, on a person's behalf.

use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use muster_common::api::cordon::{CordonAnswer, CordonRequest, UncordonRequest};
use muster_common::cordon::CordonHolder;
use muster_common::machine::MachineId;
use muster_engine::cluster::whereabouts::is_known_machine;

use crate::cordon::{CordonError, CordonOrder, Cordons};
use crate::http::app::App;
use crate::http::error::{ApiError, json};
use crate::http::extract::Body;

pub(super) async fn cordon_machine(
    State(app): State<App>,
    Path(machine): Path<String>,
    Body(request): Body<CordonRequest>,
) -> Result<Response, ApiError> {
    let machine = known_machine(&app, &machine).await?;
    let CordonRequest { by, reason } = request;
    let order = CordonOrder { holder: CordonHolder::Person, by: by.into(), reason: reason.into() };
    let cordon = Cordons::new(app.registry.clone(), app.wall.clone())
        .cordon_machine(&machine, order)
        .await?;
    Ok(json(StatusCode::OK, &CordonAnswer { machine, cordon: Some(cordon) }))
}

pub(super) async fn uncordon_machine(
    State(app): State<App>,
    Path(machine): Path<String>,
    Body(request): Body<UncordonRequest>,
) -> Result<Response, ApiError> {
    let machine = known_machine(&app, &machine).await?;
    let cordons = Cordons::new(app.registry.clone(), app.wall.clone());
    let cordon = if request.all {
        cordons.uncordon_for_all(&machine).await?;
        None
    } else {
        cordons.uncordon_machine(&machine, &CordonHolder::Person).await?
    };
    Ok(json(StatusCode::OK, &CordonAnswer { machine, cordon }))
}

/// A machine that is here, or that something is known of.
pub(super) async fn known_machine(app: &App, text: &str) -> Result<MachineId, ApiError> {
    let machine: MachineId =
        text.parse().map_err(|error: muster_common::machine::InvalidMachineId| {
            ApiError::bad_request(error.to_string())
        })?;
    let reader = app.view.fresh_reader().await?;
    if reader.read(|snapshot| is_known_machine(snapshot, &machine)) {
        Ok(machine)
    } else {
        Err(ApiError::not_found(format!("machine {machine} is not known")))
    }
}

impl From<CordonError> for ApiError {
    fn from(error: CordonError) -> Self {
        match error {
            CordonError::Store(error) => error.into(),
        }
    }
}
