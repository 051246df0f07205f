//! Machines, their states and their leader through the registry.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use muster_common::decision::StateUpdate;
use muster_common::machine::{Machine, MachineId, RunnerKind};
use muster_common::snapshot::{Change, ClusterEvent};
use muster_common::state::{DesiredState, ObservedState};
use muster_store::{CommitError, Lease, Presence, Registry, RegistryError, StoredRegistration};

use crate::support::{Bed, update};
use crate::units::name;

pub(crate) fn machine(id: &str) -> Machine {
    Machine {
        id: id.parse().unwrap(),
        host: "n1".to_owned(),
        address: "192.0.2.1".to_owned(),
        api: Some("192.0.2.1:4001".to_owned()),
        metadata: BTreeMap::from([("rack".to_owned(), "1".to_owned())]),
        version: "0.1.0".to_owned(),
        runners: BTreeSet::from([RunnerKind::Systemd]),
        container_runner: None,
        containers_lost: None,
        leaving: false,
        boot: "b".to_owned(),
        created: 0,
        revision: 0,
    }
}

pub(crate) fn state(active: &str) -> ObservedState {
    ObservedState {
        load: "loaded".to_owned(),
        active: active.into(),
        sub: "running".to_owned(),
        file: None,
        hash: String::new(),
        generation: 1,
        desired: DesiredState::Launched,
        since: 1,
        invocation: String::new(),
        problem: None,
        remark: String::new(),
    }
}

pub(crate) async fn lease(registry: &Registry) -> Lease {
    registry.grant_lease(Duration::from_secs(600)).await.unwrap()
}

pub(crate) async fn present(registry: &Registry, id: &str) -> Presence {
    registry.register_machine(&machine(id), lease(registry).await).await.unwrap()
}

fn published(unit: &str, state: Option<ObservedState>) -> StateUpdate {
    StateUpdate { unit: name(unit), state }
}

pub(crate) async fn a_machine_registers_and_leaves(bed: &Bed) {
    let registry = bed.registry();
    let presence = present(&registry, "m1").await;
    let snapshot = registry.read_snapshot().await.unwrap();
    let at = presence.created;
    let expected = Machine { created: at, revision: at, ..machine("m1") };
    assert_eq!(snapshot.machines[&presence.machine], expected);
    let found = registry.read_registration(&presence.machine).await.unwrap();
    let revision = at;
    let lease = Some(presence.lease.id);
    assert_eq!(found, Some(StoredRegistration { machine: expected, lease, revision }));
    registry.keep_alive(presence.lease.id).await.unwrap();
    registry.revoke_lease(presence.lease.id).await.unwrap();
    assert!(registry.read_snapshot().await.unwrap().machines.is_empty());
    assert_eq!(registry.read_registration(&presence.machine).await.unwrap(), None);
}

pub(crate) async fn registering_again_keeps_its_place_under_a_new_lease(bed: &Bed) {
    let registry = bed.registry();
    let first = present(&registry, "m1").await;
    let lease = lease(&registry).await;
    let again = Machine { version: "0.2.0".to_owned(), ..machine("m1") };
    let second = registry.register_machine(&again, lease).await.unwrap();
    assert_eq!(second, Presence { lease, ..first.clone() });
    registry.revoke_lease(first.lease.id).await.unwrap();
    let found = registry.read_registration(&first.machine).await.unwrap().unwrap();
    assert_eq!((found.machine.version.as_str(), found.lease), ("0.2.0", Some(lease.id)));
    assert!(found.revision > first.created, "it tells when it was written");
    registry.revoke_lease(lease.id).await.unwrap();
    let third = present(&registry, "m1").await;
    assert!(third.created > first.created);
}

