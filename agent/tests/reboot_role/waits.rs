//! What holds the role up, and that it goes on when that is over.

use muster_common::reboot::{
    Group, Holder, HolderKind, HostStatus, Phase, Semaphore, SlotOutcome, WaitReason,
};
use muster_engine::reboot::phase::Inhibitor;
use muster_store::RebootGroup;

use crate::machine::Machine;

#[tokio::test]
async fn an_inhibitor_is_waited_for_before_the_slot_is_taken() {
    let machine = Machine::new("");
    let dpkg = Inhibitor { who: "dpkg".to_owned(), why: "installs".to_owned() };
    machine.host.with(|state| state.inhibitors.push(dpkg));
    machine.wish("anna", 1).await;
    let _role = machine.start();
    let status = machine.wait_until("waits", |status| status.phase == Phase::Waiting).await;
    assert_eq!(status.waits.len(), 1, "{:?}", status.waits);
    assert_eq!(status.waits[0].to_string(), "dpkg inhibits a shutdown: installs");
    assert_eq!(machine.holders().await, Vec::<String>::new());
    machine.host.with(|state| state.inhibitors.clear());
    machine.goes_down().await;
}

#[tokio::test]
async fn a_slot_that_another_machine_holds_is_waited_for() {
    let machine = Machine::new("");
    let holder = Holder { id: "m2".parse().unwrap(), kind: HolderKind::Host, since: 1 };
    let taken = Semaphore { max: 1, holders: vec![holder] };
    let group = |semaphore, revision| RebootGroup { group: Group::default(), semaphore, revision };
    machine.registry.write_reboot_group(&group(taken, 0), None).await.unwrap();
    machine.wish("anna", 1).await;
    let _role = machine.start();
    let status = machine.wait_until("waits", |status| status.phase == Phase::Waiting).await;
    assert_eq!(status.waits[0].to_string(), "the slot of group default taken by m2");
    let found = machine.registry.reboot_group(&Group::default()).await.unwrap().unwrap();
    let free = group(Semaphore::default(), found.revision);
    machine.registry.write_reboot_group(&free, None).await.unwrap();
    machine.goes_down().await;
    assert_eq!(machine.holders().await, ["m1"]);
}

#[tokio::test]
async fn logged_in_users_are_warned_and_told_when_nothing_comes_of_it() {
    let machine = Machine::new("");
    machine.host.with(|state| state.sessions = 1);
    machine.wish("anna", 1).await;
    let _role = machine.start();
    let status = machine.wait_until("warns", |status| status.phase == Phase::Warning).await;
    assert_eq!(status.waits[0].to_string(), "one logged-in user has been warned");
    machine.host.wait_until("says so", |state| state.said.len() == 1).await;
    let message = machine.host.with(|state| state.said[0].clone());
    let expected = "This machine reboots in 5 minutes: requested by anna. Please save your work.\n";
    assert_eq!(message, expected);
    machine.registry.withdraw_reboot(&machine.id(), None).await.unwrap();
    machine.wait_until("nothing is due", |status| status.phase == Phase::Idle).await;
    machine.host.wait_until("says so", |state| state.said.len() == 2).await;
    assert_eq!(
        machine.host.with(|state| state.said[1].clone()),
        "This machine does not reboot for now.\n"
    );
}

#[tokio::test]
async fn users_who_log_out_need_no_more_time() {
    let machine = Machine::new("");
    machine.host.with(|state| state.sessions = 2);
    machine.wish("anna", 1).await;
    let _role = machine.start();
    machine.wait_until("warns", |status| status.phase == Phase::Warning).await;
    machine.host.with(|state| state.sessions = 0);
    machine.goes_down().await;
}

#[tokio::test]
async fn a_check_that_says_no_is_told_with_its_words() {
    let machine = Machine::new("check = [\"/bin/sh\", \"-c\", \"echo disk is full >&2; exit 1\"]");
    machine.wish("anna", 1).await;
    let _role = machine.start();
    let refused = |wait: &WaitReason| matches!(wait, WaitReason::CheckRefused { .. });
    let status = machine.wait_until("refuses", |status| status.waits.iter().any(refused)).await;
    assert_eq!(
        status.waits[0].to_string(),
        "the check command said no: disk is full (exit status: 1)"
    );
    assert_eq!(machine.reboots(), 0);
}

