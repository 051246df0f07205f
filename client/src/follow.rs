//! Following a daemon's events across the breaks of a stream.
//!
//! Owns the stream: when it is too silent, when it is taken up again, and when a daemon has been away for too long. What an
//! event means is its caller's to know.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::Instant;

use crate::answer::BodyStream;
use crate::backoff::Backoff;
use crate::client::Client;
use crate::error::ClientError;
use crate::limits::Limits;
use crate::liveness::Liveness;
use crate::request::ApiRequest;
use crate::sse::EventDecoder;

/// A stream that can be taken up where it was.
pub trait ResumableRequest {
    /// Returns the request that goes on from here.
    ///
    /// # Errors
    ///
    /// As [`ApiRequest::post_json`].
    fn resume_request(&self) -> Result<ApiRequest, ClientError>;

    /// Returns how long a daemon that went away is given to come back; `None` is for ever. It may just be restarted, and
    /// the stream can be taken up where it was.
    fn give_up_after(&self, limits: &Limits) -> Option<Duration> {
        Some(limits.request)
    }
}

/// A request that always begins anew.
impl ResumableRequest for ApiRequest {
    fn resume_request(&self) -> Result<ApiRequest, ClientError> {
        Ok(self.clone())
    }
}

/// A step of following.
#[derive(Debug)]
pub enum Followed {
    /// A stream stands.
    Opened,
    /// The data of the events that came together, at least one.
    Events(Vec<String>),
    /// There is no stream for the moment; the next step waits for `retry_in` and asks again.
    Lost {
        /// The cause.
        cause: ClientError,
        /// True if a stream stood until then.
        was_open: bool,
        /// Time until it is asked for again.
        retry_in: Duration,
    },
}

/// Follows one stream after the other.
pub struct Follower {
    client: Client,
    backoff: Backoff,
    liveness: Liveness,
    state: StreamState,
}

type OpeningStream = Pin<Box<dyn Future<Output = Result<BodyStream, ClientError>> + Send>>;

enum StreamState {
    /// There is none, and none is asked for before this time; `None`: at once.
    Closed(Option<Instant>),
    /// It has been asked for.
    Opening(OpeningStream),
    /// It stands.
    Open(BodyStream, EventDecoder),
}

impl Follower {
    /// Creates a follower that has asked for nothing yet.
    pub fn new(client: Client, backoff: Backoff) -> Self {
        let liveness = Liveness::new(client.request_limits().silence, Instant::now());
        Self { client, backoff, liveness, state: StreamState::Closed(None) }
    }

    /// Returns the next step. `stream` says what is asked for when there is no stream. Cancel safe: what was begun, be it a
    /// pause, a request or an event that is half there, goes on with the next call.
    ///
    /// # Errors
    ///
    /// A [`ClientError`] that no repetition mends, such as a refusal, or the last one of a daemon that has shown no sign of
    /// life for longer than [`ResumableRequest::give_up_after`]. Whoever calls again all the same waits for a pause and asks again.
    pub async fn next_step(
        &mut self,
        stream: &impl ResumableRequest,
    ) -> Result<Followed, ClientError> {
        loop {
            match &mut self.state {
                StreamState::Closed(until) => {
                    if let Some(until) = *until {
                        tokio::time::sleep_until(until).await;
                    }
                    let (client, request) = (self.client.clone(), stream.resume_request()?);
                    self.state =
                        StreamState::Opening(Box::pin(async move { client.open(&request).await }));
                }
                StreamState::Opening(opening) => match opening.await {
                    Ok(body) => {
                        self.liveness.on_opened(Instant::now());
                        self.state = StreamState::Open(body, EventDecoder::default());
                        return Ok(Followed::Opened);
                    }
                    Err(cause) => return self.on_lost(cause, false, stream),
                },
                StreamState::Open(body, decoder) => {
                    let silent_at = self.liveness.silent_at();
                    let piece = tokio::time::timeout_at(silent_at, body.next_piece()).await;
                    let lost = match piece {
                        Ok(Ok(Some(piece))) => {
                            self.liveness.on_piece(Instant::now());
                            match decoder.push(&piece) {
                                Ok(events) if events.is_empty() => continue,
                                Ok(events) => return Ok(Followed::Events(events)),
                                Err(error) => error.into(),
                            }
                        }
                        Ok(Ok(None)) => ClientError::StreamEnded { route: body.answering_route() },
                        Ok(Err(error)) => error,
                        Err(_) => {
                            let silence = self.client.request_limits().silence;
                            ClientError::Silent { route: body.answering_route(), silence }
                        }
                    };
                    return self.on_lost(lost, true, stream);
                }
            }
        }
    }

    /// Returns whether a stream stands.
    pub fn is_open(&self) -> bool {
        matches!(self.state, StreamState::Open(..))
    }

    /// Gives the present stream up; the next step asks for another one at once.
    pub fn reopen_now(&mut self) {
        self.liveness.on_ended(Instant::now(), false);
        self.state = StreamState::Closed(None);
    }

    /// Begins with the shortest pause again, where the caller knows that the last stream was worth asking for. One that
    /// stood for a second is so by itself.
    pub fn reset_backoff(&mut self) {
        self.backoff.reset();
    }

    fn on_lost(
        &mut self,
        cause: ClientError,
        was_open: bool,
        stream: &impl ResumableRequest,
    ) -> Result<Followed, ClientError> {
        let now = Instant::now();
        let fell_silent = matches!(cause, ClientError::Silent { .. });
        if self.liveness.on_ended(now, fell_silent) {
            self.backoff.reset();
        }
        let retry_in = self.backoff.next_pause();
        self.state = StreamState::Closed(Some(now + retry_in));
        let limit = stream.give_up_after(self.client.request_limits());
        let given_up = limit.is_some_and(|limit| self.liveness.quiet_for(now) >= limit);
        if given_up || !cause.is_transient() {
            return Err(cause);
        }
        Ok(Followed::Lost { cause, was_open, retry_in })
    }
}
