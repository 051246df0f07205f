//! A property over all the stories there are: whatever happens and whenever the daemon is killed, a host does not reboot
//! without its slot, and does not give the slot back before it has proven itself.

use proptest::prelude::{
    Just, ProptestConfig, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest,
};
use proptest::strategy::Strategy as _;

use super::*;

/// What happens to a host of the property.
#[derive(Debug, Clone)]
enum Event {
    /// Nothing but time.
    Passes(u64),
    /// What was to be kept was kept, then what was to be done was done up to here, then the daemon was killed.
    Killed(usize),
    /// Power fails; or somebody reboots userspace alone.
    Boots {
        soft: bool,
    },
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

fn events() -> impl proptest::strategy::Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => (1..400_u64).prop_map(Event::Passes),
        2 => (0..3_usize).prop_map(Event::Killed),
        1 => any::<bool>().prop_map(|soft| Event::Boots { soft }),
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
    fn observe_slots(&mut self) {
        self.host.seen.slots = if self.away {
            SlotState::Unknown { problem: "away".to_owned() }
        } else if self.mine {
            SlotState::Mine { since: 1, by_host: true }
        } else if self.others {
            full()
        } else {
            SlotState::Free
        };
        let seen = &self.host.seen;
        let well = seen.registered == Some(true) && seen.unhealthy.is_empty();
        self.well_since = if well { self.well_since.or(Some(seen.up)) } else { None };
    }

    /// Keeps the journal, does the first actions of a decision, and is killed after them, or is not.
    fn turn(&mut self, until: usize) {
        self.observe_slots();
        let decided = step(&self.host.policy, &self.host.journal, &self.host.seen);
        self.host.journal = decided.journal;
        for action in decided.actions.into_iter().take(until) {
            match action {
                RebootAction::Acquire if !self.away && !self.others && !self.mine => {
                    self.mine = true;
                    self.rebooted = false;
                }
                RebootAction::Reboot => {
                    assert!(self.mine, "a reboot without the slot");
                    assert_eq!(self.host.journal.phase, Phase::Rebooting, "it was not kept before");
                    self.boot(self.boots % 2 == 1);
                    return;
                }
                RebootAction::Uncordon => self.host.seen.cordoned = false,
                RebootAction::Drain { .. } => self.host.seen.cordoned = true,
                RebootAction::Release(_) if !self.away && self.mine => {
                    if self.rebooted {
                        let well = self.well_since.is_some_and(|since| {
                            self.host.seen.up - since >= 30_000
                                && self.host.seen.userspace == Some(format!("u{}", self.boots))
                        });
                        assert!(well, "the slot was freed before the host had proven itself");
                    }
                    self.mine = false;
                }
                _ => {}
            }
        }
    }

    fn boot(&mut self, soft: bool) {
        self.boots += 1;
        self.rebooted = true;
        self.well_since = None;
        let userspace = format!("u{}", self.boots);
        if soft {
            self.host.boots_softly(&userspace);
        } else {
            self.host.boots(&format!("b{}", self.boots));
            self.host.seen.userspace = Some(userspace);
        }
    }

    fn killed(&mut self) {
        self.host.seen.call = RebootCall::No;
        self.host.seen.drain = DrainState::No;
        self.host.seen.hooks = HookStates::default();
        self.host.seen.check = CommandState::No;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn no_reboot_without_the_slot_and_no_slot_back_before_it_is_well(events in events(), give_up in any::<bool>()) {
        let stuck = if give_up { WhenStuck::GiveUp } else { WhenStuck::Force };
        let mut world = World {
            host: Host::new(RebootPolicy { stuck, ..policy() }),
            mine: false, others: false, away: false, boots: 0, rebooted: false, well_since: None,
        };
        world.host.journal.boot = "b0".to_owned();
        world.host.seen.boot = "b0".to_owned();
        world.host.seen.userspace = Some("u0".to_owned());
        let due = vec![DueReason::RebootRequired { packages: Vec::new() }];
        for event in events {
            match event {
                Event::Passes(seconds) => world.host.passes(seconds),
                Event::Killed(after) => {
                    world.turn(after);
                    world.killed();
                }
                Event::Boots { soft } => world.boot(soft),
                Event::Due(is) => world.host.seen.due = if is { due.clone() } else { Vec::new() },
                Event::Store(away) => world.away = away,
                Event::Others(take) => world.others = take && !world.mine,
                Event::Unlocks => {
                    world.mine = false;
                    world.rebooted = false;
                }
                Event::Healthy(well) => {
                    let sick = StuckUnit { unit: "a.service".parse().unwrap(), why: "failed".to_owned() };
                    world.host.seen.unhealthy = if well { Vec::new() } else { vec![sick] };
                }
                Event::Registered(is) => world.host.seen.registered = Some(is),
                Event::Inhibited(is) => {
                    let one = Inhibitor { who: "apt".to_owned(), why: "w".to_owned() };
                    world.host.seen.inhibitors = Ok(if is { vec![one] } else { Vec::new() });
                }
                Event::Drained(how) => world.host.seen.drain = match how {
                    0 => DrainState::No,
                    1 => DrainState::Going { moving: 1, stuck: Vec::new() },
                    2 => DrainState::Unknown { problem: "away".to_owned() },
                    _ => DrainState::Done,
                },
                Event::Refuses => world.host.seen.call = RebootCall::Refused("no".to_owned()),
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
