//! The reboot role beside its phases: what it asks for, what it makes of answers that it did not get, which of a decision's
//! actions are new, what an earlier boot has left behind, and when it decides again.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the failure")]

use std::time::Duration;

use jiff::tz::TimeZone;
use muster_common::boot::BootMark;
use muster_common::cordon::{Cordon, CordonHolder, Hold};
use muster_common::reboot::{
    DueReason, Group, HistoryEntry, Holder, HolderKind, Journal, Phase, RebootMethod, Semaphore,
    SlotOutcome, Strategy, WaitReason,
};
use muster_engine::reboot::commands::CommandKind;
use muster_engine::reboot::phase::{
    DrainState, Hook, Hooks, RebootAction, RebootCall, RebootPolicy, SlotState, WhenStuck,
};
use muster_engine::reboot::role::{
    Answers, EffectEnd, HostClocks, Leftover, RebootRole, RoleEffect, RoleQuestion,
};

const LOOK: Duration = Duration::from_secs(5);

fn policy() -> RebootPolicy {
    RebootPolicy {
        strategy: Strategy::Lock,
        method: RebootMethod::Reboot,
        group: Group::default(),
        windows: Vec::new(),
        zone: TimeZone::UTC,
        warn: Duration::ZERO,
        drain: Duration::from_secs(600),
        stuck: WhenStuck::Force,
        settle: Duration::ZERO,
        pause: Duration::ZERO,
        retry: Duration::from_secs(600),
        block_on_failed: false,
        check: false,
        hooks: Hooks::default(),
    }
}

fn wish() -> DueReason {
    DueReason::Requested { by: "anna".to_owned(), at: 1, because: None, method: None }
}

fn mark() -> DueReason {
    DueReason::RebootRequired { packages: Vec::new() }
}

/// A journal of this boot, `b1`.
fn journal(phase: Phase) -> Journal {
    Journal { phase, boot: "b1".to_owned(), due: vec![wish(), mark()], ..Journal::default() }
}

fn boot(machine: &str) -> BootMark {
    BootMark { machine: machine.to_owned(), userspace: Some("u1".to_owned()) }
}

fn role_with(policy: RebootPolicy, journal: Journal, group: Option<Group>) -> RebootRole {
    RebootRole::from_journal(policy, true, &"m1".parse().unwrap(), boot("b1"), journal, group)
}

fn role(phase: Phase) -> RebootRole {
    role_with(policy(), journal(phase), None)
}

fn asked(role: &RebootRole, due: bool) -> Vec<RoleQuestion> {
    let due = if due { vec![mark()] } else { Vec::new() };
    role.open_questions(&due).into_iter().collect()
}

fn clocks() -> HostClocks {
    HostClocks { wall: 1_000, up: 60_000 }
}

#[test]
fn a_machine_at_rest_asks_nobody_once_it_knows_the_slots() {
    let mut role = role(Phase::Idle);
    assert_eq!(asked(&role, false), [RoleQuestion::Slots]);
    role.on_slots_read(Ok(&Semaphore::default()));
    assert_eq!(asked(&role, false), []);
    assert_eq!(asked(&role, true), [RoleQuestion::Host], "a reboot is due");
    role.on_slots_changed();
    assert_eq!(asked(&role, true), [RoleQuestion::Slots, RoleQuestion::Host]);
}

#[test]
fn each_phase_asks_for_what_its_decisions_rest_on() {
    use RoleQuestion::{Cordon, Drain, Health, Host, Slots, Stopping};
    for (phase, questions) in [
        (Phase::Locking, &[Slots, Host, Drain, Cordon][..]),
        (Phase::Draining, &[Slots, Host, Drain, Cordon]),
        (Phase::BeforeReboot, &[Slots, Host, Cordon]),
        (Phase::Rebooting, &[Slots, Cordon, Stopping]),
        (Phase::Returned, &[Slots, Health, Cordon]),
        (Phase::Settling, &[Slots, Health, Cordon]),
        (Phase::GivingUp, &[Slots, Cordon]),
    ] {
        let mut role = role(phase);
        role.on_slots_read(Ok(&Semaphore::default()));
        assert_eq!(asked(&role, true), questions, "{phase}: in an attempt slots are always read");
    }
    let blocking = RebootPolicy { block_on_failed: true, ..policy() };
    let waiting = role_with(blocking, journal(Phase::Waiting), None);
    assert!(asked(&waiting, true).contains(&RoleQuestion::FailedUnits));
    let before = Journal { boot: "b0".to_owned(), ..journal(Phase::Rebooting) };
    let returning = role_with(policy(), before, None);
    assert!(asked(&returning, true).contains(&RoleQuestion::Health), "it is about to be returned");
}

