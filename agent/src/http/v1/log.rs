//! Logs on their way to a client.
//!
//! Owns their end: a log that is not followed is so long and takes so long at the most, and says so where it was cut; and
//! what a stream holds is given back when it ends or its reader goes.

use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::{BufMut as _, Bytes, BytesMut};
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use http::header;
use muster_runtime::Instant;

/// Most bytes of a log that is not followed: a quarter of a million lines, more than anybody reads, and a second's work
/// for a disk.
const LOG_BYTES: usize = 32 * 1024 * 1024;

/// The time one may take: what that many bytes take over a megabit a second.
const LOG_TIMEOUT: Duration = Duration::from_secs(300);

/// By how much a log that is passed on may be longer than one of our own: the words in which the other daemon says that it
/// has cut it.
const NOTICE_BYTES: usize = 4096;

/// The limits of a log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    bytes: usize,
    time: Duration,
}

impl Bounds {
    /// Of a log that is read here.
    pub(super) fn own_log() -> Self {
        Self { bytes: LOG_BYTES, time: LOG_TIMEOUT }
    }

    /// Of one that another daemon sends.
    pub(super) fn other_log() -> Self {
        Self { bytes: LOG_BYTES + NOTICE_BYTES, time: LOG_TIMEOUT }
    }
}

/// The same log, no longer than its bounds.
pub(super) fn bounded_log(
    log: BoxStream<'static, std::io::Result<Bytes>>,
    bounds: Bounds,
) -> BoxStream<'static, std::io::Result<Bytes>> {
    let deadline = Instant::now() + bounds.time;
    let state = Some((log, bounds.bytes));
    stream::unfold(state, move |state| async move {
        let (mut log, left) = state?;
        match muster_runtime::timeout_at(deadline, log.next()).await {
            Ok(None) => None,
            Ok(Some(Ok(piece))) if piece.len() <= left => {
                let left = left - piece.len();
                Some((Ok(piece), Some((log, left))))
            }
            Ok(Some(Ok(piece))) => {
                let mut last = BytesMut::from(piece.get(..left).unwrap_or_default());
                last.put_slice(&cut_line(&format!("it is longer than {} bytes", bounds.bytes)));
                Some((Ok(last.freeze()), None))
            }
            Ok(Some(Err(error))) => Some((Err(error), None)),
            Err(_) => {
                let why = format!("it took longer than {} s", bounds.time.as_secs());
                Some((Ok(Bytes::from(cut_line(&why))), None))
            }
        }
    })
    .boxed()
}

/// The last line of a log that goes on.
fn cut_line(why: &str) -> Vec<u8> {
    format!("\n-- the log is cut here: {why}; ask for fewer lines, or follow it --\n").into_bytes()
}

/// The answer. What is held for it is given back at its end.
pub(super) fn text_answer<T: Send + 'static>(
    log: BoxStream<'static, std::io::Result<Bytes>>,
    held: T,
) -> Response {
    answer_as("text/plain; charset=utf-8", log, held)
}

/// The answer that is a stream of events.
pub(super) fn event_answer<T: Send + 'static>(
    log: BoxStream<'static, std::io::Result<Bytes>>,
    held: T,
) -> Response {
    answer_as("text/event-stream", log, held)
}

fn answer_as<T: Send + 'static>(
    kind: &'static str,
    log: BoxStream<'static, std::io::Result<Bytes>>,
    held: T,
) -> Response {
    let log = log.map(move |piece| {
        let _ = &held;
        piece
    });
    let headers = [(header::CONTENT_TYPE, kind)];
    (headers, Body::from_stream(log)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn whole(log: BoxStream<'static, std::io::Result<Bytes>>) -> String {
        let pieces: Vec<Bytes> = log.map(Result::unwrap).collect().await;
        String::from_utf8(pieces.concat()).unwrap()
    }

    fn pieces(count: usize) -> BoxStream<'static, std::io::Result<Bytes>> {
        stream::iter((0..count).map(|_| Ok(Bytes::from_static(b"0123\n")))).boxed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_ends_at_its_bounds_and_says_so() {
        let bounds = Bounds { bytes: 12, time: Duration::from_secs(9) };
        assert_eq!(whole(bounded_log(pieces(2), bounds)).await, "0123\n0123\n");
        let text = whole(bounded_log(pieces(1_000_000), bounds)).await;
        let (log, said) = text.split_once("\n-- ").unwrap();
        assert_eq!(log, "0123\n0123\n01");
        assert!(said.starts_with("the log is cut here: it is longer than 12 bytes"), "{said}");
        let slow = pieces(1).chain(stream::pending()).boxed();
        let text = whole(bounded_log(slow, bounds)).await;
        assert!(text.contains("cut here: it took longer than 9 s"), "{text}");
    }
}
