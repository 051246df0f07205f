//! fleet's API, `/fleet/v1`, as the real fleetctl speaks it; field names are in [`muster_common::api::fleet`].
//!
//! Owns fleet's status codes and messages. Where fleet was at fault (a page token after the last page, 500 for a store
//! that is away) it does better; the rest is to the letter.

mod discovery;
mod item;
mod machines;
mod page;
mod state;
mod units;

use axum::Router;
use axum::routing::{any, get};
use http::StatusCode;

use super::error::ApiError;
use crate::http::app::App;

pub(super) fn fleet_routes() -> Router<App> {
    Router::new()
        .route("/", any(async || ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "")))
        .route("/units", get(units::list))
        .route("/units/{name}", get(units::get).put(units::put).delete(units::delete))
        .route("/state", get(state::list))
        .route("/state/{name}", get(state::get))
        .route("/machines", get(machines::list).patch(machines::patch_metadata))
        .route("/discovery", get(discovery::get))
}
