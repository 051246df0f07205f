//! `/healthz` and `/metrics`.
//!
//! Owns what counts as healthy: the store answers, the machine is registered, its runner is connected, and its
//! placements are known.

use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde::Serialize;

use super::app::App;
use super::error::{ApiError, json};
use crate::reboot::group_gauges;
use crate::telemetry::metrics::ClusterCounts;

/// The time a scrape waits for the first reading of the reboots, which is made when it is the first for long.
const FIRST_READING: Duration = Duration::from_secs(1);

/// The answer of `/healthz`.
#[derive(Serialize)]
struct HealthAnswer {
    healthy: bool,
    /// The problems, one sentence each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
    /// The things that work and should be looked after all the same, one sentence each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    machine: String,
    leading: bool,
    /// Machines whose units are not placed anew because too many vanished together.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    held: Vec<String>,
    version: &'static str,
}

pub(super) async fn show_health(State(app): State<App>) -> Response {
    let status = app.health.status();
    let reasons: Vec<String> = status
        .required_components()
        .filter(|(_, part)| !part.ok)
        .map(|(name, part)| {
            format!("{name}: {}", part.problem.as_deref().unwrap_or("not ready yet"))
        })
        .collect();
    let code = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let answer = HealthAnswer {
        healthy: reasons.is_empty(),
        reasons,
        warnings: app.registry.store_warnings(),
        machine: app.machine.to_string(),
        leading: status.leading,
        held: status.held.iter().map(ToString::to_string).collect(),
        version: env!("CARGO_PKG_VERSION"),
    };
    json(code, &answer)
}

pub(super) async fn show_metrics(State(app): State<App>) -> Result<Response, ApiError> {
    // The leader speaks for the cluster; the others are spared following it for the sake of a scrape.
    let mut counts = None;
    if app.health.status().leading {
        counts = app.view.fresh_reader().await.ok().map(|reader| {
            reader.with_cluster(|cluster| ClusterCounts {
                unplaced: cluster.plan().refused.len(),
                machines: cluster.current_snapshot().machines.len(),
                units: cluster.current_snapshot().units.len(),
            })
        });
    }
    let latest = app.lock.latest_records(FIRST_READING).await;
    let reboots = latest.map(|records| group_gauges(&records, app.health.status().leading));
    let text = app
        .metrics
        .render(counts, reboots.as_ref())
        .map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}