pub(crate) async fn metadata_survives_the_machine(bed: &Bed) {
    let registry = bed.registry();
    let presence = present(&registry, "m1").await;
    let id = &presence.machine;
    let set = |key: &str, value: &str| (id.clone(), key.to_owned(), Some(value.to_owned()));
    let odd = "a/b %ü\u{1}";
    registry.set_metadata(&[set("rack", "2"), set(odd, "x"), set("", "empty")]).await.unwrap();
    registry.revoke_lease(presence.lease.id).await.unwrap();
    let snapshot = registry.read_snapshot().await.unwrap();
    let of_m1: Vec<(&str, &str)> =
        snapshot.metadata[id].iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(of_m1, [("", "empty"), (odd, "x"), ("rack", "2")]);
    assert_eq!(snapshot.metadata_of(id)["rack"], "2");
    let remove = |key: &str| (id.clone(), key.to_owned(), None);
    registry.set_metadata(&[remove(odd), remove("rack"), remove(""), remove("x")]).await.unwrap();
    assert!(registry.read_snapshot().await.unwrap().metadata.is_empty());
}

pub(crate) async fn states_are_published_and_withdrawn(bed: &Bed) {
    let registry = bed.registry();
    let presence = present(&registry, "m1").await;
    let units: Vec<String> = (0..300).map(|n| format!("web@{n}.service")).collect();
    let all = units.iter().map(|unit| published(unit, Some(state("active"))));
    registry.publish_states(&presence, all.collect()).await.unwrap();
    assert_eq!(registry.states_of(&presence.machine).await.unwrap().len(), 300);
    let changed =
        vec![published("web@1.service", Some(state("failed"))), published("web@2.service", None)];
    registry.publish_states(&presence, changed).await.unwrap();
    let states = registry.states_of(&presence.machine).await.unwrap();
    assert_eq!(states.len(), 299);
    assert_eq!(states[&name("web@1.service")], state("failed"));
    let snapshot = registry.read_snapshot().await.unwrap();
    assert_eq!(snapshot.states[&name("web@1.service")][&presence.machine], state("failed"));
    // One that was taken back is there again, as after a backup was put back, and is taken back once more.
    bed.registry()
        .publish_states(&presence, vec![published("web@2.service", Some(state("active")))])
        .await
        .unwrap();
    registry.publish_states(&presence, vec![published("web@2.service", None)]).await.unwrap();
    assert_eq!(registry.states_of(&presence.machine).await.unwrap().len(), 299);
    registry.revoke_lease(presence.lease.id).await.unwrap();
    assert!(registry.read_snapshot().await.unwrap().states.is_empty());
}

pub(crate) async fn who_is_not_registered_publishes_nothing(bed: &Bed) {
    let registry = bed.registry();
    let gone = present(&registry, "m1").await;
    registry.revoke_lease(gone.lease.id).await.unwrap();
    // Its record is there again, but it is another registration.
    let current = present(&registry, "m1").await;
    // The record is the same, but the lease is no more.
    let lease = lease(&registry).await;
    registry.revoke_lease(lease.id).await.unwrap();
    let without_lease = Presence { lease, ..current.clone() };
    for presence in [gone, without_lease] {
        let update = published("a.service", Some(state("active")));
        let error = registry.publish_states(&presence, vec![update]).await.unwrap_err();
        assert!(matches!(error, RegistryError::NotRegistered { .. }), "{error:?}");
        let error = registry.campaign_for_leadership(&presence).await.unwrap_err();
        assert!(matches!(error, RegistryError::NotRegistered { .. }), "{error:?}");
    }
    assert!(registry.states_of(&current.machine).await.unwrap().is_empty());
    assert_eq!(registry.read_snapshot().await.unwrap().leader, None);
}

pub(crate) async fn one_leads_at_a_time(bed: &Bed) {
    let registry = bed.registry();
    let presences = [present(&registry, "m1").await, present(&registry, "m2").await];
    let [first, second] = &presences;
    let led = registry.campaign_for_leadership(first).await.unwrap().unwrap();
    assert_eq!(
        registry.campaign_for_leadership(first).await.unwrap(),
        Some(led),
        "it is told again"
    );
    assert_eq!(registry.campaign_for_leadership(second).await.unwrap(), None);
    let leader = registry.read_snapshot().await.unwrap().leader.unwrap();
    assert_eq!((leader.machine, leader.held.len()), (first.machine.clone(), 0));
    registry.revoke_lease(first.lease.id).await.unwrap();
    let next = registry.campaign_for_leadership(second).await.unwrap().unwrap();
    assert!(next.created > led.created);
    assert_eq!(registry.read_snapshot().await.unwrap().leader.unwrap().machine, second.machine);

    // Only the leader resigns, and stays registered.
    registry.resign_leadership(first).await.unwrap();
    assert_eq!(registry.read_snapshot().await.unwrap().leader.unwrap().machine, second.machine);
    registry.resign_leadership(second).await.unwrap();
    let after = registry.read_snapshot().await.unwrap();
    assert_eq!(after.leader, None);
    assert!(after.machines.contains_key(&second.machine));
}

