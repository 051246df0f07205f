//! Whatever comes in, in whatever order an engine and a cluster may give it: what holds all the time.
//!
//! The invariants of [`ContainerUnit`] itself are asserted in it, at each step.

use std::collections::BTreeMap;
use std::time::Duration;

use muster_engine::container::unit::SettledOutcome;
use proptest::prelude::*;

use super::*;

/// What may happen next.
#[derive(Debug, Clone, Copy)]
enum Chance {
    UnitOrder(UnitOrder),
    Hint,
    StartHint,
    /// The work under way ends, well or not.
    Work(bool),
    /// The engine answers a question.
    Answer,
    /// The container ends by itself, with this code.
    End(i64),
    EngineRestart,
    AnotherFile,
    /// So many seconds pass.
    Pass(u64),
    Remove,
    /// A removal ends, well or not.
    Removed(bool),
}

fn chances() -> impl Strategy<Value = Vec<Chance>> {
    let chance = prop_oneof![
        3 => Just(Chance::UnitOrder(UnitOrder::Start)),
        1 => Just(Chance::UnitOrder(UnitOrder::Restart)),
        2 => Just(Chance::UnitOrder(UnitOrder::Stop)),
        2 => Just(Chance::Hint),
        1 => Just(Chance::StartHint),
        8 => prop::bool::weighted(0.8).prop_map(Chance::Work),
        6 => Just(Chance::Answer),
        2 => prop::sample::select(vec![0_i64, 1, 137]).prop_map(Chance::End),
        1 => Just(Chance::EngineRestart),
        1 => Just(Chance::AnotherFile),
        3 => (1_u64..40).prop_map(Chance::Pass),
        1 => Just(Chance::Remove),
        2 => prop::bool::ANY.prop_map(Chance::Removed),
    ];
    prop::collection::vec(chance, 1..120)
}

/// An engine with the containers of one unit, and whoever carries out what the unit asks for.
struct World {
    unit: ContainerUnit,
    plan: ContainerPlan,
    sessions: EngineSessions,
    now: u64,
    work: Option<UnitEffect>,
    question: Option<String>,
    removal: Option<Vec<String>>,
    containers: BTreeMap<String, FoundContainer>,
    made: u32,
    is_called_off: bool,
    status: UnitStatus,
    is_forgotten: bool,
}

impl World {
    fn new(lines: &str) -> Self {
        let Story { unit, plan, sessions, status, .. } = Story::new(lines);
        Self {
            unit,
            plan,
            sessions,
            now: 0,
            work: None,
            question: None,
            removal: None,
            containers: BTreeMap::new(),
            made: 0,
            is_called_off: false,
            status,
            is_forgotten: false,
        }
    }

    fn feed(&mut self, input: UnitInput) {
        let (now, wall) = (Duration::from_secs(self.now), 1_000 + self.now);
        let effects = self.unit.step(&Moment { now, wall, sessions: self.sessions }, input);
        for effect in effects {
            match effect {
                UnitEffect::Prepare(_) | UnitEffect::Start { .. } | UnitEffect::Signal { .. } => {
                    assert!(self.work.is_none(), "{effect:?} beside {:?}", self.work);
                    self.is_called_off = false;
                    self.work = Some(effect);
                }
                UnitEffect::CallOffStart => {
                    assert!(matches!(self.work, Some(UnitEffect::Start { .. })), "{:?}", self.work);
                    self.is_called_off = true;
                }
                UnitEffect::CancelWork => assert!(self.work.take().is_some(), "nothing to cancel"),
                UnitEffect::Inspect(id) => {
                    assert!(self.question.is_none(), "two questions at a time");
                    self.question = Some(id);
                }
                UnitEffect::FindContainer => {
                    assert!(self.question.is_none(), "one question at a time");
                    self.question =
                        Some(self.containers.keys().last().cloned().unwrap_or_default());
                }
                UnitEffect::RemoveContainers(ids) => {
                    assert!(self.work.is_none() && self.removal.is_none());
                    self.removal = Some(ids);
                }
                UnitEffect::Forget => self.is_forgotten = true,
                UnitEffect::Publish { status, .. } => self.status = status,
                UnitEffect::Remember(_)
                | UnitEffect::DiscardNetworks(_)
                | UnitEffect::CountRestart
                | UnitEffect::LogPhase { .. } => {}
            }
        }
    }

