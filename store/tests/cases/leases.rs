//! Leases.

use std::time::Duration;

use muster_store::{Lease, LeaseId, Op, StoreError};

use crate::support::{Bed, eventually};

/// The shortest lease etcd grants with the elections of the tests.
const SHORT: Duration = Duration::from_secs(1);

const LONG: Duration = Duration::from_secs(600);

fn put(bed: &Bed, name: &str, lease: Lease) -> Vec<Op> {
    vec![Op::Put { key: bed.key(name), value: "v".into(), lease: Some(lease.id) }]
}

pub(crate) async fn records_end_with_their_lease(bed: &Bed) {
    let lease = bed.store.grant(SHORT).await.unwrap();
    assert!(lease.ttl >= SHORT);
    bed.store.commit(vec![], put(bed, "a", lease)).await.unwrap();
    bed.store.commit(vec![], vec![bed.put("b", "")]).await.unwrap();
    assert_eq!(bed.get("a").await.unwrap().lease, Some(lease.id));
    eventually("the lease to end", || async { bed.get("a").await.is_none().then_some(()) }).await;
    assert!(bed.get("b").await.is_some());
    let revoked = bed.store.grant(LONG).await.unwrap();
    bed.store.commit(vec![], put(bed, "c", revoked)).await.unwrap();
    bed.store.revoke(revoked.id).await.unwrap();
    assert_eq!(bed.get("c").await, None);
}

pub(crate) async fn a_lease_that_is_kept_alive_lasts(bed: &Bed) {
    let kept = bed.store.grant(SHORT).await.unwrap();
    bed.store.commit(vec![], put(bed, "kept", kept)).await.unwrap();
    // Another lease, granted later and not kept, tells the time.
    for round in 0..2 {
        let other = bed.store.grant(SHORT).await.unwrap();
        let name = format!("clock{round}");
        bed.store.commit(vec![], put(bed, &name, other)).await.unwrap();
        eventually("the other lease to end", || async {
            let prolonged = bed.store.keep_alive(kept.id).await.unwrap();
            assert_eq!(prolonged, kept);
            bed.get(&name).await.is_none().then_some(())
        })
        .await;
    }
    assert!(bed.get("kept").await.is_some());
}

pub(crate) async fn a_lease_that_is_gone_is_said_to_be(bed: &Bed) {
    let lease = bed.store.grant(LONG).await.unwrap();
    bed.store.keep_alive(lease.id).await.unwrap();
    bed.store.revoke(lease.id).await.unwrap();
    let unknown = LeaseId(lease.id.0.wrapping_add(987_654_321));
    for id in [lease.id, unknown] {
        let gone =
            |error: &StoreError| matches!(error, StoreError::LeaseGone { lease } if *lease == id);
        assert!(gone(&bed.store.keep_alive(id).await.unwrap_err()));
        let under = put(bed, "a", Lease { id, ttl: LONG });
        assert!(gone(&bed.store.commit(vec![], under).await.unwrap_err()));
        bed.store.revoke(id).await.unwrap();
    }
    assert_eq!(bed.get("a").await, None);
}

pub(crate) async fn a_record_leaves_its_lease_with_a_later_put(bed: &Bed) {
    let [first, second] =
        [bed.store.grant(LONG).await.unwrap(), bed.store.grant(LONG).await.unwrap()];
    bed.store.commit(vec![], put(bed, "moved", first)).await.unwrap();
    bed.store.commit(vec![], put(bed, "freed", first)).await.unwrap();
    bed.store.commit(vec![], put(bed, "moved", second)).await.unwrap();
    bed.store.commit(vec![], vec![bed.put("freed", "")]).await.unwrap();
    bed.store.revoke(first.id).await.unwrap();
    assert_eq!(bed.get("moved").await.unwrap().lease, Some(second.id));
    assert_eq!(bed.get("freed").await.unwrap().lease, None);
    bed.store.revoke(second.id).await.unwrap();
    assert_eq!(bed.get("moved").await, None);
}

pub(crate) async fn no_lease_is_longer_or_shorter_than_sensible(bed: &Bed) {
    for ttl in [Duration::ZERO, Duration::from_secs(24 * 60 * 60 + 1), Duration::MAX] {
        let error = bed.store.grant(ttl).await.unwrap_err();
        assert!(matches!(error, StoreError::Rejected { .. }), "{error:?}");
    }
}

pub(crate) async fn the_time_left_runs_down_and_is_prolonged(bed: &Bed) {
    let lease = bed.store.grant(Duration::from_secs(6)).await.unwrap();
    eventually("a second to pass", || async {
        let time = bed.store.time_left(lease.id).await.unwrap();
        assert_eq!(time.granted, lease.ttl);
        (time.left < Duration::from_secs(5)).then_some(())
    })
    .await;
    bed.store.keep_alive(lease.id).await.unwrap();
    let time = bed.store.time_left(lease.id).await.unwrap();
    assert!(time.left >= Duration::from_secs(4), "{time:?}");
    bed.store.revoke(lease.id).await.unwrap();
    let error = bed.store.time_left(lease.id).await.unwrap_err();
    assert!(matches!(error, StoreError::LeaseGone { .. }), "{error:?}");
}
