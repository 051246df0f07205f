//! When a connection gives an endpoint up.

use async_trait::async_trait;
use futures::FutureExt as _;
use muster_common::probe::plant_fault;

use super::*;

#[test]
fn calls_that_waited_together_count_once() {
    let zero = Instant::now();
    let at = |millis| zero + Duration::from_millis(millis);
    let mut unanswered = Unanswered::default();
    unanswered.add(at(0), at(100));
    unanswered.add(at(50), at(100));
    unanswered.add(at(90), at(150));
    // Nothing was asked for an hour.
    unanswered.add(at(3_600_000), at(3_600_010));
    assert_eq!(unanswered.waited, Duration::from_millis(160));
}

/// Members that never answer; it remembers who was asked.
struct SilentMembers(Arc<Mutex<Vec<String>>>);

#[async_trait]
impl EtcdTransport for SilentMembers {
    async fn connect(
        &self,
        endpoint: &str,
    ) -> Result<(Arc<dyn MemberConnection>, EtcdUsers), EtcdError> {
        self.0.lock().unwrap().push(endpoint.to_owned());
        std::future::pending().await
    }
}

/// The endpoints that are asked by two callers who lose their patience at once, where a keepalive may take so long.
fn endpoints_asked_with(patience: Option<Duration>) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let asked = Arc::new(Mutex::default());
    let transport = Box::new(SilentMembers(Arc::clone(&asked)));
    let endpoints = vec!["a".to_owned(), "b".to_owned()];
    let connection = Connection::new(endpoints, transport, Liveness::default(), Seed(1)).unwrap();
    if let Some(patience) = patience {
        connection.set_patience(patience);
    }
    runtime.block_on(async {
        for _ in 0..2 {
            assert!(connection.borrow_client().now_or_never().is_none());
        }
    });
    std::mem::take(&mut *asked.lock().unwrap())
}

/// True if other endpoints are asked once a rule is left out.
fn fails_without(planted: &'static str, patience: Option<Duration>, expected: [&str; 2]) -> bool {
    plant_fault(Some(planted));
    let asked = endpoints_asked_with(patience);
    plant_fault(None);
    asked != expected
}

#[test]
fn a_call_that_its_caller_drops_says_nothing_of_the_endpoint() {
    assert_eq!(endpoints_asked_with(None), ["a", "a"]);
    assert!(fails_without("dropped-call-blames-endpoint", None, ["a", "a"]));
}

#[test]
fn an_endpoint_that_is_silent_for_longer_than_a_keepalive_may_take_is_given_up() {
    let patience = Some(Duration::ZERO);
    assert_eq!(endpoints_asked_with(patience), ["a", "b"]);
    assert!(fails_without("dropped-calls-outlast-lease", patience, ["a", "b"]));
}
