//! Semaphores, hosts, requests and history of rolling reboots through the registry.

use std::sync::Arc;

use muster_common::cordon::{CordonHolder, Hold};
use muster_common::machine::MachineId;
use muster_common::reboot::{
    DueReason, Group, HISTORY_BYTES, HISTORY_LENGTH, HistoryEntry, Holder, HolderKind, HostStatus,
    Phase, Request, Semaphore, SlotOutcome, WaitReason,
};
use muster_store::{RebootGroup, RebootScope, RebootWatchEvent, Registry, RegistryError};
use tokio::sync::mpsc;

use crate::support::{Bed, within};

fn group(name: &str) -> Group {
    name.parse().unwrap()
}

fn holder(id: &str) -> Holder {
    Holder { id: id.parse().unwrap(), kind: HolderKind::Host, since: 1 }
}

fn entry(id: &str, freed: u64) -> HistoryEntry {
    HistoryEntry {
        id: id.parse().unwrap(),
        kind: HolderKind::Host,
        taken: 1,
        freed,
        outcome: SlotOutcome::Rebooted,
        due: Vec::new(),
        phases: Vec::new(),
    }
}

/// What is decided on `found`, or on there being no record.
fn decided(name: &str, found: Option<&RebootGroup>, holders: &[&str]) -> RebootGroup {
    RebootGroup {
        group: group(name),
        semaphore: Semaphore { max: 1, holders: holders.iter().map(|id| holder(id)).collect() },
        revision: found.map_or(0, |found| found.revision),
    }
}

pub(crate) async fn a_semaphore_is_written_where_it_was_read(bed: &Bed) {
    let registry = bed.registry();
    let default = Group::default();
    assert_eq!(registry.reboot_group(&default).await.unwrap(), None);
    let first = decided("default", None, &["m1"]);
    assert!(registry.write_reboot_group(&first, None).await.unwrap());
    assert!(!registry.write_reboot_group(&first, None).await.unwrap(), "it exists by now");
    let found = registry.reboot_group(&default).await.unwrap().unwrap();
    assert_eq!(found.semaphore, first.semaphore);
    let next = decided("default", Some(&found), &[]);
    assert!(registry.write_reboot_group(&next, None).await.unwrap());
    let stale = decided("default", Some(&found), &["m2"]);
    assert!(!registry.write_reboot_group(&stale, Some(entry("m2", 2))).await.unwrap());
    assert!(registry.reboot_history(&default).await.unwrap().is_empty(), "all or nothing");
    assert!(registry.write_reboot_group(&decided("eu", None, &[]), None).await.unwrap());
    let (groups, unreadable) = registry.reboot_groups().await.unwrap();
    let names: Vec<&str> = groups.iter().map(|found| found.group.as_str()).collect();
    assert_eq!((names, unreadable.len()), (vec!["default", "eu"], 0));
}

pub(crate) async fn of_many_writers_each_revision_has_one(bed: &Bed) {
    let registry = bed.registry();
    let start = decided("default", None, &[]);
    assert!(registry.write_reboot_group(&start, None).await.unwrap());
    let found = Arc::new(registry.reboot_group(&group("default")).await.unwrap().unwrap());
    let writers = (0..20).map(|n| {
        let (registry, found) = (registry.clone(), Arc::clone(&found));
        tokio::spawn(async move {
            let id = format!("m{n}");
            let next = decided("default", Some(&found), &[&id]);
            registry.write_reboot_group(&next, Some(entry(&id, n))).await.unwrap()
        })
    });
    let mut written = 0;
    for writer in writers.collect::<Vec<_>>() {
        written += usize::from(writer.await.unwrap());
    }
    assert_eq!(written, 1);
    assert_eq!(registry.reboot_history(&group("default")).await.unwrap().len(), 1);
}