#[test]
fn a_daemon_without_units_asks_for_none_and_proves_nothing() {
    let machine = "m1".parse().unwrap();
    for phase in [Phase::Draining, Phase::Settling] {
        let lone =
            RebootRole::from_journal(policy(), false, &machine, boot("b1"), journal(phase), None);
        for question in [RoleQuestion::Drain, RoleQuestion::Cordon, RoleQuestion::Health] {
            assert!(!asked(&lone, true).contains(&question), "{phase}: {question:?}");
        }
        let seen = lone.to_observation(clocks(), vec![wish()], Answers::default());
        assert_eq!((seen.drain, seen.cordoned, seen.registered), (DrainState::Done, false, None));
        assert_eq!(lone.next_leftover(), None);
    }
}

#[test]
fn what_was_not_answered_is_taken_for_the_worst() {
    let seen = role(Phase::Settling).to_observation(clocks(), vec![wish()], Answers::default());
    assert!(matches!(seen.slots, SlotState::Unknown { .. }), "{:?}", seen.slots);
    assert!(seen.cordoned, "it may be cordoned still");
    assert_eq!(seen.registered, Some(false));
    assert_eq!(seen.drain, DrainState::No);
    assert!(!seen.stopping);
}

#[test]
fn a_slot_is_ours_by_id_and_another_ones_fills_the_group() {
    let mut role = role(Phase::Waiting);
    let state =
        |role: &RebootRole| role.to_observation(clocks(), vec![wish()], Answers::default()).slots;
    let held = |id: &str, kind| Semaphore {
        max: 1,
        holders: vec![Holder { id: id.parse().unwrap(), kind, since: 7 }],
    };
    role.on_slots_read(Ok(&Semaphore::default()));
    assert_eq!(state(&role), SlotState::Free);
    role.on_slots_read(Ok(&held("m1", HolderKind::Host)));
    assert_eq!(state(&role), SlotState::Mine { since: 7, by_host: true });
    role.on_slots_read(Ok(&held("m1", HolderKind::Person)));
    assert_eq!(state(&role), SlotState::Mine { since: 7, by_host: false });
    role.on_slots_read(Ok(&held("m2", HolderKind::Host)));
    assert!(matches!(state(&role), SlotState::Full(WaitReason::SlotsTaken { .. })));
    role.on_slots_lost("away".to_owned());
    assert_eq!(state(&role), SlotState::Unknown { problem: "away".to_owned() });
}

#[test]
fn the_groups_last_reboot_is_a_hosts_or_a_fleetlock_clients() {
    let entry = |kind, outcome, freed| HistoryEntry {
        id: "x".parse().unwrap(),
        kind,
        taken: 1,
        freed,
        outcome,
        due: Vec::new(),
        phases: Vec::new(),
    };
    let unlocked = SlotOutcome::Unlocked { by: String::new() };
    let mut role = role(Phase::Waiting);
    let last = |role: &RebootRole| {
        role.to_observation(clocks(), Vec::new(), Answers::default()).last_reboot
    };
    role.on_history_read(&[
        entry(HolderKind::Host, SlotOutcome::Rebooted, 10),
        entry(HolderKind::FleetLock, SlotOutcome::Released, 20),
        entry(HolderKind::Person, SlotOutcome::Released, 30),
        entry(HolderKind::Host, unlocked, 40),
    ]);
    assert_eq!(last(&role), Some(20));
    role.on_history_read(&[]);
    assert_eq!(last(&role), None);
}

#[test]
fn an_earlier_boot_leaves_its_wish_the_old_groups_slot_and_a_cordon() {
    let before = Journal { boot: "b0".to_owned(), ..journal(Phase::Due) };
    let old: Group = "old".parse().unwrap();
    let mut role = role_with(policy(), before, Some(old.clone()));
    assert_eq!(role.known_reasons(), [wish()], "what was found went with its boot");
    assert_eq!(role.next_leftover(), Some(&Leftover::Wishes(vec![wish()])));
    role.on_leftover_cleared();
    let problem = "the machine is of group default now".to_owned();
    let slot = Leftover::OldSlot { group: old, outcome: SlotOutcome::GaveUp { problem } };
    assert_eq!(role.next_leftover(), Some(&slot));
    role.on_leftover_cleared();
    assert_eq!(role.next_leftover(), Some(&Leftover::Cordon));
    role.on_leftover_cleared();
    assert_eq!(role.next_leftover(), None);
}

#[test]
fn nothing_is_cleared_away_behind_an_attempt() {
    let mut role = role(Phase::Draining);
    assert_eq!(role.known_reasons(), [wish(), mark()], "of this boot all may hold");
    assert_eq!(role.next_leftover(), None, "the cordon is the attempt's");
    role.on_journal_kept(journal(Phase::Waiting));
    assert_eq!(role.next_leftover(), Some(&Leftover::Cordon));
}

