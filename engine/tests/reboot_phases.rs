//! One host's reboot, as a story: what happens to the host on the left, what it decides on the right.
#![allow(clippy::unwrap_used, clippy::panic, reason = "what fails in a test is to fail it")]

#[path = "reboot_phases/killed_anywhere.rs"]
mod killed_anywhere;

use std::time::Duration;

use jiff::tz::TimeZone;
use muster_common::reboot::{
    DueReason, Group, Journal, Phase, RebootMethod, Strategy, StuckUnit, WaitReason,
};
use muster_engine::reboot::phase::{
    CommandState, DrainState, HookStates, Hooks, Inhibitor, Observation, RebootAction, RebootCall,
    RebootPolicy, RebootStep, SlotState, WhenStuck, step,
};

const SECOND: Duration = Duration::from_secs(1);

fn policy() -> RebootPolicy {
    RebootPolicy {
        strategy: Strategy::Lock,
        method: RebootMethod::Reboot,
        group: Group::default(),
        windows: Vec::new(),
        zone: TimeZone::UTC,
        warn: 300 * SECOND,
        drain: 600 * SECOND,
        stuck: WhenStuck::Force,
        settle: 30 * SECOND,
        pause: Duration::ZERO,
        retry: 300 * SECOND,
        block_on_failed: true,
        check: false,
        hooks: Hooks::default(),
    }
}

/// A host at peace, a Thursday at noon.
fn calm() -> Observation {
    Observation {
        wall: 1_767_873_600,
        up: 1_000_000,
        boot: "first".to_owned(),
        userspace: Some("u1".to_owned()),
        method: Ok(()),
        due: Vec::new(),
        inhibitors: Ok(Vec::new()),
        sessions: 0,
        failed: Vec::new(),
        last_reboot: None,
        slots: SlotState::Free,
        check: CommandState::No,
        hooks: HookStates::default(),
        drain: DrainState::No,
        cordoned: false,
        call: RebootCall::No,
        stopping: false,
        registered: Some(true),
        unhealthy: Vec::new(),
    }
}

struct Host {
    policy: RebootPolicy,
    seen: Observation,
    journal: Journal,
}

impl Host {
    fn new(policy: RebootPolicy) -> Self {
        let journal = Journal { boot: "first".to_owned(), ..Journal::default() };
        Self { policy, seen: calm(), journal }
    }

    /// A host whose reboot is due.
    fn due(policy: RebootPolicy) -> Self {
        let mut host = Self::new(policy);
        host.seen.due = vec![DueReason::RebootRequired { packages: Vec::new() }];
        host
    }

    fn step(&mut self) -> RebootStep {
        let decided = step(&self.policy, &self.journal, &self.seen);
        self.journal = decided.journal.clone();
        let again = step(&self.policy, &self.journal, &self.seen);
        assert_eq!(
            (&again.journal, &again.actions),
            (&decided.journal, &decided.actions),
            "it has decided"
        );
        decided
    }

    /// Decides, and says it in a line.
    fn says(&mut self) -> String {
        let decided = self.step();
        let actions: Vec<String> = decided.actions.iter().map(|a| format!("{a:?}")).collect();
        let waits: Vec<String> = decided.waits.iter().map(ToString::to_string).collect();
        format!("{} | {} | {}", decided.journal.phase, actions.join(", "), waits.join("; "))
    }

    fn passes(&mut self, seconds: u64) {
        self.seen.up += seconds * 1000;
        self.seen.wall += seconds;
    }

    /// Down and up again: another boot, nothing of the old one is known but the journal.
    fn boots(&mut self, boot: &str) {
        let kept = (self.seen.wall, self.seen.slots.clone(), self.seen.cordoned);
        self.seen =
            Observation { boot: boot.to_owned(), up: 20_000, registered: Some(false), ..calm() };
        (self.seen.wall, self.seen.slots, self.seen.cordoned) = kept;
        self.seen.wall += 60;
    }

    /// Its userspace goes and is there again: the kernel runs on.
    fn boots_softly(&mut self, userspace: &str) {
        let (boot, up) = (self.seen.boot.clone(), self.seen.up + 10_000);
        self.boots(&boot);
        (self.seen.up, self.seen.userspace) = (up, Some(userspace.to_owned()));
    }

    fn holds(&mut self) {
        self.seen.slots = SlotState::Mine { since: self.seen.wall, by_host: true };
    }