    /// Carries out the work under way.
    fn work(&mut self, well: bool) {
        let Some(work) = self.work.take() else { return };
        // It may come too late.
        let well =
            well && !(std::mem::take(&mut self.is_called_off) && self.made.is_multiple_of(2));
        let why = || "why".to_owned();
        let result = match work {
            UnitEffect::Prepare(plan) if well => prepared(&plan),
            UnitEffect::Prepare(_) => WorkResult::Unprepared(why()),
            UnitEffect::Start { replaces, .. } if well => {
                if let Some(id) = replaces {
                    self.containers.remove(&id);
                }
                self.made += 1;
                let id = format!("c{}", self.made);
                self.containers.insert(id.clone(), FoundContainer::Running(None));
                WorkResult::Started { id, since: self.sessions }
            }
            UnitEffect::Start { .. } => WorkResult::NotStarted(why()),
            UnitEffect::Signal { container, signal } => {
                // One that is asked to stop may take its time; one that is killed ends.
                if let Some(seen) = self.containers.get_mut(&container)
                    && (well || signal == "SIGKILL")
                    && matches!(seen, FoundContainer::Running(_))
                {
                    *seen = FoundContainer::Ended(Ended { code: 143, oom: false });
                }
                WorkResult::Sent
            }
            other => panic!("{other:?} is no work"),
        };
        self.feed(UnitInput::WorkDone(result));
    }

    fn answer(&mut self) {
        let Some(id) = self.question.take() else { return };
        let found = self.containers.get(&id).map(|seen| container(&id, *seen));
        self.feed(UnitInput::Inspected { container: id, found });
    }

    fn happen(&mut self, chance: Chance) {
        let removing = self.unit.is_being_removed();
        match chance {
            Chance::UnitOrder(order) if !removing => {
                self.feed(UnitInput::Order { order, generation: Some(self.now) });
            }
            Chance::Hint if !removing => self.feed(UnitInput::Hint),
            Chance::StartHint if !removing => self.feed(UnitInput::StartHint),
            Chance::AnotherFile if !removing => {
                self.plan = plan(&format!("Label=at={}", self.now));
                self.feed(UnitInput::Plan(self.plan.clone()));
            }
            Chance::Remove if !removing => self.feed(UnitInput::Remove),
            Chance::Work(well) => self.work(well),
            Chance::Answer => self.answer(),
            Chance::End(code) => {
                for seen in self.containers.values_mut() {
                    *seen = FoundContainer::Ended(Ended { code, oom: false });
                }
                if !removing {
                    self.feed(UnitInput::Hint);
                }
            }
            Chance::EngineRestart => {
                for seen in self.containers.values_mut() {
                    if matches!(seen, FoundContainer::Running(_)) {
                        *seen = FoundContainer::Ended(Ended { code: 137, oom: false });
                    }
                }
                self.sessions.begin(NOT_LIVE);
                if !removing {
                    self.feed(UnitInput::Hint);
                }
            }
            Chance::Pass(seconds) => {
                self.now += seconds;
                self.feed(UnitInput::Tick);
            }
            Chance::Removed(well) => {
                let Some(ids) = self.removal.take() else { return };
                if well {
                    self.containers.retain(|id, _| !ids.contains(id));
                }
                self.feed(UnitInput::Removed(well));
            }
            Chance::UnitOrder(_)
            | Chance::Hint
            | Chance::StartHint
            | Chance::AnotherFile
            | Chance::Remove => {}
        }
    }

    /// Lets everything that is under way end well, and time pass.
    fn settle(&mut self) {
        for _ in 0..200 {
            if self.is_forgotten {
                return;
            }
            self.happen(Chance::Work(true));
            self.happen(Chance::Answer);
            self.happen(Chance::Removed(true));
            let busy = self.work.is_some() || self.question.is_some() || self.removal.is_some();
            if !busy && self.status.settled.is_some() && self.unit.next_deadline().is_none() {
                return;
            }
            self.happen(Chance::Pass(11));
        }
        panic!("it never settles: {:?}", self.status);
    }
}

proptest! {
    #[test]
    fn one_thing_is_done_at_a_time_and_every_order_comes_out(
        chances in chances(),
        restart in prop::sample::select(vec!["no", "on-failure", "always"]),
    ) {
        let mut world = World::new(&format!("[Service]\nRestart={restart}\nRestartSec=1"));
        for chance in chances {
            world.happen(chance);
            if world.is_forgotten {
                prop_assert!(world.work.is_none());
                return Ok(());
            }
        }
        world.settle();
        if world.is_forgotten {
            return Ok(());
        }
        world.feed(UnitInput::Order { order: UnitOrder::Stop, generation: None });
        world.settle();
        prop_assert_eq!(world.status.outcome_of(UnitOrder::Stop, 0), Some(Ok(())));
        let runs = world.containers.values().filter(|seen| matches!(seen, FoundContainer::Running(_)));
        prop_assert_eq!(runs.count(), 0, "it was stopped: {:?}", &world.containers);

        // The start limit may have been reached before; it has passed by then.
        world.now += 1_000;
        world.feed(UnitInput::Order { order: UnitOrder::Start, generation: Some(9) });
        world.settle();
        prop_assert_eq!(world.status.settled, Some(SettledOutcome::Up));
        let running: Vec<&String> = world.containers.iter().filter(|(_, seen)| matches!(seen, FoundContainer::Running(_))).map(|(id, _)| id).collect();
        prop_assert_eq!(running, [world.status.container.as_ref().unwrap()], "one, and its own");
    }
}
