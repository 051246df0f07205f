//! Leases.

use std::time::{Duration, Instant};

use muster_store::{KeyChange, Lease, LeaseId, Op, StoreError, WatchEvent};

use crate::support::{Bed, eventually, within};

/// The shortest lease etcd grants with the elections of the tests.
const SHORT: Duration = Duration::from_secs(1);

const LONG: Duration = Duration::from_secs(600);

fn put(bed: &Bed, name: &str, lease: Lease) -> Vec<Op> {
    vec![Op::Put { key: bed.key(name), value: "v".into(), lease: Some(lease.id) }]
}

pub(crate) async fn records_end_with_their_lease(bed: &Bed) {
    let mut watch = bed.store.watch(bed.everything());
    bed.store.commit(vec![], vec![bed.put("b", "")]).await.unwrap();
    let lease = bed.lease_with(SHORT, &["a"]).await;
    assert!(lease.ttl >= SHORT);
    // It was there, under this lease: that is seen in the watch however late.
    let was_there = async {
        loop {
            let (entries, changes) = match watch.events.recv().await.unwrap() {
                WatchEvent::Reset(listing) => (listing.entries, Vec::new()),
                WatchEvent::Changes { changes, .. } => (Vec::new(), changes),
                _ => continue,
            };
            let put = changes.into_iter().filter_map(|change| match change {
                KeyChange::Put(record) => Some(record),
                KeyChange::Delete { .. } => None,
            });
            if entries.into_iter().chain(put).any(|record| record.lease == Some(lease.id)) {
                return;
            }
        }
    };
    within("the record", was_there).await;
    eventually("the lease to end", || async { bed.get("a").await.is_none().then_some(()) }).await;
    assert!(bed.get("b").await.is_some());
    let revoked = bed.store.grant(LONG).await.unwrap();
    bed.store.commit(vec![], put(bed, "c", revoked)).await.unwrap();
    bed.store.revoke(revoked.id).await.unwrap();
    assert_eq!(bed.get("c").await, None);
}

pub(crate) async fn a_lease_that_is_kept_alive_lasts(bed: &Bed) {
    within("a lease to be kept for longer than it lasts", async {
        while !outlives_another(bed).await {}
    })
    .await;
}

/// Whether a lease that is kept alive outlives two others that are granted later and are not. `false`: this process came
/// too late to keep it, so that it had to end.
async fn outlives_another(bed: &Bed) -> bool {
    let mut asked = Instant::now();
    let kept = bed.lease_with(SHORT, &["kept"]).await;
    let mut ticks = tokio::time::interval(SHORT / 50);
    for name in ["clock0", "clock1"] {
        bed.lease_with(SHORT, &[name]).await;
        loop {
            let now = Instant::now();
            match bed.store.keep_alive(kept.id).await {
                Ok(prolonged) => assert_eq!(prolonged, kept),
                Err(StoreError::LeaseGone { .. }) => {
                    assert!(asked.elapsed() >= kept.ttl, "it has the time that was answered for");
                    return false;
                }
                Err(other) => panic!("{other:?}"),
            }
            asked = now;
            let is_there = bed.get("kept").await.is_some();
            if asked.elapsed() >= kept.ttl {
                return false;
            }
            assert!(is_there, "it has the time that was answered for");
            if bed.get(name).await.is_none() {
                break;
            }
            ticks.tick().await;
        }
    }
    true
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
    let lease = bed.store.grant(LONG).await.unwrap();
    eventually("three seconds to pass", || async {
        let time = bed.store.time_left(lease.id).await.unwrap();
        assert_eq!(time.granted, lease.ttl);
        (time.left + Duration::from_secs(3) < lease.ttl).then_some(())
    })
    .await;
    let asked = Instant::now();
    bed.store.keep_alive(lease.id).await.unwrap();
    let time = bed.store.time_left(lease.id).await.unwrap();
    // etcd counts whole seconds.
    let passed = asked.elapsed() + Duration::from_secs(1);
    assert!(time.left + passed >= lease.ttl, "{time:?} {passed:?} later");
    bed.store.revoke(lease.id).await.unwrap();
    let error = bed.store.time_left(lease.id).await.unwrap_err();
    assert!(matches!(error, StoreError::LeaseGone { .. }), "{error:?}");
}
