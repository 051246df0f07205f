//! Reading.

use muster_store::{CommitOutcome, Op, Range};

use crate::support::Bed;

pub(crate) async fn a_range_holds_its_keys_in_order_and_no_others(bed: &Bed) {
    let ops = ["b", "a/2", "a/1", "a", "a0"].map(|key| bed.put(key, key)).to_vec();
    bed.store.commit(vec![], ops).await.unwrap();
    let keys = |range: Range| async {
        let entries = bed.store.read(range).await.unwrap().entries;
        let below = |key: &str| key.strip_prefix(&bed.prefix).unwrap().to_owned();
        entries.iter().map(|e| below(&e.key)).collect::<Vec<_>>()
    };
    assert_eq!(keys(Range::Prefix(bed.key("a/"))).await, ["a/1", "a/2"]);
    assert_eq!(keys(Range::Prefix(bed.key("a"))).await, ["a", "a/1", "a/2", "a0"]);
    assert_eq!(keys(Range::Key(bed.key("a"))).await, ["a"]);
    assert!(keys(Range::Key(bed.key("c"))).await.is_empty());
    assert_eq!(keys(bed.everything()).await, ["a", "a/1", "a/2", "a0", "b"]);
    let beside = |key| Range::PrefixBeside { prefix: bed.key("a/"), beside: bed.key(key) };
    assert_eq!(keys(beside("b")).await, ["a/1", "a/2", "b"]);
    assert_eq!(keys(beside("c")).await, ["a/1", "a/2"]);
}

pub(crate) async fn thousands_of_large_records_are_read_at_one_revision(bed: &Bed) {
    // 3,000 records of 4 KB are 12 MB: more than one answer of etcd's client holds.
    let value = "x".repeat(4096);
    let mut last = 0;
    for block in 0..30 {
        let ops = (0..100).map(|n| bed.put(&format!("{block:02}/{n:02}"), &value)).collect();
        let CommitOutcome::Done { revision } = bed.store.commit(vec![], ops).await.unwrap() else {
            panic!("it has no guards")
        };
        last = revision;
    }
    let listing = bed.store.read(bed.everything()).await.unwrap();
    assert_eq!(listing.entries.len(), 3000);
    assert!(listing.revision >= last);
    assert!(listing.entries.iter().all(|record| record.value.len() == value.len()));
    assert!(listing.entries.is_sorted_by(|a, b| a.key < b.key));
}

pub(crate) async fn records_near_the_limit_are_read(bed: &Bed) {
    for n in 0..24 {
        let value = vec![b'x'; 1_000_000].into();
        let put = Op::Put { key: bed.key(&format!("{n}")), value, lease: None };
        bed.store.commit(vec![], vec![put]).await.unwrap();
    }
    let listing = bed.store.read(bed.everything()).await.unwrap();
    assert_eq!(listing.entries.len(), 24);
    assert!(listing.entries.iter().all(|record| record.value.len() == 1_000_000));
}
