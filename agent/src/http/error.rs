//! The one error of both APIs.
//!
//! Owns status codes and the JSON shape, which is fleet's. The chain of causes is printed here and nowhere deeper.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use muster_common::api::fleet::{ErrorBody, ErrorDetail};
use muster_common::text::clean_text;
use muster_store::{RegistryError, StoreError};

use crate::stdx::errors::error_chain;
use crate::view::ViewError;

/// Seconds after which a client may ask again that was told that something is not to be had now: a store is elected anew,
/// and a crowd has gone, in less.
pub(crate) const RETRY_AFTER: u32 = 5;

/// The answer to a request that cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// The status.
    pub status: StatusCode,
    /// The problem and, where there is one, the way out. Empty where fleet says nothing more.
    pub message: String,
    /// A limit has done what it is for: in a flood that is no news for the log, and the metrics count it.
    is_limit: bool,
}

impl ApiError {
    /// Any status.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), is_limit: false }
    }

    /// 503: the client, or all of them, have as much as they may.
    pub fn over_limit(message: impl Into<String>) -> Self {
        Self { is_limit: true, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, message) }
    }

    /// 400: the request is at fault.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 404: what the request names is not there.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// 409: the cluster is not in the state the request needs.
    pub fn in_conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, message)
    }

    /// 502: another machine's daemon could not answer in our stead.
    pub fn bad_gateway(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, message)
    }
}

impl From<RegistryError> for ApiError {
    fn from(error: RegistryError) -> Self {
        let status = match &error {
            RegistryError::Store(error) => store_status(error),
            RegistryError::Contended { .. } => StatusCode::CONFLICT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error_chain(&error))
    }
}

fn store_status(error: &StoreError) -> StatusCode {
    match error {
        StoreError::Full { .. } => StatusCode::INSUFFICIENT_STORAGE,
        StoreError::Rejected { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    }
}

impl From<ViewError> for ApiError {
    fn from(error: ViewError) -> Self {
        match error {
            ViewError::Store(error) => error.into(),
            error @ ViewError::Future { .. } => Self::bad_request(error_chain(&error)),
            error => Self::new(StatusCode::SERVICE_UNAVAILABLE, error_chain(&error)),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        if self.status.is_server_error() && !self.is_limit {
            tracing::warn!(status = self.status.as_u16(), error = self.message, "request failed");
        }
        // What a client or a record says of itself is part of many a message, and a client may print them as they are.
        let message = clean_text(&self.message).to_string();
        let detail = ErrorDetail { code: self.status.as_u16(), message };
        let mut response = json(self.status, &ErrorBody { error: detail });
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER.into());
        }
        response
    }
}

/// A JSON answer.
pub(crate) fn json<T: serde::Serialize>(status: StatusCode, value: &T) -> Response {
    // Everything we serialize has string keys and no failing implementation, so this cannot fail; if it did, the
    // client would see an empty answer with an honest status.
    let (status, body) = match serde_json::to_vec(value) {
        Ok(body) => (status, body),
        Err(error) => {
            tracing::error!(%error, "an answer cannot be written as JSON");
            (StatusCode::INTERNAL_SERVER_ERROR, Vec::new())
        }
    };
    let content_type = HeaderValue::from_static("application/json");
    (status, [(header::CONTENT_TYPE, content_type)], body).into_response()
}
