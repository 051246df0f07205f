//! What a client is told, from one snapshot to the next.

use std::collections::BTreeSet;

use muster_common::probe::plant_fault;
use muster_common::snapshot::{Change, Handover, Unit};
use muster_common::unit::{FileHash, UnitFile};

use super::*;

fn name() -> UnitName {
    "web.service".parse().unwrap()
}

fn id(machine: &str) -> MachineId {
    machine.parse().unwrap()
}

/// A cluster in which one unit, asked for at generation 2, is waited for.
struct Story {
    snapshot: Snapshot,
    waiting: UnitsWait,
}

impl Story {
    /// `asked`: the client has made a change before.
    fn of(until: Until, asked: bool) -> Self {
        let wait = WaitFor { name: name(), until, generation: 2 };
        let revision = u64::from(asked);
        let waiting = UnitsWait::new(WaitRequest { units: vec![wait], revision });
        Self { snapshot: Snapshot::default(), waiting }
    }

    fn wanted(mut self, desired: DesiredState, generation: u64) -> Self {
        let text = "[Service]\nExecStart=/bin/true\n";
        let file = FileHash::of_text(text);
        let parsed = text.parse::<UnitFile>().unwrap();
        self.snapshot.apply(Change::File(file, Some(parsed.into())));
        let unit = Unit { name: name(), file, desired, generation, revision: 1 };
        self.snapshot.apply(Change::Unit(name(), Some(unit)));
        self
    }

    /// Makes the unit one for every machine.
    fn global(mut self) -> Self {
        let text = "[Service]\nExecStart=/bin/true\n[X-Fleet]\nGlobal=yes\n";
        let file = FileHash::of_text(text);
        self.snapshot.apply(Change::File(file, Some(text.parse::<UnitFile>().unwrap().into())));
        let unit = self.snapshot.units.get(&name()).unwrap().clone();
        self.snapshot.apply(Change::Unit(name(), Some(Unit { file, ..unit })));
        self
    }

    fn destroyed(mut self) -> Self {
        self.snapshot.apply(Change::Unit(name(), None));
        self
    }

    fn placed(mut self, machine: &str, desired: DesiredState, generation: u64) -> Self {
        let placement = Placement {
            file: FileHash::of_text(""),
            desired,
            generation,
            handover: Handover::default(),
            revision: 1,
        };
        self.snapshot.apply(Change::Place(id(machine), name(), Some(placement)));
        self
    }

    fn withdrawn(mut self, machine: &str) -> Self {
        self.snapshot.apply(Change::Place(id(machine), name(), None));
        self
    }

    fn reports(
        mut self,
        machine: &str,
        active: &str,
        desired: DesiredState,
        generation: u64,
    ) -> Self {
        let (active, sub) = active.split_once('/').unwrap();
        let state = ObservedState {
            load: "loaded".to_owned(),
            active: active.into(),
            sub: sub.to_owned(),
            file: None,
            hash: String::new(),
            generation,
            desired,
            since: 0,
            invocation: String::new(),
            problem: None,
            remark: String::new(),
        };
        self.snapshot.apply(Change::State(id(machine), name(), Some(state)));
        self
    }

    /// A machine that has done what was asked, and found that the unit is not to run there.
    fn skips(self, machine: &str, remark: &str, generation: u64) -> Self {
        let mut story = self.reports(machine, "inactive/dead", Launched, generation);
        let mut state = story.snapshot.states[&name()][&id(machine)].clone();
        remark.clone_into(&mut state.remark);
        story.snapshot.apply(Change::State(id(machine), name(), Some(state)));
        story
    }

    /// What a machine has reported, with a problem.
    fn has_problem(mut self, machine: &str, problem: &str) -> Self {
        let mut state = self.snapshot.states[&name()][&id(machine)].clone();
        state.problem = Some(problem.to_owned());
        self.snapshot.apply(Change::State(id(machine), name(), Some(state)));
        self
    }

