//! Whom we take for logind, on a real bus.

use zbus::Variant;

use super::*;
use crate::bus::test_bus::TestBus;

fn rows(who: &str) -> Vec<InhibitorRow> {
    let text = |word: &str| word.to_owned();
    vec![(text("shutdown"), text(who), text("because"), text("block"), 0, 1)]
}

fn logind(bus: &TestBus) -> SystemdHost {
    SystemdHost { address: Some(bus.address.clone()), ..SystemdHost::default() }
}

#[tokio::test]
async fn what_owns_the_name_is_asked_and_its_answer_taken() {
    let bus = TestBus::start().await;
    let host = logind(&bus);
    let away = host.shutdown_inhibitors().await;
    assert!(matches!(away, Err(HostError::Away { .. })), "{away:?}");

    let first = bus.service(NAME, |_| Some(rows("first"))).await;
    assert_eq!(host.shutdown_inhibitors().await.unwrap().pop().unwrap().who, "first");

    // Another takes its place; the one before it is still there, and is not asked.
    first.release_name(NAME).await.unwrap();
    let _second = bus.service(NAME, |_| Some(rows("second"))).await;
    assert_eq!(host.shutdown_inhibitors().await.unwrap().pop().unwrap().who, "second");
}

#[tokio::test]
async fn a_stranger_answers_for_logind_in_vain() {
    let bus = TestBus::start().await;
    let foreign = bus.connection().await;
    let (sender, mut asked) = tokio::sync::mpsc::unbounded_channel();
    let service = bus
        .service(NAME, move |message| {
            let _ = sender.send(message.clone());
            None::<()>
        })
        .await;
    let host = logind(&bus);
    let answering = async {
        let call = asked.recv().await.unwrap();
        let nobody_minds: Vec<InhibitorRow> = Vec::new();
        foreign.reply(&call.header(), &nobody_minds).await.unwrap();
        crate::bus::test_bus::through(&foreign).await;
        service.reply(&call.header(), &rows("logind")).await.unwrap();
    };
    let (found, ()) = tokio::join!(host.shutdown_inhibitors(), answering);
    assert_eq!(found.unwrap().pop().unwrap().who, "logind");
}

#[tokio::test]
async fn a_host_goes_down_when_systemd_says_so_or_logind_does() {
    let bus = TestBus::start().await;
    let host = logind(&bus);
    assert!(!host.is_stopping().await, "nobody says so");

    let systemd = bus.service(SYSTEMD, |_| Some(Variant::from("running"))).await;
    assert!(!host.is_stopping().await, "one says that it runs");
    let preparing = bus.service(NAME, |_| Some(Variant::from(true))).await;
    assert!(host.is_stopping().await, "logind prepares");
    preparing.release_name(NAME).await.unwrap();
    let _calm = bus.service(NAME, |_| Some(Variant::from(false))).await;
    assert!(!host.is_stopping().await, "neither says so");

    systemd.release_name(SYSTEMD).await.unwrap();
    let _going = bus.service(SYSTEMD, |_| Some(Variant::from("stopping"))).await;
    assert!(host.is_stopping().await, "systemd goes");
}

#[tokio::test]
async fn a_bus_that_was_started_anew_is_asked_at_the_first_attempt() {
    let before = TestBus::start().await;
    let mut host = logind(&before);
    let systemd = before.service(SYSTEMD, |_| Some(Variant::from("running"))).await;
    let calm = before.service(NAME, |_| Some(Variant::from(false))).await;
    assert!(!host.is_stopping().await, "neither says so");
    drop((before, systemd, calm));
    host.calls.lock().await.as_ref().unwrap().wait_until_closed().await;

    let after = TestBus::start().await;
    host.address = Some(after.address.clone());
    let _systemd = after.service(SYSTEMD, |_| Some(Variant::from("stopping"))).await;
    assert!(host.is_stopping().await, "systemd goes");
}
