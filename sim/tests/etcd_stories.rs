//! Stories of a cluster and the stores that daemons have on it, in a time that stands still between events.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what fails in a test is to fail it"
)]

mod exam;
#[path = "support/stage.rs"]
mod stage;

use std::sync::Arc;
use std::time::Duration;

use muster_common::seed::Seed;
use muster_sim::etcd::{AutoCompaction, ClusterOptions, EtcdCluster, EtcdModel, EtcdRelease};
use muster_store::{
    CommitOutcome, Guard, KeyChange, Lease, LeaseId, Op, Range, Store, StoreError, WatchEvent,
};
use stage::{LATENCY, Loss, Stage};
use tokio::sync::mpsc;

const SECOND: Duration = Duration::from_secs(1);

fn everything() -> Range {
    Range::Prefix("/".to_owned())
}

fn put(key: &str, value: &str, lease: Option<LeaseId>) -> Op {
    Op::Put { key: key.to_owned(), value: value.to_owned().into(), lease }
}

fn write(stage: &mut Stage, key: &'static str) -> Result<CommitOutcome, StoreError> {
    stage.ask(0, move |store| async move { store.commit(vec![], vec![put(key, "", None)]).await }).1
}

fn create(stage: &mut Stage, key: &'static str) -> Result<CommitOutcome, StoreError> {
    let guard = Guard::Modified { key: key.to_owned(), revision: 0 };
    let commit = move |store: Arc<dyn Store>| async move {
        store.commit(vec![guard], vec![put(key, "", None)]).await
    };
    stage.ask(0, commit).1
}

fn keys(stage: &mut Stage, node: usize) -> Vec<String> {
    let (_, listing) = stage.ask(node, |store| async move { store.read(everything()).await });
    listing.unwrap().entries.into_iter().map(|record| record.key).collect()
}

/// A lease with a record under it.
fn lease_with(stage: &mut Stage, key: &'static str, ttl: Duration) -> Lease {
    let (_, lease) = stage.ask(0, move |store| async move {
        let lease = store.grant(ttl).await.unwrap();
        store.commit(vec![], vec![put(key, "", Some(lease.id))]).await.unwrap();
        lease
    });
    lease
}

/// The events of a watch from here on, one line each.
struct Seen(mpsc::UnboundedReceiver<WatchEvent>);

impl Seen {
    fn of(stage: &mut Stage, node: usize) -> Self {
        let (sender, seen) = mpsc::unbounded_channel();
        let store = Arc::clone(&stage.stores[node]);
        let mut watch = stage.nodes[node].enter(|| store.watch(everything()));
        stage.nodes[node].spawn(async move {
            while let Some(event) = watch.events.recv().await {
                if sender.send(event).is_err() {
                    return;
                }
            }
        });
        stage.run_for(SECOND);
        Self(seen)
    }

    fn take(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Ok(event) = self.0.try_recv() {
            lines.push(match event {
                WatchEvent::Reset(listing) => {
                    let keys: Vec<String> = listing.entries.into_iter().map(|r| r.key).collect();
                    format!("reset at {}: {}", listing.revision, keys.join(" "))
                }
                WatchEvent::Changes { revision, changes } => {
                    let changes: Vec<String> = changes
                        .iter()
                        .map(|change| match change {
                            KeyChange::Put(record) => format!("+{}", record.key),
                            KeyChange::Delete { key } => format!("-{key}"),
                        })
                        .collect();
                    format!("{revision}: {}", changes.join(" "))
                }
                WatchEvent::Progress { revision } => format!("progress {revision}"),
                WatchEvent::Lost { .. } => "lost".to_owned(),
            });
        }
        lines
    }
}

/// The moment at which a record is gone from the cluster, looked for from now on.
fn time_until_gone(stage: &mut Stage, key: &str) -> Duration {
    let range = Range::Key(key.to_owned());
    let begun = stage.now;
    let mut known = stage.cluster.agreed_model().revision();
    for _ in 0..100_000 {
        stage.run_for(Duration::from_millis(1));
        let model = stage.cluster.agreed_model();
        let changes = model.changes_between(&range, known + 1, model.revision());
        known = model.revision();
        if changes.iter().any(|c| matches!(c.change, Some(KeyChange::Delete { .. }))) {
            return stage.now.saturating_sub(begun);
        }
    }
    panic!("{key} stays")
}

