//! `update_engine`'s manners on a bus of its own: a real bus, and a service that answers and signals as it does.

use std::collections::BTreeMap;

use zbus::Connection;

use muster_engine::reboot::due::NEEDS_REBOOT;

use super::*;
use crate::bus::test_bus::{TestBus, shout};
use crate::reboot::due::source_of;

/// Longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(30);

/// An `update_engine` that says this when it is asked.
async fn service(bus: &TestBus, operation: &'static str) -> Connection {
    bus.service(NAME, move |_| Some(status(operation))).await
}

fn status(operation: &str) -> EngineStatus {
    (1, 0.5, operation.to_owned(), "4081.2.0".to_owned(), 7)
}

async fn wait_until_due(found: &DueReasons, due: Option<&str>) {
    let mut changed = found.subscribe();
    let wait = changed.wait_for(|all| {
        assert!(all.keys().all(|s| *s == DueSource::UpdateEngine));
        all.values().next().map(ToString::to_string).as_deref() == due
    });
    assert!(tokio::time::timeout(LIMIT, wait).await.is_ok(), "never {due:?}");
}

#[tokio::test]
async fn a_version_that_waits_for_the_reboot_makes_it_due() {
    let bus = TestBus::start().await;
    let found = DueReasons::new(BTreeMap::default());
    let following = tokio::spawn(follow_update_engine(Some(bus.address.clone()), found.clone()));

    // It appears later than we do, and is asked then.
    let first = service(&bus, NEEDS_REBOOT).await;
    wait_until_due(&found, Some("update_engine has installed 4081.2.0")).await;
    let reason = found.current_reasons().pop().unwrap();
    assert_eq!(source_of(&reason), Some(DueSource::UpdateEngine));

    // It tells by itself when that changes.
    let signal = |operation: &'static str| {
        let service = first.clone();
        async move {
            let body = status(operation);
            let none = None::<zbus::names::BusName<'_>>;
            service.emit_signal(none, PATH, MANAGER, "StatusUpdate", &body).await.unwrap();
        }
    };
    signal("UPDATE_STATUS_IDLE").await;
    wait_until_due(&found, None).await;
    signal(NEEDS_REBOOT).await;
    wait_until_due(&found, Some("update_engine has installed 4081.2.0")).await;

    // It is gone for a while: what it said stands until it says otherwise.
    drop(first.close().await);
    let _next = service(&bus, "UPDATE_STATUS_IDLE").await;
    wait_until_due(&found, None).await;
    following.abort();
}

/// Everything that one may say of it, as it would say it and otherwise.
async fn lie(from: &Connection) {
    let due = status(NEEDS_REBOOT);
    shout(from, PATH, MANAGER, "StatusUpdate", &due).await;
    shout(from, "/", MANAGER, "StatusUpdate", &due).await;
    shout(from, PATH, "org.freedesktop.systemd1.Manager", "StatusUpdate", &due).await;
    let names = (NAME, "", from.unique_name().unwrap().as_str());
    shout(from, "/org/freedesktop/DBus", bus::BUS, "NameOwnerChanged", &names).await;
    shout(from, PATH, MANAGER, "StatusUpdate", &due).await;
}

/// One that owns the name and answers nothing; returns once it has been asked: everything before that has been read.
async fn silent(bus: &TestBus) -> Connection {
    let (sender, mut asked) = tokio::sync::mpsc::unbounded_channel();
    let note = move |_: &zbus::Message| {
        let _ = sender.send(());
        None::<()>
    };
    let service = bus.service(NAME, note).await;
    tokio::time::timeout(LIMIT, asked.recv()).await.unwrap().unwrap();
    service
}

#[tokio::test]
async fn nobody_makes_a_reboot_due_but_the_owner_of_the_name() {
    let bus = TestBus::start().await;
    let found = DueReasons::new(BTreeMap::default());
    let following = tokio::spawn(follow_update_engine(Some(bus.address.clone()), found.clone()));
    let is_quiet = || assert!(found.current_reasons().is_empty(), "{found:?}");
    let foreign = bus.connection().await;

    lie(&foreign).await;
    let first = silent(&bus).await;
    is_quiet();

    lie(&foreign).await;
    // Right in all but the place, or the interface, even of the owner itself.
    shout(&first, "/", MANAGER, "StatusUpdate", &status(NEEDS_REBOOT)).await;
    shout(&first, PATH, NAME, "StatusUpdate", &status(NEEDS_REBOOT)).await;
    first.release_name(NAME).await.unwrap();
    lie(&foreign).await;
    lie(&first).await;
    let second = silent(&bus).await;
    is_quiet();

    lie(&first).await;
    second.release_name(NAME).await.unwrap();
    let third = silent(&bus).await;
    is_quiet();
    shout(&third, PATH, MANAGER, "StatusUpdate", &status(NEEDS_REBOOT)).await;
    wait_until_due(&found, Some("update_engine has installed 4081.2.0")).await;
    following.abort();
}
