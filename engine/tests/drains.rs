//! What holds while machines are drained, whatever else happens.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use muster_common::decision::Decision;
use muster_common::drain::DrainStatus;
use muster_common::machine::{MachineId, RunnerKind};
use muster_common::state::{ActiveState, DesiredState};
use muster_common::unit::UnitName;
use muster_engine::cluster::drain;
use muster_engine::schedule::{Plan, Scheduler};
use proptest::prelude::*;

use support::Cluster;
use support::events::{
    ALL, Event, MACHINES, PLAIN, UNITS, any_events, apply_event, are_in_conflict, is_single,
    is_usable, made_by, meets_requirements, placed_units, with_drains,
};

/// Where each unit runs, as its machine says.
fn running_units(cluster: &Cluster) -> BTreeMap<UnitName, BTreeSet<MachineId>> {
    let snapshot = &cluster.snapshot;
    let mut up: BTreeMap<UnitName, BTreeSet<MachineId>> = BTreeMap::new();
    for (name, places) in &snapshot.places {
        for id in places.keys().filter(|id| snapshot.machines.contains_key(*id)) {
            let state = snapshot.states.get(name).and_then(|states| states.get(id));
            if state.is_some_and(|state| state.active == ActiveState::Active) {
                up.entry(name.clone()).or_default().insert(id.clone());
            }
        }
    }
    up
}

/// Machines do as they are asked, but for units that start nowhere else than where they are.
fn obey_but_for(cluster: &mut Cluster, broken: &BTreeSet<UnitName>) {
    let before = running_units(cluster);
    cluster.obey_placements(|name| !broken.contains(name));
    let places = cluster.snapshot.places.clone();
    for name in broken {
        for id in places.get(name).into_iter().flatten().map(|(id, _)| id) {
            let runs = before.get(name).is_some_and(|on| on.contains(id));
            if !runs && cluster.snapshot.machines.contains_key(id) {
                cluster.report_state(name.as_str(), id.as_str(), "failed", "failed");
            }
        }
    }
    let known = cluster.snapshot.states.clone();
    for (name, states) in known {
        for id in states.into_keys() {
            if !places.get(&name).is_some_and(|places| places.contains_key(&id)) {
                cluster.withdraw_report(&name, &id);
            }
        }
    }
}

