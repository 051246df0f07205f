//! Machines that are lost, one or many at once: whose units move, and whose wait for a person.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

mod support;

use std::collections::BTreeSet;

use muster_common::machine::MachineId;
use muster_common::state::DesiredState::Launched;
use muster_store::Registry;
use support::{Daemon, Machine, name, reported, request_unit, timed_store, wait_until};

const UNIT: &str = "[Service]\nExecStart=/bin/true\n";

#[allow(clippy::unnecessary_wraps, reason = "it is compared with what may not be there")]
fn is(active: &str, generation: u64) -> Option<(String, u64)> {
    Some((active.to_owned(), generation))
}

#[tokio::test(start_paused = true)]
async fn when_the_leader_goes_another_leads_and_places_its_units() {
    let (registry, _disk) = timed_store();
    let machines = [
        Machine::new("m1", "10.0.0.1"),
        Machine::new("m2", "10.0.0.2"),
        Machine::new("m3", "10.0.0.3"),
    ];
    let leader = machines[0].start(&registry);
    leader.health.subscribe().wait_for(|s| s.leading).await.unwrap();
    request_unit(&registry, "a.service", UNIT, Launched).await;
    wait_until(&registry, "active", |s| reported(s, "a.service") == is("active", 1)).await;
    let others = [machines[1].start(&registry), machines[2].start(&registry)];
    wait_until(&registry, "three", |s| s.machines.len() == 3).await;

    leader.kill().await;
    let s = wait_until(&registry, "moved", |s| {
        s.machines.len() == 2 && reported(s, "a.service") == is("active", 1)
    })
    .await;
    assert_ne!(s.leader.unwrap().machine, "m1".parse().unwrap());
    assert!(!s.places[&name("a.service")].contains_key(&"m1".parse().unwrap()));
    for other in others {
        other.stop().await;
    }
}

/// Three machines, the first of which leads, with a unit on each.
async fn three(registry: &Registry) -> (Vec<Machine>, Vec<Daemon>) {
    let machines: Vec<Machine> =
        (1..=3).map(|n| Machine::new(&format!("m{n}"), &format!("10.0.0.{n}"))).collect();
    let (first, others) = machines.split_first().unwrap();
    let leader = first.start(registry);
    leader.health.subscribe().wait_for(|s| s.leading).await.unwrap();
    let mut daemons = vec![leader];
    daemons.extend(others.iter().map(|machine| machine.start(registry)));
    wait_until(registry, "three", |s| s.members.len() == 3).await;
    for unit in ["a.service", "b.service", "c.service"] {
        request_unit(registry, unit, UNIT, Launched).await;
        wait_until(registry, "active", |s| reported(s, unit) == is("active", 1)).await;
    }
    (machines, daemons)
}

fn ids(names: &[&str]) -> BTreeSet<MachineId> {
    names.iter().map(|id| id.parse().unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn of_machines_that_vanish_together_no_unit_moves_until_a_person_says_so() {
    let (registry, _disk) = timed_store();
    let (_machines, mut daemons) = three(&registry).await;
    let before = registry.read_snapshot().await.unwrap().places;
    let (third, second) = (daemons.pop().unwrap(), daemons.pop().unwrap());
    // Their leases end at different moments.
    second.kill().await;
    third.kill().await;
    let mut leader = daemons[0].health.subscribe();
    leader.wait_for(|s| s.held == ids(&["m2", "m3"])).await.unwrap();
    let frozen = registry.read_snapshot().await.unwrap();
    assert_eq!(frozen.places, before);
    assert_eq!(frozen.leader.unwrap().held, ids(&["m2", "m3"]));
    assert_eq!(frozen.members, ids(&["m1", "m2", "m3"]));
    // What is new is placed all the same.
    request_unit(&registry, "d.service", UNIT, Launched).await;
    let s = wait_until(&registry, "placed", |s| reported(s, "d.service") == is("active", 1)).await;
    for unit in ["a.service", "b.service", "c.service"] {
        assert_eq!(s.places[&name(unit)], before[&name(unit)]);
    }

    registry.clear_held_machines().await.unwrap();
    wait_until(&registry, "all on the one that is left", |s| {
        s.places
            .values()
            .all(|places| places.keys().cloned().collect::<BTreeSet<_>>() == ids(&["m1"]))
    })
    .await;
    wait_until(&registry, "the others forgotten", |s| s.members == ids(&["m1"])).await;
    daemons.pop().unwrap().stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_comes_after_a_mass_loss_freezes_whoever_held_units() {
    let (registry, _disk) = timed_store();
    let machines: Vec<Machine> =
        (1..=3).map(|n| Machine::new(&format!("m{n}"), &format!("10.0.0.{n}"))).collect();
    let leader = machines[0].start(&registry);
    leader.health.subscribe().wait_for(|s| s.leading).await.unwrap();
    // The only unit is on the leader: the others hold none.
    request_unit(&registry, "a.service", UNIT, Launched).await;
    wait_until(&registry, "active", |s| reported(s, "a.service") == is("active", 1)).await;
    let [second, third] = [machines[1].start(&registry), machines[2].start(&registry)];
    let before = wait_until(&registry, "three", |s| s.members.len() == 3).await;
    leader.kill().await;
    second.kill().await;
    let mut status = third.health.subscribe();
    status.wait_for(|s| s.leading && s.held == ids(&["m1", "m2"])).await.unwrap();
    assert_eq!(registry.read_snapshot().await.unwrap().places, before.places);
    // They come back, and all is as it was.
    let back = [machines[0].start(&registry), machines[1].start(&registry)];
    status.wait_for(|s| s.held.is_empty()).await.unwrap();
    let after = registry.read_snapshot().await.unwrap();
    assert_eq!(after.places, before.places);
    third.stop().await;
    for daemon in back {
        daemon.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn machines_that_take_their_leave_together_are_no_mass_loss() {
    let (registry, _disk) = timed_store();
    let (machines, mut daemons) = three(&registry).await;
    let (third, second) = (daemons.pop().unwrap(), daemons.pop().unwrap());
    machines[1].host.begin_shutdown();
    machines[2].host.begin_shutdown();
    tokio::join!(second.stop(), third.stop());
    let s = wait_until(&registry, "all on the one that is left", |s| {
        s.places
            .values()
            .all(|places| places.keys().cloned().collect::<BTreeSet<_>>() == ids(&["m1"]))
    })
    .await;
    assert_eq!(s.leader.unwrap().held, ids(&[]));
    wait_until(&registry, "two fewer", |s| s.members == ids(&["m1"])).await;
    daemons.pop().unwrap().stop().await;
}

#[tokio::test(start_paused = true)]
async fn one_lost_machine_is_moved_away_from_and_forgotten() {
    let (registry, _disk) = timed_store();
    let (_machines, mut daemons) = three(&registry).await;
    daemons.pop().unwrap().kill().await;
    let s = wait_until(&registry, "moved", |s| {
        let left = ids(&["m1", "m2"]);
        s.places.values().all(|places| places.keys().all(|machine| left.contains(machine)))
    })
    .await;
    // Another loss soon after would be part of the same one.
    assert_eq!(s.members, ids(&["m1", "m2", "m3"]));
    wait_until(&registry, "forgotten", |s| s.members == ids(&["m1", "m2"])).await;
    for daemon in daemons {
        daemon.stop().await;
    }
}