#[test]
fn users_are_warned_once_and_told_once_that_nothing_comes_of_it() {
    let mut role = role(Phase::Warning);
    let warn = [RebootAction::Warn { at: 1_300 }];
    let [RoleEffect::TellUsers(text)] = &role.new_effects(&warn, 1_000)[..] else { panic!() };
    assert!(text.starts_with("This machine reboots in 5 minutes: "), "{text}");
    assert_eq!(role.new_effects(&warn, 1_010), []);
    let [RoleEffect::TellUsers(text)] = &role.new_effects(&[RebootAction::Unwarn], 1_020)[..]
    else {
        panic!()
    };
    assert_eq!(text, "This machine does not reboot for now.\n");
    assert_eq!(role.new_effects(&[RebootAction::Unwarn], 1_030), []);
    // What users were told comes true with the slot: the next warning is of another attempt.
    role.new_effects(&warn, 1_000);
    role.on_journal_kept(journal(Phase::Locking));
    assert_eq!(role.new_effects(&[RebootAction::Unwarn], 1_040), []);
}

#[test]
fn the_host_is_asked_to_reboot_once_in_its_phase() {
    let mut role = role(Phase::Rebooting);
    let reboot = [RebootAction::Reboot];
    assert_eq!(role.new_effects(&reboot, 0), [RoleEffect::Reboot(RebootMethod::Reboot)]);
    role.on_reboot_answered(Err("not today".to_owned()));
    assert_eq!(role.new_effects(&reboot, 0), [], "its answer is known");
    let seen = role.to_observation(clocks(), vec![wish()], Answers::default());
    assert_eq!(seen.call, RebootCall::Refused("not today".to_owned()));
    role.on_journal_kept(journal(Phase::GivingUp));
    let seen = role.to_observation(clocks(), vec![wish()], Answers::default());
    assert_eq!(seen.call, RebootCall::No);
}

#[test]
fn actions_become_effects_with_what_the_journal_knows() {
    let mut role = role(Phase::Releasing);
    let actions = [
        RebootAction::Check,
        RebootAction::Hook(Hook::AfterBoot),
        RebootAction::Fulfil,
        RebootAction::Release(SlotOutcome::Rebooted),
    ];
    let effects = [
        RoleEffect::RunCommand(CommandKind::Check),
        RoleEffect::RunCommand(CommandKind::Hook(Hook::AfterBoot)),
        RoleEffect::FulfilWishes(vec![wish()]),
        RoleEffect::ReleaseSlot {
            outcome: SlotOutcome::Rebooted,
            due: vec![wish(), mark()],
            phases: Vec::new(),
        },
    ];
    assert_eq!(role.new_effects(&actions, 0), effects);
}

#[test]
fn a_drain_is_ordered_once_and_has_at_least_a_second() {
    let role = role(Phase::Draining);
    let order = role.drain_order(None, 1_600, 1_000).unwrap();
    assert_eq!(order.drain.as_ref().unwrap().deadline, Some(600));
    assert_eq!(role.drain_order(None, 900, 1_000).unwrap().drain.unwrap().deadline, Some(1));
    let ours = Cordon { holds: [(CordonHolder::Reboot, order)].into(), revision: 1 };
    assert_eq!(role.drain_order(Some(&ours), 1_600, 1_010), None, "it keeps its own deadline");
    let person = [(CordonHolder::Person, Hold::default())];
    let theirs = Cordon { holds: person.into(), revision: 1 };
    assert!(role.drain_order(Some(&theirs), 1_600, 1_000).is_some());
}

#[test]
fn a_status_is_news_until_it_is_published() {
    let mut role = role(Phase::Waiting);
    let status = role.host_status(&[WaitReason::Off]);
    assert!(role.is_news(&status));
    role.on_published(status.clone());
    assert!(!role.is_news(&status));
    assert!(role.is_news(&role.host_status(&[WaitReason::CheckRunning])));
}

#[test]
fn the_next_decision_is_as_soon_as_anything_asks_for_it() {
    let second = Duration::from_secs(1);
    let mut idle = role(Phase::Idle);
    let pause = |role: &RebootRole, wake, round, stored, expiry| {
        role.next_pause(wake, round, stored, LOOK, expiry)
    };
    assert_eq!(pause(&idle, None, EffectEnd::Nothing, true, None), Some(second), "slots unread");
    idle.on_slots_read(Ok(&Semaphore::default()));
    assert_eq!(pause(&idle, None, EffectEnd::Nothing, true, None), None, "at rest for ever");
    let mut waiting = role(Phase::Waiting);
    waiting.on_slots_read(Ok(&Semaphore::default()));
    for (wake, round, stored, expiry, expected) in [
        (None, EffectEnd::Nothing, true, None, LOOK),
        (Some(700), EffectEnd::Nothing, true, None, Duration::from_millis(700)),
        (Some(700), EffectEnd::Changed, true, None, Duration::ZERO),
        (None, EffectEnd::Failed, true, None, second),
        (None, EffectEnd::Nothing, false, None, second),
        (None, EffectEnd::Nothing, true, Some(second * 3), second * 3),
    ] {
        let found = pause(&waiting, wake, round, stored, expiry);
        assert_eq!(found, Some(expected), "{wake:?} {round:?} {stored} {expiry:?}");
    }
}