pub(crate) async fn a_leader_record_of_nobody_bars_nobody(bed: &Bed) {
    let registry = bed.registry();
    let presence = present(&registry, "m1").await;
    for text in ["garbage", r#"{"schema":1,"machine":"m2"}"#] {
        bed.store.commit(vec![], vec![bed.put("leader", text)]).await.unwrap();
        assert!(registry.campaign_for_leadership(&presence).await.unwrap().is_some());
    }
}

pub(crate) async fn held_machines_are_recorded_and_let_go(bed: &Bed) {
    let registry = bed.registry();
    let presence = present(&registry, "m1").await;
    let led = registry.campaign_for_leadership(&presence).await.unwrap().unwrap();
    let held: BTreeSet<MachineId> = ["m2", "m3"].map(|id| id.parse().unwrap()).into();
    registry.write_held_machines(led, &presence, held.clone()).await.unwrap();
    assert_eq!(registry.read_snapshot().await.unwrap().leader.unwrap().held, held);
    let mut watch = registry.watch();
    assert!(matches!(update(&mut watch).await, ClusterEvent::Reset(_)));
    registry.clear_held_machines().await.unwrap();
    let ClusterEvent::Changes { changes, .. } = update(&mut watch).await else {
        panic!("a change")
    };
    let [Change::Leader(Some(leader))] = changes.as_slice() else { panic!("{changes:?}") };
    assert!(leader.held.is_empty());
    assert_eq!(
        registry.campaign_for_leadership(&presence).await.unwrap(),
        Some(led),
        "it leads as before"
    );
    registry.revoke_lease(presence.lease.id).await.unwrap();
    assert_eq!(registry.read_snapshot().await.unwrap().leader, None, "it kept its lease");
    registry.clear_held_machines().await.unwrap();
    let error = registry.write_held_machines(led, &presence, held).await.unwrap_err();
    assert!(matches!(error, CommitError::Deposed), "{error:?}");
}

pub(crate) async fn members_are_recorded_and_take_their_leave(bed: &Bed) {
    let registry = bed.registry();
    let presence = present(&registry, "m1").await;
    let led = registry.campaign_for_leadership(&presence).await.unwrap().unwrap();
    let ids = |names: &[&str]| names.iter().map(|id| id.parse().unwrap()).collect();
    let all: BTreeSet<MachineId> = ids(&["m1", "m2", "m3"]);
    registry.remove_member(&"m2".parse().unwrap()).await.unwrap();
    assert_eq!(registry.read_snapshot().await.unwrap().members, BTreeSet::new());
    let none = BTreeSet::new();
    assert!(registry.set_members(led, (&none, u64::MAX), &all).await.unwrap());
    assert_eq!(registry.read_snapshot().await.unwrap().members, all);
    registry.remove_member(&"m2".parse().unwrap()).await.unwrap();
    registry.remove_member(&"m4".parse().unwrap()).await.unwrap();
    assert_eq!(registry.read_snapshot().await.unwrap().members, ids(&["m1", "m3"]));
    // A leader that has not seen who left puts nobody back.
    assert!(!registry.set_members(led, (&all, u64::MAX), &all).await.unwrap());
    assert_eq!(registry.read_snapshot().await.unwrap().members, ids(&["m1", "m3"]));
    // They outlive their leader, and no one who is deposed writes them.
    registry.revoke_lease(presence.lease.id).await.unwrap();
    assert_eq!(registry.read_snapshot().await.unwrap().members, ids(&["m1", "m3"]));
    let error = registry.set_members(led, (&ids(&["m1", "m3"]), u64::MAX), &all).await.unwrap_err();
    assert!(matches!(error, CommitError::Deposed), "{error:?}");
}