    fn silent(mut self, machine: &str) -> Self {
        self.snapshot.apply(Change::State(id(machine), name(), None));
        self
    }

    /// The events that are sent now, in a few words.
    fn sent_events(&mut self) -> Vec<String> {
        let updates = self.waiting.update_units(Duration::ZERO, &self.snapshot);
        let in_words = |update| match update {
            WaitUpdate::Event(WaitEvent::Progress { machine, state, .. }) => {
                let machine = machine.map_or_else(|| "nowhere".to_owned(), |m| m.id.to_string());
                match state {
                    Some(state) => format!("{}/{} on {machine}", state.active, state.sub),
                    None => format!("on {machine}"),
                }
            }
            WaitUpdate::Event(WaitEvent::Done { machines, remarks, .. }) => {
                let ids: BTreeSet<String> = machines.iter().map(|m| m.id.to_string()).collect();
                let remark_texts = remarks.iter().map(|(id, remark)| format!("; {id}: {remark}"));
                let ids = ids.into_iter().collect::<Vec<_>>().join(" ");
                format!("done {ids}{}", remark_texts.collect::<String>())
            }
            WaitUpdate::Event(WaitEvent::Overtaken { desired, .. }) => {
                format!("overtaken: {desired}")
            }
            WaitUpdate::Event(other) => format!("{other:?}"),
            WaitUpdate::Failure(failure) => {
                format!("failed on {}: {}", failure.machine.id, failure.state.active)
            }
        };
        updates.into_iter().map(in_words).collect()
    }

    fn has_unplaced(&self) -> bool {
        self.waiting.open.values().any(|unit| unit.is_unplaced)
    }
}

use DesiredState::{Inactive, Launched, Loaded};

#[test]
fn a_condition_that_is_not_met_ends_a_start_and_is_said() {
    let mut story = Story::of(Until::Launched, true).wanted(Launched, 2).placed("m1", Launched, 2);
    story.sent_events();
    story = story.skips("m1", "condition: ConditionHost=a was not met", 2);
    assert_eq!(story.sent_events(), ["done m1; m1: condition: ConditionHost=a was not met"]);
}

#[test]
fn a_start_from_nothing_to_done() {
    let mut story = Story::of(Until::Launched, true).wanted(Launched, 2);
    assert!(story.sent_events().is_empty());
    assert!(story.has_unplaced());

    story = story.placed("m1", Launched, 2);
    assert_eq!(story.sent_events(), ["on m1"]);
    assert!(story.sent_events().is_empty(), "nothing is told twice");
    assert!(!story.has_unplaced());

    story = story.reports("m1", "activating/start", Launched, 2);
    assert_eq!(story.sent_events(), ["activating/start on m1"]);
    assert!(!story.waiting.is_over());
    story = story.reports("m1", "active/running", Launched, 2);
    assert_eq!(story.sent_events(), ["done m1"]);
    assert!(story.waiting.is_over());
}

#[test]
fn what_runs_from_before_is_not_what_was_asked_for() {
    let mut story = Story::of(Until::Launched, true)
        .wanted(Launched, 2)
        .placed("m1", Launched, 1)
        .reports("m1", "active/running", Launched, 1);
    assert_eq!(story.sent_events(), ["active/running on m1"], "the leader has not heard of it");
    story = story.placed("m1", Launched, 2);
    assert!(story.sent_events().is_empty(), "the machine has not carried it out");
    story = story.reports("m1", "active/running", Launched, 2);
    assert_eq!(story.sent_events(), ["done m1"]);
}

