//! Whose replies count, on a real bus. A session's bus passes replies on that nobody has asked for; the system's does not,
//! as it is configured by default.

use tokio::sync::mpsc;

use super::*;
use crate::bus::test_bus::{TestBus, through};

const NAME: &str = "org.example.Owner";
const METHOD: Method<'static> =
    Method { path: "/org/example/Owner", interface: "org.example.Owner", member: "Ask" };
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// A service that keeps every call until it is told to answer.
async fn silent(bus: &TestBus) -> (Connection, mpsc::UnboundedReceiver<Message>) {
    let (sender, calls) = mpsc::unbounded_channel();
    let keep = move |message: &Message| {
        let _ = sender.send(message.clone());
        None::<()>
    };
    (bus.service(NAME, keep).await, calls)
}

fn text(reply: Result<Message, CallError>) -> String {
    reply.unwrap().body().deserialize().unwrap()
}

#[tokio::test]
async fn a_reply_of_somebody_else_is_passed_over() {
    let bus = TestBus::start().await;
    let (service, mut asked) = silent(&bus).await;
    let foreign = bus.connection().await;
    let calls = Arc::new(Calls::new(bus.connection().await, CALL_TIMEOUT));
    let owner = calls.owner_of(NAME).await.unwrap().unwrap();
    let asking = tokio::spawn({
        let calls = Arc::clone(&calls);
        async move { calls.call_method(&owner, METHOD, &()).await }
    });
    let call = asked.recv().await.unwrap();
    // The number of the call is no secret: anybody may try them all.
    foreign.reply(&call.header(), &"forged").await.unwrap();
    let error = "org.freedesktop.DBus.Error.AccessDenied";
    foreign.reply_error(&call.header(), error, &"forged").await.unwrap();
    through(&foreign).await;
    service.reply(&call.header(), &"true").await.unwrap();
    assert_eq!(text(asking.await.unwrap()), "true");
}

#[tokio::test]
async fn a_refusal_is_told_from_an_absence_and_from_a_loss() {
    let bus = TestBus::start().await;
    let (service, mut asked) = silent(&bus).await;
    let calls = Arc::new(Calls::new(bus.connection().await, CALL_TIMEOUT));
    let owner = calls.owner_of(NAME).await.unwrap().unwrap();
    let call_manager = || {
        let (calls, owner) = (Arc::clone(&calls), owner.clone());
        tokio::spawn(async move { calls.call_method(&owner, METHOD, &()).await })
    };
    let asking = call_manager();
    let call = asked.recv().await.unwrap();
    service.reply_error(&call.header(), "org.example.Error.No", &"not today").await.unwrap();
    let refused = CallError::Refused {
        name: "org.example.Error.No".to_owned(),
        problem: "not today".to_owned(),
    };
    assert_eq!(asking.await.unwrap().unwrap_err(), refused);

    // It goes while it is asked: nobody knows what it has done. Asked once more it is not there.
    let asking = call_manager();
    asked.recv().await.unwrap();
    service.close().await.unwrap();
    assert!(matches!(asking.await.unwrap(), Err(CallError::Lost(_))));
    assert_eq!(call_manager().await.unwrap().unwrap_err(), CallError::Absent(owner.clone()));
    assert_eq!(calls.owner_of(NAME).await, Ok(None));
    assert_eq!(calls.start(NAME).await, Ok(()), "that nobody can start it is no failure");

    drop(bus);
    calls.wait_until_closed().await;
    assert!(matches!(call_manager().await.unwrap(), Err(CallError::Lost(_))));
}
