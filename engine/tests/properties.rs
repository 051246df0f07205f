//! What holds in every cluster, whatever happened to it.
//!
//! A cluster is made by a sequence of events over a few machines and units whose files take their options from a small
//! pool, so that ties, conflicts and replacements meet often.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

mod support;

use std::collections::BTreeSet;

use muster_common::decision::{Decision, MoveReason};
use muster_common::machine::{MachineId, RunnerKind};
use muster_common::refusal::UnitReason;
use muster_common::state::DesiredState;
use muster_common::unit::UnitName;
use muster_engine::schedule::{Candidate, Plan, Scheduler};
use proptest::prelude::*;

use support::Cluster;
use support::events::*;

/// Plans and carries out until nothing is left to do: machines do as they are asked, and say so.
fn run_until_settled(cluster: &mut Cluster) -> Plan {
    loop {
        cluster.write_until_settled();
        cluster.obey_placements(|_| true);
        let plan = cluster.plan();
        if plan.moves.is_empty() {
            return plan;
        }
    }
}

/// Those whom units are to be beside, and those whom these are to be beside, and so on.
fn leaders_of(cluster: &Cluster, units: BTreeSet<UnitName>) -> BTreeSet<UnitName> {
    let placed = placed_units(cluster);
    let mut leaders = BTreeSet::new();
    let mut next: Vec<UnitName> = units.into_iter().collect();
    while let Some(name) = next.pop() {
        let Some((asked, _)) = placed.get(&name) else { continue };
        next.extend(
            asked.machine_of.iter().filter(|name| leaders.insert((*name).clone())).cloned(),
        );
    }
    leaders
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// The scheduler that followed every change, one made from nothing, and either asked twice say the same, and their
    /// refusals have the same reasons.
    #[test]
    fn following_changes_is_as_good_as_starting_afresh(events in any_events(ALL)) {
        let mut cluster = Cluster::new();
        for event in &events {
            apply_event(&mut cluster, event);
            let plan = cluster.plan();
            let mut fresh = Scheduler::new(&cluster.snapshot);
            prop_assert_eq!(&fresh.plan(), &plan, "after {:?}", event);
            for name in &plan.refused {
                prop_assert_eq!(fresh.explain_refusal(name), cluster.scheduler.explain_refusal(name));
            }
        }
    }

    /// The indexes are those that the cluster would have were they made now, and a filter's set of machines leaves out those, and
    /// no others, for which it has a reason.
    #[test]
    fn indexes_and_filters_never_contradict_themselves(events in any_events(ALL)) {
        let mut cluster = Cluster::new();
        for event in &events {
            apply_event(&mut cluster, event);
            prop_assert_eq!(cluster.scheduler.find_contradictions(), Vec::<String>::new());
            cluster.plan();
            prop_assert_eq!(cluster.scheduler.find_contradictions(), Vec::<String>::new(), "planned");
        }
    }

    /// Planning comes to rest, and what it comes to is right.
    #[test]
    fn a_plan_that_is_written_leaves_nothing_to_do(events in any_events(ALL)) {
        let mut cluster = made_by(&events);
        let plan = run_until_settled(&mut cluster);
        let placed = placed_units(&cluster);
        for (name, (asked, on)) in &placed {
            let wanted = cluster.snapshot.units[name].desired != DesiredState::Inactive;
            if !wanted {
                prop_assert!(!cluster.snapshot.places.contains_key(name), "{name} is not wanted");
                continue;
            }
            for id in on {
                prop_assert!(meets_requirements(&cluster, asked, id), "{name} on {id}");
                for (other, (_, others)) in &placed {
                    let clash = are_in_conflict(&placed, name, other)
                        && others.contains(id)
                        && is_usable(&cluster, name)
                        && is_usable(&cluster, other);
                    prop_assert!(!clash, "{name} and {other} on {id}");
                    let beside = other != name
                        && asked.replaces_unit(other)
                        && others.contains(id)
                        && is_usable(&cluster, other);
                    let back = placed[other].0.replaces_unit(name) || placed[other].0.global;
                    let chain = placed.values().filter(|(a, _)| a.replaces_any()).count() > 2;
                    prop_assert!(!beside || back || chain, "{name} beside {other} on {id}");
                }
                for leader in &asked.machine_of {
                    if let Some((_, leader_on)) = placed.get(leader) {
                        prop_assert!(leader_on.contains(id), "{name} strays from {leader}");
                    }
                }
            }
            if asked.global {
                for (id, machine) in &cluster.snapshot.machines {
                    let runner = if name.as_str().ends_with(".container") {
                        RunnerKind::Docker
                    } else {
                        RunnerKind::Systemd
                    };
                    let free = placed
                        .iter()
                        .all(|(other, (_, others))| !others.contains(id) || !are_in_conflict(&placed, name, other));
                    let eligible = meets_requirements(&cluster, asked, id) && free && machine.runners.contains(&runner);
                    prop_assert!(!eligible || on.contains(id), "{name} is missing on {id}");
                }
                prop_assert_eq!(on.is_empty(), plan.refused.contains(name));
            } else {
                prop_assert!(on.len() <= 1 || !is_usable(&cluster, name), "{name} is on {on:?}");
                prop_assert_eq!(on.is_empty(), plan.refused.contains(name));
            }
        }
    }

    /// Every refusal has a reason: one of the unit's own, or one for each live machine.
    #[test]
    fn every_refusal_says_why(events in any_events(ALL)) {
        let mut cluster = made_by(&events);
        let plan = run_until_settled(&mut cluster);
        for name in &plan.refused {
            let refusal = cluster.scheduler.explain_refusal(name).unwrap();
            let machines: Vec<_> = refusal.machines.iter().map(|m| m.machine.clone()).collect();
            let live: Vec<_> = cluster.snapshot.machines.keys().cloned().collect();
            prop_assert!(refusal.unit.is_some() || machines == live, "{name}: {refusal:?}");
        }
    }

    /// What is placed stays when a machine comes, new or back, but for leaders whom a follower of both, which finds its
    /// place by that, brings together.
    #[test]
    fn nothing_moves_when_a_machine_comes(
        events in any_events(PLAIN),
        machine in 0..MACHINES.len(),
        disk in any::<Option<bool>>(),
    ) {
        let mut cluster = made_by(&events);
        let id: MachineId = MACHINES[machine].parse().unwrap();
        prop_assume!(!cluster.snapshot.machines.contains_key(&id));
        let refused = run_until_settled(&mut cluster).refused;
        apply_event(&mut cluster, &Event::Join { machine, disk, zone: true, docker: true });
        // One that returns may find on itself what may not be there any more: that leaves, everything else stays.
        let decisions: Vec<Decision> =
            cluster.plan().moves.into_iter().flat_map(|step| step.decisions).collect();
        let come = decisions.iter().filter_map(|decision| match decision {
            Decision::Place { unit, .. } => refused.get(unit).cloned(),
            Decision::Remove { .. } => None,
        });
        let gathered = leaders_of(&cluster, come.collect());
        for decision in decisions {
            if let Decision::Remove { machine, unit, .. } = decision {
                let runs = machine != id && cluster.snapshot.machines.contains_key(&machine);
                prop_assert!(!runs || gathered.contains(&unit), "{unit} has to move from {machine}");
            }
        }
    }

    /// Asking what would become of units changes nothing, and is true.
    #[test]
    fn admission_is_true_and_leaves_no_trace(events in any_events(ALL), units in prop::collection::vec((0..UNITS.len(), 0..PLAIN), 1..4)) {
        let mut cluster = made_by(&events);
        cluster.write_until_settled();
        let names: BTreeSet<usize> = units.iter().map(|(unit, _)| *unit).collect();
        prop_assume!(names.len() == units.len());
        let wanted: Vec<Candidate> = units
            .iter()
            .map(|(unit, file)| Candidate {
                name: UNITS[*unit].parse().unwrap(),
                file: std::sync::Arc::new(
                    format!("[X-Fleet]\n{}", known_options(OPTIONS[*file])).parse().unwrap(),
                ),
            })
            .collect();
        let before = cluster.plan();
        let refusals = cluster.scheduler.admit_candidates(&wanted);
        prop_assert_eq!(before, cluster.plan());
        prop_assert_eq!(Scheduler::new(&cluster.snapshot).plan(), cluster.plan());
        if let [(unit, file)] = units.as_slice() {
            apply_event(&mut cluster, &Event::Want { unit: *unit, file: *file, desired: DesiredState::Launched });
            let refused = cluster.plan().refused.contains(&wanted[0].name);
            prop_assert_eq!(refused, refusals.contains_key(&wanted[0].name));
        }
    }
}