#[test]
fn a_oneshot_that_has_finished_is_done_and_one_that_failed_has_failed() {
    for (reports, sent_events) in [
        ("inactive/dead", "done m1"),
        ("active/exited", "done m1"),
        ("failed/failed", "failed on m1: failed"),
        ("activating/auto-restart", "failed on m1: activating"),
    ] {
        let mut story = Story::of(Until::Launched, true)
            .wanted(Launched, 2)
            .placed("m1", Launched, 2)
            .reports("m1", reports, Launched, 2);
        assert_eq!(story.sent_events(), [sent_events], "{reports}");
        assert!(story.waiting.is_over());
    }
}

#[test]
fn a_unit_on_several_machines_is_done_when_it_is_on_all() {
    let mut story = Story::of(Until::Launched, true)
        .wanted(Launched, 2)
        .placed("m1", Launched, 2)
        .placed("m2", Launched, 2)
        .reports("m1", "active/running", Launched, 2);
    assert_eq!(story.sent_events(), ["on m2"]);
    story = story.reports("m2", "active/running", Launched, 2);
    assert_eq!(story.sent_events(), ["done m1 m2"]);
}

#[test]
fn a_wait_for_a_start_ends_when_somebody_stops_unloads_or_destroys_the_unit() {
    let started = || {
        let mut story =
            Story::of(Until::Launched, true).wanted(Launched, 2).placed("m1", Launched, 2);
        assert_eq!(story.sent_events(), ["on m1"]);
        story
    };
    assert_eq!(started().wanted(Loaded, 3).sent_events(), ["overtaken: loaded"]);
    assert_eq!(started().wanted(Inactive, 2).sent_events(), ["overtaken: inactive"]);
    // Started again by somebody else is as good as started.
    let mut again = started().wanted(Launched, 3).placed("m1", Launched, 3).reports(
        "m1",
        "active/running",
        Launched,
        3,
    );
    assert_eq!(again.sent_events(), ["done m1"]);
    let mut gone = started().destroyed();
    assert_eq!(gone.sent_events(), Vec::<String>::new(), "it is still there");
    assert_eq!(gone.withdrawn("m1").sent_events(), ["done "]);
}

#[test]
fn a_wait_for_an_end_ends_when_somebody_starts_the_unit_again() {
    for until in [Until::Loaded, Until::Inactive, Until::Gone] {
        let mut story = Story::of(until, true).wanted(Launched, 3);
        assert_eq!(story.sent_events(), ["overtaken: launched"], "{until:?}");
        assert!(story.waiting.is_over());
    }
    let mut story = Story::of(Until::Inactive, true).wanted(Inactive, 2);
    assert_eq!(story.sent_events(), ["done "], "as it was asked for");
}

#[test]
fn who_has_changed_nothing_waits_for_what_others_do() {
    let mut story = Story::of(Until::Launched, false).wanted(Inactive, 2);
    assert!(story.sent_events().is_empty());
    story = story.wanted(Launched, 2).placed("m1", Launched, 2).reports(
        "m1",
        "active/running",
        Launched,
        2,
    );
    assert_eq!(story.sent_events(), ["done m1"]);
}

#[test]
fn a_change_that_the_snapshot_does_not_have_yet_is_not_overtaken() {
    let mut story = Story::of(Until::Launched, true).wanted(Inactive, 1);
    assert!(story.sent_events().is_empty());
}

#[test]
fn gone_is_gone_from_every_machine() {
    let mut story = Story::of(Until::Gone, true)
        .placed("m1", Launched, 2)
        .reports("m1", "active/running", Launched, 2)
        .reports("m2", "deactivating/stop-sigterm", Launched, 2);
    assert_eq!(story.sent_events(), ["active/running on m1"]);
    story = story.withdrawn("m1");
    assert!(story.sent_events().is_empty());
    story = story.silent("m1");
    assert_eq!(story.sent_events(), ["deactivating/stop-sigterm on m2"]);
    assert_eq!(story.silent("m2").sent_events(), ["done "]);
}

