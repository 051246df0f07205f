//! Units whose processes outlive their stop, and units that do not stop: what the daemon makes of them, with a runner in
//! memory.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

mod support;

use muster_common::state::DesiredState::{Launched, Loaded};
use support::{LONG, Machine, long_after, name, reported, request_unit, timed_store, wait_until};

const UNIT: &str = "[Service]\nExecStart=/bin/true\n";

#[allow(clippy::unnecessary_wraps, reason = "it is compared with what may not be there")]
fn is(active: &str, generation: u64) -> Option<(String, u64)> {
    Some((active.to_owned(), generation))
}

/// The requests to a machine that concern a unit.
fn asked(machine: &Machine, unit: &str) -> Vec<String> {
    machine
        .host
        .requests_made()
        .into_iter()
        .filter(|what| what.ends_with(&format!(" {unit}")))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_unit_holds_its_place_until_none_of_its_processes_is_left() {
    let (registry, _disk) = timed_store();
    let machine = Machine::new("m1", "10.0.0.1");
    machine.host.leave_processes("a.service", true);
    let daemon = machine.start(&registry);
    request_unit(&registry, "a.service", UNIT, Launched).await;
    wait_until(&registry, "active", |s| reported(s, "a.service") == is("active", 1)).await;
    registry.destroy_units(&[name("a.service")]).await.unwrap();
    wait_until(&registry, "going", |s| reported(s, "a.service") == is("deactivating", 1)).await;
    daemon.kill().await;

    // The next daemon finds it as it is, asks it to stop once more, and waits as well.
    let daemon = machine.start(&registry);
    daemon.health.subscribe().wait_for(|s| s.counters.stops == 1).await.unwrap();
    request_unit(&registry, "b.service", UNIT, Launched).await;
    wait_until(&registry, "the next", |s| reported(s, "b.service") == is("active", 1)).await;
    let log = asked(&machine, "a.service");
    assert_eq!(log, ["write a.service", "start a.service", "stop a.service", "stop a.service"]);
    long_after().await;
    assert_eq!(machine.host.unit_state("a.service").unwrap().0, "deactivating");

    machine.host.leave_processes("a.service", false);
    wait_until(&registry, "gone", |s| reported(s, "a.service").is_none()).await;
    assert_eq!(machine.host.unit_state("a.service"), None);
    daemon.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_wanted_again_is_not_waited_for() {
    let (registry, _disk) = timed_store();
    let machine = Machine::new("m1", "10.0.0.1");
    machine.host.leave_processes("a.service", true);
    let daemon = machine.start(&registry);
    request_unit(&registry, "a.service", UNIT, Launched).await;
    wait_until(&registry, "active", |s| reported(s, "a.service") == is("active", 1)).await;
    request_unit(&registry, "a.service", UNIT, Loaded).await;
    wait_until(&registry, "going", |s| reported(s, "a.service") == is("deactivating", 1)).await;
    request_unit(&registry, "a.service", UNIT, Launched).await;
    wait_until(&registry, "active again", |s| {
        reported(s, "a.service").is_some_and(|state| state.0 == "active" && state.1 > 1)
    })
    .await;
    daemon.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_does_not_stop_is_kept_and_says_why() {
    let (registry, _disk) = timed_store();
    let machine = Machine::new("m1", "10.0.0.1");
    machine.host.refuse_to_stop("a.service", true);
    let daemon = machine.start(&registry);
    request_unit(&registry, "a.service", UNIT, Launched).await;
    wait_until(&registry, "active", |s| reported(s, "a.service") == is("active", 1)).await;
    registry.destroy_units(&[name("a.service")]).await.unwrap();
    let problem = "systemd does not stop it";
    wait_until(&registry, "the reason", |s| {
        let states = s.states.get(&name("a.service")).into_iter().flatten();
        states.map(|(_, state)| state).any(|state| state.problem.as_deref() == Some(problem))
    })
    .await;
    long_after().await;
    assert_eq!(machine.host.unit_state("a.service").unwrap().0, "active");
    assert!(!asked(&machine, "a.service").contains(&"remove a.service".to_owned()));
    machine.host.refuse_to_stop("a.service", false);
    wait_until(&registry, "gone", |s| s.states.is_empty()).await;
    assert_eq!(machine.host.unit_state("a.service"), None);
    daemon.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_host_that_goes_keeps_the_place_of_what_is_not_down() {
    for stays in ["process", "unit"] {
        let (registry, _disk) = timed_store();
        let machine = Machine::new("m1", "10.0.0.1");
        match stays {
            "process" => machine.host.leave_processes("a.service", true),
            _ => machine.host.refuse_to_stop("a.service", true),
        }
        let daemon = machine.start(&registry);
        request_unit(&registry, "a.service", UNIT, Launched).await;
        wait_until(&registry, "active", |s| reported(s, "a.service") == is("active", 1)).await;
        machine.host.begin_shutdown();
        daemon.stop().await;
        assert!(asked(&machine, "a.service").contains(&"stop a.service".to_owned()));
        // Whoever looks for a machine for the unit finds that this one still has it, until the lease ends by itself.
        let left = registry.read_snapshot().await.unwrap();
        assert!(left.machines.contains_key(&machine.settings.machine_id), "{stays}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_goes_leaves_when_the_last_of_its_units_is_down() {
    let (registry, _disk) = timed_store();
    let machine = Machine::new("m1", "10.0.0.1");
    machine.host.stop_slowly("a.service", true);
    let daemon = machine.start(&registry);
    let text = format!("{UNIT}StateDirectory=a\n");
    request_unit(&registry, "a.service", &text, Launched).await;
    wait_until(&registry, "active", |s| reported(s, "a.service") == is("active", 1)).await;
    machine.host.begin_shutdown();
    let stopping = tokio::spawn(daemon.stop());
    wait_until(&registry, "going", |s| reported(s, "a.service") == is("deactivating", 1)).await;
    // Longer than systemd itself gives a unit, and than any lease lasts.
    let _ = tokio::time::timeout(LONG / 6, std::future::pending::<()>()).await;
    let here = registry.read_snapshot().await.unwrap();
    assert!(here.machines.contains_key(&machine.settings.machine_id));
    assert_eq!(reported(&here, "a.service"), is("deactivating", 1));
    assert!(here.leader.is_none(), "others may lead meanwhile");
    machine.host.stop_slowly("a.service", false);
    stopping.await.unwrap();
    assert!(registry.read_snapshot().await.unwrap().machines.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_host_that_goes_is_not_held_up_by_what_may_run_twice() {
    let (registry, _disk) = timed_store();
    let machine = Machine::new("m1", "10.0.0.1");
    machine.host.stop_slowly("a.service", true);
    let daemon = machine.start(&registry);
    request_unit(&registry, "a.service", UNIT, Launched).await;
    wait_until(&registry, "active", |s| reported(s, "a.service") == is("active", 1)).await;
    machine.host.begin_shutdown();
    daemon.stop().await;
    assert_eq!(machine.host.unit_state("a.service").unwrap().0, "deactivating");
}
