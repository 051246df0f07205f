//! Streams that break off, end and fall silent, and what a follower does about it.

use std::cell::Cell;
use std::time::Duration;

use muster_client::{
    ApiRequest, Backoff, Client, ClientError, Followed, Follower, Limits, ResumableRequest,
};

use crate::server::{Reply, Server, events};

/// Far beyond what anything takes on a busy machine.
const TEST_LIMIT: Duration = Duration::from_secs(60);

/// A journal of which so much has been shown.
#[derive(Default)]
struct Journal {
    shown: Cell<usize>,
    give_up_after_silence: Option<Duration>,
}

impl ResumableRequest for Journal {
    fn resume_request(&self) -> Result<ApiRequest, ClientError> {
        Ok(ApiRequest::get(format!("/journal?from={}", self.shown.get())))
    }

    fn give_up_after(&self, _: &Limits) -> Option<Duration> {
        self.give_up_after_silence
    }
}

fn follower(server: &Server, silence: Duration) -> Follower {
    let limits = Limits::default().with_silence(silence);
    Follower::new(Client::new([server.endpoint().into()], limits), Backoff::new(1))
}

async fn next(follower: &mut Follower, journal: &Journal) -> Result<Followed, ClientError> {
    let step = tokio::time::timeout(TEST_LIMIT, follower.next_step(journal));
    step.await.expect("a follower that hangs")
}

/// Follows until so many events were seen; returns them, and why streams were lost meanwhile.
async fn follow_until(
    follower: &mut Follower,
    journal: &Journal,
    count: usize,
) -> (Vec<String>, Vec<ClientError>) {
    let (mut seen, mut lost) = (Vec::new(), Vec::new());
    while seen.len() < count {
        match next(follower, journal).await.unwrap() {
            Followed::Opened => {}
            Followed::Events(events) => {
                seen.extend(events);
                journal.shown.set(seen.len());
            }
            Followed::Lost { cause, retry_in, .. } => {
                assert!(retry_in <= Duration::from_secs(2), "{retry_in:?}");
                lost.push(cause);
            }
        }
    }
    (seen, lost)
}

#[tokio::test]
async fn a_stream_that_breaks_is_taken_up_where_it_was() {
    let server = Server::start(&[
        Reply::Close(events!("data: a\n\ndata: b\n\n")),
        // Nobody there for a moment, then a stream that ends within an event.
        Reply::Close(""),
        Reply::Close(events!("data: c\n\ndata: no")),
        Reply::Silence(events!("data: d\n\n")),
    ]);
    let journal = Journal::default();
    let mut follower = follower(&server, TEST_LIMIT);
    let (seen, lost) = follow_until(&mut follower, &journal, 4).await;
    assert_eq!(seen, ["a", "b", "c", "d"]);
    assert!(matches!(lost[0], ClientError::StreamEnded { .. }), "{lost:?}");
    assert!(matches!(lost[1], ClientError::Exchange { .. }), "{lost:?}");
    assert_eq!(
        server.request_lines(),
        [0, 2, 2, 3].map(|from| format!("GET /journal?from={from} HTTP/1.1"))
    );
}

#[tokio::test]
async fn a_stream_that_falls_silent_is_asked_for_again() {
    let server = Server::start(&[
        Reply::Silence(events!("data: a\n\n")),
        Reply::Silence(events!("data: b\n\n")),
    ]);
    let journal = Journal::default();
    let mut follower = follower(&server, Duration::from_millis(50));
    let (seen, lost) = follow_until(&mut follower, &journal, 2).await;
    assert_eq!(seen, ["a", "b"]);
    assert!(lost.iter().all(|cause| matches!(cause, ClientError::Silent { .. })), "{lost:?}");
}

#[tokio::test]
async fn a_daemon_that_shows_no_life_for_too_long_is_given_up() {
    let server = Server::start(&[Reply::Silence(events!(": nothing\n\n"))]);
    let silence = Duration::from_millis(50);
    let journal = Journal { give_up_after_silence: Some(silence), ..Journal::default() };
    let mut follower = follower(&server, silence);
    assert!(matches!(next(&mut follower, &journal).await.unwrap(), Followed::Opened));
    let error = next(&mut follower, &journal).await.unwrap_err();
    assert!(matches!(error, ClientError::Silent { .. }), "{error:?}");
}

#[tokio::test]
async fn a_refusal_is_the_callers_to_judge() {
    let server = Server::start(&[
        Reply::Close(
            "HTTP/1.1 404 Not Found\r\n\r\n{\"error\":{\"code\":404,\"message\":\"no such unit\"}}",
        ),
        Reply::Silence(events!("data: a\n\n")),
    ]);
    let journal = Journal::default();
    let mut follower = follower(&server, TEST_LIMIT);
    assert!(!next(&mut follower, &journal).await.unwrap_err().is_transient());
    // Whoever calls again all the same is served.
    assert_eq!(follow_until(&mut follower, &journal, 1).await.0, ["a"]);
}

#[tokio::test]
async fn a_step_that_is_cancelled_loses_nothing() {
    let server = Server::start(&[
        Reply::Close(events!("data: a\n\n")),
        Reply::Silence(events!("data: b\n\n")),
    ]);
    let journal = Journal::default();
    let mut follower = follower(&server, TEST_LIMIT);
    let mut seen = Vec::new();
    while seen.len() < 2 {
        // Cancelled at its first wait, again and again.
        let step = tokio::select! {
            biased;
            step = follower.next_step(&journal) => step.unwrap(),
            () = tokio::task::yield_now() => continue,
        };
        if let Followed::Events(events) = step {
            seen.extend(events);
        }
    }
    assert_eq!(seen, ["a", "b"]);
    assert_eq!(server.request_lines().len(), 2, "a request that was cancelled was sent again");
}
