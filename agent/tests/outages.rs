//! A machine without its store, or with another one: what it goes on with, what it starts, and what it waits for.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

mod support;

use std::path::PathBuf;
use std::time::Duration;

use muster_common::state::DesiredState::Launched;
use muster_store::{Registry, RegistryError, StoreError};
use support::{
    Daemon, Machine, StoreLine, long_after, name, open_timed, reported, request_unit, wait_until,
};

const UNIT: &str = "[Service]\nExecStart=/bin/true\n";

async fn run_unit(registry: &Registry, unit: &str) {
    request_unit(registry, unit, UNIT, Launched).await;
    let up = |state: Option<(String, u64)>| state.is_some_and(|(active, _)| active == "active");
    wait_until(registry, "active", |s| up(reported(s, unit))).await;
}

fn state_file(machine: &Machine, file: &str) -> PathBuf {
    machine.settings.state_dir.join(file)
}

/// The problem that a daemon has with its lease, once it has one that says something.
async fn lease_problem(daemon: &Daemon, saying: &str) -> String {
    let mut health = daemon.health.subscribe();
    let says = |s: &musterd::telemetry::health::HealthStatus| {
        s.lease.problem.as_ref().is_some_and(|problem| problem.contains(saying))
    };
    health.wait_for(says).await.unwrap().lease.problem.clone().unwrap()
}

