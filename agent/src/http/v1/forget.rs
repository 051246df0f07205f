//! The end of machines that are gone for good, on a person's behalf.

use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use muster_common::api::forget::ForgetAnswer;
use muster_common::machine::{InvalidMachineId, MachineId};
use muster_store::ForgetOutcome;

use crate::http::app::App;
use crate::http::error::{ApiError, json};

pub(super) async fn forget_machine(
    State(app): State<App>,
    Path(machine): Path<String>,
) -> Result<Response, ApiError> {
    let machine: MachineId = machine
        .parse()
        .map_err(|error: InvalidMachineId| ApiError::bad_request(error.to_string()))?;
    match app.registry.forget_machine(&machine).await? {
        ForgetOutcome::Registered => Err(ApiError::in_conflict(format!(
            "machine {machine} is registered; stop musterd there before it is forgotten"
        ))),
        ForgetOutcome::Forgotten { records: 0 } => {
            Err(ApiError::not_found(format!("nothing is known of machine {machine}")))
        }
        ForgetOutcome::Forgotten { records } => {
            Ok(json(StatusCode::OK, &ForgetAnswer { machine, records }))
        }
    }
}
