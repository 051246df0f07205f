//! The bodies of requests.
//!
//! Owns the limits of every body that is read, whosever request it is: so many bytes, in so much time.

use std::pin::pin;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use muster_runtime::Instant;

/// The time a client may take to send a whole body, be it byte by byte: as long as for a head, see `serve`. The largest
/// body of the default limit comes over two megabits a second in that time.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// A body that is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BodyError {
    /// It is too large.
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    /// It took too long.
    #[error("the whole body did not come within {} s", BODY_TIMEOUT.as_secs())]
    TooSlow,
    /// It ended before its end.
    #[error("the body broke off: {0}")]
    Broken(String),
}

impl BodyError {
    /// The status code that HTTP has for it.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Broken(_) => StatusCode::BAD_REQUEST,
        }
    }
}

/// Reads a whole body of at most `limit` bytes.
pub(super) async fn read_whole(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
) -> Result<Bytes, BodyError> {
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(BodyError::TooLarge(limit));
    }
    let deadline = Instant::now() + BODY_TIMEOUT;
    let mut rest = pin!(Limited::new(body, limit));
    let mut whole = BytesMut::new();
    loop {
        match muster_runtime::timeout_at(deadline, rest.frame()).await {
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    whole.extend_from_slice(&data);
                }
            }
            Ok(None) => return Ok(whole.freeze()),
            Ok(Some(Err(error))) if error.downcast_ref::<LengthLimitError>().is_some() => {
                return Err(BodyError::TooLarge(limit));
            }
            Ok(Some(Err(error))) => return Err(BodyError::Broken(error.to_string())),
            Err(_) => return Err(BodyError::TooSlow),
        }
    }
}