/// Found by the property above: a unit that waits for its end keeps its room, whether it was looked at again or not.
#[test]
fn who_waits_for_its_end_is_in_the_way_of_others_all_the_same() {
    let join = |machine| Event::Join { machine, disk: None, zone: false, docker: false };
    let want = |unit, file| Event::Want { unit, file, desired: DesiredState::Loaded };
    let events = [
        join(0),
        Event::Lose(0),
        want(3, 17),
        join(1),
        join(0),
        want(0, 18),
        Event::Set(0, true),
        Event::Write,
        Event::Set(0, false),
        want(1, 1),
        want(3, 16),
        join(0),
    ];
    let mut cluster = Cluster::new();
    for event in &events {
        apply_event(&mut cluster, event);
        let plan = cluster.plan();
        let mut fresh = Scheduler::new(&cluster.snapshot);
        assert_eq!(fresh.plan(), plan, "after {event:?}");
        for name in &plan.refused {
            assert_eq!(
                fresh.explain_refusal(name),
                cluster.scheduler.explain_refusal(name),
                "after {event:?}"
            );
        }
    }
}

/// Found by the property above: a leader whose file cannot be used came back with its machine, and a unit that follows it and
/// another had that other moved there, though it ran.
#[test]
fn a_leader_that_is_running_does_not_move_to_one_that_cannot_for_a_follower_of_both() {
    let want = |unit, file| Event::Want { unit, file, desired: DesiredState::Loaded };
    let join = |machine| Event::Join { machine, disk: None, zone: false, docker: false };
    let (plain, after_both, after_itself) = (0, 11, 10);
    let mut cluster = made_by(&[
        want(7, plain),
        join(2),
        Event::Write,
        want(1, after_both),
        want(7, after_itself),
        join(3),
        want(0, plain),
        Event::Lose(2),
    ]);
    run_until_settled(&mut cluster);
    apply_event(&mut cluster, &join(2));
    let plan = cluster.plan();
    assert_eq!(plan.moves, []);
    let follower: UnitName = UNITS[1].parse().unwrap();
    assert_eq!(plan.refused, BTreeSet::from([follower.clone()]));
    let refusal = cluster.scheduler.explain_refusal(&follower).unwrap();
    let leader = UNITS[7].parse().unwrap();
    assert_eq!(refusal.unit, Some(UnitReason::LeaderUnreadable { unit: leader }));
}