#[test]
fn a_lease_ends_at_the_leaders_next_look_and_its_records_with_it() {
    let mut stage = Stage::new(3, 1, EtcdRelease::Current);
    let mut seen = Seen::of(&mut stage, 0);
    lease_with(&mut stage, "/a", 5 * SECOND);
    let gone = time_until_gone(&mut stage, "/a");
    assert!(
        (Duration::from_millis(4_980)..=Duration::from_millis(5_500)).contains(&gone),
        "{gone:?}"
    );
    stage.run_for(SECOND);
    assert_eq!(seen.take(), ["reset at 1: ", "2: +/a", "3: -/a"]);
}

#[test]
fn after_an_election_every_lease_has_its_whole_time_and_a_second() {
    let mut stage = Stage::new(3, 1, EtcdRelease::Current);
    lease_with(&mut stage, "/a", 5 * SECOND);
    stage.run_for(4 * SECOND);
    let leader = stage.cluster.find_leader().unwrap();
    stage.happens(|cluster, now| cluster.kill_member(now, leader));
    let gone = time_until_gone(&mut stage, "/a");
    // One to two seconds without a leader, twice that when the votes were split, then six, and the leader's next look.
    assert!((7 * SECOND..=Duration::from_millis(10_600)).contains(&gone), "{gone:?}");
    assert_ne!(stage.cluster.find_leader(), Some(leader));
}

#[test]
fn while_there_is_no_leader_nothing_is_written_and_no_lease_ends() {
    let mut stage = Stage::new(3, 1, EtcdRelease::Current);
    lease_with(&mut stage, "/a", 2 * SECOND);
    stage.happens(|cluster, now| cluster.kill_member(now, 1));
    stage.happens(|cluster, now| cluster.kill_member(now, 2));
    stage.run_for(30 * SECOND);
    assert_eq!(stage.cluster.find_leader(), None);
    let error = write(&mut stage, "/b").unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert_eq!(stage.cluster.agreed_model().revision(), 2);
    stage.happens(|cluster, now| cluster.start_member(now, 1));
    let gone = time_until_gone(&mut stage, "/a");
    assert!((4 * SECOND..=8 * SECOND).contains(&gone), "{gone:?}");
}

#[test]
fn a_leader_paused_for_a_moment_still_leads_and_for_longer_does_not() {
    for (pause, stays) in [(500, true), (9_000, false)] {
        let mut stage = Stage::new(3, 1, EtcdRelease::Current);
        let leader = stage.cluster.find_leader().unwrap();
        let term = stage.cluster.current_term();
        stage.happens(|cluster, now| cluster.pause_member(now, leader));
        stage.run_for(Duration::from_millis(pause));
        stage.happens(|cluster, now| cluster.resume_member(now, leader));
        stage.run_for(5 * SECOND);
        assert_eq!(stage.cluster.find_leader() == Some(leader), stays);
        assert_eq!(stage.cluster.current_term() == term, stays);
    }
}

#[test]
fn a_watch_goes_on_elsewhere_when_its_member_is_paused_killed_or_cut_off() {
    for fault in 0..3 {
        let mut stage = Stage::new(3, 2, EtcdRelease::Current);
        let mut seen = Seen::of(&mut stage, 0);
        write(&mut stage, "/before").unwrap();
        match fault {
            0 => stage.happens(|cluster, now| cluster.pause_member(now, 0)),
            1 => stage.happens(|cluster, now| cluster.kill_member(now, 0)),
            _ => {
                for other in [1, 2] {
                    stage.happens(|cluster, now| cluster.set_peer_cut(now, 0, other, true));
                }
            }
        }
        stage.run_for(30 * SECOND);
        write(&mut stage, "/after").unwrap();
        stage.run_for(SECOND);
        assert_eq!(seen.take(), ["reset at 1: ", "2: +/before", "3: +/after"], "{fault}");
    }
}

#[test]
fn a_watch_whose_messages_are_lost_finds_that_out_by_itself() {
    let mut stage = Stage::new(1, 2, EtcdRelease::Current);
    let mut seen = Seen::of(&mut stage, 0);
    stage.losses.insert((0, 0, Loss::Answers));
    stage
        .ask(1, |store| async move { store.commit(vec![], vec![put("/a", "", None)]).await })
        .1
        .unwrap();
    stage.run_for(60 * SECOND);
    assert_eq!(seen.take(), ["reset at 1: ", "lost"]);
    stage.losses.clear();
    stage.run_for(5 * SECOND);
    assert_eq!(seen.take(), ["reset at 2: /a"]);
}

