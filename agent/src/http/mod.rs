//! The HTTP API: fleet's under `/fleet/v1`, ours under `/v1`, FleetLock under `/fleetlock/v1`, `/healthz` and `/metrics`.
//!
//! Owns requests and answers: paths, limits, errors, and what a handler needs. It decides nothing about units: that
//! is `change`, `wait` and the engine. The unix socket is served all of it, a TCP listener what it is configured for.

mod body;
pub mod error;
mod events;
pub(crate) mod extract;
mod fleet;
mod fleetlock;
mod health;
mod v1;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderValue, StatusCode, header};
use muster_common::machine::MachineId;
use muster_common::reboot::Group;
use muster_store::Registry;
use tokio_util::sync::CancellationToken;

use crate::config::Serves;
use crate::inspect::Inspector;
use crate::net::limits::TURN;
use crate::net::quota::{Caller, Full, Quota, Quotas, Ticket};
use crate::reboot::Lock;
use crate::telemetry::health::Health;
use crate::telemetry::metrics::Metrics;
use crate::view::View;
use error::ApiError;

/// How long a request about slots tries for an answer: less than `musterctl` waits for one by default. Whoever is told that
/// the store is away may ask again.
pub const SLOT_LIMIT: Duration = Duration::from_secs(8);

/// What handlers work with.
pub struct Parts {
    /// The store.
    pub registry: Registry,
    /// The cluster, live.
    pub view: View,
    /// This machine.
    pub machine: MachineId,
    /// Its address, as it registers itself.
    pub address: String,
    /// How the daemon is.
    pub health: Health,
    /// What has been counted.
    pub metrics: Metrics,
    /// Status and journal of units on this machine.
    pub inspector: Inspector,
    /// The slots of rolling reboots; all of a daemon go through one.
    pub lock: Lock,
    /// The reboot group of this machine.
    pub group: Group,
    /// How long a request may try for an answer about slots; see [`SLOT_LIMIT`].
    pub slot_limit: Duration,
    /// Entries on a page of fleet's API.
    pub token_limit: u16,
    /// Most bytes of a request body.
    pub body_limit: usize,
    /// Cancelled when the daemon stops: streams end.
    pub shutdown: CancellationToken,
}

/// Shared by all handlers. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Parts>, Quotas);

impl App {
    /// Puts the parts behind one handle.
    pub fn new(parts: Parts) -> Self {
        Self::with_quotas(parts, Quotas::default())
    }

    /// The same with other numbers for what clients may hold.
    pub fn with_quotas(parts: Parts, quotas: Quotas) -> Self {
        Self(Arc::new(parts), quotas)
    }

    fn quotas(&self) -> &Quotas {
        &self.1
    }

    /// One of what clients may have some of, if there is one.
    fn take(&self, quota: &Quota, caller: Caller) -> Result<Ticket, ApiError> {
        quota.take(caller).map_err(|full| self.refused(quota, full))
    }

    /// The same, if there is one soon.
    async fn turn(&self, quota: &Quota, caller: Caller) -> Result<Ticket, ApiError> {
        quota.wait(caller, TURN).await.map_err(|full| self.refused(quota, full))
    }

    fn refused(&self, quota: &Quota, full: Full) -> ApiError {
        self.metrics.count_refusal(quota.reason);
        full.into()
    }

    fn body_limit(&self) -> usize {
        self.0.body_limit
    }
}

impl std::ops::Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// The whole API.
pub fn router(app: App) -> Router {
    router_of(app, Serves::all_parts())
}

/// The parts of it that a listener serves. What it does not serve is not there: no path leads to it.
pub fn router_of(app: App, serves: Serves) -> Router {
    let mut router = Router::new();
    if serves.api {
        router = router.nest("/fleet/v1", fleet::routes());
        let routes = v1::routes();
        let lost = if serves.fleetlock { fleetlock::lost_routes() } else { Router::new() };
        router = router.nest("/v1", routes.merge(lost));
    } else if serves.fleetlock {
        router = router.nest("/v1", fleetlock::lost_routes());
    }
    if serves.fleetlock {
        router = router.nest("/fleetlock", fleetlock::routes());
    }
    if serves.metrics {
        router = router.route("/healthz", get(health::healthz));
        router = router.route("/metrics", get(health::metrics));
    }
    router
        // Ours, not axum's: bodies are limited where they are read, with an error that says the limit.
        .layer(axum::extract::DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state((app.clone(), serves), observe))
        .with_state(app)
}

/// Counts every request, and turns the router's own empty answers (no such path, no such method) into JSON errors.
async fn observe(
    State((app, serves)): State<(App, Serves)>,
    request: Request,
    next: Next,
) -> Response {
    let began = Instant::now();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "none".to_owned(), |route| route.as_str().to_owned());
    let response = next.run(request).await;
    let mut response = match response.status() {
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED
            if !response.headers().contains_key(header::CONTENT_TYPE) =>
        {
            explain_routing(&method, &path, serves, &response)
        }
        _ => response,
    };
    no_sniffing(&mut response);
    app.metrics.count_request(&route, method.as_str(), response.status().as_u16());
    tracing::debug!(
        %method,
        path,
        status = response.status().as_u16(),
        micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
        "request"
    );
    response
}

/// No browser is to find out for itself what an answer is: a log can hold a page.
pub(crate) fn no_sniffing(response: &mut Response) {
    let value = HeaderValue::from_static("nosniff");
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, value);
}

fn explain_routing(
    method: &http::Method,
    path: &str,
    serves: Serves,
    plain: &Response,
) -> Response {
    let message = if plain.status() == StatusCode::NOT_FOUND {
        if serves == Serves::all_parts() {
            format!("there is nothing at {path}")
        } else {
            format!(
                "this listener serves {serves} and nothing else (http.listener): {path} is not among it"
            )
        }
    } else {
        // The router adds the Allow header to whatever leaves this layer.
        format!("{method} is not supported by {path}; the Allow header says what is")
    };
    ApiError::new(plain.status(), message).into_response()
}
