//! Slots under a crowd: many clients, several daemons over one store, some of them gone in the middle of a call, and a
//! store that does not say whether it has written.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what fails in a test is to fail it"
)]

#[path = "../../store/tests/support/ports.rs"]
mod ports;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use muster_common::reboot::{Group, HolderId, HolderKind, SlotOutcome, WaitReason};
use muster_store::{
    CommitOutcome, EtcdOptions, Guard, Lease, LeaseId, Listing, Op, Range, Registry, Store,
    StoreError, TimeLeft, Watch, open_embedded, open_etcd,
};
use musterd::reboot::{AcquireResult, Lock, LockError, ReleaseReport, ReleaseResult};
use ports::free_port;

/// Generous: what it bounds takes seconds on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

fn id(client: usize) -> HolderId {
    format!("m{client:02}").parse().unwrap()
}

fn lock(store: &Arc<dyn Store>) -> Lock {
    Lock::new(Registry::new(Arc::clone(store), "/muster/v1/"), [])
}

fn released() -> ReleaseReport {
    ReleaseReport::without_details(SlotOutcome::Released)
}

/// Forty clients at `daemons` ask at once for `slots` of a new group; how many get one.
async fn round(daemons: &[Lock], group: &Group, slots: u32) -> usize {
    daemons[0].set_max(group, slots, LIMIT).await.unwrap();
    let clients = (0..40).map(|client| {
        let (daemon, group) = (daemons[client % daemons.len()].clone(), group.clone());
        tokio::spawn(async move {
            daemon.acquire_slot(&group, &id(client), HolderKind::FleetLock, LIMIT).await.unwrap()
        })
    });
    let mut granted = 0;
    for client in clients.collect::<Vec<_>>() {
        match client.await.unwrap() {
            AcquireResult::Held { anew, .. } => {
                assert!(anew);
                granted += 1;
            }
            AcquireResult::Wait(WaitReason::SlotsTaken { holders, .. }) => {
                assert_eq!(holders.len(), slots as usize);
            }
            AcquireResult::Wait(other) => panic!("{other:?}"),
        }
    }
    let status = daemons[0].group_status(group, LIMIT).await.unwrap();
    assert_eq!(status.semaphore.holders.len(), granted);
    assert!(status.semaphore.holders.is_sorted_by_key(|holder| holder.id.clone()));
    granted
}

/// Twenty rounds with a crowd at one daemon, at several, and with daemons that go away in the middle of their calls.
async fn crowd(store: Arc<dyn Store>) {
    let daemons: Vec<Lock> = (0..4).map(|_| lock(&store)).collect();
    for n in 0..20 {
        let group = |kind: &str| format!("{kind}-{n}").parse::<Group>().unwrap();
        assert_eq!(round(&daemons[..1], &group("one-daemon"), 40).await, 40);
        assert_eq!(round(&daemons, &group("forty-slots"), 40).await, 40);
        assert_eq!(round(&daemons, &group("one-slot"), 1).await, 1);
        killed(&store, &daemons, &group("killed"), n).await;
    }
}

