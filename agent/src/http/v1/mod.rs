//! Our own API, `/v1`; the contract is [`muster_common::api::v1`].

mod cluster;
mod cordons;
mod drain;
mod elsewhere;
mod forget;
mod inspect;
mod journal;
mod lists;
mod log;
mod reboot;
mod units;
mod wait;
mod whole;

use axum::Router;
use axum::routing::{get, post};

use crate::http::app::App;
pub(super) use units::{carry_out_change, destroy_unused};

pub(super) fn v1_routes() -> Router<App> {
    Router::new()
        .route("/units", get(lists::list_units).post(units::change_units))
        .route("/units/destroy", post(units::destroy_units))
        .route("/units/{name}", get(lists::show_unit))
        .route("/units/{name}/status", get(inspect::show_status))
        .route("/units/{name}/journal", get(inspect::show_journal))
        .route("/units/{name}/journal/follow", get(journal::follow_journal))
        .route("/wait", post(wait::wait_for_units))
        .route("/states", get(lists::list_states))
        .route("/machines", get(lists::list_machines))
        .route("/machines/{id}/cordon", post(cordons::cordon_machine))
        .route("/machines/{id}/uncordon", post(cordons::uncordon_machine))
        .route("/machines/{id}/forget", post(forget::forget_machine))
        .route("/machines/{id}/drain", get(drain::show_progress).post(drain::drain_machine))
        .route("/machines/{id}/drain/events", get(drain::follow_drain))
        .route("/cluster/init", post(cluster::begin_cluster))
        .route("/cluster/token", post(cluster::make_token))
        .route("/cluster/join", post(cluster::join_cluster))
        .route("/cluster/renew", post(cluster::renew_certificate))
        .route("/plan", get(lists::show_plan))
        .route("/inspect/machine", get(whole::show_machine))
        .route("/inspect/machines", get(whole::show_machines))
        .route("/inspect/records", get(whole::show_records))
        .nest("/reboot", reboot::reboot_routes())
        .route("/unfreeze", post(units::unfreeze_cluster))
        .route("/version", get(lists::show_version))
}