/// No two units that conflict are on one machine, and no drained machine takes anything.
fn is_sound(cluster: &Cluster, plan: &Plan, drained: &BTreeSet<MachineId>) -> Result<(), String> {
    for decision in plan.moves.iter().flat_map(|step| &step.decisions) {
        if let Decision::Place { machine, unit, placement, .. } = decision
            && placement.revision == 0
            && drained.contains(machine)
        {
            return Err(format!("{unit} comes to {machine}, which is drained"));
        }
    }
    let placed = placed_units(cluster);
    for (name, (_, on)) in &placed {
        for (other, (_, others)) in &placed {
            let both = || is_usable(cluster, name) && is_usable(cluster, other);
            if on.intersection(others).next().is_some()
                && are_in_conflict(&placed, name, other)
                && both()
            {
                return Err(format!("{name} and {other} on one machine"));
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// The scheduler that followed every change and one made from nothing plan and tell the same: a new leader goes on
    /// where the old one was.
    #[test]
    fn a_new_leader_goes_on_where_the_old_one_was(events in with_drains(ALL)) {
        let mut cluster = Cluster::new();
        for event in &events {
            apply_event(&mut cluster, event);
            let plan = cluster.plan();
            let mut fresh = Scheduler::new(&cluster.snapshot);
            prop_assert_eq!(&fresh.plan(), &plan, "after {:?}", event);
            for id in MACHINES {
                let id: MachineId = id.parse().unwrap();
                let progress = drain::drain_progress_by(&cluster.snapshot, &id, &mut cluster.scheduler);
                prop_assert_eq!(drain::drain_progress(&cluster.snapshot, &id), progress);
            }
            prop_assert_eq!(cluster.plan(), plan, "an account leaves no trace");
        }
    }

    /// A unit that may not run twice comes to no machine while another may still run it, whatever happens: it is placed on none
    /// and reported by none that lives, and one that has it was heard of before it was taken from it.
    #[test]
    fn what_may_not_run_twice_is_on_one_machine_at_a_time(events in with_drains(ALL)) {
        let mut cluster = Cluster::new();
        for event in &events {
            apply_event(&mut cluster, event);
            let plan = cluster.plan();
            let snapshot = &cluster.snapshot;
            let decisions = plan.moves.iter().flat_map(|step| &step.decisions);
            for decision in decisions {
                let (Decision::Place { machine, unit, .. } | Decision::Remove { machine, unit, .. }) = decision;
                if !snapshot.units.contains_key(unit) || !is_single(&cluster, unit) {
                    continue;
                }
                let placed = snapshot.places.get(unit).into_iter().flat_map(BTreeMap::keys);
                let reported = snapshot.states.get(unit).into_iter().flat_map(BTreeMap::keys);
                let known: BTreeSet<&MachineId> = placed
                    .chain(reported)
                    .filter(|id| snapshot.machines.contains_key(*id))
                    .collect();
                match decision {
                    Decision::Place { placement, .. } if placement.revision == 0 => {
                        let others = known.into_iter().find(|id| *id != machine);
                        prop_assert_eq!(others, None, "{} comes to {} after {:?}", unit, machine, event);
                        prop_assert!(placement.handover.takes_over.is_none());
                    }
                    Decision::Remove { .. } => {
                        let wanted = snapshot.units[unit].desired != DesiredState::Inactive;
                        let alone = snapshot.places[unit].len() == 1;
                        let heard = snapshot.states.get(unit).is_some_and(|on| on.contains_key(machine));
                        let live = snapshot.machines.contains_key(machine);
                        prop_assert!(!wanted || !alone || heard || !live, "{} leaves {} unheard", unit, machine);
                    }
                    Decision::Place { .. } => {}
                }
            }
        }
    }

    /// Whatever happened on the way: once machines do as they are asked, planning comes to rest, and every unit is on
    /// one machine at the most.
    #[test]
    fn every_move_comes_to_an_end(events in with_drains(ALL)) {
        let mut cluster = made_by(&events);
        let nobody = BTreeSet::new();
        let mut rounds = 0;
        loop {
            obey_but_for(&mut cluster, &nobody);
            let plan = cluster.plan();
            if plan.moves.is_empty() {
                break;
            }
            cluster.write_plan(&plan);
            rounds += 1;
            prop_assert!(rounds < 60, "it does not come to rest: {:?}", plan.moves);
        }
        for (name, (asked, on)) in placed_units(&cluster) {
            prop_assert!(asked.global || on.len() <= 1 || !is_usable(&cluster, &name), "{} is on {:?}", name, on);
        }
        for (name, places) in &cluster.snapshot.places {
            // What absent machines have stays as it is: all of it when no other has the unit, and a global one's.
            let live = |id: &MachineId| cluster.snapshot.machines.contains_key(id);
            let global = placed_units(&cluster).get(name).is_some_and(|(asked, _)| asked.global);
            let stays = |id: &MachineId| !live(id) && (global || !places.keys().any(live));
            let known = places.iter().filter(|(id, _)| is_usable(&cluster, name) && !stays(id));
            for (_, placement) in known {
                // One that is on an absent machine alone takes over from nothing.
                let source = placement.handover.takes_over.as_ref();
                let source = source.filter(|source| places.contains_key(*source));
                prop_assert_eq!(source, None, "{}", name);
            }
        }
    }

    /// Machines of a cluster at rest are drained: what can leave leaves, first started, then stopped; what stays has its
    /// reason; nothing comes.
    #[test]
    fn a_drain_empties_a_machine_of_all_that_can_move(
        events in any_events(PLAIN),
        drained in prop::collection::btree_set(0..MACHINES.len(), 1..3),
        broken in prop::collection::btree_set(0..UNITS.len(), 0..2),
        slow in any::<u64>(),
    ) {
        let mut cluster = made_by(&events);
        let nobody = BTreeSet::new();
        loop {
            cluster.write_until_settled();
            obey_but_for(&mut cluster, &nobody);
            if cluster.plan().moves.is_empty() {
                break;
            }
        }
        let broken: BTreeSet<UnitName> = broken.iter().map(|u| UNITS[*u].parse().unwrap()).collect();
        let drained: BTreeSet<MachineId> = drained.iter().map(|m| MACHINES[*m].parse().unwrap()).collect();
        let asked = placed_units(&cluster);
        let singles: BTreeSet<UnitName> =
            asked.keys().filter(|name| is_single(&cluster, name)).cloned().collect();
        let single = |name: &UnitName| singles.contains(name);
        let any_single = asked.keys().any(single);
        let ran = running_units(&cluster);
        let globals = |cluster: &Cluster| -> Vec<(UnitName, BTreeSet<MachineId>)> {
            placed_units(cluster)
                .into_iter()
                .filter(|(_, (asked, _))| asked.global)
                .map(|(name, (_, on))| (name, on.intersection(&drained).cloned().collect()))
                .collect()
        };
        let stayed = globals(&cluster);
        for id in &drained {
            cluster.order_drain(id.as_str(), "person", None);
        }
        let mut rounds: u32 = 0;
        loop {
            let plan = cluster.plan();
            prop_assert_eq!(is_sound(&cluster, &plan, &drained), Ok(()));
            let moving = cluster.snapshot.places.values().any(|p| p.len() > 1);
            let rests = plan.moves.is_empty();
            cluster.write_plan(&plan);
            let up = running_units(&cluster);
            for name in ran.keys() {
                // One that may not run twice is stopped first, and with it those that belong beside it.
                let excused = single(name) || (any_single && is_tied(&asked, name));
                prop_assert!(excused || up.contains_key(name), "{} runs nowhere", name);
            }
            for (name, on) in up.iter().filter(|(name, _)| single(name)) {
                prop_assert!(asked[name].0.global || on.len() < 2, "{} runs twice: {:?}", name, on);
            }
            let before = cluster.snapshot.clone();
            if rests || slow & (1 << (rounds % 64)) != 0 {
                obey_but_for(&mut cluster, &broken);
            }
            if rests && before.states == cluster.snapshot.states {
                break;
            }
            rounds += 1;
            prop_assert!(rounds < 200, "it does not come to rest (moving: {})", moving);
        }
        prop_assert_eq!(globals(&cluster), stayed);
        for id in &drained {
            let progress = drain::drain_progress(&cluster.snapshot, id);
            prop_assert!(progress.is_at_rest(), "{:?}", progress);
            for (name, status) in &progress.units {
                let tried = broken.contains(name) || (!broken.is_empty() && is_tied(&asked, name));
                prop_assert!(has_reason(&cluster, &asked, id, name, status, tried), "{}: {:?}", name, status);
            }
        }
    }
}

type Requested = BTreeMap<UnitName, (muster_common::unit::Requirements, BTreeSet<MachineId>)>;

fn is_tied(asked: &Requested, name: &UnitName) -> bool {
    !asked[name].0.machine_of.is_empty()
        || asked.values().any(|(other, _)| other.machine_of.contains(name))
}

/// Whether a unit that was left on a drained machine is rightly left there.
fn has_reason(
    cluster: &Cluster,
    asked: &Requested,
    id: &MachineId,
    name: &UnitName,
    status: &DrainStatus,
    tried: bool,
) -> bool {
    let snapshot = &cluster.snapshot;
    match status {
        DrainStatus::Global => asked[name].0.global,
        DrainStatus::Pinned => asked[name].0.machine_id.as_deref() == Some(id.as_str()),
        DrainStatus::Stays => !snapshot.machines.contains_key(id),
        DrainStatus::Stuck { refusal } => {
            let named: Vec<&MachineId> = refusal.machines.iter().map(|m| &m.machine).collect();
            let others: Vec<&MachineId> = snapshot.machines.keys().filter(|o| *o != id).collect();
            if refusal.unit.is_none() && named != others {
                return false;
            }
            if !snapshot.machines.contains_key(id) || !is_usable(cluster, name) {
                return true;
            }
            // Groups and units that were tried in vain are the engine's word; of the others it is checked.
            let placed = placed_units(cluster);
            let takes = |other: &MachineId| {
                let runner = if name.as_str().ends_with(".container") {
                    RunnerKind::Docker
                } else {
                    RunnerKind::Systemd
                };
                snapshot.machines[other].runners.contains(&runner)
                    && !snapshot.cordons.contains_key(other)
                    && meets_requirements(cluster, &asked[name].0, other)
                    && placed.iter().all(|(o, (_, on))| {
                        !on.contains(other) || !are_in_conflict(&placed, name, o)
                    })
            };
            tried || is_tied(asked, name) || !others.into_iter().any(takes)
        }
        DrainStatus::Stopping => {
            snapshot.units.get(name).is_none_or(|unit| unit.desired == DesiredState::Inactive)
        }
        _ => false,
    }
}

/// Found by the property above: a unit that joined those who move away from a drained machine came along with them, though
/// that machine had not stopped it yet.
#[test]
fn who_joins_a_group_on_the_move_waits_for_its_end_first() {
    let want = |unit, file| Event::Want { unit, file, desired: DesiredState::Loaded };
    let join = |machine, disk| Event::Join { machine, disk, zone: false, docker: false };
    let (plain, on_ssd, keeps_data_beside_db) = (0, 4, 16);
    let mut cluster = made_by(&[
        want(2, on_ssd),
        join(2, Some(true)),
        join(0, None),
        want(0, plain),
        Event::End(0, false),
        Event::Write,
        Event::Obey(u16::MAX),
        Event::Set(2, false),
        Event::Drain(2),
        Event::Write,
        Event::Uncordon(0),
        want(2, keeps_data_beside_db),
    ]);
    let unit: UnitName = UNITS[2].parse().unwrap();
    let plan = cluster.plan();
    let about: Vec<_> = plan.moves.iter().map(|step| step.unit.as_str()).collect();
    assert_eq!(about, [UNITS[0]], "the leader moves, the other waits");
    assert!(plan.refused.contains(&unit));
    cluster.write_until_settled();
    cluster.obey_placements(|_| true);
    cluster.write_until_settled();
    let (a, c): (MachineId, MachineId) = ("a".parse().unwrap(), "c".parse().unwrap());
    let on: Vec<_> = cluster.snapshot.places[&unit].keys().collect();
    assert_eq!(on, [&a], "once {c} has stopped it");
}

/// Found by the property above: what an earlier file forbade is over when the machine has said that it runs another.
#[test]
fn a_unit_is_looked_at_when_its_machine_runs_another_file() {
    let want = |unit, file| Event::Want { unit, file, desired: DesiredState::Loaded };
    let join = |machine| Event::Join { machine, disk: None, zone: false, docker: false };
    let (keeps_data_on_ssd, everywhere, nowhere) = (15, 13, 5);
    let mut cluster = made_by(&[
        want(7, keeps_data_on_ssd),
        Event::Set(1, true),
        join(1),
        Event::Write,
        join(2),
        Event::Obey(u16::MAX),
        want(7, everywhere),
        Event::Write,
        want(7, nowhere),
    ]);
    cluster.plan();
    apply_event(&mut cluster, &Event::Obey(u16::MAX));
    let plan = cluster.plan();
    assert_eq!(Scheduler::new(&cluster.snapshot).plan(), plan);
    assert!(!plan.moves.is_empty(), "it leaves where it may not be");
}

/// Found by the property above: room that was kept for one that waits for its end, and is not needed, is open to others at once.
#[test]
fn room_that_is_kept_no_longer_is_open_to_others() {
    let want = |unit, file| Event::Want { unit, file, desired: DesiredState::Loaded };
    let join = |machine| Event::Join { machine, disk: None, zone: false, docker: false };
    let mut cluster = Cluster::new();
    for event in [
        want(2, 0),
        join(2),
        Event::Write,
        want(5, 2),
        want(2, 16),
        want(7, 18),
        Event::Obey(34188),
        Event::Write,
        want(0, 17),
        join(0),
        Event::Write,
        want(3, 11),
    ] {
        apply_event(&mut cluster, &event);
        cluster.plan();
    }
}

/// Found by the property above: a unit elsewhere, which ran, was taken off because its group moved to where it cannot be.
#[test]
fn who_cannot_come_along_stays_where_it_runs() {
    let want = |unit, file| Event::Want { unit, file, desired: DesiredState::Loaded };
    let join = |machine, docker| Event::Join { machine, disk: None, zone: false, docker };
    let (plain, alone, beside_node_and_db) = (0, 2, 11);
    let mut cluster = made_by(&[
        want(8, plain),
        Event::Want { unit: 7, file: alone, desired: DesiredState::Launched },
        want(0, plain),
        join(1, false),
        join(0, true),
        join(2, false),
        Event::Write,
        want(1, beside_node_and_db),
    ]);
    cluster.write_until_settled();
    cluster.obey_placements(|_| true);
    cluster.write_until_settled();
    let node: UnitName = UNITS[7].parse().unwrap();
    let on = cluster.snapshot.places[&node].clone();
    cluster.order_drain("b", "person", None);
    cluster.write_until_settled();
    assert_eq!(cluster.snapshot.places.get(&node), Some(&on));
}

/// Found by the property above: a leader was gathered away from a follower of its own, which ended.
#[test]
fn a_leader_does_not_leave_a_follower_that_cannot_come_along() {
    let want = |unit, file| Event::Want { unit, file, desired: DesiredState::Loaded };
    let join = |machine| Event::Join { machine, disk: None, zone: false, docker: false };
    let (plain, apart_from_db, beside_node_and_db, beside_log) = (0, 3, 11, 12);
    let mut cluster = made_by(&[
        join(1),
        want(7, apart_from_db),
        join(0),
        Event::Want { unit: 6, file: plain, desired: DesiredState::Launched },
        join(2),
        Event::Write,
        want(1, beside_node_and_db),
        want(0, beside_log),
    ]);
    cluster.write_until_settled();
    cluster.obey_placements(|_| true);
    cluster.write_until_settled();
    cluster.order_drain("b", "person", None);
    for _ in 0..6 {
        cluster.obey_placements(|_| true);
        cluster.write_until_settled();
    }
    for unit in ["db.service", "log.service", "node.service"] {
        let unit: UnitName = unit.parse().unwrap();
        assert!(cluster.snapshot.places.contains_key(&unit), "{unit} is on no machine");
    }
}

/// Found by the property above: one that may not run twice joined others who were on their way, and all waited for ever.
#[test]
fn who_may_not_run_twice_and_joins_a_move_has_all_of_them_stop_first() {
    let want = |unit, file| Event::Want { unit, file, desired: DesiredState::Loaded };
    let join = |machine, disk, zone| Event::Join { machine, disk, zone, docker: false };
    let (plain, anywhere_with_zone, keeps_data_beside_db) = (17, 5, 16);
    let mut cluster = made_by(&[
        join(3, Some(false), true),
        want(0, plain),
        Event::Write,
        want(2, anywhere_with_zone),
        Event::Write,
        Event::Drain(3),
        join(0, None, false),
        Event::Write,
        want(2, keeps_data_beside_db),
    ]);
    for _ in 0..8 {
        cluster.obey_placements(|_| true);
        cluster.write_until_settled();
    }
    let a: MachineId = "a".parse().unwrap();
    for unit in [UNITS[0], UNITS[2]] {
        let on: Vec<_> =
            cluster.snapshot.places[&unit.parse::<UnitName>().unwrap()].keys().collect();
        assert_eq!(on, [&a], "{unit}");
    }
}
