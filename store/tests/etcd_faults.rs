//! What becomes of the store when etcd is paused, killed, cut in half or full.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what fails in a test is to fail it"
)]

#[allow(dead_code, reason = "other tests share it and use more of it")]
mod support;

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use muster_store::{
    CommitOutcome, EtcdOptions, Guard, KeyValue, LeaseId, Listing, Liveness, Op, Range, Store,
    StoreError, Watch, WatchEvent, open_etcd,
};
use support::etcd::{Server, cluster};
use support::forger::Forger;
use support::{eventually, next, open, open_patiently, within};

fn everything() -> Range {
    Range::Prefix("/".to_owned())
}

fn put(key: &str, value: &str) -> Op {
    Op::Put { key: key.to_owned(), value: value.to_owned().into(), lease: None }
}

fn put_under(key: &str, lease: LeaseId) -> Op {
    Op::Put { key: key.to_owned(), value: "".into(), lease: Some(lease) }
}

/// Reads until there is an answer: a server that was paused or begins may need longer than a call.
async fn read(store: &dyn Store, range: Range) -> Vec<KeyValue> {
    let range = &range;
    let answer = eventually("an answer", || async { store.read(range.clone()).await.ok() });
    answer.await.entries
}

/// Writes until it is certain that it is written.
async fn write(store: &dyn Store, key: &str) {
    eventually("a write", || async {
        matches!(store.commit(vec![], vec![put(key, "")]).await, Ok(CommitOutcome::Done { .. }))
            .then_some(())
    })
    .await;
}

async fn reset(watch: &mut Watch) -> Listing {
    loop {
        match next(watch).await {
            WatchEvent::Reset(listing) => return listing,
            WatchEvent::Lost { .. } | WatchEvent::Progress { .. } | WatchEvent::Changes { .. } => {}
        }
    }
}

async fn lost(watch: &mut Watch) {
    while !matches!(next(watch).await, WatchEvent::Lost { .. }) {}
}

/// A lease that nobody but the test ends.
const LONG: Duration = Duration::from_secs(600);

/// Asks until it is certain that the lease is prolonged. The members that are left may be electing.
async fn kept_alive(store: &dyn Store, lease: LeaseId) {
    eventually("a keepalive", || async {
        match store.keep_alive(lease).await {
            Ok(_) => Some(()),
            Err(StoreError::Unavailable { .. }) => None,
            Err(error) => panic!("{error:?}"),
        }
    })
    .await;
}

