//! The words as people and records have them.

use insta::assert_snapshot;
use serde_json::{from_value, json, to_value};

use super::*;

#[test]
fn a_group_is_what_fleetlock_allows() {
    assert!(Group::default().is_default());
    for name in ["default", "a", "eu-1.canary", "9", "..", &"x".repeat(256)] {
        assert_eq!(name.parse::<Group>().unwrap().as_str(), name);
    }
    for name in ["", "a b", "a_b", "a/b", "é", "a\n", &"x".repeat(257)] {
        assert!(name.parse::<Group>().is_err(), "{name:?}");
        assert!(from_value::<Group>(json!(name)).is_err(), "{name:?}");
    }
    assert_snapshot!("a/b".parse::<Group>().unwrap_err(), @r#""a/b" is not a reboot group: expected 1 to 256 of the characters A-Z a-z 0-9 . -"#);
}

#[test]
fn a_holder_is_any_printable_text() {
    for id in ["m1", "0123456789abcdef0123456789abcdef", "Jane at the console", "a/b"] {
        assert_eq!(id.parse::<HolderId>().unwrap().as_str(), id);
    }
    for id in ["", "a\nb", "\u{1b}[1m", &"x".repeat(257)] {
        assert!(id.parse::<HolderId>().is_err(), "{id:?}");
    }
}

#[test]
fn slots_are_a_small_number() {
    assert_eq!((parse_slots("0"), parse_slots("100000")), (Ok(0), Ok(100_000)));
    for text in ["", "-1", "100001", "1.5", "many"] {
        assert!(parse_slots(text).is_err(), "{text:?}");
    }
}

#[test]
fn lowered_slots_are_never_negative() {
    let holder = |id: &str| Holder { id: id.parse().unwrap(), kind: HolderKind::Host, since: 1 };
    let two = Semaphore { max: 1, holders: vec![holder("a"), holder("b")] };
    assert_eq!(two.free_slots(), 0);
    assert_eq!(Semaphore::default().free_slots(), 1);
}

#[test]
fn words_of_a_later_version_are_no_error() {
    assert_eq!(from_value::<Phase>(json!("dancing")).unwrap(), Phase::Unknown);
    assert_eq!(from_value::<HolderKind>(json!("robot")).unwrap(), HolderKind::Unknown);
    assert_eq!(from_value::<Strategy>(json!("maybe")).unwrap(), Strategy::Unknown);
    let wait = json!({"reason": "full-moon", "until": 3});
    assert_eq!(from_value::<WaitReason>(wait).unwrap(), WaitReason::Unknown);
    let due = json!({"source": "stars", "which": ["sirius"]});
    assert_eq!(from_value::<DueReason>(due).unwrap(), DueReason::Unknown);
    let entry = json!({"id": "m1", "outcome": "vanished", "where": "nobody knows"});
    assert_eq!(from_value::<HistoryEntry>(entry).unwrap().outcome, SlotOutcome::Unknown);
    let status = from_value::<HostStatus>(json!({"colour": "red"})).unwrap();
    assert_eq!(status, HostStatus::default());
}

#[test]
fn each_word_is_the_one_in_its_json_form() {
    for phase in Phase::ALL {
        assert_eq!(to_value(phase).unwrap(), json!(phase.as_str()));
    }
    for kind in [HolderKind::Host, HolderKind::FleetLock, HolderKind::Person] {
        assert_eq!(to_value(kind).unwrap(), json!(kind.as_str()));
    }
    for strategy in [Strategy::Lock, Strategy::Now, Strategy::Off] {
        assert_eq!(to_value(strategy).unwrap(), json!(strategy.as_str()));
        assert_eq!(strategy.as_str().parse(), Ok(strategy));
    }
    for wait in waits() {
        let form = to_value(&wait).unwrap();
        assert_eq!(form["reason"], json!(wait.as_str()));
        assert_eq!(from_value::<WaitReason>(form).unwrap(), wait);
    }
    for outcome in [
        SlotOutcome::Rebooted,
        SlotOutcome::GaveUp { problem: "p".to_owned() },
        SlotOutcome::Released,
        SlotOutcome::Unlocked { by: "jane".to_owned() },
    ] {
        assert_eq!(to_value(&outcome).unwrap()["outcome"], json!(outcome.as_str()));
    }
}

fn waits() -> Vec<WaitReason> {
    let text = |text: &str| text.to_owned();
    let stuck = |unit: &str, why: &str| StuckUnit { unit: unit.parse().unwrap(), why: text(why) };
    let ids = |ids: &[&str]| ids.iter().map(|id| id.parse().unwrap()).collect();
    vec![
        WaitReason::Off,
        WaitReason::WindowClosed { opens: Some(1_700_000_000) },
        WaitReason::WindowClosed { opens: None },
        WaitReason::Inhibited { who: text("apt"), why: text("packages are being installed") },
        WaitReason::UnitsFailed { units: vec!["web.service".parse().unwrap()] },
        WaitReason::CheckRunning,
        WaitReason::CheckRefused { output: text("two alerts fire") },
        WaitReason::SlotsTaken { group: Group::default(), max: 1, holders: ids(&["m1"]) },
        WaitReason::SlotsTaken {
            group: "eu".parse().unwrap(),
            max: 4,
            holders: ids(&["m1", "m2", "m3", "m4"]),
        },
        WaitReason::SlotsTaken { group: Group::default(), max: 0, holders: vec![] },
        WaitReason::Pause { until: 1_700_000_000 },
        WaitReason::Retry {
            until: 1_700_000_000,
            problem: text("the before-drain hook ended with 1"),
        },
        WaitReason::UsersWarned { users: 1, until: 1_700_000_000 },
        WaitReason::UsersWarned { users: 2, until: 1_700_000_000 },
        WaitReason::Draining { left: 1, until: 1_700_000_000 },
        WaitReason::Draining { left: 5, until: 1_700_000_000 },
        WaitReason::DrainStuck {
            units: vec![stuck("db.service", "MachineID= names this machine")],
            until: 1_700_000_000,
        },
        WaitReason::HookRunning { hook: text("before-drain") },
        WaitReason::HookFailed { hook: text("after-boot"), problem: text("exit status 1") },
        WaitReason::ShuttingDown,
        WaitReason::NotRegistered,
        WaitReason::UnitsUnhealthy { units: vec![stuck("web.service", "failed")] },
        WaitReason::Settling { until: 1_700_000_000 },
        WaitReason::StoreAway { problem: text("no endpoint answers") },
        WaitReason::HostAway { problem: text("no bus") },
        WaitReason::CannotReboot {
            method: RebootMethod::SoftReboot,
            problem: text("systemd 252 has none"),
        },
    ]
}

#[test]
fn a_person_reads_why() {
    let sentences: Vec<String> = waits().iter().map(ToString::to_string).collect();
    assert_snapshot!(sentences.join("\n"), @"
    the strategy is off: it reboots by hand only
    the window is closed
    no window ever opens
    apt inhibits a shutdown: packages are being installed
    units have failed: web.service
    the check command is running
    the check command said no: two alerts fire
    the slot of group default taken by m1
    all 4 slots of group eu taken by m1, m2, m3 and 1 more
    group default has no slots: its max is 0
    pause between two reboots
    given up for now: the before-drain hook ended with 1
    one logged-in user has been warned
    2 logged-in users have been warned
    draining: 1 unit left
    draining: 5 units left
    cannot be drained of db.service (MachineID= names this machine)
    the before-drain hook is running
    the after-boot hook failed: exit status 1
    the host has been asked to reboot
    the machine is not registered yet
    units are not well: web.service (failed)
    all is well, but not for long enough yet
    the store does not answer: no endpoint answers
    the host does not answer: no bus
    soft-reboot is not possible: systemd 252 has none
    ");
    let due = [
        DueReason::RebootRequired { packages: vec![] },
        DueReason::RebootRequired { packages: vec!["linux-base".into(), "libc6".into()] },
        DueReason::UpdateEngine { version: "4081.2.0".into() },
        DueReason::Command { output: "kernel is newer".into() },
        DueReason::Requested {
            by: "jane".into(),
            at: 1,
            because: Some("new firmware".into()),
            method: Some(RebootMethod::Kexec),
        },
        DueReason::Requested { by: String::new(), at: 1, because: None, method: None },
    ];
    let sentences: Vec<String> = due.iter().map(ToString::to_string).collect();
    assert_snapshot!(sentences.join("\n"), @"
    the package manager requires it
    required by linux-base, libc6
    update_engine has installed 4081.2.0
    the command says: kernel is newer
    a kexec requested by jane: new firmware
    requested by somebody
    ");
}
