//! Cordons through the registry.

use muster_common::cordon::{AtDeadline, Cordon, CordonHolder, Drain, DrainEnd, Hold};
use muster_common::machine::MachineId;
use muster_store::{Registry, RegistryError};

use crate::machines::present;
use crate::support::Bed;

fn m1() -> MachineId {
    "m1".parse().unwrap()
}

fn hold(by: &str, since: u64) -> Hold {
    Hold { by: by.to_owned(), reason: "new disk".to_owned(), since, drain: None }
}

fn drain() -> Drain {
    Drain { began: 5, deadline: Some(60), then: AtDeadline::Force, ended: None }
}

async fn seen(registry: &Registry) -> Option<Cordon> {
    let snapshot = registry.read_snapshot().await.unwrap();
    let read = registry.cordon_of(&m1()).await.unwrap();
    assert_eq!(read.as_ref(), snapshot.cordons.get(&m1()));
    read
}

pub(crate) async fn each_holder_takes_back_its_own(bed: &Bed) {
    let registry = bed.registry();
    let presence = present(&registry, "m1").await;
    let first =
        registry.cordon_machine(&m1(), &CordonHolder::Person, hold("root", 1)).await.unwrap();
    assert_eq!(seen(&registry).await, Some(first.clone()));
    let reboot = Hold { drain: Some(drain()), ..hold("", 2) };
    let both = registry.cordon_machine(&m1(), &CordonHolder::Reboot, reboot).await.unwrap();
    assert_eq!(both.holds.len(), 2);
    assert!(both.revision > first.revision && both.is_draining());
    // It outlives the machine's absence.
    registry.revoke_lease(presence.lease.id).await.unwrap();
    assert_eq!(seen(&registry).await, Some(both));

    let left = registry.uncordon_machine(&m1(), &CordonHolder::Person).await.unwrap().unwrap();
    assert_eq!(left.holds.keys().collect::<Vec<_>>(), [&CordonHolder::Reboot]);
    assert_eq!(registry.uncordon_machine(&m1(), &CordonHolder::Person).await.unwrap(), Some(left));
    assert_eq!(registry.uncordon_machine(&m1(), &CordonHolder::Reboot).await.unwrap(), None);
    assert_eq!(seen(&registry).await, None);
    assert_eq!(registry.uncordon_machine(&m1(), &CordonHolder::Reboot).await.unwrap(), None);
}

pub(crate) async fn who_cordons_again_keeps_the_time_and_the_drain(bed: &Bed) {
    let registry = bed.registry();
    let draining = Hold { drain: Some(drain()), ..hold("root", 1) };
    registry.cordon_machine(&m1(), &CordonHolder::Person, draining).await.unwrap();
    let again =
        registry.cordon_machine(&m1(), &CordonHolder::Person, hold("eve", 9)).await.unwrap();
    let held = &again.holds[&CordonHolder::Person];
    assert_eq!((held.by.as_str(), held.since), ("eve", 1));
    assert!(again.is_draining());
    let cordon = registry.call_off_drain(&m1(), &CordonHolder::Person).await.unwrap().unwrap();
    assert!(!cordon.is_draining());
    assert_eq!(registry.call_off_drain(&m1(), &CordonHolder::Reboot).await.unwrap(), Some(cordon));
}

pub(crate) async fn only_the_leader_ends_a_drain_and_only_the_one_it_means(bed: &Bed) {
    let registry = bed.registry();
    let presence = present(&registry, "m1").await;
    let leadership = registry.campaign_for_leadership(&presence).await.unwrap().unwrap();
    let draining = Hold { drain: Some(drain()), ..hold("root", 1) };
    registry.cordon_machine(&m1(), &CordonHolder::Person, draining).await.unwrap();
    let other = [(CordonHolder::Person, Drain { began: 4, ..drain() })];
    registry.end_drains(leadership, &m1(), &other).await.unwrap();
    assert!(seen(&registry).await.unwrap().is_draining());
    let this = [(CordonHolder::Person, drain())];
    registry.end_drains(leadership, &m1(), &this).await.unwrap();
    let ended = seen(&registry).await.unwrap();
    let end = ended.holds[&CordonHolder::Person].drain.as_ref().unwrap().ended;
    assert_eq!(end, Some(DrainEnd::Forced));

    let anew = Hold { drain: Some(drain()), ..hold("root", 1) };
    registry.cordon_machine(&m1(), &CordonHolder::Person, anew).await.unwrap();
    registry.revoke_lease(presence.lease.id).await.unwrap();
    let error = registry.end_drains(leadership, &m1(), &this).await.unwrap_err();
    assert!(matches!(error, RegistryError::Contended { .. }), "{error:?}");
    assert!(seen(&registry).await.unwrap().is_draining());
    registry.uncordon_for_all(&m1()).await.unwrap();
    assert_eq!(seen(&registry).await, None);
}

pub(crate) async fn holders_at_once_lose_nothing(bed: &Bed) {
    let registry = bed.registry();
    let machine = m1();
    let one = registry.cordon_machine(&machine, &CordonHolder::Person, hold("root", 1));
    let two = registry.cordon_machine(&machine, &CordonHolder::Reboot, hold("", 1));
    let (one, two) = tokio::join!(one, two);
    one.unwrap();
    two.unwrap();
    assert_eq!(seen(&registry).await.unwrap().holds.len(), 2);
}