#[test]
fn what_does_not_stop_ends_the_wait_for_its_end_with_the_reason() {
    let refuses = |problem: Option<&str>| {
        let mut story = Story::of(Until::Gone, true).reports("m1", "active/running", Launched, 2);
        let mut state = story.snapshot.states[&name()][&id("m1")].clone();
        state.problem = problem.map(str::to_owned);
        story.snapshot.apply(Change::State(id("m1"), name(), Some(state)));
        story
    };
    let began = Duration::from_secs(5);
    let over = began + STOP_PATIENCE;
    let Story { snapshot, waiting: mut wait } = refuses(Some("systemd does not stop it"));
    assert_eq!(wait.update_units(began, &snapshot).len(), 1, "it is on its way");
    assert_eq!(wait.next_deadline(), Some(over));
    // Another reason is another attempt.
    let other = refuses(Some("another")).snapshot;
    wait.update_units(began + STOP_PATIENCE / 2, &other);
    wait.update_units(over, &snapshot);
    assert!(!wait.is_over());
    let ended = wait.update_units(over + STOP_PATIENCE, &snapshot);
    let [WaitUpdate::Failure(failure)] = &ended[..] else { panic!("{ended:?}") };
    assert_eq!(failure.state.problem.as_deref(), Some("systemd does not stop it"));
    assert!(wait.is_over());

    // One that has stopped and left something behind takes its time, and one without a reason may still be asked.
    for story in [
        refuses(None),
        refuses(Some("x")).placed("m1", Launched, 2),
        refuses(Some("x")).reports("m1", "deactivating/stop-sigterm", Launched, 2),
    ] {
        let Story { snapshot, waiting: mut wait } = story;
        wait.update_units(began, &snapshot);
        wait.update_units(over, &snapshot);
        assert!(!wait.is_over());
    }
}

#[test]
fn a_refusal_is_explained_a_moment_later_and_never_while_the_store_is_away() {
    let Story { snapshot, waiting: mut wait } =
        Story::of(Until::Launched, true).wanted(Launched, 2);
    let mut cluster = Cluster::default();
    let began = Duration::from_secs(5);
    cluster.reset(snapshot, began);
    assert_eq!(wait.update(began, &mut cluster), []);
    let asked = wait.next_deadline().unwrap();
    assert_eq!(asked, began + EXPLAIN_AFTER);

    cluster.mark_lost("no answer".to_owned());
    let away = wait.update(asked, &mut cluster);
    assert!(matches!(&away[..], [WaitUpdate::Event(WaitEvent::Degraded { .. })]), "{away:?}");
    let again = wait.next_deadline().unwrap();
    assert_eq!(again, asked + EXPLAIN_EVERY);

    cluster.apply(2, Vec::new(), again);
    let sent_events = wait.update(again, &mut cluster);
    assert!(
        matches!(&sent_events[..], [WaitUpdate::Event(WaitEvent::Refused { .. })]),
        "{sent_events:?}"
    );
    assert_eq!(wait.update(again + EXPLAIN_EVERY, &mut cluster), [], "nothing is told twice");
}

#[test]
fn nothing_is_over_while_the_store_is_away() {
    let Story { mut snapshot, waiting: mut wait } = Story::of(Until::Gone, true)
        .wanted(Launched, 2)
        .placed("m1", Launched, 2)
        .reports("m1", "active/running", Launched, 2);
    let mut cluster = Cluster::default();
    // A picture of before a backup was put back: in it the unit is wanted, at a revision that counts as newer than its removal.
    cluster.reset(snapshot.clone(), Duration::ZERO);
    cluster.mark_lost("no answer".to_owned());
    let away = wait.update(Duration::ZERO, &mut cluster);
    assert!(matches!(&away[..], [WaitUpdate::Event(WaitEvent::Degraded { .. })]), "{away:?}");
    assert_eq!(wait.update(STOP_PATIENCE, &mut cluster), []);
    assert!(wait.next_deadline().is_none_or(|at| at > STOP_PATIENCE), "it is not asked for ever");
    assert!(!wait.is_over());
    // The store is there again, without the unit.
    snapshot = Snapshot::default();
    cluster.reset(snapshot, STOP_PATIENCE);
    let back = wait.update(STOP_PATIENCE, &mut cluster);
    assert!(matches!(&back[..], [WaitUpdate::Event(WaitEvent::Done { .. })]), "{back:?}");
    assert!(wait.is_over());
}

