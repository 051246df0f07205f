//! A daemon's answer, as it comes or as a whole.
//!
//! Owns the bounds of what is read and the meaning of an answer that is no success. It never asks again.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use http::{Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Incoming};
use muster_common::api::fleet::ErrorBody;
use serde::de::DeserializeOwned;

use crate::connect::Route;
use crate::error::{ClientError, Operation};

/// The head of an answer, and its body still to be read. Dropped, it closes the connection.
#[derive(Debug)]
pub struct Answer {
    status: StatusCode,
    body: BodyStream,
}

/// A body that arrives piece by piece. Dropped, it closes the connection.
#[derive(Debug)]
pub struct BodyStream {
    body: Incoming,
    route: Arc<Route>,
    operation: Arc<Operation>,
}

impl Answer {
    pub(crate) fn new(
        response: Response<Incoming>,
        route: Arc<Route>,
        operation: Arc<Operation>,
    ) -> Self {
        let status = response.status();
        Self { status, body: BodyStream { body: response.into_body(), route, operation } }
    }

    /// Returns the HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the body, to be read as it comes, whatever the status is.
    pub fn into_body(self) -> BodyStream {
        self.body
    }

    /// Returns the answer if it is a success; reads and tells what it is otherwise, of at most `max_bytes`.
    ///
    /// # Errors
    ///
    /// [`ClientError::Refused`] with the daemon's words, [`ClientError::UnknownPath`] or [`ClientError::NotDaemon`] where
    /// another program answered, or what went wrong while that was read.
    pub async fn into_success(self, max_bytes: usize) -> Result<Self, ClientError> {
        if self.status.is_success() { Ok(self) } else { Err(self.read_refusal(max_bytes).await) }
    }

    /// Reads a body of JSON of at most `max_bytes`, whatever the status is. It takes as long as the daemon takes.
    ///
    /// # Errors
    ///
    /// [`ClientError::NotDaemon`] if it is something else, [`ClientError::TooLarge`] if it is longer, or what broke off.
    pub async fn read_json<T: DeserializeOwned>(self, max_bytes: usize) -> Result<T, ClientError> {
        let status = self.status;
        let (route, operation) = (self.body.route.clone(), self.body.operation.clone());
        let body = self.body.read_whole(max_bytes).await?;
        serde_json::from_slice(&body).map_err(|source| ClientError::NotDaemon {
            route,
            operation,
            status,
            source,
        })
    }

    /// Returns the meaning of an answer other than success. A path under `/v1/units/`, `/v1/machines/` or `/v1/reboot` that is not
    /// found may be a unit, a machine or a group that does not exist; any other is a server that is not ours.
    async fn read_refusal(self, max_bytes: usize) -> ClientError {
        let status = self.status;
        let (route, operation) = (self.body.route.clone(), self.body.operation.clone());
        let body = match self.body.read_whole(max_bytes).await {
            Ok(body) => body,
            Err(error) => return error,
        };
        let missing = matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED);
        match serde_json::from_slice::<ErrorBody>(&body) {
            Ok(body) if missing && !names_something(status, &operation.path, &body) => {
                ClientError::UnknownPath { route, operation }
            }
            Ok(body) => {
                ClientError::Refused { route, operation, status, message: body.error.message }
            }
            Err(_) if missing => ClientError::UnknownPath { route, operation },
            Err(source) => ClientError::NotDaemon { route, operation, status, source },
        }
    }
}

impl BodyStream {
    /// Returns the next piece; `None` at the end. Cancel safe: a piece is only taken out when it is returned.
    ///
    /// # Errors
    ///
    /// [`ClientError::Exchange`] if the connection breaks.
    pub async fn next_piece(&mut self) -> Result<Option<Bytes>, ClientError> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await.transpose()
    }

    /// Returns the next piece if it comes within `silence`; `None` at the end. Cancel safe as [`Self::next_piece`].
    ///
    /// # Errors
    ///
    /// [`ClientError::Silent`] if it does not come, [`ClientError::Exchange`] if the connection breaks.
    pub async fn next_piece_within(
        &mut self,
        silence: Duration,
    ) -> Result<Option<Bytes>, ClientError> {
        match tokio::time::timeout(silence, self.next_piece()).await {
            Ok(piece) => piece,
            Err(_) => Err(ClientError::Silent { route: self.answering_route(), silence }),
        }
    }

    /// Reads all of it. It takes as long as the daemon takes.
    ///
    /// # Errors
    ///
    /// [`ClientError::TooLarge`] if it has more than `max_bytes`, [`ClientError::Exchange`] if the connection breaks.
    pub async fn read_whole(self, max_bytes: usize) -> Result<Bytes, ClientError> {
        let Self { body, route, operation } = self;
        match collect_bounded(body, max_bytes).await {
            Ok(Some(body)) => Ok(body),
            Ok(None) => Err(ClientError::TooLarge { route, operation, limit: max_bytes }),
            Err(source) => Err(ClientError::Exchange { route, operation, source }),
        }
    }

    /// The daemon that sends it.
    pub(crate) fn answering_route(&self) -> Arc<Route> {
        self.route.clone()
    }
}

impl Stream for BodyStream {
    type Item = Result<Bytes, ClientError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let stream = self.get_mut();
        loop {
            let frame = ready!(Pin::new(&mut stream.body).poll_frame(context));
            return Poll::Ready(match frame {
                None => None,
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => Some(Ok(data)),
                    // Trailers.
                    Err(_) => continue,
                },
                Some(Err(source)) => {
                    let (route, operation) = (stream.route.clone(), stream.operation.clone());
                    Some(Err(ClientError::Exchange { route, operation, source }))
                }
            });
        }
    }
}

/// A whole body, or nothing if it has more than `max_bytes`.
async fn collect_bounded<B: Body<Data = Bytes> + Unpin>(
    mut body: B,
    max_bytes: usize,
) -> Result<Option<Bytes>, B::Error> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if whole.len() + data.len() > max_bytes {
            return Ok(None);
        }
        whole.extend_from_slice(&data);
    }
    Ok(Some(whole.freeze()))
}

/// Returns whether what is missing may be what the path or the body names, and not the path itself.
fn names_something(status: StatusCode, path: &str, body: &ErrorBody) -> bool {
    // A listener that serves other things than this says so itself, and what it serves.
    if body.error.message.starts_with("this listener serves ") {
        return true;
    }
    if path.starts_with("/v1/reboot") || path.starts_with("/v1/machines/") {
        return status == StatusCode::NOT_FOUND
            && !body.error.message.starts_with("there is nothing at ");
    }
    path.starts_with("/v1/units/") && !body.error.message.starts_with("there is nothing at ")
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    #[tokio::test]
    async fn an_answer_that_goes_on_and_on_is_given_up() {
        let body = |bytes: usize| Full::new(Bytes::from(vec![b' '; bytes]));
        let length = collect_bounded(body(8), 8).await.unwrap().map(|body| body.len());
        assert_eq!(length, Some(8));
        assert_eq!(collect_bounded(body(9), 8).await.unwrap(), None);
    }
}
