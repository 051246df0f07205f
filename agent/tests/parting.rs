//! A machine that goes down: it takes nothing new from the first word on, and gives each unit away when that is down.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

mod support;

use muster_common::machine::MachineId;
use muster_common::snapshot::Snapshot;
use muster_common::state::DesiredState::Launched;
use support::{Machine, long_after, name, reported, request_unit, timed_store, wait_until};

const UNIT: &str = "[Service]\nExecStart=/bin/true\n";

fn id(machine: &str) -> MachineId {
    machine.parse().unwrap()
}

fn is_placed(snapshot: &Snapshot, unit: &str, machine: &str) -> bool {
    let places = snapshot.places.get(&name(unit));
    places.is_some_and(|places| places.keys().eq([&id(machine)]))
}

/// `active` as one machine reports it.
fn runs_on(snapshot: &Snapshot, unit: &str, machine: &str) -> bool {
    let states = snapshot.states.get(&name(unit));
    let state = states.and_then(|states| states.get(&id(machine)));
    state.is_some_and(|state| state.active.as_str() == "active")
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_about_to_go_takes_nothing_new_and_takes_it_up_when_it_stays() {
    let (registry, _disk) = timed_store();
    let (first, second) = (Machine::new("m1", "10.0.0.1"), Machine::new("m2", "10.0.0.2"));
    let daemons = [first.start(&registry), second.start(&registry)];
    wait_until(&registry, "both", |s| s.machines.len() == 2).await;
    // Its daemon runs on: programs that hold the shutdown up have their time.
    first.host.begin_shutdown();
    wait_until(&registry, "it says so", |s| s.machines.get(&id("m1")).is_some_and(|m| m.leaving))
        .await;
    for unit in ["a.service", "b.service", "c.service"] {
        request_unit(&registry, unit, UNIT, Launched).await;
        wait_until(&registry, "active", |s| runs_on(s, unit, "m2")).await;
    }
    assert_eq!(first.host.requests_made(), Vec::<String>::new());
    // It was called off.
    first.host.end_shutdown();
    wait_until(&registry, "it stays", |s| s.machines.get(&id("m1")).is_some_and(|m| !m.leaving))
        .await;
    request_unit(&registry, "d.service", UNIT, Launched).await;
    wait_until(&registry, "active", |s| runs_on(s, "d.service", "m1")).await;
    for daemon in daemons {
        daemon.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn each_unit_of_a_host_that_goes_moves_when_it_is_down() {
    const SINGLE: &str = "[Service]\nExecStart=/bin/true\n[X-Fleet]\nConflicts=single.service\n";
    let (registry, _disk) = timed_store();
    let (first, second) = (Machine::new("m1", "10.0.0.1"), Machine::new("m2", "10.0.0.2"));
    let daemon = first.start(&registry);
    for (unit, text) in [("a.service", UNIT), ("slow.service", UNIT), ("single.service", SINGLE)] {
        request_unit(&registry, unit, text, Launched).await;
        wait_until(&registry, "active", |s| runs_on(s, unit, "m1")).await;
    }
    let other = second.start(&registry);
    wait_until(&registry, "both", |s| s.machines.len() == 2).await;
    first.host.stop_slowly("slow.service", true);
    first.host.stop_slowly("single.service", true);
    first.host.begin_shutdown();
    let stopping = tokio::spawn(daemon.stop());

    let moved = wait_until(&registry, "the quick one", |s| runs_on(s, "a.service", "m2")).await;
    assert!(is_placed(&moved, "a.service", "m2"));
    for unit in ["slow.service", "single.service"] {
        assert!(is_placed(&moved, unit, "m1"), "{unit} is not down");
    }
    // The machine is still there for the last of its units.
    assert!(moved.machines.contains_key(&id("m1")));
    first.host.stop_slowly("single.service", false);
    let moved = wait_until(&registry, "the next", |s| runs_on(s, "single.service", "m2")).await;
    assert_eq!(first.host.unit_state("single.service").unwrap().0, "inactive");
    assert!(is_placed(&moved, "slow.service", "m1"));
    first.host.stop_slowly("slow.service", false);
    stopping.await.unwrap();
    wait_until(&registry, "the last", |s| runs_on(s, "slow.service", "m2")).await;
    assert!(reported(&registry.read_snapshot().await.unwrap(), "a.service").is_some());
    other.stop().await;
}

/// A unit that comes waits for one that goes; the host goes before it has come.
#[tokio::test(start_paused = true)]
async fn nothing_starts_on_a_host_that_has_given_its_units_up() {
    let (registry, _disk) = timed_store();
    let first = Machine::new("m1", "10.0.0.1");
    let daemon = first.start(&registry);
    request_unit(&registry, "going.service", UNIT, Launched).await;
    wait_until(&registry, "active", |s| runs_on(s, "going.service", "m1")).await;
    first.host.stop_slowly("going.service", true);
    let going = [name("going.service")];
    let both = registry.destroy_units(&going);
    let (destroyed, ()) =
        tokio::join!(both, request_unit(&registry, "coming.service", UNIT, Launched));
    destroyed.unwrap();
    first.host.until_asked("stop going.service").await;
    wait_until(&registry, "placed", |s| is_placed(s, "coming.service", "m1")).await;
    first.host.begin_shutdown();
    daemon.stop().await;
    long_after().await;
    let asked = first.host.requests_made();
    let start = asked.iter().position(|line| line == "start coming.service");
    let stop = asked.iter().rposition(|line| line == "stop coming.service");
    assert!(start.is_none() || start < stop, "{asked:?}");
}

/// systemd stops a socket after every service, this daemon included.
#[tokio::test(start_paused = true)]
async fn what_the_host_stops_after_the_daemon_is_given_away_and_not_waited_for() {
    const SOCKET: &str = "[Socket]\nListenStream=/run/door\n";
    const SERVICE: &str = "[Service]\nExecStart=/bin/true\n";
    let (registry, _disk) = timed_store();
    let (first, second) = (Machine::new("m1", "10.0.0.1"), Machine::new("m2", "10.0.0.2"));
    let daemon = first.start(&registry);
    for (unit, text) in [("door.service", SERVICE), ("door.socket", SOCKET)] {
        request_unit(&registry, unit, text, Launched).await;
        wait_until(&registry, "active", |s| runs_on(s, unit, "m1")).await;
    }
    let other = second.start(&registry);
    wait_until(&registry, "both", |s| s.machines.len() == 2).await;
    first.host.stop_slowly("door.socket", true);
    first.host.begin_shutdown();
    let began = tokio::time::Instant::now();
    daemon.stop().await;
    assert!(began.elapsed().as_secs() < 10, "the host waited {:?}", began.elapsed());
    for unit in ["door.service", "door.socket"] {
        wait_until(&registry, "elsewhere", |s| runs_on(s, unit, "m2")).await;
    }
    other.stop().await;
}

/// That a lease is to end may be carried out when another daemon of this boot is there.
#[tokio::test(start_paused = true)]
async fn a_lease_that_is_about_to_end_is_nothing_for_the_next_daemon() {
    let (registry, _disk) = timed_store();
    let (first, second) = (Machine::new("m1", "10.0.0.1"), Machine::new("m2", "10.0.0.2"));
    let daemons = [first.start(&registry), second.start(&registry)];
    wait_until(&registry, "both", |s| s.machines.len() == 2).await;
    second.host.begin_shutdown();
    for daemon in daemons {
        daemon.stop().await;
    }
    let is_kept = |machine: &Machine| machine.settings.run_dir.join("lease.json").exists();
    assert!(is_kept(&first), "the daemon is replaced, and the next one goes on under the lease");
    assert!(!is_kept(&second), "after a soft-reboot the next one asks for a lease of its own");
}
