//! The bed that the cases of the store's suite lie in, on a simulated line: real time, no latency, nothing lost.

#![allow(clippy::unused_async, reason = "the cases wait for what takes time with a real server")]

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use muster_common::seed::Seed;
use muster_common::snapshot::ClusterEvent;
use muster_sim::etcd::{
    AutoCompaction, ClusterOptions, DirectWire, EtcdCluster, EtcdRelease, EtcdWire, LineOptions,
    open_line,
};
use muster_store::{
    ClusterWatch, CommitOutcome, Guard, KeyValue, Lease, Liveness, Op, Range, Registry, Store,
    StoreError, Watch, WatchEvent,
};

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(60);

/// The ways to members, by the endpoint that a case names.
static ENDPOINTS: Mutex<BTreeMap<String, Arc<dyn EtcdWire>>> = Mutex::new(BTreeMap::new());
static NUMBERS: AtomicU32 = AtomicU32::new(0);

fn next_number() -> u32 {
    NUMBERS.fetch_add(1, Ordering::Relaxed)
}

fn add_endpoint(name: &str, wire: Arc<dyn EtcdWire>) -> String {
    let endpoint = format!("{name}{}", next_number());
    ENDPOINTS.lock().unwrap().insert(endpoint.clone(), wire);
    endpoint
}

/// A store on the members at an endpoint.
fn open_endpoint(endpoint: &str, members: usize) -> Arc<dyn Store> {
    let wire = Arc::clone(ENDPOINTS.lock().unwrap().get(endpoint).expect("an endpoint of ours"));
    let options = LineOptions {
        line: next_number(),
        members: (0..members).collect(),
        liveness: Liveness::default(),
        seed: Seed(u64::from(next_number())),
    };
    open_line(wire, &options).unwrap()
}

#[allow(clippy::unused_async, reason = "the suite awaits what takes time with the real one")]
pub(crate) async fn open(endpoints: &[String]) -> Arc<dyn Store> {
    open_endpoint(&endpoints[0], 1)
}

/// A cluster in real time.
pub(crate) struct Server {
    wire: Arc<DirectWire>,
    endpoint: String,
}

impl Server {
    pub(crate) fn start(members: usize) -> Self {
        let options = ClusterOptions {
            members,
            release: EtcdRelease::Old,
            quota: None,
            compaction: AutoCompaction::Off,
            seed: Seed(7),
        };
        let began = Instant::now();
        let cluster = EtcdCluster::new(Duration::ZERO, options);
        let wire = Arc::new(DirectWire::new(cluster, move || began.elapsed()));
        let watched = Arc::downgrade(&wire);
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(10));
            while let Some(wire) = watched.upgrade() {
                wire.carry_out_due();
                drop(wire);
                ticks.tick().await;
            }
        });
        let endpoint = add_endpoint("server", Arc::clone(&wire) as Arc<dyn EtcdWire>);
        Self { wire, endpoint }
    }

    pub(crate) fn endpoint(&self) -> String {
        self.endpoint.clone()
    }

    pub(crate) fn kill(&self) {
        self.wire.with_cluster(|cluster, now| cluster.kill_member(now, 0));
    }

    pub(crate) fn launch(&self) {
        self.wire.with_cluster(|cluster, now| cluster.start_member(now, 0));
    }

    pub(crate) async fn compact(&self, store: &dyn Store) {
        let revision = store.read(Range::Key("/".to_owned())).await.unwrap().revision;
        self.wire.with_cluster(|cluster, _| {
            cluster.compact_to(revision).unwrap();
            Vec::new()
        });
    }
}

/// Where a case happens.
pub(crate) struct Bed {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) prefix: String,
    server: Server,
}

impl Bed {
    pub(crate) fn simulated(members: usize) -> Self {
        let server = Server::start(members);
        let store = open_endpoint(&server.endpoint, members);
        Self { store, prefix: "/case/v1/".to_owned(), server }
    }

    pub(crate) fn server(&self) -> &Server {
        &self.server
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

    pub(crate) async fn get(&self, name: &str) -> Option<KeyValue> {
        let range = Range::Key(self.key(name));
        self.store.read(range).await.unwrap().entries.pop()
    }
}

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

pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let outcome = tokio::time::timeout(LIMIT, future).await;
    outcome.unwrap_or_else(|_| panic!("waited {LIMIT:?} in vain for {what}"))
}

pub(crate) async fn next(watch: &mut Watch) -> WatchEvent {
    within("an event", watch.events.recv()).await.expect("a watch never ends by itself")
}

pub(crate) async fn update(updates: &mut ClusterWatch) -> ClusterEvent {
    within("an update", updates.events.recv()).await.expect("a watch never ends by itself")
}

/// A way that can be cut: what is sent meanwhile is lost.
pub(crate) mod relay {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use muster_sim::etcd::{EtcdMessage, EtcdWire};

    pub(crate) struct Relay {
        endpoint: String,
        cut: Arc<CutWire>,
    }

    struct CutWire {
        to: Arc<dyn EtcdWire>,
        is_cut: AtomicBool,
    }

    impl EtcdWire for CutWire {
        fn send_message(&self, member: usize, message: EtcdMessage) {
            if !self.is_cut.load(Ordering::Relaxed) {
                self.to.send_message(member, message);
            }
        }
    }

    impl Relay {
        #[allow(
            clippy::unused_async,
            reason = "the suite awaits what takes time with the real one"
        )]
        pub(crate) async fn to(endpoint: &str) -> Self {
            let to = Arc::clone(super::ENDPOINTS.lock().unwrap().get(endpoint).unwrap());
            let cut = Arc::new(CutWire { to, is_cut: AtomicBool::new(false) });
            let endpoint = super::add_endpoint("relay", Arc::clone(&cut) as Arc<dyn EtcdWire>);
            Self { endpoint, cut }
        }

        pub(crate) fn endpoint(&self) -> String {
            self.endpoint.clone()
        }

        pub(crate) fn cut(&self) {
            self.cut.is_cut.store(true, Ordering::Relaxed);
        }

        pub(crate) fn mend(&self) {
            self.cut.is_cut.store(false, Ordering::Relaxed);
        }
    }
}
