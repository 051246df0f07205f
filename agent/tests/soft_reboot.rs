//! A machine that is rebooted softly: its daemon finds its own memory of units that do not run any more.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

mod support;

use muster_common::state::DesiredState::{Inactive, Launched};
use support::{Machine, reported, request_unit, timed_store, wait_until};

const UNIT: &str = "[Service]\nExecStart=/bin/true\n";

#[tokio::test(start_paused = true)]
async fn what_is_wanted_is_started_again_and_what_is_not_is_cleared_away() {
    let (registry, _disk) = timed_store();
    let machine = Machine::new("m1", "10.0.0.1");
    let daemon = machine.start(&registry);
    for unit in ["a.service", "b.service"] {
        request_unit(&registry, unit, UNIT, Launched).await;
        wait_until(&registry, "active", |s| reported(s, unit).is_some_and(|(a, _)| a == "active"))
            .await;
    }
    daemon.kill().await;
    request_unit(&registry, "b.service", UNIT, Inactive).await;

    machine.host.reboot_softly();
    let daemon = machine.start(&registry);
    let again = Some(("active".to_owned(), 1));
    wait_until(&registry, "started again", |s| {
        let runs =
            machine.host.unit_state("a.service").is_some_and(|(active, ..)| active == "active");
        runs && reported(s, "a.service") == again
    })
    .await;
    wait_until(&registry, "gone", |s| reported(s, "b.service").is_none()).await;
    assert_eq!(machine.host.unit_state("a.service").unwrap().0, "active");
    assert_eq!(machine.host.unit_state("b.service"), None);
    daemon.kill().await;

    // The daemon alone is started again: nothing else is.
    let before = machine.host.unit_state("a.service");
    let daemon = machine.start(&registry);
    daemon.health.subscribe().wait_for(|s| s.reported).await.unwrap();
    assert_eq!(machine.host.unit_state("a.service"), before, "it was started anew");
    daemon.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_given_up_is_hooked_into_nothing_that_a_soft_reboot_would_start() {
    const HOOKED: &str = "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n";
    let (registry, _disk) = timed_store();
    let machine = Machine::new("m1", "10.0.0.1");
    let daemon = machine.start(&registry);
    request_unit(&registry, "a.service", HOOKED, Launched).await;
    wait_until(&registry, "active", |s| {
        reported(s, "a.service").is_some_and(|(a, _)| a == "active")
    })
    .await;
    let before = machine.host.requests_made().len();
    machine.host.begin_shutdown();
    daemon.stop().await;
    let log = machine.host.requests_made().split_off(before);
    let at = |line: &str| log.iter().position(|found| found == line);
    assert!(
        at("disable a.service").is_some_and(|at_first| Some(at_first) < at("stop a.service")),
        "{log:?}"
    );

    let before = machine.host.requests_made().len();
    machine.host.end_shutdown();
    machine.host.reboot_softly();
    let daemon = machine.start(&registry);
    wait_until(&registry, "started again", |s| reported(s, "a.service").is_some()).await;
    let log = machine.host.requests_made().split_off(before);
    assert!(log.contains(&"enable a.service".to_owned()), "{log:?}");
    daemon.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_unit_that_survives_by_its_own_settings_is_not_stopped_and_is_adopted() {
    const SURVIVES: &str = "[Unit]\nDefaultDependencies=no\nIgnoreOnIsolate=yes\nSurviveFinalKillSignal=yes\n[Service]\nExecStart=/bin/true\n";
    let (registry, _disk) = timed_store();
    let machine = Machine::new("m1", "10.0.0.1");
    let daemon = machine.start(&registry);
    for (unit, text) in [("a.service", SURVIVES), ("b.service", UNIT)] {
        request_unit(&registry, unit, text, Launched).await;
        wait_until(&registry, "active", |s| reported(s, unit).is_some_and(|(a, _)| a == "active"))
            .await;
    }
    let before = machine.host.unit_state("a.service");
    let requests = machine.host.requests_made().len();
    machine.host.let_survive("a.service");
    machine.host.begin_soft_shutdown();
    daemon.stop().await;
    let log = machine.host.requests_made().split_off(requests);
    assert!(log.contains(&"stop b.service".to_owned()), "{log:?}");
    assert!(!log.contains(&"stop a.service".to_owned()), "{log:?}");

    machine.host.reboot_softly();
    machine.host.end_shutdown();
    let daemon = machine.start(&registry);
    for unit in ["a.service", "b.service"] {
        wait_until(&registry, "reported", |s| {
            reported(s, unit).is_some_and(|(a, _)| a == "active")
        })
        .await;
    }
    daemon.health.subscribe().wait_for(|s| s.reported).await.unwrap();
    assert_eq!(machine.host.unit_state("a.service"), before, "it was started anew");
    daemon.stop().await;

    // A whole reboot stops it as any other.
    let daemon = machine.start(&registry);
    daemon.health.subscribe().wait_for(|s| s.reported).await.unwrap();
    machine.host.begin_shutdown();
    daemon.stop().await;
    assert_eq!(machine.host.unit_state("a.service").unwrap().0, "inactive");
}
