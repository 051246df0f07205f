//! Which handler a request goes to.
//!
//! Owns the paths of a listener, and the answer where none leads to a handler. Every request is counted here.

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderValue, StatusCode, header};
use muster_runtime::Instant;

use super::app::App;
use super::error::ApiError;
use super::{fleet, fleetlock, health, rights, v1};
use crate::config::ServedParts;

/// The whole API.
pub fn api_router(app: App) -> Router {
    router_for(app, ServedParts::all_parts())
}

/// The parts of it that a listener serves. What it does not serve is not there: no path leads to it.
pub fn router_for(app: App, serves: ServedParts) -> Router {
    let mut router = Router::new();
    if serves.api {
        router = router.nest("/fleet/v1", fleet::fleet_routes());
        let routes = v1::v1_routes();
        let lost = if serves.fleetlock { fleetlock::lost_routes() } else { Router::new() };
        router = router.nest("/v1", routes.merge(lost));
    } else if serves.fleetlock {
        router = router.nest("/v1", fleetlock::lost_routes());
    }
    if serves.fleetlock {
        router = router.nest("/fleetlock", fleetlock::fleetlock_routes());
    }
    if serves.metrics {
        router = router.route("/healthz", get(health::show_health));
        router = router.route("/metrics", get(health::show_metrics));
    }
    router
        // Ours, not axum's: bodies are limited where they are read, with an error that says the limit.
        .layer(axum::extract::DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(app.clone(), rights::check_host))
        .layer(middleware::from_fn_with_state((app.clone(), serves), observe_request))
        .with_state(app)
}

/// Counts every request, and turns the router's own empty answers (no such path, no such method) into JSON errors.
async fn observe_request(
    State((app, serves)): State<(App, ServedParts)>,
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
    serves: ServedParts,
    plain: &Response,
) -> Response {
    let message = if plain.status() == StatusCode::NOT_FOUND {
        if serves == ServedParts::all_parts() {
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
