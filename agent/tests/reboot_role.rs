//! The reboot role over an embedded store, on a machine that only pretends to reboot: from somebody's wish to the slot that is
//! free again, and the same with a daemon that is killed on the way.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

#[path = "reboot_role/crashes.rs"]
mod crashes;
#[path = "reboot_role/gate.rs"]
mod gate;
#[path = "reboot_role/machine.rs"]
mod machine;
mod support;
#[path = "reboot_role/waits.rs"]
mod waits;

use std::collections::BTreeSet;

use muster_common::reboot::{HostStatus, Phase, RebootMethod, SlotOutcome, WaitReason};
use muster_store::Registry;

use crashes::Crashes;
use machine::Machine;

#[tokio::test]
async fn a_wish_leads_to_one_reboot_and_a_free_slot() {
    let machine = Machine::new("");
    machine.wish("anna", 1).await;
    let role = machine.start();
    machine.goes_down().await;
    assert_eq!(machine.holders().await, ["m1"], "it goes down with its slot");
    assert_eq!(machine.status().await.phase, Phase::Rebooting);
    role.kill().await;
    machine.boots();
    let _role = machine.start();
    machine.comes_to_rest().await;
    rebooted_once(&machine).await;
    let history = machine.history().await;
    assert_eq!(history[0].due[0].to_string(), "requested by anna");
}

#[tokio::test]
async fn a_soft_reboot_is_asked_for_once_and_gives_the_slot_back() {
    let machine = Machine::new("");
    machine.wish_for("anna", 1, Some(RebootMethod::SoftReboot)).await;
    let role = machine.start();
    machine.goes_down().await;
    assert_eq!(machine.host.with(|state| state.method), Some(RebootMethod::SoftReboot));
    assert_eq!(machine.holders().await, ["m1"]);
    role.kill().await;
    // The kernel runs on, and systemd is late to say that this is another userspace: nothing is asked for meanwhile.
    machine.host.with(|state| state.silent = true);
    machine.boots_softly();
    let role = machine.start();
    tokio::task::yield_now().await;
    assert_eq!(machine.reboots(), 1);
    machine.host.with(|state| state.silent = false);
    machine.comes_to_rest().await;
    role.kill().await;
    rebooted_once(&machine).await;
    let history = machine.history().await;
    assert_eq!(history[0].due[0].to_string(), "a soft-reboot requested by anna");
}

#[tokio::test]
async fn a_soft_reboot_by_hand_gives_back_the_slot_that_was_held_for_a_whole_one() {
    let machine = Machine::new("");
    machine.wish("anna", 1).await;
    let role = machine.start();
    machine.goes_down().await;
    role.kill().await;
    machine.boots_softly();
    let _role = machine.start();
    let retried = |status: &HostStatus| status.phase == Phase::Waiting;
    machine.wait_until("leaves it be for a while", retried).await;
    assert_eq!(machine.holders().await, Vec::<String>::new());
    assert!(machine.wished().await.is_some(), "nobody has had the whole reboot that was asked for");
}

#[tokio::test]
async fn a_machine_that_cannot_reboot_softly_keeps_the_wish_and_can_be_asked_otherwise() {
    let machine = Machine::new("");
    machine.host.with(|state| state.cannot = Some("systemd 252 has none".to_owned()));
    machine.wish_for("anna", 1, Some(RebootMethod::SoftReboot)).await;
    let _role = machine.start();
    let says = |status: &HostStatus| {
        let cannot = |wait: &WaitReason| wait.as_str() == "cannot-reboot";
        status.phase == Phase::Waiting && status.waits.iter().any(cannot)
    };
    machine.wait_until("says that it cannot", says).await;
    assert_eq!(machine.holders().await, Vec::<String>::new());
    machine.wish_for("anna", 2, Some(RebootMethod::Reboot)).await;
    machine.goes_down().await;
    assert_eq!(machine.host.with(|state| state.method), Some(RebootMethod::Reboot));
}

/// The slot was taken, used for one reboot and freed; nothing is left of the wish.
async fn rebooted_once(machine: &Machine) {
    assert_eq!(machine.reboots(), 1);
    assert_eq!(machine.wished().await, None);
    let history = machine.history().await;
    let ended: Vec<_> = history.iter().map(|entry| entry.outcome.clone()).collect();
    assert_eq!(ended, [SlotOutcome::Rebooted]);
}

/// Whatever the daemon is at when it is killed, the next one brings it to the same end. Every request it makes of the store
/// is one such moment: before it was carried out, and after it was and before the daemon knew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_killed_at_any_moment_is_made_up_for_by_the_next() {
    let mut seen = BTreeSet::new();
    for carried_out in [false, true] {
        for at in 0.. {
            let disk = tempfile::tempdir().unwrap();
            let store = muster_store::open_embedded(disk.path()).unwrap();
            let crashes = Crashes::new(store.clone(), at, carried_out);
            let hook = "before_drain = [\"/bin/true\"]\nafter_boot = [\"/bin/true\"]\n";
            let mut machine = Machine::with(Registry::new(store.clone(), "/muster/v1/"), hook);
            machine.wish("anna", 1).await;
            let sound = machine.registry.clone();
            machine.registry = Registry::new(crashes.clone(), "/muster/v1/");
            let role = machine.start();
            let mut crashed = tokio::select! {
                () = crashes.reached() => true,
                () = machine.goes_down() => false,
            };
            // It goes down only with its slot, however it came there.
            let down = machine.host.with(|state| state.going_down);
            machine.registry = sound.clone();
            seen.insert(machine.journal().phase);
            role.kill().await;
            if !down {
                let role = machine.start();
                machine.goes_down().await;
                role.kill().await;
            }
            assert_eq!(machine.holders().await, ["m1"], "request {at}: no slot when it goes down");
            machine.boots();
            if !crashed {
                // The store goes on failing at its moment, which lies after the boot.
                machine.registry = Registry::new(crashes.clone(), "/muster/v1/");
                let role = machine.start();
                crashed = tokio::select! {
                    () = crashes.reached() => true,
                    () = machine.comes_to_rest() => false,
                };
                machine.registry = sound;
                seen.insert(machine.journal().phase);
                role.kill().await;
            }
            let _role = machine.start();
            machine.comes_to_rest().await;
            rebooted_once(&machine).await;
            if !crashed {
                break;
            }
        }
    }
    let phases =
        [Phase::Locking, Phase::Draining, Phase::Rebooting, Phase::Returned, Phase::Releasing];
    for phase in phases {
        assert!(seen.contains(&phase), "never killed in {phase}: {seen:?}");
    }
}
