//! The end of machines that are gone for good, and who replaces whose registration.

use muster_common::cordon::{CordonHolder, Hold};
use muster_common::machine::MachineId;
use muster_common::reboot::{HostStatus, Request};
use muster_store::{ForgetOutcome, RegistryError};

use crate::machines::{lease, machine, present};
use crate::support::Bed;

pub(crate) async fn a_machine_that_is_gone_leaves_nothing_behind(bed: &Bed) {
    let registry = bed.registry();
    let m1: MachineId = "m1".parse().unwrap();
    let nothing = registry.forget_machine(&m1).await.unwrap();
    assert_eq!(nothing, ForgetOutcome::Forgotten { records: 0 });
    let presence = present(&registry, "m1").await;
    registry.cordon_machine(&m1, &CordonHolder::Person, Hold::default()).await.unwrap();
    registry.set_metadata(&[(m1.clone(), "rack".to_owned(), Some("1".to_owned()))]).await.unwrap();
    registry.publish_reboot_host(&m1, &HostStatus::default()).await.unwrap();
    let request = Request { by: "jane".to_owned(), at: 1, because: None, method: None };
    registry.request_reboot(&m1, &request).await.unwrap();
    let led = registry.campaign_for_leadership(&presence).await.unwrap().unwrap();
    assert!(registry.set_members(led, (&[].into(), u64::MAX), &[m1.clone()].into()).await.unwrap());
    assert_eq!(registry.forget_machine(&m1).await.unwrap(), ForgetOutcome::Registered);
    registry.revoke_lease(presence.lease.id).await.unwrap();
    let outcome = registry.forget_machine(&m1).await.unwrap();
    assert_eq!(outcome, ForgetOutcome::Forgotten { records: 5 });
    let snapshot = registry.read_snapshot().await.unwrap();
    assert!(snapshot.cordons.is_empty() && snapshot.metadata.is_empty());
    assert!(snapshot.members.is_empty());
    assert!(registry.reboot_hosts().await.unwrap().is_empty());
    assert!(registry.reboot_requests().await.unwrap().is_empty());
}

pub(crate) async fn of_two_that_register_at_once_one_does(bed: &Bed) {
    let registry = bed.registry();
    let (first, second) = (lease(&registry).await, lease(&registry).await);
    // Both have found nobody.
    let (presence, _) = registry.claim_registration(&machine("m1"), first, None).await.unwrap();
    let refused = registry.claim_registration(&machine("m1"), second, None).await;
    assert!(matches!(refused, Err(RegistryError::Contended { .. })), "{refused:?}");
    let under = registry.read_registration(&presence.machine).await.unwrap().unwrap().lease;
    assert_eq!(under, Some(first.id));
    // One's own record is written again, and that of one's own lease of before is replaced.
    registry.claim_registration(&machine("m1"), first, None).await.unwrap();
    let (moved, _) =
        registry.claim_registration(&machine("m1"), second, Some(first.id)).await.unwrap();
    assert_eq!(moved.created, presence.created);
}

pub(crate) async fn an_own_leader_record_nobody_can_read_is_replaced(bed: &Bed) {
    let registry = bed.registry();
    let presence = present(&registry, "m1").await;
    let led = registry.campaign_for_leadership(&presence).await.unwrap().unwrap();
    let key = format!("{}leader", bed.prefix);
    let lease = Some(presence.lease.id);
    let damage = muster_store::Op::Put { key, value: "{}".into(), lease };
    bed.store.commit(Vec::new(), vec![damage]).await.unwrap();
    let again = registry.campaign_for_leadership(&presence).await.unwrap().unwrap();
    assert!(again.created > led.created);
    let leader = registry.read_snapshot().await.unwrap().leader.unwrap();
    assert_eq!(leader.machine, presence.machine);
}
