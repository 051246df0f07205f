//! One host's reboot, as a story: what happens to the host on the left, what it decides on the right. And a property over
//! all the stories there are: whatever happens and whenever the daemon is killed, it does not reboot without its slot, and
//! does not give the slot back before it has proven itself.
#![allow(clippy::unwrap_used, clippy::panic, reason = "what fails in a test is to fail it")]

use std::time::Duration;

use jiff::tz::TimeZone;
use muster_common::reboot::{DueReason, Group, Journal, Phase, Strategy as How, Stuck, Wait};
use muster_engine::reboot::phase::{
    Action, Asked, Drain, Hooks, HooksRan, Inhibitor, Observation, Policy, Ran, Slots, Step,
    WhenStuck, step,
};
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);

fn policy() -> Policy {
    Policy {
        strategy: How::Lock,
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
        due: Vec::new(),
        inhibitors: Ok(Vec::new()),
        sessions: 0,
        failed: Vec::new(),
        last_reboot: None,
        slots: Slots::Free,
        check: Ran::No,
        hooks: HooksRan::default(),
        drain: Drain::No,
        cordoned: false,
        asked: Asked::No,
        stopping: false,
        registered: Some(true),
        unhealthy: Vec::new(),
    }
}

struct Host {
    policy: Policy,
    seen: Observation,
    journal: Journal,
}

impl Host {
    fn new(policy: Policy) -> Self {
        let journal = Journal { boot: "first".to_owned(), ..Journal::default() };
        Self { policy, seen: calm(), journal }
    }

    /// A host whose reboot is due.
    fn due(policy: Policy) -> Self {
        let mut host = Self::new(policy);
        host.seen.due = vec![DueReason::RebootRequired { packages: Vec::new() }];
        host
    }

