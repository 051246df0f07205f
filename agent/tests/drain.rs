//! Drains, by daemons that run: what the leader, both machines and the order in the store make of one another.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "in a test a panic is the failure"
)]

mod support;

use std::collections::BTreeSet;

use muster_common::cordon::{AtDeadline, CordonHolder, DrainEnd};
use muster_common::drain::DrainStatus;
use muster_common::machine::MachineId;
use muster_common::snapshot::Snapshot;
use muster_common::state::ActiveState;
use muster_common::state::DesiredState::Launched;
use muster_engine::cluster::drain::drain_progress;
use muster_store::Registry;
use musterd::cordon::{CordonOrder, Cordons};
use musterd::stdx::clock::Wall;
use support::{Daemon, Machine, name, request_unit, timed_store, wait_until};

const UNIT: &str = "[Service]\nExecStart=/bin/true\n";
const PINNED: &str = "[Service]\nExecStart=/bin/true\n[X-Fleet]\nMachineID=m1\n";
const GLOBAL: &str = "[Service]\nExecStart=/bin/true\n[X-Fleet]\nGlobal=true\n";
const SINGLE: &str = "[Service]\nExecStart=/bin/true\n[X-Fleet]\nConflicts=a.service\n";

/// Machines `m1`, `m2` and so on, the first of which leads.
struct Cluster {
    registry: Registry,
    machines: Vec<Machine>,
    daemons: Vec<Option<Daemon>>,
    _disk: tempfile::TempDir,
}

impl Cluster {
    async fn of(count: usize) -> Self {
        let (registry, disk) = timed_store();
        let mut cluster = Self { registry, machines: vec![], daemons: vec![], _disk: disk };
        for number in 1..=count {
            let machine = Machine::new(&format!("m{number}"), &format!("10.0.0.{number}"));
            cluster.daemons.push(Some(machine.start(&cluster.registry)));
            cluster.machines.push(machine);
            let known = |s: &Snapshot| s.machines.len() == number && s.leader.is_some();
            wait_until(&cluster.registry, "a machine", known).await;
        }
        cluster
    }

    async fn wait_until(&self, what: &str, holds: impl Fn(&Snapshot) -> bool) -> Snapshot {
        wait_until(&self.registry, what, holds).await
    }

    fn cordons(&self) -> Cordons {
        Cordons::new(self.registry.clone(), Wall::default())
    }

    async fn drain(&self, id: &str, deadline: Option<u64>, then: AtDeadline) {
        let order =
            CordonOrder { holder: CordonHolder::Person, by: String::new(), reason: String::new() };
        self.cordons().drain_machine(&machine(id), order, deadline, then).await.unwrap();
    }

    /// What was asked of the machines that concerns a unit, in the order of each.
    fn log(&self, number: usize, unit: &str) -> Vec<String> {
        let log = self.machines[number - 1].host.requests_made();
        log.into_iter().filter(|what| what.ends_with(unit)).collect()
    }

    async fn stop(self) {
        for daemon in self.daemons.into_iter().flatten() {
            daemon.stop().await;
        }
    }
}

fn machine(id: &str) -> MachineId {
    id.parse().unwrap()
}

/// The unit runs on this machine and is placed on no other.
fn runs_on(snapshot: &Snapshot, unit: &str, id: &str) -> bool {
    let unit = name(unit);
    let placed: BTreeSet<&str> =
        snapshot.places.get(&unit).into_iter().flatten().map(|(id, _)| id.as_str()).collect();
    let reported: BTreeSet<&str> = snapshot
        .states
        .get(&unit)
        .into_iter()
        .flatten()
        .filter(|(_, state)| state.active == ActiveState::Active)
        .map(|(id, _)| id.as_str())
        .collect();
    placed == [id].into() && reported == [id].into()
}

