//! Commits: guards, atomicity, limits.

use std::sync::Arc;

use muster_store::{CommitOutcome, Guard, MAX_OPERATIONS, MAX_REQUEST_BYTES, Op, StoreError};

use crate::support::Bed;

async fn done(bed: &Bed, guards: Vec<Guard>, ops: Vec<Op>) -> u64 {
    match bed.store.commit(guards, ops).await.unwrap() {
        CommitOutcome::Done { revision } => revision,
        CommitOutcome::Conflict { .. } => panic!("a guard did not hold"),
    }
}

async fn conflicts(bed: &Bed, guard: Guard) {
    let outcome = bed.store.commit(vec![guard.clone()], vec![bed.put("written", "")]).await;
    assert!(matches!(outcome, Ok(CommitOutcome::Conflict { .. })), "{guard:?} held");
    assert_eq!(bed.get("written").await, None);
}

pub(crate) async fn revisions_rise_and_records_tell_theirs(bed: &Bed) {
    let created = done(bed, vec![], vec![bed.put("a", "1")]).await;
    let written = done(bed, vec![], vec![bed.put("a", "2")]).await;
    assert!(created > 0 && written > created);
    let record = bed.get("a").await.unwrap();
    assert_eq!((record.create_revision, record.mod_revision), (created, written));
    assert_eq!(record.value, "2");
    done(bed, vec![], vec![bed.delete("a")]).await;
    let again = done(bed, vec![], vec![bed.put("a", "3")]).await;
    let record = bed.get("a").await.unwrap();
    assert_eq!((record.create_revision, record.mod_revision), (again, again));
    assert!(bed.store.read(bed.everything()).await.unwrap().revision >= again);
}

pub(crate) async fn guards_decide(bed: &Bed) {
    let created = |key: &str, revision| Guard::Created { key: bed.key(key), revision };
    let exists = |key: &str| Guard::Exists { key: bed.key(key) };
    let first =
        done(bed, vec![bed.modified("a", 0), created("a", 0)], vec![bed.put("a", "")]).await;
    let second =
        done(bed, vec![bed.modified("a", first), exists("a")], vec![bed.put("a", "")]).await;
    for guard in [
        bed.modified("a", 0),
        bed.modified("a", first),
        bed.modified("b", first),
        created("a", 0),
        created("a", second),
        created("b", first),
        exists("b"),
    ] {
        conflicts(bed, guard).await;
    }
    let all =
        vec![bed.modified("a", second), created("a", first), exists("a"), bed.modified("b", 0)];
    done(bed, all, vec![bed.delete("a")]).await;
    conflicts(bed, exists("a")).await;
    done(bed, vec![bed.modified("a", 0), created("a", 0)], vec![]).await;
}

pub(crate) async fn a_commit_is_all_or_nothing(bed: &Bed) {
    let revision = done(bed, vec![], vec![bed.put("a", ""), bed.put("b", "")]).await;
    let one = |key| async move { bed.get(key).await.map(|r| r.mod_revision) };
    assert_eq!((one("a").await, one("b").await), (Some(revision), Some(revision)));
    let guards = vec![bed.modified("a", revision), bed.modified("b", 1)];
    let ops = vec![bed.put("a", "x"), bed.delete("b"), bed.put("c", "x")];
    let outcome = bed.store.commit(guards, ops).await.unwrap();
    assert!(matches!(outcome, CommitOutcome::Conflict { .. }));
    assert_eq!((one("a").await, one("b").await), (Some(revision), Some(revision)));
    assert_eq!(one("c").await, None);
}

pub(crate) async fn what_changes_nothing_has_no_revision(bed: &Bed) {
    let revision = done(bed, vec![], vec![bed.put("a", "")]).await;
    let nothing = done(bed, vec![], vec![bed.delete("b")]).await;
    let none = done(bed, vec![], vec![]).await;
    let next = done(bed, vec![], vec![bed.put("a", "")]).await;
    // Other cases may write to the same server, so only the order is certain.
    assert!(revision <= nothing && nothing <= none && none < next);
}

pub(crate) async fn as_many_operations_as_allowed_and_not_one_more(bed: &Bed) {
    let ops = |n: usize| (0..n).map(|i| bed.put(&format!("{i}"), "")).collect::<Vec<_>>();
    let guards = |n: usize| (0..n).map(|i| bed.modified(&format!("{i}"), 0)).collect::<Vec<_>>();
    done(bed, guards(MAX_OPERATIONS), ops(MAX_OPERATIONS)).await;
    assert_eq!(bed.store.read(bed.everything()).await.unwrap().entries.len(), MAX_OPERATIONS);
    for (guards, ops) in [
        (guards(MAX_OPERATIONS + 1), vec![]),
        (vec![], ops(MAX_OPERATIONS + 1)),
        (vec![], vec![bed.put("twice", ""), bed.delete("twice")]),
        (vec![], vec![Op::Delete { key: String::new() }]),
    ] {
        let error = bed.store.commit(guards, ops).await.unwrap_err();
        assert!(matches!(error, StoreError::Rejected { .. }), "{error:?}");
    }
}

pub(crate) async fn what_is_too_large_is_refused_and_harms_nothing(bed: &Bed) {
    let put = |bytes: usize| Op::Put {
        key: bed.key("large"),
        value: vec![b'x'; bytes].into(),
        lease: None,
    };
    done(bed, vec![], vec![put(MAX_REQUEST_BYTES - 1000)]).await;
    let error = bed.store.commit(vec![], vec![put(MAX_REQUEST_BYTES)]).await.unwrap_err();
    assert!(matches!(error, StoreError::Rejected { .. }), "{error:?}");
    assert_eq!(bed.get("large").await.unwrap().value.len(), MAX_REQUEST_BYTES - 1000);
}

pub(crate) async fn counters_lose_no_increment(bed: &Bed) {
    const WRITERS: usize = 8;
    const INCREMENTS: usize = 25;
    let tasks = (0..WRITERS).map(|_| {
        let (store, key) = (Arc::clone(&bed.store), bed.key("counter"));
        tokio::spawn(async move {
            for _ in 0..INCREMENTS {
                loop {
                    let range = muster_store::Range::Key(key.clone());
                    let found = store.read(range).await.unwrap().entries.pop();
                    let revision = found.as_ref().map_or(0, |r| r.mod_revision);
                    let count: usize = found
                        .map_or(0, |r| std::str::from_utf8(&r.value).unwrap().parse().unwrap());
                    let guard = Guard::Modified { key: key.clone(), revision };
                    let value = (count + 1).to_string().into();
                    let put = Op::Put { key: key.clone(), value, lease: None };
                    match store.commit(vec![guard], vec![put]).await.unwrap() {
                        CommitOutcome::Done { .. } => break,
                        CommitOutcome::Conflict { .. } => {}
                    }
                }
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert_eq!(bed.get("counter").await.unwrap().value, (WRITERS * INCREMENTS).to_string());
}