    fn step(&mut self) -> Step {
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

    fn holds(&mut self) {
        self.seen.slots = Slots::Mine { since: self.seen.wall, by_host: true };
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
                    self.seen.drain = Drain::Done;
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

fn full() -> Slots {
    Slots::Full(Wait::SlotsTaken {
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
    host.seen.drain = Drain::Going { moving: 2, stuck: Vec::new() };
    assert_eq!(host.says(), "draining | Drain { until: 1767874500 } | draining: 2 units left");
    host.seen.drain = Drain::Done;
    assert_eq!(host.says(), "rebooting | Reboot | the host has been asked to reboot");
    host.seen.asked = Asked::Accepted;
    host.seen.stopping = true;
    assert_eq!(host.says(), "rebooting |  | the host has been asked to reboot");
    host.boots("second");
    assert_eq!(host.says(), "settling | Uncordon | the machine is not registered yet");
    host.seen.cordoned = false;
    host.seen.registered = Some(true);
    let sick = Stuck { unit: "web.service".parse().unwrap(), why: "activating".to_owned() };
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
    host.seen.slots = Slots::Free;
    assert_eq!(host.says(), "idle |  | ");
}

#[test]
fn everything_in_the_way_is_said_at_once() {
    let mut host = Host::due(Policy {
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
    host.seen.slots = Slots::Free;
    assert_eq!(host.says(), "locking | Acquire | ");
}

#[test]
fn a_check_command_is_asked_last() {
    let mut host = Host::due(Policy { check: true, ..policy() });
    host.seen.slots = full();
    assert_eq!(host.says(), "waiting |  | the slot of group default taken by m2");
    host.seen.slots = Slots::Free;
    assert_eq!(host.says(), "waiting | Check | the check command is running");
    host.seen.check = Ran::Badly("two alerts".to_owned());
    assert_eq!(host.says(), "waiting |  | the check command said no: two alerts");
    host.seen.check = Ran::Well;
    assert_eq!(host.says(), "locking | Acquire | ");
}

#[test]
fn strategies() {
    let mut now = Host::due(Policy { strategy: How::Now, ..policy() });
    now.seen.slots = Slots::Unknown { problem: "away".to_owned() };
    assert!(now.says().starts_with("draining | Drain"));
    now.seen.drain = Drain::Done;
    assert!(now.says().starts_with("rebooting | Reboot |"));
    now.seen.due.clear();
    now.boots("second");
    now.seen.registered = Some(true);
    assert!(now.says().starts_with("settling |"));
    now.passes(30);
    assert_eq!(now.says(), "idle |  | ", "it needs no store to know that it holds no slot");
    let mut off = Host::due(Policy { strategy: How::Off, ..policy() });
    assert_eq!(off.says(), "waiting |  | the strategy is off: it reboots by hand only");
}

#[test]
fn what_cannot_move_is_decided_at_once() {
    let stuck = Stuck {
        unit: "db.service".parse().unwrap(),
        why: "MachineID= names this machine".to_owned(),
    };
    let left = Drain::Going { moving: 0, stuck: vec![stuck] };
    let mut force = Host::due(policy()).at(Phase::Draining);
    force.seen.drain = left.clone();
    assert!(force.says().starts_with("rebooting | Reboot |"));
    let mut patient =
        Host::due(Policy { stuck: WhenStuck::GiveUp, ..policy() }).at(Phase::Draining);
    patient.seen.cordoned = true;
    patient.seen.drain = left;
    assert_eq!(
        patient.says(),
        "giving-up | Uncordon, Release(GaveUp { problem: \"cannot be drained of db.service (MachineID= names this \
         machine)\" }) | given up for now: cannot be drained of db.service (MachineID= names this machine)"
    );
    patient.seen.cordoned = false;
    patient.seen.slots = Slots::Free;
    patient.seen.drain = Drain::No;
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
        let mut host = Host::due(Policy { stuck, ..policy() }).at(Phase::Draining);
        host.seen.drain = Drain::Going { moving: 3, stuck: Vec::new() };
        host.passes(599);
        assert!(host.says().starts_with("draining |"));
        host.passes(1);
        let said = host.says();
        assert!(said.starts_with(expected), "{said}");
    }
}

#[test]
fn nothing_begins_or_ends_outside_the_window() {
    let night = Policy { windows: vec!["Thu 12:00 5m".parse().unwrap()], ..policy() };
    let mut host = Host::due(night).at(Phase::Draining);
    assert_eq!(host.step().actions, [Action::Drain { until: 1_767_873_900 }], "the window's end");
    host.passes(301);
    assert!(
        host.says()
            .starts_with("giving-up | Release(GaveUp { problem: \"the window has closed\" })")
    );
}

#[test]
fn hooks_have_their_say() {
    let all = Hooks { before_drain: true, before_reboot: true, after_boot: true };
    let mut host = Host::due(Policy { hooks: all, ..policy() }).at(Phase::Draining);
    assert_eq!(host.says(), "draining | Hook(BeforeDrain) | the before-drain hook is running");
    host.seen.hooks.before_drain = Ran::Well;
    host.passes(3600);
    assert!(host.says().starts_with("draining | Drain"), "the time of the hook is not the drain's");
    host.seen.drain = Drain::Done;
    assert_eq!(
        host.says(),
        "before-reboot | Hook(BeforeReboot) | the before-reboot hook is running"
    );
    host.seen.hooks.before_reboot = Ran::Well;
    assert!(host.says().starts_with("rebooting | Reboot"));
    host.boots("second");
    host.seen.registered = Some(true);
    assert_eq!(host.says(), "returned | Hook(AfterBoot) | the after-boot hook is running");
    host.seen.hooks.after_boot = Ran::Badly("exit status 1".to_owned());
    assert_eq!(
        host.says(),
        "returned | Hook(AfterBoot) | the after-boot hook failed: exit status 1"
    );
    host.seen.hooks.after_boot = Ran::Well;
    assert!(host.says().starts_with("settling |"));

    let mut fails = Host::due(Policy { hooks: all, ..policy() }).at(Phase::Draining);
    fails.seen.hooks.before_drain = Ran::Badly("exit status 7".to_owned());
    assert!(fails.says().starts_with(
        "giving-up | Release(GaveUp { problem: \"the before-drain hook failed: exit status 7\" })"
    ));
}

#[test]
fn a_slot_that_was_taken_away_ends_the_attempt() {
    for phase in [Phase::Draining, Phase::Rebooting] {
        let mut host = Host::due(policy()).at(phase);
        host.seen.slots = Slots::Free;
        host.seen.cordoned = true;
        assert_eq!(host.says(), "giving-up | Uncordon | given up for now: the slot was taken away");
    }
}

#[test]
fn a_host_that_does_not_go_down_gives_its_slot_back() {
    let mut host = Host::due(policy()).at(Phase::Rebooting);
    host.seen.cordoned = false;
    host.seen.asked = Asked::Accepted;
    host.passes(599);
    assert!(host.says().starts_with("rebooting |"));
    host.passes(1);
    assert!(host.says().starts_with(
        "giving-up | Release(GaveUp { problem: \"the host has not gone down in 10 minutes\" })"
    ));
    let mut refused = Host::due(policy()).at(Phase::Rebooting);
    refused.seen.asked = Asked::Refused("no permission".to_owned());
    assert!(refused.says().starts_with("giving-up |"));
}

#[test]
fn a_wish_is_fulfilled_once() {
    let wish = DueReason::Requested { by: "jane".to_owned(), at: 7, because: None };
    let mut host = Host::due(Policy { settle: Duration::ZERO, ..policy() });
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
fn a_mark_that_nobody_removes_makes_no_circle() {
    let mut host = Host::due(policy()).at(Phase::Releasing);
    host.seen.due = vec![DueReason::Command { output: String::new() }];
    host.seen.slots = Slots::Free;
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
    person.seen.slots = Slots::Mine { since: 1, by_host: false };
    assert_eq!(person.says(), "idle |  | ", "what a person took in its name is the person's");
}

#[test]
fn a_clock_that_jumps_holds_nothing_up() {
    let mut host = Host::due(Policy { pause: 600 * SECOND, ..policy() });
    host.seen.last_reboot = Some(host.seen.wall + 315_360_000);
    assert_eq!(host.says(), "locking | Acquire | ");
    host.seen.wall -= 315_360_000;
    host.holds();
    assert!(host.says().starts_with("draining |"));
    host.seen.wall += 630_720_000;
    host.seen.drain = Drain::Going { moving: 1, stuck: Vec::new() };
    assert!(host.says().starts_with("draining |"), "deadlines are on the boot's clock");
}

/// What happens to a host of the property.
#[derive(Debug, Clone)]
enum Event {
    /// Nothing but time.
    Passes(u64),
    /// What was to be kept was kept, then what was to be done was done up to here, then the daemon was killed.
    Killed(usize),
    /// Power fails.
    Boots,
    Due(bool),
    Store(bool),
    /// Somebody else takes or frees what is free.
    Others(bool),
    /// A person takes the slot away.
    Unlocks,
    Healthy(bool),
    Registered(bool),
    Inhibited(bool),
    Drained(u8),
    Refuses,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => (1..400_u64).prop_map(Event::Passes),
        2 => (0..3_usize).prop_map(Event::Killed),
        1 => Just(Event::Boots),
        3 => any::<bool>().prop_map(Event::Due),
        1 => any::<bool>().prop_map(Event::Store),
        1 => any::<bool>().prop_map(Event::Others),
        1 => Just(Event::Unlocks),
        2 => prop::bool::weighted(0.8).prop_map(Event::Healthy),
        2 => prop::bool::weighted(0.8).prop_map(Event::Registered),
        1 => prop::bool::weighted(0.3).prop_map(Event::Inhibited),
        3 => (0..4_u8).prop_map(Event::Drained),
        1 => Just(Event::Refuses),
    ];
    prop::collection::vec(event, 0..80)
}

/// The world around the daemon: the one slot, and how long this boot has been proven well.
#[expect(clippy::struct_excessive_bools, reason = "facts that do not depend on each other")]
struct World {
    host: Host,
    mine: bool,
    others: bool,
    away: bool,
    boots: u32,
    /// Whether the reboot since the slot was taken has happened, and since when all has been well.
    rebooted: bool,
    well_since: Option<u64>,
}

impl World {
    fn look(&mut self) {
        self.host.seen.slots = if self.away {
            Slots::Unknown { problem: "away".to_owned() }
        } else if self.mine {
            Slots::Mine { since: 1, by_host: true }
        } else if self.others {
            full()
        } else {
            Slots::Free
        };
        let seen = &self.host.seen;
        let well = seen.registered == Some(true) && seen.unhealthy.is_empty();
        self.well_since = if well { self.well_since.or(Some(seen.up)) } else { None };
    }

    /// Keeps the journal, does the first actions of a decision, and is killed after them, or is not.
    fn turn(&mut self, until: usize) {
        self.look();
        let decided = step(&self.host.policy, &self.host.journal, &self.host.seen);
        self.host.journal = decided.journal;
        for action in decided.actions.into_iter().take(until) {
            match action {
                Action::Acquire if !self.away && !self.others && !self.mine => {
                    self.mine = true;
                    self.rebooted = false;
                }
                Action::Reboot => {
                    assert!(self.mine, "a reboot without the slot");
                    assert_eq!(self.host.journal.phase, Phase::Rebooting, "it was not kept before");
                    self.boot();
                    return;
                }
                Action::Uncordon => self.host.seen.cordoned = false,
                Action::Drain { .. } => self.host.seen.cordoned = true,
                Action::Release(_) if !self.away && self.mine => {
                    if self.rebooted {
                        let well = self.well_since.is_some_and(|since| {
                            self.host.seen.up - since >= 30_000
                                && self.host.seen.boot == format!("b{}", self.boots)
                        });
                        assert!(well, "the slot was freed before the host had proven itself");
                    }
                    self.mine = false;
                }
                _ => {}
            }
        }
    }

    fn boot(&mut self) {
        self.boots += 1;
        self.rebooted = true;
        self.well_since = None;
        self.host.boots(&format!("b{}", self.boots));
    }

    fn killed(&mut self) {
        self.host.seen.asked = Asked::No;
        self.host.seen.drain = Drain::No;
        self.host.seen.hooks = HooksRan::default();
        self.host.seen.check = Ran::No;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn no_reboot_without_the_slot_and_no_slot_back_before_it_is_well(events in events(), give_up in any::<bool>()) {
        let stuck = if give_up { WhenStuck::GiveUp } else { WhenStuck::Force };
        let mut world = World {
            host: Host::new(Policy { stuck, ..policy() }),
            mine: false, others: false, away: false, boots: 0, rebooted: false, well_since: None,
        };
        world.host.journal.boot = "b0".to_owned();
        world.host.seen.boot = "b0".to_owned();
        let due = vec![DueReason::RebootRequired { packages: Vec::new() }];
        for event in events {
            match event {
                Event::Passes(seconds) => world.host.passes(seconds),
                Event::Killed(after) => {
                    world.turn(after);
                    world.killed();
                }
                Event::Boots => world.boot(),
                Event::Due(is) => world.host.seen.due = if is { due.clone() } else { Vec::new() },
                Event::Store(away) => world.away = away,
                Event::Others(take) => world.others = take && !world.mine,
                Event::Unlocks => {
                    world.mine = false;
                    world.rebooted = false;
                }
                Event::Healthy(well) => {
                    let sick = Stuck { unit: "a.service".parse().unwrap(), why: "failed".to_owned() };
                    world.host.seen.unhealthy = if well { Vec::new() } else { vec![sick] };
                }
                Event::Registered(is) => world.host.seen.registered = Some(is),
                Event::Inhibited(is) => {
                    let one = Inhibitor { who: "apt".to_owned(), why: "w".to_owned() };
                    world.host.seen.inhibitors = Ok(if is { vec![one] } else { Vec::new() });
                }
                Event::Drained(how) => world.host.seen.drain = match how {
                    0 => Drain::No,
                    1 => Drain::Going { moving: 1, stuck: Vec::new() },
                    2 => Drain::Unknown { problem: "away".to_owned() },
                    _ => Drain::Done,
                },
                Event::Refuses => world.host.seen.asked = Asked::Refused("no".to_owned()),
            }
            world.turn(usize::MAX);
        }
        // After the last fault it comes to an end: with nothing due and all well, the slot is free again.
        world.away = false;
        world.host.seen.due.clear();
        world.host.seen.registered = Some(true);
        world.host.seen.unhealthy.clear();
        for _ in 0..10 {
            world.host.passes(700);
            world.turn(usize::MAX);
        }
        prop_assert!(!world.mine, "the slot is kept for ever: {:?}", world.host.journal);
        prop_assert!(!world.host.seen.cordoned, "it takes no units for ever");
        prop_assert_eq!(world.host.journal.phase, Phase::Idle);
    }
}