    /// Up to a phase, in which all is as it should be.
    fn at(mut self, phase: Phase) -> Self {
        for _ in 0..20 {
            if self.step().journal.phase == phase {
                return self;
            }
            match self.journal.phase {
                Phase::Locking => self.holds(),
                Phase::Draining => {
                    self.seen.cordoned = true;
                    self.seen.drain = DrainState::Done;
                }
                Phase::Rebooting => {
                    self.seen.due.clear();
                    self.boots("second");
                }
                Phase::Returned | Phase::Settling => {
                    self.seen.cordoned = false;
                    self.seen.registered = Some(true);
                    self.passes(31);
                }
                _ => {}
            }
        }
        panic!("never came to {phase}: it is at {:?}", self.journal)
    }
}

fn full() -> SlotState {
    SlotState::Full(WaitReason::SlotsTaken {
        group: Group::default(),
        max: 1,
        holders: vec!["m2".parse().unwrap()],
    })
}

#[test]
fn from_due_to_done() {
    let mut host = Host::new(policy());
    assert_eq!(host.says(), "idle |  | ");
    host.seen.due = vec![DueReason::UpdateEngine { version: "2".to_owned() }];
    host.seen.sessions = 1;
    assert_eq!(
        host.says(),
        "warning | Warn { at: 1767873900 } | one logged-in user has been warned"
    );
    host.passes(300);
    assert_eq!(host.says(), "locking | Acquire | ");
    host.holds();
    assert_eq!(host.says(), "draining | Drain { until: 1767874500 } | ");
    host.seen.cordoned = true;
    host.seen.drain = DrainState::Going { moving: 2, stuck: Vec::new() };
    assert_eq!(host.says(), "draining | Drain { until: 1767874500 } | draining: 2 units left");
    host.seen.drain = DrainState::Done;
    assert_eq!(host.says(), "rebooting | Reboot | the host has been asked to reboot");
    host.seen.call = RebootCall::Accepted;
    host.seen.stopping = true;
    assert_eq!(host.says(), "rebooting |  | the host has been asked to reboot");
    host.boots("second");
    assert_eq!(host.says(), "settling | Uncordon | the machine is not registered yet");
    host.seen.cordoned = false;
    host.seen.registered = Some(true);
    let sick = StuckUnit { unit: "web.service".parse().unwrap(), why: "activating".to_owned() };
    host.seen.unhealthy = vec![sick];
    assert_eq!(host.says(), "settling |  | units are not well: web.service (activating)");
    host.seen.unhealthy.clear();
    assert_eq!(host.says(), "settling |  | all is well, but not for long enough yet");
    host.passes(29);
    assert_eq!(host.says(), "settling |  | all is well, but not for long enough yet");
    host.passes(1);
    assert_eq!(host.says(), "releasing | Release(Rebooted) | ");
    let passed: Vec<Phase> = host.journal.passed.iter().map(|span| span.phase).collect();
    assert_eq!(
        passed,
        [
            Phase::Due,
            Phase::Warning,
            Phase::Locking,
            Phase::Draining,
            Phase::BeforeReboot,
            Phase::Rebooting,
            Phase::Returned,
            Phase::Settling,
        ]
    );
    host.seen.slots = SlotState::Free;
    assert_eq!(host.says(), "idle |  | ");
}

#[test]
fn everything_in_the_way_is_said_at_once() {
    let mut host = Host::due(RebootPolicy {
        windows: vec!["Thu 23:00 1h30m".parse().unwrap()],
        pause: 600 * SECOND,
        ..policy()
    });
    host.seen.inhibitors =
        Ok(vec![Inhibitor { who: "apt".to_owned(), why: "installs".to_owned() }]);
    host.seen.failed = vec!["web.service".parse().unwrap()];
    host.seen.last_reboot = Some(host.seen.wall - 100);
    host.seen.slots = full();
    assert_eq!(
        host.says(),
        "waiting |  | the window is closed; apt inhibits a shutdown: installs; units have failed: web.service; \
         pause between two reboots; the slot of group default taken by m2"
    );
    assert_eq!(host.step().wake, Some(500_000), "the pause is over first");
    host.passes(11 * 3600);
    host.seen.inhibitors = Err("no bus".to_owned());
    host.seen.failed.clear();
    assert_eq!(
        host.says(),
        "waiting |  | the host does not answer: no bus; the slot of group default taken by m2"
    );
    host.seen.inhibitors = Ok(Vec::new());
    host.seen.slots = SlotState::Free;
    assert_eq!(host.says(), "locking | Acquire | ");
}