pub(crate) async fn what_has_ended_is_remembered_a_hundred_times(bed: &Bed) {
    let registry = bed.registry();
    for n in 0..HISTORY_LENGTH as u64 + 5 {
        let found = registry.reboot_group(&Group::default()).await.unwrap();
        let next = decided("default", found.as_ref(), &[]);
        assert!(registry.write_reboot_group(&next, Some(entry("m1", n))).await.unwrap());
    }
    let history = registry.reboot_history(&Group::default()).await.unwrap();
    assert_eq!(history.len(), HISTORY_LENGTH);
    assert_eq!((history[0].freed, history[HISTORY_LENGTH - 1].freed), (5, 104));
    assert!(registry.reboot_history(&group("eu")).await.unwrap().is_empty());
    // One nobody can read is begun anew: a slot is freed all the same.
    bed.store.commit(vec![], vec![bed.put("reboot-history/default", "poison")]).await.unwrap();
    let error = registry.reboot_history(&Group::default()).await.unwrap_err();
    assert!(matches!(error, RegistryError::Unreadable { .. }), "{error:?}");
    let found = registry.reboot_group(&Group::default()).await.unwrap();
    let next = decided("default", found.as_ref(), &[]);
    assert!(registry.write_reboot_group(&next, Some(entry("m2", 7))).await.unwrap());
    assert_eq!(registry.reboot_history(&Group::default()).await.unwrap(), [entry("m2", 7)]);
}

/// What an older version, which took texts of any length, has left behind.
pub(crate) async fn a_history_of_any_size_makes_room(bed: &Bed) {
    let registry = bed.registry();
    let group = Group::default();
    let long = |n: u64, bytes: usize| HistoryEntry {
        outcome: SlotOutcome::Unlocked { by: "x".repeat(bytes) },
        due: vec![DueReason::Requested {
            by: "y".repeat(bytes),
            at: 1,
            because: None,
            method: None,
        }],
        ..entry("m1", n)
    };
    // As much as one commit takes, so that a hundred and first entry does not fit.
    let entries: Vec<HistoryEntry> = (0..100).map(|n| long(n, 5_000)).collect();
    let record = serde_json::json!({ "schema": 1, "entries": entries }).to_string();
    assert!(record.len() > 1_000_000, "{}", record.len());
    bed.store.commit(vec![], vec![bed.put("reboot-history/default", &record)]).await.unwrap();
    for n in 100..103 {
        let found = registry.reboot_group(&group).await.unwrap();
        let next = decided("default", found.as_ref(), &[]);
        // Each of them alone is more than a store takes.
        assert!(registry.write_reboot_group(&next, Some(long(n, 2_000_000))).await.unwrap());
    }
    let history = registry.reboot_history(&group).await.unwrap();
    let freed: Vec<u64> = history.iter().map(|entry| entry.freed).collect();
    assert_eq!(freed[freed.len() - 3..], [100, 101, 102], "the newest are there");
    assert!(freed.is_sorted() && freed.len() > 50, "{freed:?}");
    let size = bed.get("reboot-history/default").await.unwrap().value.len();
    assert!(size <= HISTORY_BYTES + 1024, "{size}");
}

/// Texts that come from machines, and those of an older version's records, do not keep the record they are in from being
/// written.
pub(crate) async fn texts_of_any_length_keep_no_record_from_being_written(bed: &Bed) {
    let registry = bed.registry();
    let m1: MachineId = "m1".parse().unwrap();
    let huge = "x".repeat(2_000_000);
    let packages = (0..100_000).map(|n| format!("package-{n}")).collect();
    let because = Some(huge.clone());
    let status = HostStatus {
        due: vec![
            DueReason::RebootRequired { packages },
            DueReason::Requested { by: huge.clone(), at: 1, because, method: None },
        ],
        waits: vec![WaitReason::Inhibited { who: huge.clone(), why: huge.clone() }; 1_000],
        ..HostStatus::default()
    };
    registry.publish_reboot_host(&m1, &status).await.unwrap();
    let published = registry.reboot_host(&m1).await.unwrap().unwrap();
    assert_eq!(published.due.len(), 2);

    let hold =
        serde_json::json!({"by": "x".repeat(500_000), "reason": "y".repeat(500_000), "since": 1});
    let record = serde_json::json!({"schema": 1, "holds": {"person": hold}}).to_string();
    bed.store.commit(vec![], vec![bed.put("cordon/m1", &record)]).await.unwrap();
    let hold = Hold { reason: huge, ..Hold::default() };
    let cordon = registry.cordon_machine(&m1, &CordonHolder::Reboot, hold).await.unwrap();
    assert_eq!(cordon.holds.len(), 2);
    assert!(cordon.holds.values().all(|hold| hold.by.len() <= 256 && hold.reason.len() <= 256));
}