#[test]
fn the_time_of_a_stop_counts_anew_after_the_store_was_away() {
    let Story { snapshot, waiting: mut wait } = Story::of(Until::Gone, true)
        .reports("m1", "active/running", Launched, 2)
        .has_problem("m1", "it does not stop");
    let mut cluster = Cluster::default();
    cluster.reset(snapshot.clone(), Duration::ZERO);
    wait.update(Duration::ZERO, &mut cluster);
    assert_eq!(wait.next_deadline(), Some(STOP_PATIENCE));
    cluster.mark_lost("no answer".to_owned());
    wait.update(STOP_PATIENCE, &mut cluster);
    assert_eq!(wait.next_deadline(), None);
    cluster.reset(snapshot, STOP_PATIENCE);
    wait.update(STOP_PATIENCE, &mut cluster);
    assert_eq!(wait.next_deadline(), Some(STOP_PATIENCE + STOP_PATIENCE));
    assert!(!wait.is_over());
}

#[test]
fn a_machine_that_is_away_holds_no_start_of_a_global_unit_up() {
    let here = |id: &str| -> Change {
        let machine = serde_json::json!({"id": id, "address": "", "runners": ["systemd"]});
        Change::Machine(id.parse().unwrap(), Some(serde_json::from_value(machine).unwrap()))
    };
    let mut story = Story::of(Until::Launched, true).wanted(Launched, 2).global();
    story.snapshot.apply(here("m1"));
    // Where nobody is here it is nowhere, and not done.
    let mut nowhere = Story::of(Until::Launched, true).wanted(Launched, 2).global();
    nowhere = nowhere.placed("m2", Launched, 1);
    assert_eq!(nowhere.sent_events(), ["on m2"]);
    // The other has left and is not told of the start any more.
    let mut story = story.placed("m1", Launched, 2).placed("m2", Launched, 1);
    story.sent_events();
    story = story.reports("m1", "active/running", Launched, 2);
    assert_eq!(story.sent_events(), ["done m1"]);
}

#[test]
fn a_global_unit_is_not_done_before_it_is_anywhere() {
    let mut story = Story::of(Until::Launched, true).wanted(Launched, 2).global();
    assert!(story.sent_events().is_empty());
    assert!(story.has_unplaced(), "who waits is told why, if no machine takes it");
    let mut story = story.placed("m1", Launched, 2).reports("m1", "active/running", Launched, 2);
    assert_eq!(story.sent_events(), ["done m1"]);
}

/// Asserts that a rule is noticed when it is left out.
fn fails_without(planted: &'static str, test: fn()) {
    plant_fault(Some(planted));
    let passed = std::panic::catch_unwind(test);
    plant_fault(None);
    assert!(passed.is_err(), "{planted} makes no difference here");
}

#[test]
fn a_rule_of_waits_that_is_left_out_is_noticed() {
    fails_without(
        "failed-stop-waited-for-ever",
        what_does_not_stop_ends_the_wait_for_its_end_with_the_reason,
    );
    fails_without(
        "global-done-before-it-is-placed",
        a_global_unit_is_not_done_before_it_is_anywhere,
    );
    fails_without(
        "global-done-with-nobody-here",
        a_machine_that_is_away_holds_no_start_of_a_global_unit_up,
    );
    fails_without("wait-ends-without-the-store", nothing_is_over_while_the_store_is_away);
    fails_without(
        "absent-machine-holds-global-up",
        a_machine_that_is_away_holds_no_start_of_a_global_unit_up,
    );
}