#[test]
fn a_check_command_is_asked_last() {
    let mut host = Host::due(RebootPolicy { check: true, ..policy() });
    host.seen.slots = full();
    assert_eq!(host.says(), "waiting |  | the slot of group default taken by m2");
    host.seen.slots = SlotState::Free;
    assert_eq!(host.says(), "waiting | Check | the check command is running");
    host.seen.check = CommandState::Badly("two alerts".to_owned());
    assert_eq!(host.says(), "waiting |  | the check command said no: two alerts");
    host.seen.check = CommandState::Well;
    assert_eq!(host.says(), "locking | Acquire | ");
}

#[test]
fn strategies() {
    let mut now = Host::due(RebootPolicy { strategy: Strategy::Now, ..policy() });
    now.seen.slots = SlotState::Unknown { problem: "away".to_owned() };
    assert!(now.says().starts_with("draining | Drain"));
    now.seen.drain = DrainState::Done;
    assert!(now.says().starts_with("rebooting | Reboot |"));
    now.seen.due.clear();
    now.boots("second");
    now.seen.registered = Some(true);
    assert!(now.says().starts_with("settling |"));
    now.passes(30);
    assert_eq!(now.says(), "idle |  | ", "it needs no store to know that it holds no slot");
    let mut off = Host::due(RebootPolicy { strategy: Strategy::Off, ..policy() });
    assert_eq!(off.says(), "waiting |  | the strategy is off: it reboots by hand only");
}

#[test]
fn what_cannot_move_is_decided_at_once() {
    let stuck = StuckUnit {
        unit: "db.service".parse().unwrap(),
        why: "MachineID= names this machine".to_owned(),
    };
    let left = DrainState::Going { moving: 0, stuck: vec![stuck] };
    let mut force = Host::due(policy()).at(Phase::Draining);
    force.seen.drain = left.clone();
    assert!(force.says().starts_with("rebooting | Reboot |"));
    let mut patient =
        Host::due(RebootPolicy { stuck: WhenStuck::GiveUp, ..policy() }).at(Phase::Draining);
    patient.seen.cordoned = true;
    patient.seen.drain = left;
    assert_eq!(
        patient.says(),
        "giving-up | Uncordon, Release(GaveUp { problem: \"cannot be drained of db.service (MachineID= names this \
         machine)\" }) | given up for now: cannot be drained of db.service (MachineID= names this machine)"
    );
    patient.seen.cordoned = false;
    patient.seen.slots = SlotState::Free;
    patient.seen.drain = DrainState::No;
    assert!(patient.says().starts_with("waiting |  | given up for now: cannot be drained"));
    patient.passes(300);
    assert_eq!(patient.says(), "locking | Acquire | ", "it is tried again");
}

#[test]
fn a_drain_that_does_not_end() {
    for (stuck, expected) in [
        (WhenStuck::Force, "rebooting | Reboot"),
        (
            WhenStuck::GiveUp,
            "giving-up | Release(GaveUp { problem: \"3 units did not move away in time\" })",
        ),
    ] {
        let mut host = Host::due(RebootPolicy { stuck, ..policy() }).at(Phase::Draining);
        host.seen.drain = DrainState::Going { moving: 3, stuck: Vec::new() };
        host.passes(599);
        assert!(host.says().starts_with("draining |"));
        host.passes(1);
        let status_line = host.says();
        assert!(status_line.starts_with(expected), "{status_line}");
    }
}

#[test]
fn nothing_begins_or_ends_outside_the_window() {
    let night = RebootPolicy { windows: vec!["Thu 12:00 5m".parse().unwrap()], ..policy() };
    let mut host = Host::due(night).at(Phase::Draining);
    assert_eq!(
        host.step().actions,
        [RebootAction::Drain { until: 1_767_873_900 }],
        "the window's end"
    );
    host.passes(301);
    assert!(
        host.says()
            .starts_with("giving-up | Release(GaveUp { problem: \"the window has closed\" })")
    );
}