/// Waits until what is placed is on disk, so that the next save is another one.
async fn placements_saved(machine: &Machine) {
    let mut looks = tokio::time::interval(Duration::from_millis(50));
    while !state_file(machine, "placements.json").exists() {
        looks.tick().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_has_lost_its_data_stops_nothing_and_overwrites_nothing() {
    let (registry, line, _disk) = StoreLine::on_test_time();
    let machine = Machine::new("m1", "10.0.0.1");
    let daemon = machine.start(&registry);
    run_unit(&registry, "a.service").await;
    placements_saved(&machine).await;
    let before = std::fs::read(state_file(&machine, "placements.json")).unwrap();

    let empty = tempfile::tempdir().unwrap();
    line.set_cut(true);
    line.replace_store(open_timed(empty.path()));
    line.set_cut(false);
    let problem = lease_problem(&daemon, "the store holds no cluster").await;
    assert!(problem.contains("musterd --adopt-cluster=none"), "{problem}");
    long_after().await;
    assert_eq!(machine.host.requests_made(), ["write a.service", "start a.service"]);
    assert_eq!(std::fs::read(state_file(&machine, "placements.json")).unwrap(), before);
    // Nobody else of this daemon writes there either: what its API was asked for would be lost, or be in the way of the data.
    let zone = [("m1".parse().unwrap(), "zone".to_owned(), Some("a".to_owned()))];
    let refused = registry.set_metadata(&zone).await;
    assert!(
        matches!(refused, Err(RegistryError::Store(StoreError::NotOurs { .. }))),
        "{refused:?}"
    );
    let found = registry.read_snapshot().await.unwrap();
    assert!(found.machines.is_empty() && found.leader.is_none(), "{found:?}");
    assert_eq!(registry.cluster_identity().await.unwrap(), None);

    // Another daemon, and another boot, think the same.
    daemon.stop().await;
    machine.reboot();
    let again = machine.start(&registry);
    lease_problem(&again, "the store holds no cluster").await;
    long_after().await;
    assert_eq!(machine.host.requests_made().len(), 2, "{:?}", machine.host.requests_made());
    assert_eq!(std::fs::read(state_file(&machine, "placements.json")).unwrap(), before);

    // A person says that it is the machine's from now on.
    let word = "{\"version\":1}";
    std::fs::write(state_file(&machine, "cluster.json"), word).unwrap();
    again.health.subscribe().wait_for(|s| s.lease.ok && s.placements.ok).await.unwrap();
    run_unit(&registry, "b.service").await;
    long_after().await;
    assert_eq!(std::fs::read(state_file(&machine, "placements.1.json")).unwrap(), before);
    again.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_never_ran_a_unit_begins_no_cluster_in_a_store_that_has_lost_its_data() {
    let (registry, line, _disk) = StoreLine::on_test_time();
    let machine = Machine::new("m1", "10.0.0.1");
    let daemon = machine.start(&registry);
    daemon.health.subscribe().wait_for(|s| s.lease.ok && s.leading).await.unwrap();
    daemon.stop().await;

    let empty = tempfile::tempdir().unwrap();
    line.replace_store(open_timed(empty.path()));
    machine.reboot();
    let again = machine.start(&registry);
    lease_problem(&again, "the store holds no cluster").await;
    long_after().await;
    assert_eq!(registry.cluster_identity().await.unwrap(), None);
    assert!(registry.read_snapshot().await.unwrap().leader.is_none());
    again.stop().await;
}

#[tokio::test(start_paused = true)]
async fn another_prefix_is_another_cluster() {
    let disk = tempfile::tempdir().unwrap();
    let store = open_timed(disk.path());
    let ours = Registry::new(store.clone(), "/muster/v1/");
    let machine = Machine::new("m1", "10.0.0.1");
    let daemon = machine.start(&ours);
    run_unit(&ours, "a.service").await;
    daemon.stop().await;

    let other = Registry::new(store, "/staging/");
    let stranger = Machine::new("m2", "10.0.0.2");
    let elsewhere = stranger.start(&other);
    run_unit(&other, "b.service").await;
    let daemon = machine.start(&other);
    lease_problem(&daemon, "the store holds cluster ").await;
    long_after().await;
    assert_eq!(machine.host.requests_made(), ["write a.service", "start a.service"]);
    assert_eq!(machine.host.unit_state("a.service").unwrap().0, "active");
    daemon.stop().await;
    elsewhere.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_machine_whose_power_failed_under_its_lease_starts_nothing_without_the_store() {
    let (registry, line, _disk) = StoreLine::on_test_time();
    let machine = Machine::new("m1", "10.0.0.1");
    let daemon = machine.start(&registry);
    run_unit(&registry, "a.service").await;
    placements_saved(&machine).await;
    daemon.kill().await;
    line.set_cut(true);
    machine.reboot();
    let again = machine.start(&registry);
    let mut health = again.health.subscribe();
    let withheld = |problem: &str| problem.contains("musterd --start-last-known");
    health.wait_for(|s| s.placements.problem.as_deref().is_some_and(withheld)).await.unwrap();
    long_after().await;
    assert!(machine.host.unit_state("a.service").is_none());

    // A clean reboot from there keeps nothing that the machine did not have.
    machine.host.begin_shutdown();
    again.stop().await;
    machine.reboot();
    machine.host.end_shutdown();
    let again = machine.start(&registry);
    long_after().await;
    assert!(machine.host.unit_state("a.service").is_none());

    // A person answers for it.
    std::fs::write(state_file(&machine, "start-last-known"), "").unwrap();
    machine.host.until_state(|state| state == Some("active"), "a.service").await;
    line.set_cut(false);
    again.health.subscribe().wait_for(|s| s.lease.ok && s.reported).await.unwrap();
    assert!(!state_file(&machine, "start-last-known").exists(), "it was for that outage");
    again.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_machine_whose_power_failed_in_an_outage_takes_its_units_up_again() {
    let (registry, line, _disk) = StoreLine::on_test_time();
    let machine = Machine::new("m1", "10.0.0.1");
    let daemon = machine.start(&registry);
    run_unit(&registry, "a.service").await;
    placements_saved(&machine).await;
    line.set_cut(true);
    lease_problem(&daemon, "the lease has run out").await;
    daemon.kill().await;
    machine.reboot();
    let again = machine.start(&registry);
    machine.host.until_state(|state| state == Some("active"), "a.service").await;
    line.set_cut(false);
    again.health.subscribe().wait_for(|s| s.lease.ok && s.reported).await.unwrap();
    assert!(!state_file(&machine, "outage.json").exists());
    assert_eq!(machine.host.requests_made().len(), 4, "{:?}", machine.host.requests_made());
    again.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_clean_reboot_in_an_outage_brings_the_units_back() {
    let (registry, line, _disk) = StoreLine::on_test_time();
    let machine = Machine::new("m1", "10.0.0.1");
    let daemon = machine.start(&registry);
    run_unit(&registry, "a.service").await;
    placements_saved(&machine).await;
    line.set_cut(true);
    machine.host.begin_shutdown();
    daemon.stop().await;
    assert_eq!(machine.host.unit_state("a.service").unwrap().0, "inactive");
    machine.reboot();
    machine.host.end_shutdown();
    let again = machine.start(&registry);
    machine.host.until_state(|state| state == Some("active"), "a.service").await;
    line.set_cut(false);
    wait_until(&registry, "reported", |s| reported(s, "a.service").is_some()).await;
    again.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_stops_leaves_a_lease_with_all_of_its_time() {
    let (registry, _line, _disk) = StoreLine::on_test_time();
    let machine = Machine::new("m1", "10.0.0.1");
    let daemon = machine.start(&registry);
    run_unit(&registry, "a.service").await;
    // Shortly before it would be prolonged.
    let _ = tokio::time::timeout(Duration::from_millis(600), std::future::pending::<()>()).await;
    daemon.stop().await;
    let machine = "m1".parse().unwrap();
    let lease = registry.read_registration(&machine).await.unwrap().unwrap().lease;
    let left = registry.lease_time_left(lease.unwrap()).await.unwrap();
    assert!(left.granted < left.left + Duration::from_millis(200), "{left:?}");
    assert!(registry.read_snapshot().await.unwrap().places.contains_key(&name("a.service")));
}