/// Waits until a key is seen, in whatever way.
async fn seen(watch: &mut Watch, key: &str) {
    loop {
        let found = match next(watch).await {
            WatchEvent::Reset(listing) => listing.entries.iter().any(|e| e.key == key),
            WatchEvent::Changes { changes, .. } => changes.iter().any(|c| c.key() == key),
            WatchEvent::Progress { .. } | WatchEvent::Lost { .. } => false,
        };
        if found {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_server_is_lost_and_found() {
    let server = Server::start(None).await;
    let store = open(&[server.endpoint()]).await;
    let mut watch = store.watch(everything());
    reset(&mut watch).await;
    server.pause();
    let error = store.read(everything()).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    lost(&mut watch).await;
    server.resume();
    let listing = reset(&mut watch).await;
    assert_eq!(listing.entries, read(&*store, everything()).await);
    write(&*store, "/after").await;
    seen(&mut watch, "/after").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_is_lost_and_found() {
    let server = Server::start(None).await;
    let store = open(&[server.endpoint()]).await;
    write(&*store, "/before").await;
    let mut watch = store.watch(everything());
    reset(&mut watch).await;
    server.kill();
    lost(&mut watch).await;
    let error = store.commit(vec![], vec![put("/never", "")]).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "nothing was sent: {error:?}");
    server.launch();
    let listing = reset(&mut watch).await;
    assert_eq!(listing.entries, read(&*store, everything()).await);
    assert_eq!(listing.entries.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_at_the_endpoint_at_the_start_is_an_error_and_then_is_not() {
    let server = Server::start(None).await;
    server.kill();
    let store = open(&[server.endpoint()]).await;
    let error = store.read(everything()).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    let mut watch = store.watch(everything());
    lost(&mut watch).await;
    server.launch();
    assert!(reset(&mut watch).await.entries.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_one_member_of_three_gone_the_others_serve() {
    let servers = cluster().await;
    let endpoints: Vec<String> = servers.iter().map(Server::endpoint).collect();
    let store = open(&endpoints).await;
    let mut watch = store.watch(everything());
    reset(&mut watch).await;
    let lease = eventually("a grant", || async { store.grant(LONG).await.ok() }).await;
    // Each member in turn, so the one in use and the one that leads are among them; paused, then killed.
    for (n, server) in servers.iter().enumerate() {
        server.pause();
        let key = format!("/paused{n}");
        write(&*store, &key).await;
        seen(&mut watch, &key).await;
        kept_alive(&*store, lease.id).await;
        server.resume();
    }
    for (n, server) in servers.iter().enumerate() {
        server.kill();
        let key = format!("/killed{n}");
        write(&*store, &key).await;
        seen(&mut watch, &key).await;
        server.launch();
        server.ready().await;
    }
    assert_eq!(read(&*store, everything()).await.len(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_quorum_nothing_is_written_and_the_watch_says_so() {
    let servers = cluster().await;
    // The only endpoint known is that of the member that stays alone.
    let store = open(&[servers[0].endpoint()]).await;
    let mut watch = store.watch(everything());
    reset(&mut watch).await;
    servers[1].kill();
    servers[2].kill();
    lost(&mut watch).await;
    let refused = store.commit(vec![], vec![put("/alone", "")]).await.unwrap_err();
    let unanswered = |error: &StoreError| {
        matches!(error, StoreError::Unavailable { .. } | StoreError::Ambiguous { .. })
    };
    assert!(unanswered(&refused), "{refused:?}");
    assert!(unanswered(&store.read(everything()).await.unwrap_err()));
    servers[1].launch();
    let listing = reset(&mut watch).await;
    assert!(listing.entries.iter().all(|e| e.key != "/alone" || unanswered(&refused)));
    write(&*store, "/together").await;
    seen(&mut watch, "/together").await;
}

/// Counters are raised by several writers, whose every commit may go unanswered, while the server is paused and killed
/// again and again. What was acknowledged is there, once; only what is in doubt may be there or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_increment_is_lost_or_doubled() {
    const WRITERS: usize = 4;
    const INCREMENTS: u64 = 60;
    let server = Arc::new(Server::start(None).await);
    let store = open(&[server.endpoint()]).await;
    let writers = (0..WRITERS).map(|writer| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let (mut certain, mut doubtful) = (0, 0);
            while certain + doubtful < INCREMENTS {
                let Ok(listing) = store.read(Range::Key("/counter".to_owned())).await else {
                    continue;
                };
                let found = listing.entries.first();
                let text = found.map_or("0", |r| std::str::from_utf8(&r.value).unwrap());
                let count: u64 = text.split(' ').next().unwrap().parse().unwrap();
                let revision = found.map_or(0, |r| r.mod_revision);
                let guard = Guard::Modified { key: "/counter".to_owned(), revision };
                // Unlike what anyone else writes.
                let value = format!("{} {writer}/{certain}/{doubtful}", count + 1);
                match store.commit(vec![guard], vec![put("/counter", &value)]).await {
                    Ok(CommitOutcome::Done { .. }) => certain += 1,
                    Ok(CommitOutcome::Conflict { .. }) | Err(StoreError::Unavailable { .. }) => {}
                    Err(StoreError::Ambiguous { .. }) => doubtful += 1,
                    Err(other) => panic!("{other:?}"),
                }
            }
            (certain, doubtful)
        })
    });
    let writers: Vec<_> = writers.collect();
    let count = |store: Arc<dyn Store>| async move {
        let found = store.read(Range::Key("/counter".to_owned())).await.ok()?.entries.pop()?;
        let text = std::str::from_utf8(&found.value).unwrap().to_owned();
        text.split(' ').next().unwrap().parse::<u64>().ok()
    };
    for round in 1..=4 {
        // Some progress, then a fault in the midst of it.
        eventually("some progress", || async {
            let now = count(Arc::clone(&store)).await?;
            (now >= round * 20 || writers.iter().all(tokio::task::JoinHandle::is_finished))
                .then_some(())
        })
        .await;
        if round % 2 == 0 {
            server.kill();
            server.launch();
        } else {
            server.pause();
            let unanswered = store.read(everything()).await;
            assert!(unanswered.is_err());
            server.resume();
        }
    }
    let (mut certain, mut doubtful) = (0, 0);
    for writer in writers {
        let (c, d) = within("a writer", writer).await.unwrap();
        certain += c;
        doubtful += d;
    }
    let total = eventually("the server to be back", || count(Arc::clone(&store))).await;
    assert!(
        (certain..=certain + doubtful).contains(&total),
        "{certain} <= {total} <= {certain} + {doubtful}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_server_says_so_and_keeps_its_leases() {
    // Small enough to fill, large enough to start with.
    let server = Server::start(Some(4 * 1024 * 1024)).await;
    let store = open_etcd(server.options()).await.unwrap();
    let lease = store.grant(LONG).await.unwrap();
    let value = "x".repeat(500_000);
    let mut written = 0;
    let error = loop {
        match store.commit(vec![], vec![put(&format!("/{written}"), &value)]).await {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 100, "the quota does not work");
    };
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    store.keep_alive(lease.id).await.unwrap();
    assert_eq!(store.read(everything()).await.unwrap().entries.len(), written);
    let delete = Op::Delete { key: "/0".to_owned() };
    assert!(matches!(store.commit(vec![], vec![delete]).await, Ok(CommitOutcome::Done { .. })));
    assert!(read(&*store, Range::Key("/0".to_owned())).await.is_empty());
}

/// A store that never doubts a silent member by itself: what it finds out, a call has told it.
async fn open_without_doubt(endpoints: &[String]) -> Arc<dyn Store> {
    const NEVER: Duration = Duration::from_secs(24 * 60 * 60);
    let liveness = Liveness { silence: NEVER, ping_interval: NEVER, ..Liveness::default() };
    let endpoints = endpoints.to_vec();
    open_etcd(EtcdOptions { endpoints, liveness, ..EtcdOptions::default() }).await.unwrap()
}

/// A watch alone would find out by its own patience that its member is silent, and that takes longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_leaves_a_paused_member_as_soon_as_a_write_has_left_it() {
    let servers = cluster().await;
    let endpoints: Vec<String> = servers.iter().map(Server::endpoint).collect();
    let store = open_without_doubt(&endpoints).await;
    let mut watch = store.watch(everything());
    write(&*store, "/before").await;
    seen(&mut watch, "/before").await;
    // The first endpoint is everybody's first choice.
    servers[0].pause();
    write(&*store, "/after").await;
    seen(&mut watch, "/after").await;
}

/// The caller has less patience than the store. If the endpoint went unblamed, each of its calls would go there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_its_caller_drops_counts_against_the_endpoint() {
    let [silent, other] = [Server::start(None).await, Server::start(None).await];
    write(&*open(&[other.endpoint()]).await, "/other").await;
    let store = open_without_doubt(&[silent.endpoint(), other.endpoint()]).await;
    // Connected before it falls silent, so that nothing but a call can find out.
    assert!(read(&*store, everything()).await.is_empty());
    silent.pause();
    let listing = eventually("an answer of the other server", || async {
        let call = store.read(everything());
        tokio::time::timeout(Duration::from_secs(1), call).await.ok()?.ok()
    });
    assert_eq!(listing.await.entries[0].key, "/other");
}

/// A client that hangs up is no fault of the endpoint: its connection stays, and the watches on it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_are_dropped_in_passing_blame_no_endpoint() {
    let [first, other] = [Server::start(None).await, Server::start(None).await];
    write(&*open(&[first.endpoint()]).await, "/first").await;
    let store = open_without_doubt(&[first.endpoint(), other.endpoint()]).await;
    for dropped in [0, 1, 200] {
        let mut dropped_so_far = 0;
        while dropped_so_far < dropped {
            // Looked at once, so that it is on its way. On a busy machine the answer may be there by then: that one does not count.
            let answer = store.read(everything()).now_or_never();
            dropped_so_far += usize::from(answer.is_none());
        }
        let listing = store.read(everything()).await.unwrap();
        assert_eq!(listing.entries.len(), 1, "the other was asked after {dropped}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_survives_the_pause_of_any_member() {
    let servers = cluster().await;
    for n in 0..servers.len() {
        // The paused one is the first choice of the store, and once it leads.
        let (paused, others) = (&servers[n], [&servers[(n + 1) % 3], &servers[(n + 2) % 3]]);
        let others = others.map(Server::endpoint);
        let store = open(&[&[paused.endpoint()], others.as_slice()].concat()).await;
        let kept = format!("/kept{n}");
        let lease = eventually("a grant", || async { store.grant(LONG).await.ok() }).await;
        eventually("its record", || async {
            store.commit(vec![], vec![put_under(&kept, lease.id)]).await.ok()
        })
        .await;
        kept_alive(&*store, lease.id).await;
        paused.pause();
        // Answered while the member is silent, so another has answered.
        kept_alive(&*store, lease.id).await;
        let store = open(&others).await;
        let left = eventually("the time left", || async { store.time_left(lease.id).await.ok() });
        assert_eq!(left.await.granted, lease.ttl);
        assert_eq!(read(&*store, Range::Key(kept)).await.len(), 1, "paused: {n}");
        paused.resume();
        paused.ready().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_granted_at_once_are_all_different() {
    let server = Server::start(None).await;
    let open = async || open_patiently(&[server.endpoint()]).await;
    let stores = [open().await, open().await];
    let grants = (0..200).map(|n| {
        let store = Arc::clone(&stores[n % 2]);
        tokio::spawn(async move { store.grant(LONG).await.unwrap().id })
    });
    let mut ids = std::collections::BTreeSet::new();
    for grant in grants.collect::<Vec<_>>() {
        let id = within("a grant", grant).await.unwrap();
        assert!(id.0 > 0 && ids.insert(id), "{id:?}");
    }
}

/// A lease that another holds would not end with us.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_answered_with_another_id_is_no_grant() {
    let server = Server::start(None).await;
    let forger = Forger::before(&server).await;
    let forged = open_patiently(&[forger.endpoint()]).await;
    let error = forged.grant(Forger::TTL).await.unwrap_err();
    assert!(forger.forged() > 0);
    let chain_text = support::chain(&error);
    assert!(
        chain_text.ends_with("the answer to the grant of a lease names another lease"),
        "{chain_text}"
    );
    // Elsewhere it is granted.
    let store = open_patiently(&[forger.endpoint(), server.endpoint()]).await;
    let lease = store.grant(Forger::TTL).await.unwrap();
    assert_eq!(store.keep_alive(lease.id).await.unwrap(), lease);
}
