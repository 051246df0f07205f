//! Two who do the same at the same moment, and a store that is silent about one of several things.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use muster_common::lease::Presence;
use muster_common::machine::MachineId;
use muster_store::{
    CommitOutcome, Guard, Lease, LeaseId, Listing, Op, Range, Registry, Store, StoreError,
    TimeLeft, Watch,
};

use crate::machines::present;
use crate::support::Bed;
use crate::units::{file, write};

/// A store in which something happens between what a caller has read and what it writes upon that.
struct Crossed {
    store: Arc<dyn Store>,
    /// By the commits from now on.
    before_commits: Mutex<VecDeque<BoxFuture<'static, ()>>>,
    /// It says nothing of this lease.
    silent_about: Option<LeaseId>,
}

#[async_trait]
impl Store for Crossed {
    async fn read(&self, range: Range) -> Result<Listing, StoreError> {
        self.store.read(range).await
    }

    fn watch(&self, range: Range) -> Watch {
        self.store.watch(range)
    }

    async fn commit(&self, guards: Vec<Guard>, ops: Vec<Op>) -> Result<CommitOutcome, StoreError> {
        let crossing = self.before_commits.lock().unwrap().pop_front();
        if let Some(crossing) = crossing {
            crossing.await;
        }
        self.store.commit(guards, ops).await
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease, StoreError> {
        self.store.grant(ttl).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<Lease, StoreError> {
        self.store.keep_alive(lease).await
    }

    async fn time_left(&self, lease: LeaseId) -> Result<TimeLeft, StoreError> {
        if self.silent_about == Some(lease) {
            let during = "a lease".to_owned();
            return Err(StoreError::Unavailable { during, source: None });
        }
        self.store.time_left(lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), StoreError> {
        self.store.revoke(lease).await
    }
}

async fn presences(bed: &Bed) -> [Presence; 2] {
    let registry = bed.registry();
    [present(&registry, "m1").await, present(&registry, "m2").await]
}

pub(crate) async fn of_two_who_campaign_at_the_same_moment_one_leads(bed: &Bed) {
    let [first, second] = presences(bed).await;
    let (registry, quick) = (bed.registry(), first.clone());
    let crossing = async move {
        assert!(registry.campaign_for_leadership(&quick).await.unwrap().is_some());
    };
    let crossed = Crossed {
        store: Arc::clone(&bed.store),
        before_commits: Mutex::new([crossing.boxed()].into()),
        silent_about: None,
    };
    let registry = Registry::new(Arc::new(crossed), &bed.prefix);
    assert_eq!(registry.campaign_for_leadership(&second).await.unwrap(), None);
    let leader = bed.registry().read_snapshot().await.unwrap().leader.unwrap();
    assert_eq!(leader.machine, first.machine);
}

pub(crate) async fn a_lease_that_nothing_is_known_of_hides_no_other(bed: &Bed) {
    let [first, second] = presences(bed).await;
    let crossed = Crossed {
        store: Arc::clone(&bed.store),
        before_commits: Mutex::default(),
        silent_about: Some(second.lease.id),
    };
    let registry = Registry::new(Arc::new(crossed), &bed.prefix);
    let limit = Duration::from_secs(30);
    let both: BTreeSet<MachineId> = [first.machine.clone(), second.machine.clone()].into();
    let left = registry.time_left(&both, limit).await.unwrap();
    assert_eq!(left.into_keys().collect::<Vec<_>>(), [first.machine]);
    // Where it is all that was asked for, nothing is known, and that is said.
    assert!(registry.time_left(&[second.machine].into(), limit).await.is_err());
}

pub(crate) async fn a_file_that_a_backup_names_again_stays(bed: &Bed) {
    let web = |text: &str, seen| vec![write("web.service", &file(text), seen)];
    bed.registry().write_units(web("a", 0)).await.unwrap();
    let before = bed.get("unit/web.service").await.unwrap();
    // The backup has the unit as it was, and its file at the very revision that it has.
    let put = Op::Put { key: before.key.clone(), value: before.value.clone(), lease: None };
    let store = Arc::clone(&bed.store);
    let restored = async move {
        store.commit(vec![], vec![put]).await.unwrap();
    };
    let crossed = Crossed {
        store: Arc::clone(&bed.store),
        before_commits: Mutex::new([async {}.boxed(), restored.boxed()].into()),
        silent_about: None,
    };
    let registry = Registry::new(Arc::new(crossed), &bed.prefix);
    registry.write_units(web("b", before.mod_revision)).await.unwrap();
    let former = format!("file/{}", file("a").hash());
    assert!(bed.get(&former).await.is_some(), "the unit that the backup brought back has no text");
}