#[tokio::test(start_paused = true)]
async fn a_unit_runs_on_until_it_is_up_elsewhere_and_global_units_stay() {
    let cluster = Cluster::of(2).await;
    request_unit(&cluster.registry, "a.service", UNIT, Launched).await;
    cluster.wait_until("a.service on m1", |s| runs_on(s, "a.service", "m1")).await;
    request_unit(&cluster.registry, "node.service", GLOBAL, Launched).await;
    let on_both =
        |s: &Snapshot| s.states.get(&name("node.service")).is_some_and(|on| on.len() == 2);
    cluster.wait_until("the global unit on both", on_both).await;
    cluster.machines[1].host.hold_starts("a.service", true);
    cluster.drain("m1", None, AtDeadline::GiveUp).await;
    cluster.machines[1].host.until_state(|active| active == Some("activating"), "a.service").await;
    let between = cluster
        .wait_until("its start to be told", |s| {
            let states = s.states.get(&name("a.service"));
            states.and_then(|s| s.get(&machine("m2"))).is_some()
        })
        .await;
    let course = &drain_progress(&between, &machine("m1")).units[&name("a.service")];
    assert_eq!(*course, DrainStatus::Moving { to: machine("m2") });
    assert_eq!(cluster.machines[0].host.unit_state("a.service").unwrap().0, "active");
    assert_eq!(cluster.log(1, "a.service"), ["write a.service", "start a.service"]);

    cluster.machines[1].host.hold_starts("a.service", false);
    let after = cluster
        .wait_until("the end of the drain", |s| {
            runs_on(s, "a.service", "m2") && drain_progress(s, &machine("m1")).is_done()
        })
        .await;
    assert!(after.places[&name("a.service")][&machine("m2")].handover.is_none());
    assert_eq!(cluster.machines[0].host.unit_state("a.service"), None);
    assert!(on_both(&after));
    assert_eq!(cluster.machines[0].host.unit_state("node.service").unwrap().0, "active");
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_unit_that_does_not_start_elsewhere_is_left_where_it_runs() {
    let cluster = Cluster::of(2).await;
    request_unit(&cluster.registry, "a.service", UNIT, Launched).await;
    cluster.wait_until("a.service on m1", |s| runs_on(s, "a.service", "m1")).await;
    let run = cluster.machines[0].host.unit_state("a.service");
    cluster.machines[1].host.fail_starts("a.service");
    cluster.drain("m1", None, AtDeadline::GiveUp).await;
    let stuck = cluster
        .wait_until("the drain to rest", |s| {
            let progress = drain_progress(s, &machine("m1"));
            progress.is_at_rest() && !progress.is_done() && runs_on(s, "a.service", "m1")
        })
        .await;
    let told = drain_progress(&stuck, &machine("m1")).units[&name("a.service")].to_string();
    assert_eq!(told, "m2...: it did not start there: start failed: exit status 1");
    assert_eq!(cluster.machines[0].host.unit_state("a.service"), run, "it ran on undisturbed");
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_unit_that_may_not_run_twice_is_stopped_before_it_starts_elsewhere() {
    let cluster = Cluster::of(2).await;
    request_unit(&cluster.registry, "a.service", SINGLE, Launched).await;
    cluster.wait_until("a.service on m1", |s| runs_on(s, "a.service", "m1")).await;
    cluster.drain("m1", None, AtDeadline::GiveUp).await;
    cluster.wait_until("a.service on m2", |s| runs_on(s, "a.service", "m2")).await;
    // The order of records is the order of events: m2 got it after m1 had reported it gone.
    let first = cluster.log(1, "a.service");
    assert_eq!(first.last().unwrap(), "remove a.service");
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn at_the_deadline_what_is_left_stays_or_is_stopped_as_was_ordered() {
    let cluster = Cluster::of(2).await;
    request_unit(&cluster.registry, "p.service", PINNED, Launched).await;
    cluster.wait_until("p.service on m1", |s| runs_on(s, "p.service", "m1")).await;
    let ended = |s: &Snapshot, end: DrainEnd| {
        let hold = s.cordons.get(&machine("m1")).and_then(|c| c.holds.get(&CordonHolder::Person));
        hold.and_then(|hold| hold.drain.as_ref()?.ended) == Some(end)
    };

    cluster.drain("m1", Some(1), AtDeadline::GiveUp).await;
    let given_up = cluster.wait_until("the deadline", |s| ended(s, DrainEnd::GaveUp)).await;
    assert!(runs_on(&given_up, "p.service", "m1"));
    let kept = drain_progress(&given_up, &machine("m1"));
    assert_eq!(kept.units[&name("p.service")], DrainStatus::Stays);

    cluster.drain("m1", Some(1), AtDeadline::Force).await;
    let forced = cluster
        .wait_until("the unit to be stopped", |s| {
            ended(s, DrainEnd::Forced) && drain_progress(s, &machine("m1")).is_done()
        })
        .await;
    assert!(!forced.places.contains_key(&name("p.service")));
    assert_eq!(cluster.machines[0].host.unit_state("p.service"), None);

    cluster.cordons().uncordon_machine(&machine("m1"), &CordonHolder::Person).await.unwrap();
    cluster.wait_until("the unit to come back", |s| runs_on(s, "p.service", "m1")).await;
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_is_called_off_takes_back_what_is_not_up_elsewhere() {
    let cluster = Cluster::of(2).await;
    request_unit(&cluster.registry, "a.service", UNIT, Launched).await;
    cluster.wait_until("a.service on m1", |s| runs_on(s, "a.service", "m1")).await;
    let run = cluster.machines[0].host.unit_state("a.service");
    cluster.machines[1].host.hold_starts("a.service", true);
    cluster.drain("m1", None, AtDeadline::GiveUp).await;
    cluster.machines[1].host.until_state(|active| active == Some("activating"), "a.service").await;
    cluster.cordons().uncordon_machine(&machine("m1"), &CordonHolder::Person).await.unwrap();
    cluster
        .wait_until("the second copy to be gone", |s| {
            runs_on(s, "a.service", "m1")
                && s.states.get(&name("a.service")).is_some_and(|states| states.len() == 1)
        })
        .await;
    assert_eq!(cluster.machines[0].host.unit_state("a.service"), run);
    assert_eq!(cluster.machines[1].host.unit_state("a.service"), None);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_goes_on_with_a_drain() {
    let mut cluster = Cluster::of(3).await;
    // On the machine that does not lead, so that the leader can be lost.
    let asked = UNIT.to_owned() + "[X-Fleet]\nMachineMetadata=part=2\n";
    let part = |id| (machine(id), "part".to_owned(), Some("2".to_owned()));
    cluster.registry.set_metadata(&[part("m2"), part("m3")]).await.unwrap();
    request_unit(&cluster.registry, "a.service", &asked, Launched).await;
    cluster.wait_until("a.service on m2", |s| runs_on(s, "a.service", "m2")).await;
    cluster.machines[2].host.hold_starts("a.service", true);
    cluster.drain("m2", None, AtDeadline::GiveUp).await;
    cluster.machines[2].host.until_state(|active| active == Some("activating"), "a.service").await;
    cluster.daemons[0].take().unwrap().stop().await;
    cluster
        .wait_until("another leader", |s| {
            s.leader.as_ref().is_some_and(|l| l.machine != machine("m1"))
        })
        .await;
    cluster.machines[2].host.hold_starts("a.service", false);
    cluster
        .wait_until("the end of the drain", |s| {
            runs_on(s, "a.service", "m3") && drain_progress(s, &machine("m2")).is_done()
        })
        .await;
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_unit_that_may_not_run_twice_waits_for_the_last_process_of_its_own() {
    let cluster = Cluster::of(2).await;
    request_unit(&cluster.registry, "a.service", SINGLE, Launched).await;
    cluster.wait_until("a.service on m1", |s| runs_on(s, "a.service", "m1")).await;
    cluster.machines[0].host.leave_processes("a.service", true);
    cluster.drain("m1", None, AtDeadline::GiveUp).await;
    cluster
        .wait_until("it to be stopping", |s| {
            let states = s.states.get(&name("a.service")).into_iter().flatten();
            states.map(|(_, state)| state).any(|state| state.active == ActiveState::Deactivating)
        })
        .await;
    // The leader has looked at everything since.
    request_unit(&cluster.registry, "b.service", UNIT, Launched).await;
    cluster.wait_until("b.service on m2", |s| runs_on(s, "b.service", "m2")).await;
    assert_eq!(cluster.log(2, "a.service"), Vec::<String>::new());
    cluster.machines[0].host.leave_processes("a.service", false);
    cluster.wait_until("a.service on m2", |s| runs_on(s, "a.service", "m2")).await;
    cluster.stop().await;
}