pub(crate) async fn whoever_is_back_after_its_leave_is_a_member_from_its_registration_on(
    bed: &Bed,
) {
    let registry = bed.registry();
    let presence = present(&registry, "m1").await;
    let members = || async { registry.read_snapshot().await.unwrap().members };
    let ids = |names: &[&str]| names.iter().map(|id| id.parse().unwrap()).collect();
    assert_eq!(members().await, BTreeSet::new(), "nobody has led yet");
    let led = registry.campaign_for_leadership(&presence).await.unwrap().unwrap();
    assert!(
        registry.set_members(led, (&BTreeSet::new(), u64::MAX), &ids(&["m1", "m2"])).await.unwrap()
    );
    registry.remove_member(&"m2".parse().unwrap()).await.unwrap();
    // Its record is written once more while it goes.
    let lease = registry.grant_lease(Duration::from_secs(30)).await.unwrap();
    let going = Machine { leaving: true, ..machine("m2") };
    registry.register_machine(&going, lease).await.unwrap();
    assert_eq!(members().await, ids(&["m1"]));
    registry.register_machine(&machine("m2"), lease).await.unwrap();
    assert_eq!(members().await, ids(&["m1", "m2"]), "no leader has looked");
    present(&registry, "m3").await;
    assert_eq!(members().await, ids(&["m1", "m2", "m3"]));
}

pub(crate) async fn whoever_is_back_stays_a_member_whatever_was_seen_before(bed: &Bed) {
    let registry = bed.registry();
    let presence = present(&registry, "m1").await;
    let led = registry.campaign_for_leadership(&presence).await.unwrap().unwrap();
    let ids = |names: &[&str]| names.iter().map(|id| id.parse().unwrap()).collect();
    let (all, one): (BTreeSet<MachineId>, BTreeSet<MachineId>) = (ids(&["m1", "m2"]), ids(&["m1"]));
    assert!(registry.set_members(led, (&BTreeSet::new(), u64::MAX), &all).await.unwrap());
    let seen = registry.read_snapshot().await.unwrap();
    // The leader takes it out and does not hear of its own write; it is back, and that is not seen either.
    assert!(registry.set_members(led, (&all, seen.revision), &one).await.unwrap());
    present(&registry, "m2").await;
    assert!(!registry.set_members(led, (&all, seen.revision), &one).await.unwrap());
    assert_eq!(registry.read_snapshot().await.unwrap().members, all);
}

pub(crate) async fn the_time_left_of_each_machine_is_told(bed: &Bed) {
    const TIME: Duration = Duration::from_secs(30);
    let registry = bed.registry();
    let [first, second] = [present(&registry, "m1").await, present(&registry, "m2").await];
    present(&registry, "m3").await;
    let asked: BTreeSet<MachineId> = ["m1", "m2", "m4"].map(|id| id.parse().unwrap()).into();
    let left = registry.time_left(&asked, TIME).await.unwrap();
    let [m1, m2, m4] = ["m1", "m2", "m4"].map(|id| left[&id.parse::<MachineId>().unwrap()]);
    assert_eq!([m1.granted, m2.granted], [first.lease.ttl; 2]);
    assert_eq!(m4.granted, Duration::ZERO, "it is not registered");
    assert_eq!(left.len(), 3, "nobody else was asked for");
    registry.revoke_lease(second.lease.id).await.unwrap();
    assert_eq!(
        registry.time_left(&asked, TIME).await.unwrap()[&second.machine].granted,
        Duration::ZERO
    );
    // As much as comes in time, which is nothing here.
    assert!(registry.time_left(&asked, Duration::ZERO).await.unwrap().len() <= asked.len());
}

pub(crate) async fn a_record_that_hangs_on_no_lease_is_told(bed: &Bed) {
    let registry = bed.registry();
    present(&registry, "m1").await;
    let ops = ["leader", "reboot/default"].map(|key| bed.put(key, "{}")).to_vec();
    bed.store.commit(vec![], ops).await.unwrap();
    let read = registry.read_cluster().await.unwrap();
    assert_eq!(read.unleased.into_iter().collect::<Vec<_>>(), ["leader"]);
    assert_eq!(read.snapshot, registry.read_snapshot().await.unwrap());
    assert_eq!(read.reboots.groups, registry.read_reboots().await.unwrap().groups);
}