#[test]
fn hooks_have_their_say() {
    let all = Hooks { before_drain: true, before_reboot: true, after_boot: true };
    let mut host = Host::due(RebootPolicy { hooks: all, ..policy() }).at(Phase::Draining);
    assert_eq!(host.says(), "draining | Hook(BeforeDrain) | the before-drain hook is running");
    host.seen.hooks.before_drain = CommandState::Well;
    host.passes(3600);
    assert!(host.says().starts_with("draining | Drain"), "the time of the hook is not the drain's");
    host.seen.drain = DrainState::Done;
    assert_eq!(
        host.says(),
        "before-reboot | Hook(BeforeReboot) | the before-reboot hook is running"
    );
    host.seen.hooks.before_reboot = CommandState::Well;
    assert!(host.says().starts_with("rebooting | Reboot"));
    host.boots("second");
    host.seen.registered = Some(true);
    assert_eq!(host.says(), "returned | Hook(AfterBoot) | the after-boot hook is running");
    host.seen.hooks.after_boot = CommandState::Badly("exit status 1".to_owned());
    assert_eq!(
        host.says(),
        "returned | Hook(AfterBoot) | the after-boot hook failed: exit status 1"
    );
    host.seen.hooks.after_boot = CommandState::Well;
    assert!(host.says().starts_with("settling |"));

    let mut fails = Host::due(RebootPolicy { hooks: all, ..policy() }).at(Phase::Draining);
    fails.seen.hooks.before_drain = CommandState::Badly("exit status 7".to_owned());
    assert!(fails.says().starts_with(
        "giving-up | Release(GaveUp { problem: \"the before-drain hook failed: exit status 7\" })"
    ));
}

#[test]
fn a_slot_that_was_taken_away_ends_the_attempt() {
    for phase in [Phase::Draining, Phase::Rebooting] {
        let mut host = Host::due(policy()).at(phase);
        host.seen.slots = SlotState::Free;
        host.seen.cordoned = true;
        assert_eq!(host.says(), "giving-up | Uncordon | given up for now: the slot was taken away");
    }
}

#[test]
fn a_host_that_does_not_go_down_gives_its_slot_back() {
    let mut host = Host::due(policy()).at(Phase::Rebooting);
    host.seen.cordoned = false;
    host.seen.call = RebootCall::Accepted;
    host.passes(599);
    assert!(host.says().starts_with("rebooting |"));
    host.passes(1);
    assert!(host.says().starts_with(
        "giving-up | Release(GaveUp { problem: \"the host has not gone down in 10 minutes\" })"
    ));
    let mut refused = Host::due(policy()).at(Phase::Rebooting);
    refused.seen.call = RebootCall::Refused("no permission".to_owned());
    assert!(refused.says().starts_with("giving-up |"));
}

#[test]
fn a_wish_is_fulfilled_once() {
    let wish = DueReason::Requested { by: "jane".to_owned(), at: 7, because: None, method: None };
    let mut host = Host::due(RebootPolicy { settle: Duration::ZERO, ..policy() });
    host.seen.due = vec![wish.clone()];
    let mut host = host.at(Phase::Rebooting);
    host.boots("second");
    host.seen.registered = Some(true);
    host.seen.cordoned = false;
    host.seen.due = vec![wish];
    assert_eq!(host.says(), "settling | Fulfil | ", "it would be due again");
    host.seen.due.clear();
    assert_eq!(host.says(), "releasing | Release(Rebooted) | ");
}

#[test]
fn a_soft_reboot_is_a_boot_whoever_asked_for_it() {
    for phase in [Phase::Locking, Phase::Draining, Phase::BeforeReboot, Phase::Rebooting] {
        // Without a hook nothing stays in before-reboot.
        let hooks = Hooks { before_reboot: phase == Phase::BeforeReboot, ..Hooks::default() };
        let quick = RebootPolicy { settle: Duration::ZERO, hooks, ..policy() };
        let mut host = Host::due(quick).at(phase);
        host.holds();
        host.boots_softly("u2");
        assert!(host.says().starts_with("settling |"), "{phase}");
        assert!(host.journal.soft);
        host.seen.registered = Some(true);
        host.seen.cordoned = false;
        assert_eq!(host.says(), "releasing | Release(Rebooted) | ", "{phase}");
    }
    let mut idle = Host::new(policy());
    idle.step();
    idle.boots_softly("u2");
    assert_eq!(idle.says(), "idle |  | ");
    assert_eq!(idle.journal.userspace.as_deref(), Some("u2"));
}

