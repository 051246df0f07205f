//! Who is heard on a line, on a real bus.

use super::*;
use crate::bus::test_bus::{TestBus, shout, through};

const NAME: &str = "org.example.Owner";
const PATH: &str = "/org/example/Owner";
const INTERFACE: &str = "org.example.Owner";
const RULE: &str = "type='signal',sender='org.example.Owner'";

async fn owner(line: &mut NameWatch) -> Option<String> {
    match line.next().await.unwrap() {
        BusMessage::Owner(owner) => owner,
        BusMessage::Signal(signal) => panic!("{signal:?}"),
    }
}

async fn word(line: &mut NameWatch) -> String {
    match line.next().await.unwrap() {
        BusMessage::Signal(signal) => signal.body().deserialize().unwrap(),
        BusMessage::Owner(owner) => panic!("{owner:?}"),
    }
}

fn name_of(connection: &Connection) -> Option<String> {
    connection.unique_name().map(ToString::to_string)
}

#[tokio::test]
async fn only_the_owner_of_the_name_is_heard_whoever_that_is() {
    let bus = TestBus::start().await;
    let mut line = NameWatch::open(bus.connection().await, NAME, &[RULE]).await.unwrap();
    let foreign = bus.connection().await;
    shout(&foreign, PATH, INTERFACE, "Said", &"before anybody owns the name").await;
    assert_eq!(owner(&mut line).await, None);

    let first = bus.service::<()>(NAME, |_| None).await;
    assert_eq!(owner(&mut line).await, name_of(&first));
    shout(&foreign, PATH, INTERFACE, "Said", &"foreign").await;
    let change = (NAME, name_of(&first).unwrap(), name_of(&foreign).unwrap());
    shout(&foreign, BUS_PATH, BUS, "NameOwnerChanged", &change).await;
    shout(&foreign, PATH, INTERFACE, "Said", &"by one that has made itself the owner").await;
    let all = None::<zbus::names::BusName<'_>>;
    first.emit_signal(all.clone(), PATH, INTERFACE, "Said", &"first").await.unwrap();
    assert_eq!(word(&mut line).await, "first");

    // It leaves, and another takes the name: the one before it, which is still on the bus, is foreign now.
    first.release_name(NAME).await.unwrap();
    assert_eq!(owner(&mut line).await, None);
    shout(&first, PATH, INTERFACE, "Said", &"of the old owner").await;
    let second = bus.service::<()>(NAME, |_| None).await;
    assert_eq!(owner(&mut line).await, name_of(&second));
    shout(&first, PATH, INTERFACE, "Said", &"of the old owner").await;
    second.emit_signal(all, PATH, INTERFACE, "Said", &"second").await.unwrap();
    assert_eq!(word(&mut line).await, "second");
}

#[tokio::test]
async fn an_owner_that_was_there_before_is_known_and_a_bus_that_goes_is_noticed() {
    let bus = TestBus::start().await;
    let service = bus.service::<()>(NAME, |_| None).await;
    through(&service).await;
    let mut line = NameWatch::open(bus.connection().await, NAME, &[RULE]).await.unwrap();
    assert_eq!(owner(&mut line).await, name_of(&service));
    drop(bus);
    assert!(line.next().await.is_err());
}
