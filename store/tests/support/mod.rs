//! What the store's tests stand on: a store of either backend with a place of its own in it, and real etcd servers.

pub(crate) mod certificates;
pub(crate) mod etcd;
pub(crate) mod forger;
mod ports;
pub(crate) mod relay;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use muster_common::snapshot::ClusterEvent;
use muster_store::{
    ClusterWatch, CommitOutcome, EtcdOptions, Guard, KeyValue, Lease, LeaseClock, Liveness,
    MemoryStore, Op, Range, Registry, Store, StoreError, Watch, WatchEvent, open_embedded,
    open_etcd,
};

/// How long anything may take. Generous: what it bounds takes milliseconds on a machine that does nothing else.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Where a case happens.
pub(crate) struct Bed {
    pub(crate) store: Arc<dyn Store>,
    /// Keys of this case begin with it.
    pub(crate) prefix: String,
    keep: Keep,
}

enum Keep {
    Directory(#[expect(dead_code, reason = "held for its Drop")] tempfile::TempDir),
    Server(Arc<etcd::Server>),
    Nothing,
}

impl Bed {
    pub(crate) fn embedded() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = open_embedded(directory.path()).unwrap();
        Self { store, prefix: "/case/v1/".to_owned(), keep: Keep::Directory(directory) }
    }

    /// In memory. Its leases end in the real time, as those of the others do.
    pub(crate) fn memory() -> Self {
        let store = Arc::new(MemoryStore::new(LeaseClock::default()));
        let watched = Arc::downgrade(&store);
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(10));
            while let Some(store) = watched.upgrade() {
                store.end_due_leases();
                drop(store);
                ticks.tick().await;
            }
        });
        Self { store, prefix: "/case/v1/".to_owned(), keep: Keep::Nothing }
    }

    pub(crate) async fn etcd() -> Self {
        Self::on(etcd::shared().await).await
    }

    /// On a server that no other case shares: it may be restarted, and its history compacted.
    pub(crate) async fn etcd_of_its_own() -> Self {
        Self::on(Arc::new(etcd::Server::start(None).await)).await
    }

    /// The server under it.
    pub(crate) fn server(&self) -> &etcd::Server {
        match &self.keep {
            Keep::Server(server) => server,
            Keep::Directory(_) | Keep::Nothing => panic!("the embedded store has no server"),
        }
    }

    pub(crate) async fn on(server: Arc<etcd::Server>) -> Self {
        let options = server.options();
        Self::with(server, options).await
    }

    /// The same with other options than the server's own.
    pub(crate) async fn with(server: Arc<etcd::Server>, options: EtcdOptions) -> Self {
        static CASES: AtomicUsize = AtomicUsize::new(0);
        let store = open_etcd(options).await.unwrap();
        let prefix = format!("/case{}/v1/", CASES.fetch_add(1, Ordering::Relaxed));
        Self { store, prefix, keep: Keep::Server(server) }
    }

    pub(crate) fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    pub(crate) fn registry(&self) -> Registry {
        Registry::new(Arc::clone(&self.store), &self.prefix)
    }

    pub(crate) fn everything(&self) -> Range {
        Range::Prefix(self.prefix.clone())
    }

    pub(crate) fn put(&self, name: &str, value: &str) -> Op {
        Op::Put { key: self.key(name), value: value.to_owned().into(), lease: None }
    }

    pub(crate) fn delete(&self, name: &str) -> Op {
        Op::Delete { key: self.key(name) }
    }

    pub(crate) fn modified(&self, name: &str, revision: u64) -> Guard {
        Guard::Modified { key: self.key(name), revision }
    }

    /// A lease of so much time, granted anew until it has records: a busy machine may need longer to write them than a
    /// short lease lasts.
    pub(crate) async fn lease_with(&self, ttl: Duration, names: &[&str]) -> Lease {
        eventually("records under a lease", || async {
            let lease = self.store.grant(ttl).await.unwrap();
            let put = |name: &&str| {
                let (key, value) = (self.key(name), "v".into());
                Op::Put { key, value, lease: Some(lease.id) }
            };
            match self.store.commit(vec![], names.iter().map(put).collect()).await {
                Ok(CommitOutcome::Done { .. }) => Some(lease),
                Err(StoreError::LeaseGone { .. }) => None,
                other => panic!("{other:?}"),
            }
        })
        .await
    }

    /// One record.
    pub(crate) async fn get(&self, name: &str) -> Option<KeyValue> {
        let range = Range::Key(self.key(name));
        self.store.read(range).await.unwrap().entries.pop()
    }
}

/// A server that works is given all the time it needs: for tests that are not about one that does not.
pub(crate) fn patient() -> Liveness {
    Liveness {
        call: LIMIT,
        keep_alive: LIMIT,
        sign_of_life: LIMIT,
        ping_timeout: LIMIT,
        ..Liveness::default()
    }
}

/// A store in etcd, with all the patience that its servers need.
pub(crate) async fn open_patiently(endpoints: &[String]) -> Arc<dyn Store> {
    let (endpoints, liveness) = (endpoints.to_vec(), patient());
    open_etcd(EtcdOptions { endpoints, liveness, ..EtcdOptions::default() }).await.unwrap()
}

/// A store in etcd, with the patience of a daemon.
pub(crate) async fn open(endpoints: &[String]) -> Arc<dyn Store> {
    let options = EtcdOptions { endpoints: endpoints.to_vec(), ..EtcdOptions::default() };
    open_etcd(options).await.unwrap()
}

/// Waits for a condition, which is looked at again and again.
pub(crate) async fn eventually<T, F>(what: &str, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let poll = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        loop {
            ticks.tick().await;
            if let Some(found) = look().await {
                return found;
            }
        }
    };
    within(what, poll).await
}

/// Waits for something that happens by itself.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let outcome = tokio::time::timeout(LIMIT, future).await;
    outcome.unwrap_or_else(|_| panic!("waited {LIMIT:?} in vain for {what}"))
}

/// The next event of a watch.
pub(crate) async fn next(watch: &mut Watch) -> WatchEvent {
    within("an event", watch.events.recv()).await.expect("a watch never ends by itself")
}

/// The next event of a typed watch.
pub(crate) async fn update(updates: &mut ClusterWatch) -> ClusterEvent {
    within("an update", updates.events.recv()).await.expect("a watch never ends by itself")
}

/// An error as a person is shown it: with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
