//! FleetLock: slots for hosts that are none of Muster's, from the same semaphores; the contract is
//! [`muster_common::api::fleetlock`].
//!
//! Owns the answers: statuses and kinds are airlock's, errors are JSON and say so. It decides nothing: the semaphore is
//! [`crate::reboot::Lock`]'s.

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
use http::{HeaderValue, Method, StatusCode, Uri};
use muster_common::api::fleetlock::{BODY_LIMIT, HEADER, Identity, Rejection, RejectionKind};
use muster_common::reboot::{HolderKind, SlotOutcome};

use super::app::App;
use super::body::read_whole;
use super::error::json;
use crate::reboot::{AcquireResult, LockError, ReleaseReport};
use crate::stdx::errors::error_chain;

/// Why a client is not answered with 200.
struct Rejected {
    status: StatusCode,
    kind: RejectionKind,
    value: String,
}

pub(super) fn fleetlock_routes() -> Router<App> {
    Router::new()
        .route("/v1/pre-reboot", post(pre_reboot).fallback(only_post))
        .route("/v1/steady-state", post(steady_state).fallback(only_post))
        .fallback(nothing_here)
}

/// The paths that a client asks for when its base URL lacks the last slash: joining drops what is behind the one before.
pub(super) fn lost_routes() -> Router<App> {
    Router::new().route("/pre-reboot", any(lost_path)).route("/steady-state", any(lost_path))
}

async fn pre_reboot(State(app): State<App>, request: Request) -> Result<StatusCode, Rejected> {
    let Identity { id, group } = read_identity(request).await?;
    match app.lock.acquire_slot(&group, &id, HolderKind::FleetLock, app.slot_limit).await? {
        AcquireResult::Held { .. } => Ok(StatusCode::OK),
        AcquireResult::Wait(wait) => {
            tracing::info!(%group, %id, %wait, "a FleetLock client has to wait");
            Err(Rejected::server_error(RejectionKind::FailedLock, wait.to_string()))
        }
    }
}

async fn steady_state(State(app): State<App>, request: Request) -> Result<StatusCode, Rejected> {
    let Identity { id, group } = read_identity(request).await?;
    app.lock
        .release_slot(
            &group,
            &id,
            ReleaseReport::without_details(SlotOutcome::Released),
            app.slot_limit,
        )
        .await?;
    Ok(StatusCode::OK)
}

async fn only_post(method: Method) -> Rejected {
    // The router adds the Allow header.
    let value = format!("{method} means nothing here: FleetLock knows only POST");
    Rejected {
        status: StatusCode::METHOD_NOT_ALLOWED,
        kind: RejectionKind::MethodNotAllowed,
        value,
    }
}

async fn nothing_here(uri: Uri) -> Rejected {
    let value = format!(
        "there is nothing at /fleetlock{}; FleetLock has v1/pre-reboot and v1/steady-state below /fleetlock/",
        uri.path()
    );
    Rejected { status: StatusCode::NOT_FOUND, kind: RejectionKind::NotFound, value }
}

async fn lost_path(uri: Uri) -> Rejected {
    let value = format!(
        "there is nothing at /v1{}; FleetLock is below /fleetlock/: end the client's base URL with a slash",
        uri.path()
    );
    Rejected { status: StatusCode::NOT_FOUND, kind: RejectionKind::NotFound, value }
}

/// Who asks.
async fn read_identity(request: Request) -> Result<Identity, Rejected> {
    let (parts, body) = request.into_parts();
    let invalid = |status, value: String| Rejected {
        status,
        kind: RejectionKind::InvalidClientIdentity,
        value,
    };
    let body = read_whole(&parts.headers, body, BODY_LIMIT)
        .await
        .map_err(|error| invalid(error.status(), error.to_string()))?;
    let values = parts.headers.get_all(HEADER).iter().map(HeaderValue::as_bytes);
    Identity::read(values, &body)
        .map_err(|error| invalid(StatusCode::BAD_REQUEST, error.to_string()))
}

impl Rejected {
    fn server_error(kind: RejectionKind, value: String) -> Self {
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, kind, value }
    }
}

impl From<LockError> for Rejected {
    fn from(error: LockError) -> Self {
        let value = error_chain(&error);
        match error {
            LockError::UnknownGroup { .. } => {
                Self { status: StatusCode::BAD_REQUEST, kind: RejectionKind::UnknownGroup, value }
            }
            LockError::Contended { .. } => Self::server_error(RejectionKind::FailedLock, value),
            _ => {
                tracing::warn!(error = value, "a FleetLock client was not answered");
                Self::server_error(RejectionKind::FailedSemInit, value)
            }
        }
    }
}

impl IntoResponse for Rejected {
    fn into_response(self) -> Response {
        json(self.status, &Rejection { kind: self.kind, value: self.value })
    }
}
