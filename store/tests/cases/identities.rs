//! The identity of the cluster through the registry.

use std::sync::Arc;

use bytes::Bytes;
use muster_common::pki::{
    Digest, HostRecord, HostRole, JoinRecord, KeyHash, PkiChange, PkiKey, PkiRecord, SecretHash,
};
use muster_common::seed::Seed;
use muster_store::{CommitOutcome, Op, Range, Registry, RegistryError, StoreError};

use crate::machines::present;
use crate::support::Bed;

pub(crate) async fn a_cluster_gets_one_identity_and_keeps_it(bed: &Bed) {
    let daemons: Vec<Registry> = (1..=8)
        .map(|seed| Registry::with_seed(Arc::clone(&bed.store), &bed.prefix, Seed(seed)))
        .collect();
    let [first, ..] = daemons.as_slice() else { panic!("there are none") };
    assert_eq!(first.cluster_identity().await.unwrap(), None);
    // All that are there at the beginning give it one at once.
    let given = daemons.iter().map(Registry::establish_cluster_identity);
    let given: Vec<_> = futures::future::join_all(given).await;
    let identity = first.cluster_identity().await.unwrap().unwrap();
    for given in given {
        assert_eq!(given.unwrap(), identity);
    }
    // Another place in the same store is another cluster.
    let elsewhere = format!("{}elsewhere/", bed.prefix);
    let elsewhere = Registry::with_seed(Arc::clone(&bed.store), &elsewhere, Seed(9));
    assert_eq!(elsewhere.cluster_identity().await.unwrap(), None);
    assert_ne!(elsewhere.establish_cluster_identity().await.unwrap(), identity);
    assert_eq!(first.establish_cluster_identity().await.unwrap(), identity);
}

pub(crate) async fn a_store_of_the_release_before_is_adopted(bed: &Bed) {
    let registry = bed.registry();
    present(&registry, "m1").await;
    let before = registry.read_snapshot().await.unwrap();
    assert_eq!(registry.cluster_identity().await.unwrap(), None);
    let identity = registry.establish_cluster_identity().await.unwrap();
    assert_eq!(registry.cluster_identity().await.unwrap(), Some(identity));
    let after = registry.read_snapshot().await.unwrap();
    assert_eq!((after.machines, after.unreadable), (before.machines, before.unreadable));
}

pub(crate) async fn an_identity_nobody_can_read_is_not_replaced(bed: &Bed) {
    let registry = bed.registry();
    let key = format!("{}cluster", bed.prefix);
    let put = Op::Put { key, value: "{}".into(), lease: None };
    bed.store.commit(Vec::new(), vec![put]).await.unwrap();
    for outcome in [
        registry.cluster_identity().await.map(|_| ()),
        registry.establish_cluster_identity().await.map(|_| ()),
    ] {
        assert!(matches!(outcome, Err(RegistryError::Unreadable { .. })), "{outcome:?}");
    }
    assert!(registry.read_snapshot().await.unwrap().unreadable.contains_key("cluster"));
}

pub(crate) async fn nothing_is_written_to_a_store_that_is_not_ours(bed: &Bed) {
    let registry = bed.registry();
    let presence = present(&registry, "m1").await;
    // Whoever found that out tells all that write for the same daemon.
    registry.clone().refuse_writes("it is another cluster's");
    let zone = [(presence.machine.clone(), "zone".to_owned(), Some("a".to_owned()))];
    let refused = registry.set_metadata(&zone).await.unwrap_err();
    assert!(matches!(refused, RegistryError::Store(StoreError::NotOurs { .. })), "{refused:?}");
    let found = registry.read_snapshot().await.unwrap();
    assert!(found.machines.contains_key(&presence.machine) && found.metadata.is_empty());
    // What keeps a machine in its place is no write to it.
    registry.keep_alive(presence.lease.id).await.unwrap();
    registry.allow_writes();
    registry.set_metadata(&zone).await.unwrap();
}

pub(crate) async fn a_store_that_takes_the_place_of_ours_takes_no_write_of_whoever_has_not_looked(
    bed: &Bed,
) {
    let registry = bed.registry();
    let cluster = registry.establish_cluster_identity().await.unwrap();
    registry.allow_writes_to(cluster);
    let presence = present(&registry, "m1").await;
    let zone = [(presence.machine.clone(), "zone".to_owned(), Some("a".to_owned()))];
    registry.set_metadata(&zone).await.unwrap();
    let key = format!("{}cluster", bed.prefix);
    let other = r#"{"schema":1,"id":"0000000000000000000000000000000f"}"#;
    let before = bed.store.read(Range::Key(key.clone())).await.unwrap().entries.pop().unwrap();
    let replace = |value: Bytes| {
        let ops = vec![Op::Put { key: key.clone(), value, lease: None }];
        async move { bed.store.commit(Vec::new(), ops).await.unwrap() }
    };
    let remove = vec![Op::Delete { key: key.clone() }];
    let refusal = |outcome: Result<(), RegistryError>| {
        assert!(
            matches!(outcome, Err(RegistryError::Store(StoreError::NotOurs { .. }))),
            "{outcome:?}"
        );
    };
    let other_zone = [(presence.machine.clone(), "rack".to_owned(), Some("b".to_owned()))];
    // Another cluster's, then nobody's: nothing has been found out, and nothing is written.
    replace(other.into()).await;
    refusal(registry.set_metadata(&other_zone).await);
    bed.store.commit(Vec::new(), remove).await.unwrap();
    refusal(registry.set_metadata(&other_zone).await);
    let written = registry.read_snapshot().await.unwrap().metadata;
    assert!(written[&presence.machine].len() == 1, "{written:?}");
    // The same identity in other bytes is the same cluster.
    let value = String::from_utf8(before.value.to_vec()).unwrap().replace(',', ", ");
    replace(value.into()).await;
    registry.set_metadata(&other_zone).await.unwrap();
    // A person says that whatever is there is to be ours.
    replace(other.into()).await;
    registry.allow_writes_anywhere();
    registry.set_metadata(&zone).await.unwrap();
}

