//! Watches.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use muster_store::{CommitOutcome, KeyChange, Listing, Op, Range, Watch, WatchEvent};

use crate::support::relay::Relay;
use crate::support::{Bed, next};

async fn reset(watch: &mut Watch) -> Listing {
    match next(watch).await {
        WatchEvent::Reset(listing) => listing,
        other => panic!("expected a reset, got {other:?}"),
    }
}

/// The next changes, as many as asked for.
async fn changes(watch: &mut Watch, count: usize) -> Vec<KeyChange> {
    let mut all = Vec::new();
    while all.len() < count {
        match next(watch).await {
            WatchEvent::Changes { changes, .. } => all.extend(changes),
            WatchEvent::Progress { .. } => {}
            other => panic!("expected changes, got {other:?}"),
        }
    }
    assert_eq!(all.len(), count);
    all
}

/// What someone holds who followed a watch.
#[derive(Default)]
struct Follower {
    records: BTreeMap<String, Bytes>,
    resets: usize,
}

impl Follower {
    fn see(&mut self, event: WatchEvent) {
        match event {
            WatchEvent::Reset(listing) => {
                self.resets += 1;
                self.records = listing.entries.into_iter().map(|r| (r.key, r.value)).collect();
            }
            WatchEvent::Changes { changes, .. } => {
                for change in changes {
                    match change {
                        KeyChange::Put(r) => self.records.insert(r.key, r.value),
                        KeyChange::Delete { key } => self.records.remove(&key),
                    };
                }
            }
            WatchEvent::Progress { .. } | WatchEvent::Lost { .. } => {}
        }
    }

    async fn see_until(&mut self, watch: &mut Watch, key: &str) {
        while !self.records.contains_key(key) {
            self.see(next(watch).await);
        }
    }
}

async fn fresh(bed: &Bed) -> BTreeMap<String, Bytes> {
    let entries = bed.store.read(bed.everything()).await.unwrap().entries;
    entries.into_iter().map(|r| (r.key, r.value)).collect()
}

pub(crate) async fn a_watch_begins_with_all_there_is(bed: &Bed) {
    let mut empty = bed.store.watch(bed.everything());
    assert!(reset(&mut empty).await.entries.is_empty());
    bed.store.commit(vec![], vec![bed.put("a", "1"), bed.put("b", "2")]).await.unwrap();
    let mut watch = bed.store.watch(bed.everything());
    let listing = reset(&mut watch).await;
    assert_eq!(listing.entries, bed.store.read(bed.everything()).await.unwrap().entries);
    assert_eq!(changes(&mut empty, 2).await.len(), 2);
}

pub(crate) async fn changes_come_in_order_and_each_commit_whole(bed: &Bed) {
    let mut watch = bed.store.watch(bed.everything());
    let mut before = reset(&mut watch).await.revision;
    for n in 0..20 {
        let ops = vec![bed.put("counter", &n.to_string()), bed.put(&format!("{n}"), "")];
        bed.store.commit(vec![], ops).await.unwrap();
    }
    bed.store.commit(vec![], vec![bed.delete("counter"), bed.delete("0")]).await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < 42 {
        let WatchEvent::Changes { revision, changes } = next(&mut watch).await else {
            panic!("expected changes")
        };
        assert!(revision > before);
        before = revision;
        // A commit of two is never cut in two.
        assert_eq!(changes.len() % 2, 0);
        seen.extend(changes);
    }
    let counted = seen.iter().filter_map(|change| match change {
        KeyChange::Put(record) if record.key == bed.key("counter") => Some(record.value.clone()),
        _ => None,
    });
    assert!(counted.eq((0..20).map(|n| Bytes::from(n.to_string()))));
    assert!(matches!(&seen[40], KeyChange::Delete { .. }));
    assert!(matches!(&seen[41], KeyChange::Delete { .. }));
}

pub(crate) async fn a_watch_sees_its_range_only(bed: &Bed) {
    let mut below = bed.store.watch(Range::Prefix(bed.key("a/")));
    let mut one = bed.store.watch(Range::Key(bed.key("a/1")));
    reset(&mut below).await;
    reset(&mut one).await;
    let ops = ["a", "a0", "b", "a/1", "a/2"].map(|key| bed.put(key, "")).to_vec();
    bed.store.commit(vec![], ops).await.unwrap();
    bed.store.commit(vec![], vec![bed.delete("a/1"), bed.delete("b")]).await.unwrap();
    let keys =
        |changes: Vec<KeyChange>| changes.iter().map(|c| c.key().to_owned()).collect::<Vec<_>>();
    assert_eq!(
        keys(changes(&mut below, 3).await),
        [bed.key("a/1"), bed.key("a/2"), bed.key("a/1")]
    );
    assert_eq!(keys(changes(&mut one, 2).await), [bed.key("a/1"), bed.key("a/1")]);
}