pub(crate) async fn hosts_and_requests_come_and_go(bed: &Bed) {
    let registry = bed.registry();
    let m1: MachineId = "m1".parse().unwrap();
    assert_eq!(registry.reboot_host(&m1).await.unwrap(), None);
    let status = HostStatus { phase: Phase::Draining, since: 7, ..HostStatus::default() };
    registry.publish_reboot_host(&m1, &status).await.unwrap();
    assert_eq!(registry.reboot_host(&m1).await.unwrap(), Some(status.clone()));
    bed.store.commit(vec![], vec![bed.put("reboot-host/m2", "poison")]).await.unwrap();
    let hosts = registry.reboot_hosts().await.unwrap();
    assert_eq!(hosts.into_iter().collect::<Vec<_>>(), [(m1.clone(), status)]);
    registry.forget_reboot_host(&m1).await.unwrap();
    assert_eq!(registry.reboot_host(&m1).await.unwrap(), None);

    assert_eq!(registry.reboot_request(&m1).await.unwrap(), None);
    assert!(!registry.withdraw_reboot(&m1, None).await.unwrap());
    let wish = |at| Request { by: "jane".to_owned(), at, because: None, method: None };
    registry.request_reboot(&m1, &wish(1)).await.unwrap();
    let (found, seen) = registry.reboot_request(&m1).await.unwrap().unwrap();
    assert_eq!(found, wish(1));
    registry.request_reboot(&m1, &wish(2)).await.unwrap();
    assert!(!registry.withdraw_reboot(&m1, Some(seen)).await.unwrap(), "that was the wish before");
    assert_eq!(registry.reboot_requests().await.unwrap()[&m1], wish(2));
    assert!(registry.withdraw_reboot(&m1, None).await.unwrap());
    assert!(registry.reboot_requests().await.unwrap().is_empty());
}

pub(crate) async fn a_semaphore_nobody_can_read_is_no_free_slot(bed: &Bed) {
    let registry = bed.registry();
    bed.store.commit(vec![], vec![bed.put("reboot/default", "poison")]).await.unwrap();
    let error = registry.reboot_group(&Group::default()).await.unwrap_err();
    assert!(
        matches!(error, RegistryError::Unreadable { ref key, .. } if key == "reboot/default"),
        "{error:?}"
    );
    let over = decided("default", None, &["m1"]);
    assert!(!registry.write_reboot_group(&over, None).await.unwrap());
    let (groups, unreadable) = registry.reboot_groups().await.unwrap();
    assert_eq!((groups.len(), unreadable[0].key.as_str()), (0, "reboot/default"));
}

async fn changed(news: &mut mpsc::Receiver<RebootWatchEvent>) -> u64 {
    match within("news", news.recv()).await.expect("a watch never ends by itself") {
        RebootWatchEvent::Changed { revision } => revision,
        RebootWatchEvent::Lost { problem } => panic!("{problem}"),
    }
}

async fn written(registry: &Registry, machine: &MachineId, at: u64) {
    let wish = Request { by: String::new(), at, because: None, method: None };
    registry.request_reboot(machine, &wish).await.unwrap();
}

pub(crate) async fn news_of_what_is_watched_and_nothing_else(bed: &Bed) {
    let registry = bed.registry();
    let (m1, m2): (MachineId, MachineId) = ("m1".parse().unwrap(), "m2".parse().unwrap());
    let mut of_group = registry.watch_reboots(&RebootScope::Group(Group::default()));
    let mut of_m1 = registry.watch_reboots(&RebootScope::Request(m1.clone()));
    let mut of_all = registry.watch_reboots(&RebootScope::All);
    for news in [&mut of_group, &mut of_m1, &mut of_all] {
        changed(news).await;
    }
    written(&registry, &m2, 1).await;
    let first = changed(&mut of_all).await;
    written(&registry, &m1, 1).await;
    let second = changed(&mut of_all).await;
    assert!(second > first);
    assert_eq!(changed(&mut of_m1).await, second, "it was not told of the other machine's");
    assert!(registry.write_reboot_group(&decided("default", None, &[]), None).await.unwrap());
    assert_eq!(changed(&mut of_group).await, changed(&mut of_all).await);
    // The next thing the group's own watch tells of is the group's next change, whatever happened to others before it.
    written(&registry, &m2, 2).await;
    changed(&mut of_all).await;
    let found = registry.reboot_group(&Group::default()).await.unwrap();
    let next = decided("default", found.as_ref(), &["m1"]);
    assert!(registry.write_reboot_group(&next, None).await.unwrap());
    assert_eq!(changed(&mut of_group).await, changed(&mut of_all).await);
}