fn joining_host(machine: &str) -> PkiRecord {
    let record = HostRecord {
        key: KeyHash(Digest::of_bytes(machine.as_bytes())),
        role: HostRole::Agent,
        joined: 1,
        by: "a token".parse().unwrap(),
        bundle: 1,
        not_after: 2,
    };
    PkiRecord::Host(machine.parse().unwrap(), record)
}

fn join_token(uses: u32) -> JoinRecord {
    JoinRecord {
        secret: SecretHash(Digest::of_bytes(b"secret")),
        role: HostRole::Agent,
        expires: 9,
        uses,
        replaces: None,
        by: "root".parse().unwrap(),
    }
}

async fn is_written(registry: &Registry, change: &PkiChange) -> bool {
    matches!(registry.commit_pki(change).await.unwrap(), CommitOutcome::Done { .. })
}

pub(crate) async fn who_belongs_to_the_cluster_is_written_where_it_was_read(bed: &Bed) {
    let registry = bed.registry();
    let id = "abcdez27".parse().unwrap();
    assert_eq!(registry.authority_state().await.unwrap(), None);
    assert_eq!(registry.authority_record(1).await.unwrap(), None);
    assert_eq!(registry.join_record(id).await.unwrap(), None);
    let mut change = PkiChange::default();
    change.guard_record::<JoinRecord>(PkiKey::Join(id), None);
    change.writes.push(PkiRecord::Join(id, join_token(1)));
    assert!(is_written(&registry, &change).await);
    // The same once more is no change of what is there.
    assert!(!is_written(&registry, &change).await);
    let found = registry.join_record(id).await.unwrap().unwrap();
    assert_eq!(found.record, join_token(1));
    let listed = registry.join_records().await.unwrap();
    assert!(listed.into_values().eq([found.clone()]), "and no other");
    let mut removal = PkiChange::default();
    removal.guard_record(PkiKey::Join(id), Some(&found));
    removal.removals.push(PkiKey::Join(id));
    assert!(is_written(&registry, &removal).await);
    assert_eq!(registry.join_record(id).await.unwrap(), None);
}

pub(crate) async fn of_two_that_join_by_one_token_one_is_written(bed: &Bed) {
    let registry = bed.registry();
    let id = "abcdez27".parse().unwrap();
    let mut change = PkiChange::default();
    change.writes.push(PkiRecord::Join(id, join_token(1)));
    assert!(is_written(&registry, &change).await);
    let token = registry.join_record(id).await.unwrap();
    let changes = ["m1", "m2"].map(|machine| {
        let mut change = PkiChange::default();
        change.guard_record(PkiKey::Join(id), token.as_ref());
        change.guard_record::<HostRecord>(PkiKey::Host(machine.parse().unwrap()), None);
        change.writes.extend([PkiRecord::Join(id, join_token(0)), joining_host(machine)]);
        change
    });
    let [first, second] = &changes;
    let (first, second) = tokio::join!(is_written(&registry, first), is_written(&registry, second));
    assert!(first != second, "one of the two: {first} {second}");
    for (machine, is_in) in [("m1", first), ("m2", second)] {
        let host = registry.host_record(&machine.parse().unwrap()).await.unwrap();
        assert_eq!(host.is_some(), is_in, "{machine}");
    }
    let winner = if first { "m1" } else { "m2" };
    assert!(registry.host_records().await.unwrap().into_keys().eq([winner.parse().unwrap()]));
}

pub(crate) async fn a_host_nobody_can_read_is_no_stranger(bed: &Bed) {
    let registry = bed.registry();
    let key = format!("{}host/m1", bed.prefix);
    let put = Op::Put { key, value: "{}".into(), lease: None };
    bed.store.commit(Vec::new(), vec![put]).await.unwrap();
    let found = registry.host_record(&"m1".parse().unwrap()).await;
    assert!(matches!(found, Err(RegistryError::Unreadable { .. })), "{found:?}");
    assert!(registry.read_snapshot().await.unwrap().unreadable.contains_key("host/m1"));
    // A token that nobody can read keeps no other from being listed.
    let (broken, whole) = (format!("{}join/abcdez22", bed.prefix), "abcdez27".parse().unwrap());
    let put = Op::Put { key: broken, value: "{}".into(), lease: None };
    bed.store.commit(Vec::new(), vec![put]).await.unwrap();
    let change =
        PkiChange { writes: vec![PkiRecord::Join(whole, join_token(1))], ..PkiChange::default() };
    assert!(is_written(&registry, &change).await);
    assert!(registry.join_records().await.unwrap().into_keys().eq([whole]));
}
