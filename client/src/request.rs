//! A request to a daemon.
//!
//! Owns paths and bodies as they go over the wire. It sends nothing.

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::Serialize;

use crate::error::{ClientError, Operation};

/// One request, which can be sent any number of times.
#[derive(Debug, Clone)]
pub struct ApiRequest {
    pub(crate) operation: Arc<Operation>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl ApiRequest {
    /// Creates a request that reads; `path` begins with `/` and has its query, its variable parts escaped
    /// ([`escape_segment`]).
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path.into(), Bytes::new())
    }

    /// Creates a request that changes something and has a body of JSON.
    ///
    /// # Errors
    ///
    /// [`ClientError::Request`] if the body cannot be written as JSON.
    pub fn post_json<B: Serialize>(path: impl Into<String>, body: &B) -> Result<Self, ClientError> {
        let path = path.into();
        match serde_json::to_vec(body) {
            Ok(body) => Ok(Self::new(Method::POST, path, body.into())),
            Err(error) => {
                let operation = Arc::new(Operation { method: Method::POST, path });
                Err(ClientError::Request { operation, source: error.into() })
            }
        }
    }

    /// Creates a request that changes something and has no body.
    pub fn post_empty(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path.into(), Bytes::new())
    }

    /// Returns the request with one more header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    fn new(method: Method, path: String, body: Bytes) -> Self {
        let mut headers = HeaderMap::new();
        // Over TCP a daemon takes no change without it, be it one without a body.
        if method != Method::GET {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        Self { operation: Arc::new(Operation { method, path }), headers, body }
    }
}

/// Returns a segment of a path, or a value of a query, with everything escaped that means something in a URL.
pub fn escape_segment(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~@:".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_backslash_makes_a_path() {
        let path = format!("/v1/units/{}", escape_segment(r"dev-disk\x2d1@a:b.service"));
        assert_eq!(path, "/v1/units/dev-disk%5Cx2d1@a:b.service");
        assert!(path.parse::<http::Uri>().is_ok());
    }

    #[test]
    fn what_changes_something_says_that_it_is_json() {
        let kind = |request: &ApiRequest| request.headers.get(CONTENT_TYPE).cloned();
        assert_eq!(kind(&ApiRequest::get("/v1/states")), None);
        let empty = ApiRequest::post_empty("/v1/unfreeze");
        assert_eq!(kind(&empty).unwrap(), "application/json");
        assert_eq!(ApiRequest::post_json("/v1/units", &[1]).unwrap().body, "[1]");
    }
}
