//! Writes that are carried out late: a paused member of etcd carries out what waits in its socket once it goes on, when what it was
//! asked for has long been repeated, answered, and followed by other writes.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use muster_common::cordon::{CordonHolder, Hold};
use muster_common::decision::StateUpdate;
use muster_common::machine::MachineId;
use muster_common::reboot::{HostStatus, Request};
use muster_store::{
    CommitOutcome, Guard, Lease, LeaseId, Listing, Op, Range, Registry, Store, StoreError,
    TimeLeft, Watch,
};

use crate::machines::{machine, present, state};
use crate::support::Bed;
use crate::units::{file, name, write};

/// A store that remembers what was committed, so that it can be carried out once more.
struct Recorder {
    store: Arc<dyn Store>,
    commits: Mutex<Vec<(Vec<Guard>, Vec<Op>)>>,
    /// Nothing is carried out at first, and nothing is known of it.
    withholds: AtomicBool,
}

#[async_trait]
impl Store for Recorder {
    async fn read(&self, range: Range) -> Result<Listing, StoreError> {
        self.store.read(range).await
    }

    fn watch(&self, range: Range) -> Watch {
        self.store.watch(range)
    }

    async fn commit(&self, guards: Vec<Guard>, ops: Vec<Op>) -> Result<CommitOutcome, StoreError> {
        self.commits.lock().unwrap().push((guards.clone(), ops.clone()));
        if self.withholds.load(Ordering::Relaxed) {
            return Err(StoreError::Ambiguous { during: "commit".to_owned(), source: None });
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
        self.store.time_left(lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), StoreError> {
        self.store.revoke(lease).await
    }
}

struct Late {
    recorder: Arc<Recorder>,
    registry: Registry,
    prefix: String,
}

impl Late {
    fn new(bed: &Bed) -> Self {
        let store = Arc::clone(&bed.store);
        let recorder =
            Recorder { store, commits: Mutex::default(), withholds: AtomicBool::default() };
        let recorder = Arc::new(recorder);
        let registry = Registry::new(Arc::<Recorder>::clone(&recorder), &bed.prefix);
        Self { recorder, registry, prefix: bed.prefix.clone() }
    }

    /// Carries out every write there was once more, in any order, and holds that nothing comes of it.
    async fn hold_that_late_writes_change_nothing(&self) {
        let all = || self.recorder.store.read(Range::Prefix(self.prefix.clone()));
        let before = all().await.unwrap().entries;
        let commits = self.recorder.commits.lock().unwrap().clone();
        assert!(!commits.is_empty());
        for (guards, ops) in commits.iter().chain(commits.iter().rev()) {
            let outcome = self.recorder.store.commit(guards.clone(), ops.clone()).await;
            let after = all().await.unwrap().entries;
            assert_eq!(after, before, "{guards:?} {ops:?} {outcome:?}");
        }
    }
}

fn m1() -> MachineId {
    "m1".parse().unwrap()
}

pub(crate) async fn a_unit_submitted_after_a_destruction_stays(bed: &Bed) {
    let late = Late::new(bed);
    let registry = &late.registry;
    // It is there before, written by somebody else.
    bed.registry().write_units(vec![write("web.service", &file("a"), 0)]).await.unwrap();
    let destroyed =
        registry.destroy_units(&[name("web.service"), name("none.service")]).await.unwrap();
    assert_eq!(
        (destroyed.destroyed, destroyed.unknown),
        (vec![name("web.service")], vec![name("none.service")])
    );
    bed.registry().write_units(vec![write("web.service", &file("b"), 0)]).await.unwrap();
    late.hold_that_late_writes_change_nothing().await;
    assert!(registry.read_snapshot().await.unwrap().units.contains_key(&name("web.service")));
}

pub(crate) async fn no_older_state_takes_the_place_of_a_newer_one(bed: &Bed) {
    let late = Late::new(bed);
    let registry = &late.registry;
    let presence = present(registry, "m1").await;
    let update = |unit: &str, state| StateUpdate { unit: name(unit), state };
    let both = |active: &str| {
        ["web.service", "db.service"]
            .map(|unit| update(unit, Some(state(active))))
            .into_iter()
            .collect()
    };
    registry.publish_states(&presence, both("activating")).await.unwrap();
    registry.publish_states(&presence, both("active")).await.unwrap();
    registry.publish_states(&presence, vec![update("db.service", None)]).await.unwrap();
    registry.publish_states(&presence, vec![update("db.service", None)]).await.unwrap();
    registry
        .publish_states(&presence, vec![update("db.service", Some(state("failed")))])
        .await
        .unwrap();
    late.hold_that_late_writes_change_nothing().await;
    // Another registry, as after a restart of the daemon, knows nothing and finds out.
    let restarted = Registry::new(Arc::<Recorder>::clone(&late.recorder), &bed.prefix);
    restarted.publish_states(&presence, both("inactive")).await.unwrap();
    registry.publish_states(&presence, both("active")).await.unwrap();
    late.hold_that_late_writes_change_nothing().await;
    let states = registry.states_of(&m1()).await.unwrap();
    assert!(states.len() == 2 && states.values().all(|state| state.active == "active".into()));
}

pub(crate) async fn what_is_said_of_machines_stays_as_it_was_said_last(bed: &Bed) {
    let late = Late::new(bed);
    let registry = &late.registry;
    let set = |value: Option<&str>| {
        [(m1(), "rack".to_owned(), value.map(str::to_owned)), (m1(), "row".to_owned(), None)]
    };
    registry.set_metadata(&set(Some("1"))).await.unwrap();
    registry.set_metadata(&set(Some("2"))).await.unwrap();
    let request = |at: u64| Request { by: "jane".to_owned(), at, because: None, method: None };
    registry.request_reboot(&m1(), &request(1)).await.unwrap();
    registry.request_reboot(&m1(), &request(2)).await.unwrap();
    let status = |since: u64| HostStatus { since, ..HostStatus::default() };
    registry.publish_reboot_host(&m1(), &status(1)).await.unwrap();
    registry.publish_reboot_host(&m1(), &status(2)).await.unwrap();
    late.hold_that_late_writes_change_nothing().await;
}

pub(crate) async fn a_cordon_set_after_all_were_taken_back_stays(bed: &Bed) {
    let late = Late::new(bed);
    let (registry, elsewhere) = (&late.registry, bed.registry());
    let person = CordonHolder::Person;
    elsewhere.cordon_machine(&m1(), &person, Hold::default()).await.unwrap();
    registry.uncordon_for_all(&m1()).await.unwrap();
    registry.uncordon_for_all(&m1()).await.unwrap();
    elsewhere.cordon_machine(&m1(), &person, Hold::default()).await.unwrap();
    late.hold_that_late_writes_change_nothing().await;
    assert!(registry.cordon_of(&m1()).await.unwrap().is_some());
}

pub(crate) async fn registrations_and_members_are_not_written_twice(bed: &Bed) {
    let late = Late::new(bed);
    let registry = &late.registry;
    let presence = present(registry, "m1").await;
    registry.register_machine(&machine("m1"), presence.lease).await.unwrap();
    let led = registry.campaign_for_leadership(&presence).await.unwrap().unwrap();
    registry.establish_cluster_identity().await.unwrap();
    let (none, one) = ([].into(), [m1()].into());
    let two = [m1(), "m2".parse().unwrap()].into();
    assert!(registry.set_members(led, (&none, u64::MAX), &two).await.unwrap());
    registry.remove_member(&"m2".parse().unwrap()).await.unwrap();
    assert!(registry.set_members(led, (&one, u64::MAX), &one).await.unwrap());
    late.hold_that_late_writes_change_nothing().await;
}

pub(crate) async fn a_goodbye_of_the_boot_before_says_nothing_of_the_next(bed: &Bed) {
    let late = Late::new(bed);
    let leader = bed.registry();
    let presence = present(&leader, "m2").await;
    let led = leader.campaign_for_leadership(&presence).await.unwrap().unwrap();
    let two: BTreeSet<MachineId> = [m1(), "m2".parse().unwrap()].into();
    leader.set_members(led, (&BTreeSet::new(), u64::MAX), &two).await.unwrap();
    let gone = present(&leader, "m1").await;
    // It says goodbye, and that is on its way for seconds: until the next boot of it is registered, under the lease of before.
    late.recorder.withholds.store(true, Ordering::Relaxed);
    late.registry.remove_member(&m1()).await.unwrap_err();
    leader.register_machine(&machine("m1"), gone.lease).await.unwrap();
    late.hold_that_late_writes_change_nothing().await;
}

pub(crate) async fn who_is_held_stays_as_the_leader_wrote_it_last(bed: &Bed) {
    let late = Late::new(bed);
    let registry = &late.registry;
    let presence = present(registry, "m1").await;
    let led = registry.campaign_for_leadership(&presence).await.unwrap().unwrap();
    let one: BTreeSet<MachineId> = ["m2".parse().unwrap()].into();
    for held in [one.clone(), BTreeSet::new(), one] {
        registry.write_held_machines(led, &presence, held).await.unwrap();
    }
    late.hold_that_late_writes_change_nothing().await;
    // Nor does it take a person's word back.
    registry.clear_held_machines().await.unwrap();
    late.hold_that_late_writes_change_nothing().await;
}