pub(crate) async fn the_end_of_a_lease_is_seen(bed: &Bed) {
    let mut watch = bed.store.watch(bed.everything());
    reset(&mut watch).await;
    bed.lease_with(Duration::from_secs(1), &["a", "b"]).await;
    // Who reads late may be told of both at once.
    let seen = changes(&mut watch, 4).await;
    let (put, ended) = seen.split_at(2);
    assert!(put.iter().all(|change| matches!(change, KeyChange::Put(_))), "{put:?}");
    let key = |name| KeyChange::Delete { key: bed.key(name) };
    assert!(ended.contains(&key("a")) && ended.contains(&key("b")), "{ended:?}");
}

pub(crate) async fn a_watch_followed_equals_a_fresh_read(bed: &Bed) {
    let mut watch = bed.store.watch(bed.everything());
    let writers = (0..4).map(|writer| {
        let (store, prefix) = (Arc::clone(&bed.store), bed.prefix.clone());
        tokio::spawn(async move {
            for n in 0..100 {
                let key = format!("{prefix}{}", (n * 7 + writer) % 40);
                let op = if n % 3 == 0 {
                    Op::Delete { key }
                } else {
                    Op::Put { key, value: format!("{writer}/{n}").into(), lease: None }
                };
                store.commit(vec![], vec![op]).await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    bed.store.commit(vec![], vec![bed.put("last", "")]).await.unwrap();
    let mut follower = Follower::default();
    follower.see_until(&mut watch, &bed.key("last")).await;
    assert_eq!(follower.records, fresh(bed).await);
}

pub(crate) async fn a_slow_reader_ends_up_with_everything(bed: &Bed) {
    let mut watch = bed.store.watch(bed.everything());
    for n in 0..3000 {
        let key = format!("{}", n % 100);
        bed.store.commit(vec![], vec![bed.put(&key, &n.to_string())]).await.unwrap();
    }
    bed.store.commit(vec![], vec![bed.put("last", "")]).await.unwrap();
    let mut follower = Follower::default();
    follower.see_until(&mut watch, &bed.key("last")).await;
    assert_eq!(follower.records, fresh(bed).await);
}

/// Cut off from its server, compacted away behind its back, a watch begins anew and has everything.
pub(crate) async fn survive_compaction(bed: &Bed) {
    let server = bed.server();
    let mut follower = Follower::default();
    let mut watch = bed.store.watch(bed.everything());
    bed.store.commit(vec![], vec![bed.put("first", ""), bed.put("removed", "")]).await.unwrap();
    follower.see_until(&mut watch, &bed.key("first")).await;
    // Compacting under a live watch that has seen everything harms nothing.
    server.compact(&*bed.store).await;
    bed.store.commit(vec![], vec![bed.put("second", "")]).await.unwrap();
    follower.see_until(&mut watch, &bed.key("second")).await;
    assert_eq!(follower.resets, 1);
    // Restart the server; before the watch is back, others write and compact. It is not told when that is over, so it
    // may resume at any point of this.
    server.kill();
    server.launch();
    let other = crate::support::open(&[server.endpoint()]).await;
    crate::support::eventually("the server to be back", || async {
        match other.commit(vec![], vec![bed.delete("removed"), bed.put("third", "")]).await {
            Ok(CommitOutcome::Done { .. }) => Some(()),
            _ => None,
        }
    })
    .await;
    server.compact(&*other).await;
    other.commit(vec![], vec![bed.put("last", "")]).await.unwrap();
    follower.see_until(&mut watch, &bed.key("last")).await;
    assert_eq!(follower.records, fresh(bed).await);
}

/// Of a record removed at the very revision that is compacted, old servers tell a watch that begins there nothing.
pub(crate) async fn see_what_compaction_hides(bed: &Bed) {
    let relay = Relay::to(&bed.server().endpoint()).await;
    let cut_off = crate::support::open(&[relay.endpoint()]).await;
    let mut follower = Follower::default();
    let mut watch = cut_off.watch(bed.everything());
    bed.store.commit(vec![], vec![bed.put("removed", "")]).await.unwrap();
    follower.see_until(&mut watch, &bed.key("removed")).await;
    relay.cut();
    // The next revision after the last one seen, and it is the last one compacted.
    bed.store.commit(vec![], vec![bed.delete("removed")]).await.unwrap();
    bed.server().compact(&*bed.store).await;
    relay.mend();
    bed.store.commit(vec![], vec![bed.put("last", "")]).await.unwrap();
    follower.see_until(&mut watch, &bed.key("last")).await;
    assert_eq!(follower.records, fresh(bed).await);
}