/// Found by the property above: the reason of a move rested on a note about a global unit that had not had its turn.
#[test]
fn the_reason_of_a_tie_that_cannot_hold_is_the_tie() {
    let want = |unit, file| Event::Want { unit, file, desired: DesiredState::Loaded };
    let join = Event::Join { machine: 0, disk: None, zone: false, docker: false };
    let (everywhere, beside_node_and_db) = (13, 11);
    let mut cluster = made_by(&[
        want(6, everywhere),
        join,
        want(7, everywhere),
        Event::Write,
        want(6, beside_node_and_db),
    ]);
    let plan = cluster.plan();
    assert_eq!(Scheduler::new(&cluster.snapshot).plan(), plan);
    let reasons: Vec<_> = plan.moves.iter().map(|step| &step.reason).collect();
    assert_eq!(reasons, [&MoveReason::MachineOf]);
}

/// Found by the property above: who takes the place of a unit that was not heard of yet was not looked at when it was.
#[test]
fn who_takes_a_place_is_looked_at_when_the_other_has_been_heard_of() {
    let want = |unit, file| Event::Want { unit, file, desired: DesiredState::Loaded };
    let join = |machine, disk| Event::Join { machine, disk, zone: false, docker: false };
    let mut cluster = made_by(&[
        join(2, Some(true)),
        join(1, None),
        join(3, None),
        Event::Want { unit: 3, file: 15, desired: DesiredState::Inactive },
        want(6, 3),
        want(1, 22),
        Event::Write,
        Event::Again(3, DesiredState::Loaded),
        Event::Lose(1),
        Event::Write,
        join(2, None),
        want(2, 20),
    ]);
    run_until_settled(&mut cluster);
}

/// Found by the property above: whether one unit makes room for another may depend on a third that lies between the two.
#[test]
fn a_circle_of_replacements_that_opens_far_away_is_seen() {
    let want = |unit, file, desired| Event::Want { unit, file, desired };
    let join = Event::Join { machine: 0, disk: None, zone: false, docker: false };
    let (loaded, inactive) = (DesiredState::Loaded, DesiredState::Inactive);
    let mut cluster = made_by(&[
        join,
        want(6, 21, inactive),
        want(4, 20, inactive),
        want(0, 19, loaded),
        want(1, 21, loaded),
        Event::Write,
    ]);
    cluster.plan();
    apply_event(&mut cluster, &want(4, 0, inactive));
    let plan = cluster.plan();
    assert_eq!(Scheduler::new(&cluster.snapshot).plan(), plan);
}