#[test]
fn what_nobody_can_tell_of_userspace_is_no_boot_and_not_forgotten() {
    let mut host = Host::due(policy()).at(Phase::Draining);
    host.seen.userspace = None;
    assert!(host.says().starts_with("draining |"));
    host.seen.userspace = Some("u2".to_owned());
    host.seen.registered = Some(false);
    assert!(host.says().starts_with("settling |"), "it was another one all the time");
}

#[test]
fn a_soft_reboot_fulfils_no_wish_for_a_whole_one() {
    let wish =
        |method| DueReason::Requested { by: "jane".to_owned(), at: 7, because: None, method };
    for (method, fulfilled) in [(None, false), (Some(RebootMethod::SoftReboot), true)] {
        let mut host = Host::due(RebootPolicy { settle: Duration::ZERO, ..policy() });
        host.seen.due = vec![wish(method)];
        let mut host = host.at(Phase::Draining);
        host.boots_softly("u2");
        host.seen.registered = Some(true);
        host.seen.cordoned = false;
        host.seen.due = vec![wish(method)];
        let said = host.says();
        assert_eq!(said.contains("Fulfil"), fulfilled, "{said}");
        if !fulfilled {
            host.seen.slots = SlotState::Free;
            assert_eq!(
                host.says(),
                "waiting |  | given up for now: rebooted only just now, and it is still due"
            );
        }
    }
}

#[test]
fn a_host_that_cannot_reboot_in_that_way_waits_and_says_why() {
    let mut host = Host::due(RebootPolicy { method: RebootMethod::SoftReboot, ..policy() });
    host.seen.due = vec![DueReason::Command { output: String::new() }];
    host.seen.method = Err("systemd 252 has none".to_owned());
    assert_eq!(host.says(), "waiting |  | soft-reboot is not possible: systemd 252 has none");
    host.seen.method = Ok(());
    assert_eq!(host.says(), "locking | Acquire | ");
}

#[test]
fn a_hook_may_load_the_kernel_that_is_started() {
    let none = Err("no kernel is loaded".to_owned());
    let kexec = RebootPolicy { method: RebootMethod::Kexec, ..policy() };
    let mut without = Host::due(kexec.clone());
    without.seen.method.clone_from(&none);
    assert_eq!(without.says(), "waiting |  | kexec is not possible: no kernel is loaded");

    let hooks = Hooks { before_reboot: true, ..Hooks::default() };
    let mut host = Host::due(RebootPolicy { hooks, ..kexec });
    host.seen.method = none;
    let mut host = host.at(Phase::BeforeReboot);
    assert!(host.says().starts_with("before-reboot | Hook(BeforeReboot) |"));
    host.seen.hooks.before_reboot = CommandState::Well;
    let waits = "before-reboot |  | kexec is not possible: no kernel is loaded";
    assert_eq!(host.says(), waits, "it has loaded none");
    host.seen.method = Ok(());
    assert!(host.says().starts_with("rebooting | Reboot |"));
}

#[test]
fn a_mark_that_nobody_removes_makes_no_circle() {
    let mut host = Host::due(policy()).at(Phase::Releasing);
    host.seen.due = vec![DueReason::Command { output: String::new() }];
    host.seen.slots = SlotState::Free;
    assert_eq!(
        host.says(),
        "waiting |  | given up for now: rebooted only just now, and it is still due"
    );
    host.passes(300);
    assert_eq!(host.says(), "locking | Acquire | ");
}

#[test]
fn a_lost_journal_is_no_free_slot() {
    let mut host = Host::new(policy());
    host.holds();
    assert!(host.says().starts_with("settling |"), "it proves itself, then gives it back");
    let mut person = Host::new(policy());
    person.seen.slots = SlotState::Mine { since: 1, by_host: false };
    assert_eq!(person.says(), "idle |  | ", "what a person took in its name is the person's");
}

#[test]
fn a_clock_that_jumps_holds_nothing_up() {
    let mut host = Host::due(RebootPolicy { pause: 600 * SECOND, ..policy() });
    host.seen.last_reboot = Some(host.seen.wall + 315_360_000);
    assert_eq!(host.says(), "locking | Acquire | ");
    host.seen.wall -= 315_360_000;
    host.holds();
    assert!(host.says().starts_with("draining |"));
    host.seen.wall += 630_720_000;
    host.seen.drain = DrainState::Going { moving: 1, stuck: Vec::new() };
    assert!(host.says().starts_with("draining |"), "deadlines are on the boot's clock");
}
