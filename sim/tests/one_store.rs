//! What is read is of one store, whatever stands at its address a moment later; and what was removed has its revision.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what fails in a test is to fail it"
)]

mod exam;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "support/stage.rs"]
mod stage;

use std::sync::Arc;
use std::time::Duration;

use muster_sim::etcd::{EtcdModel, EtcdRelease};
use muster_store::{CommitOutcome, Guard, Op, Range, Store};
use stage::{LATENCY, Loss, Stage};

/// The store of some cluster: a few records, and beside them the name of the store.
fn store_of(name: &'static str, records: usize) -> EtcdModel {
    let mut stage = Stage::new(1, 1, EtcdRelease::Current);
    let put = move |key: String| Op::Put { key, value: name.into(), lease: None };
    stage.ask(0, move |store| async move {
        for n in 0..records {
            store.commit(vec![], vec![put(format!("/place/{n:04}"))]).await.unwrap();
        }
        store.commit(vec![], vec![put("/cluster".to_owned())]).await.unwrap();
    });
    stage.cluster.take_snapshot()
}

/// Puts another store in the place of the one that is there. Whoever reads stands still until it has a leader.
fn exchange_store(stage: &mut Stage, store: &EtcdModel) {
    stage.happens(|cluster, now| cluster.restore_snapshot(now, store.clone()));
    let later = stage.now + Duration::from_secs(3);
    stage.happens(|cluster, _| cluster.advance_to(later));
    stage.now = later;
}

/// Reads places with the name beside them, from a store in whose place another one stands from some moment on. Gives the names
/// that are in the listing, each once; none where there is no listing.
fn names_read(first: &EtcdModel, then: &EtcdModel, exchanged_after: Duration) -> Vec<String> {
    let mut stage = Stage::new(1, 1, EtcdRelease::Current);
    exchange_store(&mut stage, first);
    let range = Range::PrefixBeside { prefix: "/place/".into(), beside: "/cluster".into() };
    let read = stage.begin(0, |store| async move { store.read(range).await });
    stage.run_for(exchanged_after);
    exchange_store(&mut stage, then);
    stage.run_for(Duration::from_secs(60));
    let (_, listing) = read.lock().unwrap().take().expect("it is answered");
    let entries = listing.map(|listing| listing.entries).unwrap_or_default();
    let mut names: Vec<String> =
        entries.iter().map(|record| String::from_utf8(record.value.to_vec()).unwrap()).collect();
    names.dedup();
    names
}

/// True if every listing is of one store, at whatever moment the other takes its place.
fn listings_are_whole(records: usize) -> bool {
    let (first, then) = (store_of("theirs", records), store_of("ours", records));
    let moments = (1..20).map(|step| step * LATENCY / 2);
    let read: Vec<Vec<String>> = moments.map(|moment| names_read(&first, &then, moment)).collect();
    assert!(read.iter().any(|names| names.contains(&"theirs".to_owned())));
    assert!(read.iter().any(|names| names.contains(&"ours".to_owned())));
    read.iter().all(|names| names.len() <= 1)
}

#[test]
fn placements_and_the_name_of_their_store_are_of_one_store() {
    exam::holds_unless("identity-read-apart", || listings_are_whole(1));
}

#[test]
fn the_pages_of_a_listing_are_of_one_store() {
    exam::holds_unless("pages-of-two-stores-joined", || listings_are_whole(1500));
}

/// The outcome of a removal whose first answer is lost, while others write other records.
fn removal_after_a_doubt() -> CommitOutcome {
    let mut stage = Stage::new(1, 2, EtcdRelease::Current);
    let put = |key: &str| Op::Put { key: key.to_owned(), value: "".into(), lease: None };
    let (kept, other) = (put("/kept"), put("/other"));
    let write = move |op: Op| {
        move |store: Arc<dyn Store>| async move { store.commit(vec![], vec![op]).await.unwrap() }
    };
    let CommitOutcome::Done { revision } = stage.ask(1, write(kept.clone())).1 else {
        panic!("it has no guards")
    };
    let guard = Guard::Modified { key: "/kept".to_owned(), revision };
    let delete = Op::Delete { key: "/kept".to_owned() };
    stage.losses.insert((0, 0, Loss::Answers));
    let removal =
        stage.begin(0, |store| async move { store.commit(vec![guard], vec![delete]).await });
    stage.run_for(3 * LATENCY);
    for _ in 0..5 {
        stage.ask(1, write(other.clone()));
    }
    stage.losses.clear();
    stage.run_for(Duration::from_secs(60));
    removal.lock().unwrap().take().expect("it is answered").1.unwrap()
}

#[test]
fn a_removal_whose_answer_was_lost_has_its_revision() {
    // The empty store is at 1, and the record was written at 2.
    let removed = CommitOutcome::Done { revision: 3 };
    exam::holds_unless("removal-at-no-revision", || removal_after_a_doubt() == removed);
}