/// Found by the property above: a leader that ran was taken off because another, with which it cannot be, came back with its
/// machine, and a third that never ran follows both.
#[test]
fn who_does_not_fit_where_its_group_gathers_stays_where_it_runs() {
    let want = |unit, file| Event::Want { unit, file, desired: DesiredState::Loaded };
    let join = |machine| Event::Join { machine, disk: None, zone: false, docker: false };
    let (plain, alone, beside_node_and_db, beside_web) = (0, 2, 11, 9);
    let mut cluster = made_by(&[
        want(0, plain),
        join(1),
        Event::Write,
        want(2, beside_node_and_db),
        join(0),
        want(1, alone),
        Event::Write,
        Event::Lose(1),
        want(7, beside_web),
    ]);
    run_until_settled(&mut cluster);
    apply_event(&mut cluster, &join(1));
    assert_eq!(cluster.plan().moves, []);
}

/// Found by the property above: of two leaders that cannot be decided on, each elsewhere, a follower was beside one only.
#[test]
fn nobody_is_beside_one_of_two_leaders_that_are_apart_for_good() {
    let want = |unit, file| Event::Want { unit, file, desired: DesiredState::Loaded };
    let join = |machine, disk| Event::Join { machine, disk, zone: false, docker: false };
    let (everywhere_on_ssd, replaces_itself, beside_both, beside_itself) = (14, 17, 11, 10);
    let mut cluster = made_by(&[
        want(7, everywhere_on_ssd),
        join(2, Some(true)),
        join(0, None),
        want(0, replaces_itself),
        Event::Write,
        want(0, beside_both),
        want(1, beside_both),
        want(7, beside_itself),
    ]);
    let plan = run_until_settled(&mut cluster);
    let follower: UnitName = UNITS[1].parse().unwrap();
    assert!(plan.refused.contains(&follower));
    assert!(!cluster.snapshot.places.contains_key(&follower));
}

/// Found by the property above: a leader that cannot be decided on has many places, and the reasons named another than the one
/// where its followers gather.
#[test]
fn reasons_are_about_the_place_where_the_group_gathers() {
    let want = |unit, file| Event::Want { unit, file, desired: DesiredState::Loaded };
    let join = |machine, docker| Event::Join { machine, disk: None, zone: false, docker };
    let (everywhere, beside_node) = (13, 10);
    let mut cluster = made_by(&[
        want(7, everywhere),
        join(2, false),
        join(3, false),
        Event::Write,
        want(7, beside_node),
        want(0, beside_node),
        want(8, beside_node),
        Event::Lose(2),
        Event::Write,
        join(2, true),
    ]);
    let plan = run_until_settled(&mut cluster);
    let refused: Vec<_> = plan.refused.iter().map(UnitName::as_str).collect();
    assert_eq!(refused, [UNITS[8]]);
    let refusal = cluster.scheduler.explain_refusal(&UNITS[8].parse().unwrap()).unwrap();
    assert_eq!(refusal.machines.len(), 2, "a reason for each machine: {refusal:?}");
}

/// Found by the property above: a leader that cannot be decided on came back with its machine, and its group was gathered there
/// because of a member that is no longer beside the others.
#[test]
fn a_group_gathers_where_its_first_leader_is() {
    let want = |unit, file| Event::Want { unit, file, desired: DesiredState::Loaded };
    let join = |machine, disk, docker| Event::Join { machine, disk, zone: false, docker };
    let mut cluster = made_by(&[
        want(6, 14),
        join(0, Some(true), false),
        want(0, 13),
        join(1, None, true),
        Event::Write,
        want(0, 16),
        want(1, 7),
        want(8, 9),
        Event::Lose(0),
        want(6, 9),
    ]);
    run_until_settled(&mut cluster);
    apply_event(&mut cluster, &join(0, None, false));
    let plan = cluster.plan();
    let box_moves = plan.moves.iter().any(|step| step.unit.as_str() == UNITS[8]);
    assert!(!box_moves, "{:?}", plan.moves);
}