#[test]
fn a_watch_that_was_cut_off_during_a_compaction_begins_anew() {
    let mut stage = Stage::new(1, 2, EtcdRelease::Old);
    let mut seen = Seen::of(&mut stage, 0);
    write(&mut stage, "/a").unwrap();
    stage.happens(|cluster, now| cluster.kill_member(now, 0));
    stage.happens(|cluster, now| cluster.start_member(now, 0));
    for side in [Loss::Requests, Loss::Answers] {
        stage.losses.insert((0, 0, side));
    }
    stage.run_for(SECOND);
    let remove = Op::Delete { key: "/a".to_owned() };
    stage.ask(1, |store| async move { store.commit(vec![], vec![remove]).await }).1.unwrap();
    stage
        .ask(1, |store| async move { store.commit(vec![], vec![put("/b", "", None)]).await })
        .1
        .unwrap();
    stage.cluster.compact_to(4).unwrap();
    stage.losses.clear();
    stage.run_for(30 * SECOND);
    assert_eq!(seen.take().last().unwrap(), "reset at 4: /b");
}

#[test]
fn a_restored_store_is_a_reset_even_where_nothing_was_heard_of_it() {
    let mut stage = Stage::new(1, 1, EtcdRelease::Current);
    let mut seen = Seen::of(&mut stage, 0);
    write(&mut stage, "/kept").unwrap();
    let backup = stage.cluster.take_snapshot();
    for key in ["/b", "/c"] {
        write(&mut stage, key).unwrap();
    }
    stage.happens(|cluster, now| cluster.restore_snapshot(now, backup));
    stage.run_for(30 * SECOND);
    let events = seen.take();
    assert_eq!(events.last().unwrap(), "reset at 2: /kept", "{events:?}");
    write(&mut stage, "/new").unwrap();
    stage.run_for(SECOND);
    assert_eq!(seen.take(), ["3: +/new"]);
}

/// The store is younger than what is known, and has grown beyond it by the time the watch is back.
#[test]
fn a_restored_store_that_has_caught_up_meanwhile_is_a_reset_too() {
    let mut stage = Stage::new(1, 2, EtcdRelease::Current);
    let mut seen = Seen::of(&mut stage, 0);
    write(&mut stage, "/kept").unwrap();
    let backup = stage.cluster.take_snapshot();
    write(&mut stage, "/lost").unwrap();
    stage.run_for(SECOND);
    assert_eq!(seen.take(), ["reset at 1: ", "2: +/kept", "3: +/lost"]);
    // The node is cut off while the store is put back and others write.
    for side in [Loss::Requests, Loss::Answers] {
        stage.losses.insert((0, 0, side));
    }
    stage.happens(|cluster, now| cluster.restore_snapshot(now, backup));
    stage.run_for(SECOND);
    for key in ["/x", "/y"] {
        let commit = move |store: Arc<dyn Store>| async move {
            store.commit(vec![], vec![put(key, "", None)]).await
        };
        stage.ask(1, commit).1.unwrap();
    }
    stage.losses.clear();
    stage.run_for(60 * SECOND);
    let events = seen.take();
    assert_eq!(events.last().unwrap(), "reset at 4: /kept /x /y", "{events:?}");
}

#[test]
fn that_a_restored_store_is_another_history_is_noticed_when_it_is_left_out() {
    exam::fails_without(
        "restored-history-taken-for-ours",
        a_restored_store_that_has_caught_up_meanwhile_is_a_reset_too,
    );
}

#[test]
fn an_empty_data_directory_is_a_reset_to_nothing_and_every_lease_is_gone() {
    let mut stage = Stage::new(3, 1, EtcdRelease::Current);
    let lease = lease_with(&mut stage, "/a", 60 * SECOND);
    let mut seen = Seen::of(&mut stage, 0);
    stage.happens(|cluster, now| {
        cluster.restore_snapshot(now, EtcdModel::new(EtcdRelease::Current, None))
    });
    stage.run_for(10 * SECOND);
    assert_eq!(seen.take().last().unwrap(), "reset at 1: ");
    let error = stage.ask(0, move |store| async move { store.keep_alive(lease.id).await }).1;
    assert!(matches!(error.unwrap_err(), StoreError::LeaseGone { .. }));
}

