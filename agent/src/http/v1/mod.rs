//! Our own API, `/v1`; the contract is [`muster_common::api::v1`].

mod cordons;
mod drain;
mod elsewhere;
mod inspect;
mod journal;
mod lists;
mod log;
mod reboot;
mod units;
mod wait;

use axum::Router;
use axum::routing::{get, post};

use crate::http::app::App;
pub(super) use units::{carry_out_change, destroy_unused};

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/units", get(lists::units).post(units::change))
        .route("/units/destroy", post(units::destroy))
        .route("/units/{name}", get(lists::unit))
        .route("/units/{name}/status", get(inspect::status))
        .route("/units/{name}/journal", get(inspect::journal))
        .route("/units/{name}/journal/follow", get(journal::follow_journal))
        .route("/wait", post(wait::wait_for_units))
        .route("/states", get(lists::states))
        .route("/machines", get(lists::machines))
        .route("/machines/{id}/cordon", post(cordons::cordon))
        .route("/machines/{id}/uncordon", post(cordons::uncordon))
        .route("/machines/{id}/drain", get(drain::progress).post(drain::drain))
        .route("/machines/{id}/drain/events", get(drain::events))
        .route("/plan", get(lists::plan))
        .nest("/reboot", reboot::routes())
        .route("/unfreeze", post(units::unfreeze))
        .route("/version", get(lists::version))
}