#[tokio::test]
async fn the_hooks_run_in_their_order_and_once_each() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log").display().to_string();
    let hook = |name: &str| format!("{name} = [\"/bin/sh\", \"-c\", \"echo {name} >> {log}\"]\n");
    let hooks = ["before_drain", "before_reboot", "after_boot"].map(hook).concat();
    let machine = Machine::new(&hooks);
    machine.wish("anna", 1).await;
    let role = machine.start();
    machine.goes_down().await;
    role.kill().await;
    machine.boots();
    let _role = machine.start();
    machine.comes_to_rest().await;
    let log_text = std::fs::read_to_string(log).unwrap();
    assert_eq!(log_text, "before_drain\nbefore_reboot\nafter_boot\n");
}

#[tokio::test]
async fn a_hook_that_fails_gives_the_slot_back_and_is_tried_again() {
    let directory = tempfile::tempdir().unwrap();
    let mark = directory.path().join("mark").display().to_string();
    // Fails the first time only.
    let script = format!("test -e {mark} || {{ touch {mark}; echo not yet; exit 1; }}");
    let machine = Machine::new(&format!(
        "before_drain = [\"/bin/sh\", \"-c\", \"{script}\"]\nretry = \"1s\""
    ));
    machine.wish("anna", 1).await;
    let _role = machine.start();
    machine.goes_down().await;
    let history = machine.history().await;
    assert_eq!(
        history[0].outcome,
        SlotOutcome::GaveUp {
            problem: "the before-drain hook failed: not yet (exit status: 1)".to_owned()
        }
    );
    assert_eq!(machine.holders().await, ["m1"]);
}

#[tokio::test]
async fn a_machine_that_refuses_to_reboot_gives_the_slot_back() {
    let machine = Machine::new("");
    machine.host.with(|state| state.refuses = true);
    machine.wish("anna", 1).await;
    let _role = machine.start();
    let given_up = |status: &HostStatus| {
        status.phase == Phase::Waiting && matches!(status.waits[..], [WaitReason::Retry { .. }])
    };
    let status = machine.wait_until("gives up", given_up).await;
    assert_eq!(
        status.waits[0].to_string(),
        "given up for now: the host does not reboot: logind refuses to reboot: not today"
    );
    assert_eq!(machine.holders().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_wish_is_fulfilled_by_a_reboot_that_a_person_made() {
    let machine = Machine::new("strategy = \"off\"");
    machine.wish("anna", 1).await;
    let role = machine.start();
    machine.wait_until("waits", |status| status.phase == Phase::Waiting).await;
    role.kill().await;
    machine.boots();
    let _role = machine.start();
    machine.comes_to_rest().await;
    assert_eq!(machine.wished().await, None);
}

#[tokio::test]
async fn the_package_managers_mark_makes_a_reboot_due() {
    let directory = tempfile::tempdir().unwrap();
    let mark = directory.path().join("reboot-required");
    let machine = Machine::new(&format!(
        "sources = [\"reboot-required\"]\nreboot_required_path = \"{}\"",
        mark.display()
    ));
    std::fs::write(&mark, "").unwrap();
    std::fs::write(directory.path().join("reboot-required.pkgs"), "libc6\n").unwrap();
    let role = machine.start();
    machine.goes_down().await;
    assert_eq!(machine.status().await.due[0].to_string(), "required by libc6");
    role.kill().await;
    machine.boots();
    std::fs::remove_file(&mark).unwrap();
    let _role = machine.start();
    machine.comes_to_rest().await;
    assert_eq!(machine.reboots(), 1);
}

#[tokio::test]
async fn a_lost_journal_is_found_again_in_the_store() {
    let machine = Machine::new("");
    machine.wish("anna", 1).await;
    let role = machine.start();
    machine.goes_down().await;
    role.kill().await;
    machine.boots();
    std::fs::remove_file(machine.state.path().join("reboot.json")).unwrap();
    machine.registry.withdraw_reboot(&machine.id(), None).await.unwrap();
    let _role = machine.start();
    machine.comes_to_rest().await;
    assert_eq!(machine.history().await[0].outcome, SlotOutcome::Rebooted);
}

#[tokio::test]
async fn a_machine_that_changes_its_group_gives_the_old_slot_back() {
    let mut machine = Machine::new("before_reboot = [\"/bin/sleep\", \"1000\"]\ngroup = \"front\"");
    machine.wish("anna", 1).await;
    let role = machine.start();
    machine.wait_until("holds a slot", |status| status.phase == Phase::BeforeReboot).await;
    role.kill().await;
    machine.config.reboot.group = Group::default();
    machine.config.reboot.before_reboot = None;
    machine.config.reboot.retry = std::time::Duration::from_secs(1);
    let _role = machine.start();
    machine.goes_down().await;
    assert_eq!(machine.holders().await, ["m1"]);
    let front = machine.registry.reboot_group(&"front".parse().unwrap()).await.unwrap();
    assert_eq!(front.unwrap().semaphore.holders, []);
}
