//! A request to a daemon's API on its way, as data.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::http::{Method, Request, header};
use musterd::net::peer::FORWARDED;
use tokio::sync::{mpsc, oneshot};

/// A request to a daemon's API.
#[derive(Debug, Clone)]
pub(crate) struct ApiRequest {
    /// The method.
    pub(crate) method: Method,
    /// The path, with its query.
    pub(crate) path: String,
    /// The body, which is JSON where there is one.
    pub(crate) body: Vec<u8>,
    /// True if another daemon asks.
    pub(crate) is_forwarded: bool,
}

/// A request on its way, with the place for its answer.
#[derive(Debug)]
pub(crate) struct ApiCall {
    /// The machine whose daemon is asked.
    pub(crate) machine: usize,
    /// The request.
    pub(crate) request: ApiRequest,
    /// The place for its answer.
    pub(crate) pieces: mpsc::UnboundedSender<AnswerPiece>,
    /// Dropped when nothing is done about the request any more.
    pub(crate) handled: oneshot::Sender<Infallible>,
}

/// A piece of an answer.
#[derive(Debug)]
pub(crate) enum AnswerPiece {
    /// The status.
    Head(u16),
    /// A piece of the body.
    Body(Bytes),
    /// The body is over.
    End,
}

impl ApiRequest {
    /// A request with a body.
    pub(crate) fn post_to(path: impl Into<String>, body: &impl serde::Serialize) -> Self {
        // What has no JSON is sent as nothing, and refused.
        let body = serde_json::to_vec(body).unwrap_or_default();
        Self { method: Method::POST, path: path.into(), body, is_forwarded: false }
    }

    /// A request without a body.
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), body: Vec::new(), is_forwarded: false }
    }

    /// The request as the router takes it.
    pub(crate) fn into_http(self) -> Request<Body> {
        let mut request = Request::new(Body::from(self.body));
        *request.method_mut() = self.method;
        if let Ok(uri) = self.path.parse() {
            *request.uri_mut() = uri;
        }
        let headers = request.headers_mut();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
        if self.is_forwarded {
            headers.insert(FORWARDED, header::HeaderValue::from_static("1"));
        }
        request
    }
}
