//! The reboot role over an embedded store, on a machine that only pretends to reboot: from somebody's wish to the slot that is
//! free again, and the same with a daemon that is killed on the way.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

#[path = "reboot_role/machine.rs"]
mod machine;
mod support;

use muster_common::reboot::{Outcome, Phase};

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
    assert_eq!(machine.reboots(), 1);
    assert_eq!(machine.wished().await, None);
    let history = machine.history().await;
    assert_eq!(history.len(), 1);
    assert_eq!(history[0].outcome, Outcome::Rebooted);
    assert_eq!(history[0].due[0].to_string(), "requested by anna");
}
