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

#[tokio::test]
async fn a_soft_reboot_is_asked_of_logind_where_systemd_has_one() {
    let bus = TestBus::start().await;
    let host = logind(&bus);
    let (sender, mut asked) = tokio::sync::mpsc::unbounded_channel();
    let _logind = bus
        .service(NAME, move |message| {
            let _ = sender.send(message.clone());
            Some(())
        })
        .await;
    let mut last_call = || {
        let call: Option<Message> = std::iter::from_fn(|| asked.try_recv().ok()).last();
        call.map(|call| (call.header().member().unwrap().to_string(), call))
    };

    let old = bus.service(SYSTEMD, |_| Some(Variant::from("252.39-1~deb12u1"))).await;
    let refused = host.reboot(RebootMethod::SoftReboot).await;
    assert!(matches!(refused, Err(HostError::Impossible(_))), "{refused:?}");
    assert!(last_call().is_none(), "logind is not asked for what it would refuse");
    old.release_name(SYSTEMD).await.unwrap();

    let _new = bus.service(SYSTEMD, |_| Some(Variant::from("257.9-1~deb13u1"))).await;
    host.reboot(RebootMethod::SoftReboot).await.unwrap();
    let (member, call) = last_call().unwrap();
    assert_eq!(
        (member.as_str(), call.body().deserialize::<u64>().unwrap()),
        ("RebootWithFlags", 4)
    );
    host.reboot(RebootMethod::Reboot).await.unwrap();
    let (member, call) = last_call().unwrap();
    assert_eq!((member.as_str(), call.body().deserialize::<bool>().unwrap()), ("Reboot", false));
}

#[tokio::test]
async fn a_host_goes_softly_while_systemd_has_a_job_for_it() {
    let bus = TestBus::start().await;
    let host = logind(&bus);
    assert!(!host.goes_softly().await, "nobody says so");
    let job = |id: u32| {
        let path = OwnedObjectPath::try_from("/").unwrap();
        Some(Variant::from((id, path)))
    };
    let calm = bus.service(SYSTEMD, move |_| job(0)).await;
    assert!(!host.goes_softly().await, "no job");
    calm.release_name(SYSTEMD).await.unwrap();
    let _going = bus.service(SYSTEMD, move |_| job(7)).await;
    assert!(host.goes_softly().await, "it goes");
}