/// Clients of a fifth daemon ask too, and it is killed at once or a little later. Whatever it had done stands, none of the
/// others is harmed, and its clients get their slot at another daemon.
async fn killed(store: &Arc<dyn Store>, daemons: &[Lock], group: &Group, n: usize) {
    daemons[0].set_max(group, 40, LIMIT).await.unwrap();
    let doomed = lock(store);
    let clients: Vec<_> = (30..40)
        .map(|client| {
            let (daemon, group) = (doomed.clone(), group.clone());
            tokio::spawn(async move {
                daemon.acquire_slot(&group, &id(client), HolderKind::FleetLock, LIMIT).await
            })
        })
        .collect();
    drop(doomed);
    let others: Vec<_> = (0..30)
        .map(|client| {
            let (daemon, group) = (daemons[client % daemons.len()].clone(), group.clone());
            tokio::spawn(async move {
                daemon
                    .acquire_slot(&group, &id(client), HolderKind::FleetLock, LIMIT)
                    .await
                    .unwrap()
            })
        })
        .collect();
    // As many turns of the scheduler as the round's number, so that each round cuts at another place.
    for _ in 0..n * 3 {
        tokio::task::yield_now().await;
    }
    for client in &clients {
        client.abort();
    }
    for other in others {
        assert!(matches!(other.await.unwrap(), AcquireResult::Held { anew: true, .. }));
    }
    for client in 30..40 {
        let asked = daemons[0].acquire_slot(group, &id(client), HolderKind::FleetLock, LIMIT).await;
        assert!(matches!(asked.unwrap(), AcquireResult::Held { .. }));
    }
    let status = daemons[0].group_status(group, LIMIT).await.unwrap();
    let holders: Vec<HolderId> = status.semaphore.holders.into_iter().map(|h| h.id).collect();
    assert_eq!(holders, (0..40).map(id).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forty_clients_get_forty_slots_and_one_gets_one() {
    let directory = tempfile::tempdir().unwrap();
    crowd(open_embedded(directory.path()).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forty_clients_get_forty_slots_and_one_gets_one_in_etcd() {
    let directory = tempfile::tempdir().unwrap();
    let etcd = Etcd::start(directory.path());
    let options = EtcdOptions { endpoints: vec![etcd.endpoint.clone()], ..EtcdOptions::default() };
    let store = open_etcd(options).await.unwrap();
    let started = async {
        while store.read(Range::Key("/".to_owned())).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, started).await.expect("etcd starts");
    crowd(store).await;
}

/// A server of the test's own on the loopback.
struct Etcd {
    endpoint: String,
    process: Child,
}

impl Etcd {
    fn start(directory: &Path) -> Self {
        let (endpoint, peer) = (
            format!("http://127.0.0.1:{}", free_port()),
            format!("http://127.0.0.1:{}", free_port()),
        );
        let process = Command::new("etcd")
            .args(["--name", "m0", "--initial-cluster", &format!("m0={peer}")])
            .args(["--listen-client-urls", &endpoint, "--advertise-client-urls", &endpoint])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .arg("--data-dir")
            .arg(directory)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("etcd is needed (Debian: etcd-server)");
        Self { endpoint, process }
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn a_slot_goes_from_one_to_the_next_and_is_remembered() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_embedded(directory.path()).unwrap();
    let (lock, group) = (lock(&store), Group::default());
    let acquire = |client| lock.acquire_slot(&group, client, HolderKind::Host, LIMIT);
    let (first, second) = (id(1), id(2));
    let AcquireResult::Held { since, anew: true } = acquire(&first).await.unwrap() else {
        panic!("free")
    };
    assert_eq!(acquire(&first).await.unwrap(), AcquireResult::Held { since, anew: false });
    let AcquireResult::Wait(wait) = acquire(&second).await.unwrap() else { panic!("one slot") };
    assert_eq!(wait.to_string(), "the slot of group default taken by m01");
    let freed = lock
        .release_slot(&group, &first, ReleaseReport::without_details(SlotOutcome::Rebooted), LIMIT)
        .await;
    assert!(matches!(freed.unwrap(), ReleaseResult::Freed(holder) if holder.id == first));
    let again = lock.release_slot(&group, &first, released(), LIMIT).await;
    assert_eq!(again.unwrap(), ReleaseResult::NotHeld);
    assert!(matches!(acquire(&second).await.unwrap(), AcquireResult::Held { anew: true, .. }));
    let history = lock.group_history(&group, LIMIT).await.unwrap();
    assert_eq!(history.len(), 1, "giving back nothing is not remembered");
    assert_eq!(
        (&history[0].id, history[0].taken, &history[0].outcome),
        (&first, since, &SlotOutcome::Rebooted)
    );
}

#[tokio::test]
async fn groups_exist_once_they_are_given_slots() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_embedded(directory.path()).unwrap();
    let own: Group = "own".parse().unwrap();
    let lock = Lock::new(Registry::new(store, "/muster/v1/"), [own.clone()]);
    let eu: Group = "eu".parse().unwrap();
    let error = lock.acquire_slot(&eu, &id(1), HolderKind::Host, LIMIT).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no reboot group eu");
    for error in [
        lock.group_status(&eu, LIMIT).await.map(drop).unwrap_err(),
        lock.release_slot(&eu, &id(1), released(), LIMIT).await.map(drop).unwrap_err(),
    ] {
        assert!(matches!(error, LockError::UnknownGroup { .. }), "{error:?}");
    }
    assert_eq!(lock.set_max(&eu, 4, LIMIT).await.unwrap(), 0);
    assert_eq!(lock.set_max(&eu, 2, LIMIT).await.unwrap(), 4);
    assert_eq!(lock.set_max(&Group::default(), 3, LIMIT).await.unwrap(), 1);
    assert!(matches!(
        lock.acquire_slot(&own, &id(1), HolderKind::Host, LIMIT).await.unwrap(),
        AcquireResult::Held { anew: true, .. }
    ));
    let (groups, unreadable) = lock.all_groups(LIMIT).await.unwrap();
    let seen: Vec<_> = groups
        .iter()
        .map(|s| format!("{} {}/{}", s.group, s.semaphore.holders.len(), s.semaphore.max))
        .collect();
    assert_eq!(
        (seen, unreadable.len()),
        (vec!["default 0/3".into(), "eu 0/2".into(), "own 1/1".into()], 0)
    );
}

#[tokio::test]
async fn fewer_slots_evict_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_embedded(directory.path()).unwrap();
    let (lock, group) = (lock(&store), Group::default());
    lock.set_max(&group, 2, LIMIT).await.unwrap();
    for client in [1, 2] {
        lock.acquire_slot(&group, &id(client), HolderKind::Host, LIMIT).await.unwrap();
    }
    lock.set_max(&group, 1, LIMIT).await.unwrap();
    assert_eq!(lock.group_status(&group, LIMIT).await.unwrap().semaphore.holders.len(), 2);
    lock.release_slot(&group, &id(1), released(), LIMIT).await.unwrap();
    let asked = lock.acquire_slot(&group, &id(3), HolderKind::Host, LIMIT).await.unwrap();
    assert!(matches!(asked, AcquireResult::Wait(_)), "{asked:?}");
}

/// A store that writes and says that it does not know whether it has, or that is away.
struct Doubtful {
    below: Arc<dyn Store>,
    /// Commits whose outcome is still to be kept quiet.
    silent: AtomicUsize,
    away: bool,
}

impl Doubtful {
    fn away() -> StoreError {
        StoreError::Unavailable { during: "a test".to_owned(), source: None }
    }
}

#[async_trait]
impl Store for Doubtful {
    async fn read(&self, range: Range) -> Result<Listing, StoreError> {
        if self.away { Err(Self::away()) } else { self.below.read(range).await }
    }

    fn watch(&self, range: Range) -> Watch {
        self.below.watch(range)
    }

    async fn commit(&self, guards: Vec<Guard>, ops: Vec<Op>) -> Result<CommitOutcome, StoreError> {
        let outcome = self.below.commit(guards, ops).await;
        let left =
            self.silent.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        match left {
            Ok(_) => Err(StoreError::Ambiguous { during: "a test".to_owned(), source: None }),
            Err(_) => outcome,
        }
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease, StoreError> {
        self.below.grant(ttl).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<Lease, StoreError> {
        self.below.keep_alive(lease).await
    }

    async fn time_left(&self, lease: LeaseId) -> Result<TimeLeft, StoreError> {
        self.below.time_left(lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), StoreError> {
        self.below.revoke(lease).await
    }
}

#[tokio::test]
async fn a_write_whose_outcome_nobody_knows_is_found_out() {
    let directory = tempfile::tempdir().unwrap();
    let below = open_embedded(directory.path()).unwrap();
    let doubtful: Arc<dyn Store> =
        Arc::new(Doubtful { below, silent: AtomicUsize::new(1), away: false });
    let (lock, group) = (lock(&doubtful), Group::default());
    // It was taken by this very call, whatever the store said: it is held, and once.
    let asked = lock.acquire_slot(&group, &id(1), HolderKind::Host, LIMIT).await.unwrap();
    assert!(matches!(asked, AcquireResult::Held { .. }), "{asked:?}");
    assert_eq!(lock.group_status(&group, LIMIT).await.unwrap().semaphore.holders.len(), 1);
}

#[tokio::test]
async fn a_store_that_is_away_is_said_to_be() {
    let directory = tempfile::tempdir().unwrap();
    let below = open_embedded(directory.path()).unwrap();
    let away: Arc<dyn Store> =
        Arc::new(Doubtful { below, silent: AtomicUsize::new(0), away: true });
    let (lock, group) = (lock(&away), Group::default());
    let soon = Duration::from_millis(100);
    let error = lock.acquire_slot(&group, &id(1), HolderKind::Host, soon).await.unwrap_err();
    assert!(matches!(error, LockError::StoreAway { .. }), "{error:?}");
    assert_eq!(error.to_string(), "the slots of group default cannot be reached");
    let error = lock.all_groups(soon).await.unwrap_err();
    assert!(matches!(error, LockError::StoreAway { .. }), "{error:?}");
}

#[tokio::test]
async fn a_semaphore_nobody_can_read_grants_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_embedded(directory.path()).unwrap();
    let key = "/muster/v1/reboot/default".to_owned();
    let poison = Op::Put { key, value: "poison".into(), lease: None };
    store.commit(vec![], vec![poison]).await.unwrap();
    let lock = lock(&store);
    let error =
        lock.acquire_slot(&Group::default(), &id(1), HolderKind::Host, LIMIT).await.unwrap_err();
    assert!(matches!(error, LockError::Unreadable { .. }), "{error:?}");
    let (groups, unreadable) = lock.all_groups(LIMIT).await.unwrap();
    assert_eq!((groups.len(), unreadable[0].key.as_str()), (0, "reboot/default"));
}