#[test]
fn a_full_store_refuses_writes_and_does_the_rest() {
    let options = ClusterOptions {
        members: 1,
        release: EtcdRelease::Current,
        quota: Some(2_000_000),
        compaction: AutoCompaction::Off,
        seed: Seed(1),
    };
    let mut stage = Stage::with_options(1, options);
    let lease = lease_with(&mut stage, "/leased", 600 * SECOND);
    let large =
        Op::Put { key: "/large".to_owned(), value: vec![b'x'; 900_000].into(), lease: None };
    let mut written = 0;
    let error = loop {
        let op = large.clone();
        match stage.ask(0, move |store| async move { store.commit(vec![], vec![op]).await }).1 {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    assert_eq!(written, 2);
    assert!(matches!(write(&mut stage, "/small").unwrap_err(), StoreError::Full { .. }));
    let grant = stage.ask(0, |store| async move { store.grant(5 * SECOND).await }).1;
    assert!(matches!(grant.unwrap_err(), StoreError::Full { .. }));
    stage.ask(0, move |store| async move { store.keep_alive(lease.id).await }).1.unwrap();
    assert_eq!(keys(&mut stage, 0), ["/large", "/leased"]);
    let delete = Op::Delete { key: "/large".to_owned() };
    stage.ask(0, move |store| async move { store.commit(vec![], vec![delete]).await }).1.unwrap();
    // The history holds on to the room, and the alarm stays until somebody takes it back.
    let revision = stage.cluster.agreed_model().revision();
    stage.cluster.compact_to(revision).unwrap();
    assert!(write(&mut stage, "/small").is_err());
    stage.cluster.set_full(false);
    write(&mut stage, "/small").unwrap();
}

#[test]
fn a_commit_whose_answer_is_lost_is_found_by_reading_back() {
    let mut stage = Stage::new(3, 1, EtcdRelease::Current);
    write(&mut stage, "/warm").unwrap();
    stage.losses.insert((0, 0, Loss::Answers));
    let outcome = create(&mut stage, "/a").unwrap();
    assert_eq!(outcome, CommitOutcome::Done { revision: 3 });
    assert_eq!(stage.cluster.agreed_model().revision(), 3, "it was written once");
}

#[test]
fn a_commit_whose_every_answer_is_lost_is_in_doubt_and_was_carried_out() {
    let mut stage = Stage::new(1, 1, EtcdRelease::Current);
    write(&mut stage, "/warm").unwrap();
    stage.losses.insert((0, 0, Loss::Answers));
    let error = create(&mut stage, "/a").unwrap_err();
    assert!(matches!(error, StoreError::Ambiguous { .. }), "{error:?}");
    stage.losses.clear();
    assert_eq!(keys(&mut stage, 0), ["/a", "/warm"]);
}

#[test]
fn what_a_paused_member_finds_in_its_socket_is_carried_out_late() {
    let mut stage = Stage::new(1, 1, EtcdRelease::Current);
    write(&mut stage, "/warm").unwrap();
    stage.happens(|cluster, now| cluster.pause_member(now, 0));
    let error = create(&mut stage, "/a").unwrap_err();
    assert!(matches!(error, StoreError::Ambiguous { .. }), "{error:?}");
    assert_eq!(stage.cluster.agreed_model().revision(), 2);
    stage.run_for(20 * SECOND);
    stage.happens(|cluster, now| cluster.resume_member(now, 0));
    assert_eq!(
        stage.cluster.agreed_model().revision(),
        3,
        "once, though it was sent more than once"
    );
}

/// A leader that reaches no majority has a write in its log. Cut off for a moment, it carries it out when it is heard again; cut
/// off until another leads, it never does.
#[test]
fn what_a_leader_without_a_majority_was_told_counts_only_if_it_leads_on() {
    for (cut, carried_out) in [(600, true), (20_000, false)] {
        let mut stage = Stage::new(3, 1, EtcdRelease::Current);
        write(&mut stage, "/warm").unwrap();
        while stage.cluster.find_leader() != Some(0) {
            stage.happens(|cluster, now| cluster.begin_election(now, SECOND));
            stage.run_for(2 * SECOND);
        }
        for other in [1, 2] {
            stage.happens(|cluster, now| cluster.set_peer_cut(now, 0, other, true));
        }
        let found = stage.begin(0, |store| async move {
            // Given up by its caller, so that nobody sends it again elsewhere.
            let commit = store.commit(vec![], vec![put("/a", "", None)]);
            muster_runtime::timeout(Duration::from_millis(300), commit).await.is_err()
        });
        stage.run_for(Duration::from_millis(cut));
        assert!(found.lock().unwrap().take().unwrap().1, "nobody answers");
        for other in [1, 2] {
            stage.happens(|cluster, now| cluster.set_peer_cut(now, 0, other, false));
        }
        stage.run_for(10 * SECOND);
        assert_eq!(keys(&mut stage, 0).contains(&"/a".to_owned()), carried_out);
    }
}

#[test]
fn a_deposed_leader_acknowledges_keepalives_in_old_releases_only() {
    for (release, acknowledged) in [(EtcdRelease::Old, true), (EtcdRelease::Current, false)] {
        let mut stage = Stage::new(3, 1, release);
        while stage.cluster.find_leader() != Some(0) {
            stage.happens(|cluster, now| cluster.begin_election(now, SECOND));
            stage.run_for(2 * SECOND);
        }
        let lease = lease_with(&mut stage, "/a", 60 * SECOND);
        stage.ask(0, move |store| async move { store.keep_alive(lease.id).await }).1.unwrap();
        stage.happens(|cluster, now| cluster.pause_member(now, 0));
        stage.run_for(20 * SECOND);
        stage.ask(0, move |store| async move { store.revoke(lease.id).await }).1.unwrap();
        assert!(keys(&mut stage, 0).is_empty(), "the lease has ended where others lead");
        // A line that knows only the member that was paused, and asks in the moment in which it goes on.
        let asked =
            stage.begin_on_member(0, move |store| async move { store.keep_alive(lease.id).await });
        stage.run_for(2 * LATENCY);
        stage.happens(|cluster, now| cluster.resume_member(now, 0));
        stage.run_for(20 * LATENCY);
        let answer = asked.lock().unwrap().take();
        assert_eq!(matches!(answer, Some((_, Ok(_)))), acknowledged, "{answer:?}");
    }
}

#[test]
fn a_slow_member_is_given_up_by_leases_that_have_no_time_to_wait_for_it() {
    for (ttl, waits) in [(10 * SECOND, true), (2 * SECOND, false)] {
        let mut stage = Stage::new(3, 1, EtcdRelease::Current);
        while stage.cluster.find_leader() == Some(0) {
            stage.happens(|cluster, now| cluster.begin_election(now, SECOND));
            stage.run_for(2 * SECOND);
        }
        let lease = lease_with(&mut stage, "/a", ttl);
        stage.ask(0, move |store| async move { store.keep_alive(lease.id).await }).1.unwrap();
        stage.happens(|cluster, now| cluster.pause_member(now, 0));
        let asked = stage.begin(0, move |store| async move { store.keep_alive(lease.id).await });
        stage.run_for(Duration::from_millis(700));
        assert_eq!(asked.lock().unwrap().is_none(), waits, "a lease of {ttl:?}");
        stage.happens(|cluster, now| cluster.resume_member(now, 0));
        stage.run_for(Duration::from_millis(200));
        let answer = asked.lock().unwrap().take();
        assert!(matches!(answer, Some((_, Ok(_)))), "{answer:?}");
    }
}

#[test]
fn a_grant_whose_answer_is_lost_leaves_a_lease_that_ends_by_itself() {
    let mut stage = Stage::new(3, 1, EtcdRelease::Current);
    write(&mut stage, "/warm").unwrap();
    stage.losses.insert((0, 0, Loss::Answers));
    let (took, lease) = stage.ask(0, |store| async move { store.grant(5 * SECOND).await });
    assert!(took >= 2 * SECOND, "{took:?}");
    let second = lease.unwrap();
    assert!(stage.cluster.agreed_model().next_lease_end().is_some());
    let (_, left) = stage.ask(0, move |store| async move { store.time_left(second.id).await });
    assert_eq!(left.unwrap().granted, 5 * SECOND);
    stage.run_for(10 * SECOND);
    assert_eq!(stage.cluster.agreed_model().next_lease_end(), None, "both are gone");
}

#[test]
fn a_member_cut_off_from_the_others_answers_only_with_what_is_old() {
    let mut stage = Stage::new(3, 1, EtcdRelease::Current);
    write(&mut stage, "/before").unwrap();
    for other in [0, 1] {
        stage.happens(|cluster, now| cluster.set_peer_cut(now, 2, other, true));
    }
    stage.run_for(10 * SECOND);
    write(&mut stage, "/after").unwrap();
    let keys = |stage: &Stage, member| {
        let page = stage.cluster.read_member(member, &everything()).unwrap();
        page.records.into_iter().map(|record| record.key).collect::<Vec<_>>()
    };
    assert_eq!(keys(&stage, 2), ["/before"]);
    assert_eq!(keys(&stage, 0), ["/after", "/before"]);
    let alone = stage.begin_on_member(2, |store| async move { store.read(everything()).await });
    stage.run_for(10 * SECOND);
    let answer = alone.lock().unwrap().take().unwrap().1;
    assert!(matches!(answer.unwrap_err(), StoreError::Unavailable { .. }));
    // A new member in its place has all there is.
    for other in [0, 1] {
        stage.happens(|cluster, now| cluster.set_peer_cut(now, 2, other, false));
    }
    stage.happens(|cluster, now| cluster.replace_member(now, 2));
    stage.run_for(SECOND);
    assert_eq!(keys(&stage, 2), ["/after", "/before"]);
}

#[test]
fn history_is_cut_by_age_and_by_number() {
    for compaction in [AutoCompaction::Periodic(3600 * SECOND), AutoCompaction::Revisions(3)] {
        let options = ClusterOptions {
            members: 1,
            release: EtcdRelease::Current,
            quota: None,
            compaction,
            seed: Seed(1),
        };
        let mut stage = Stage::with_options(1, options);
        for _ in 0..10 {
            write(&mut stage, "/a").unwrap();
        }
        stage.run_for(3700 * SECOND);
        write(&mut stage, "/a").unwrap();
        stage.run_for(3700 * SECOND);
        let compacted = stage.cluster.agreed_model().compacted_revision();
        let expected = if compaction == AutoCompaction::Revisions(3) { 9 } else { 11 };
        assert_eq!(compacted, expected, "{compaction:?}");
    }
}

/// Its timer has run out once, however often it would have: what it does not know of yet stays.
#[test]
fn a_member_that_stood_still_for_long_cuts_history_once() {
    let options = ClusterOptions {
        members: 1,
        release: EtcdRelease::Current,
        quota: None,
        compaction: AutoCompaction::Periodic(60 * SECOND),
        seed: Seed(1),
    };
    let mut stage = Stage::with_options(1, options);
    lease_with(&mut stage, "/a", 10 * SECOND);
    stage.happens(|cluster, now| cluster.pause_member(now, 0));
    stage.run_for(300 * SECOND);
    stage.happens(|cluster, now| cluster.resume_member(now, 0));
    stage.happens(EtcdCluster::advance_to);
    let model = stage.cluster.agreed_model();
    assert_eq!(model.revision(), 3, "the lease is over");
    assert!(model.compacted_revision() < 3, "{}", model.compacted_revision());
}

#[test]
fn the_same_seed_tells_the_same_story() {
    let tell = || {
        let mut stage = Stage::new(5, 2, EtcdRelease::Old);
        let mut seen = Seen::of(&mut stage, 1);
        for round in 0..20 {
            let member = round % 5;
            stage.happens(|cluster, now| match round % 3 {
                0 => cluster.pause_member(now, member),
                1 => cluster.kill_member(now, member),
                _ => cluster.begin_election(now, SECOND),
            });
            let _ = write(&mut stage, "/a");
            stage.happens(|cluster, now| cluster.resume_member(now, member));
            stage.happens(|cluster, now| cluster.start_member(now, member));
            let _ = create(&mut stage, "/b");
        }
        stage.run_for(20 * SECOND);
        (seen.take(), stage.now, stage.cluster.current_term(), stage.cluster.find_leader())
    };
    assert_eq!(tell(), tell());
}
