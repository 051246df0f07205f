//! `update_engine`'s manners on a bus of its own: a real bus, and a service that answers and signals as it does.

use std::process::Stdio;

use futures::StreamExt as _;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use zbus::connection::Builder;

use super::*;
use crate::reboot::due::source;

const PATIENCE: Duration = Duration::from_secs(30);

/// A message bus that ends with the test.
struct Bus {
    address: String,
    _daemon: Child,
}

impl Bus {
    async fn start() -> Self {
        let mut daemon = Command::new("dbus-daemon")
            .args(["--session", "--nofork", "--nopidfile", "--print-address=1"])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("dbus-daemon comes with the package dbus");
        let mut lines = BufReader::new(daemon.stdout.take().unwrap()).lines();
        let address = lines.next_line().await.unwrap().unwrap();
        Self { address, _daemon: daemon }
    }

    /// An `update_engine` that says this when it is asked.
    async fn service(&self, operation: &'static str) -> Connection {
        let service = Builder::address(self.address.as_str()).build().await.unwrap();
        let mut asked = MessageStream::from(&service);
        service.request_name(NAME).await.unwrap();
        let answers = service.clone();
        tokio::spawn(async move {
            while let Some(Ok(message)) = asked.next().await {
                if message.message_type() == Type::MethodCall {
                    let _ = answers.reply(&message.header(), &status(operation)).await;
                }
            }
        });
        service
    }
}

fn status(operation: &str) -> Status {
    (1, 0.5, operation.to_owned(), "4081.2.0".to_owned(), 7)
}

async fn until(found: &Found, due: Option<&str>) {
    let mut changed = found.0.subscribe();
    let wait = changed.wait_for(|all| {
        assert!(all.keys().all(|s| *s == Source::UpdateEngine));
        all.values().next().map(ToString::to_string).as_deref() == due
    });
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "never {due:?}");
}

#[tokio::test]
async fn a_version_that_waits_for_the_reboot_makes_it_due() {
    let bus = Bus::start().await;
    let found = Found(tokio::sync::watch::Sender::default());
    let following = tokio::spawn(follow(Some(bus.address.clone()), found.clone()));

    // It appears later than we do, and is asked then.
    let service = bus.service(NEEDS_REBOOT).await;
    until(&found, Some("update_engine has installed 4081.2.0")).await;
    let reason = found.0.borrow().values().next().cloned().unwrap();
    assert_eq!(source(&reason), Some(Source::UpdateEngine));

    // It tells by itself when that changes.
    let signal = |operation: &'static str| {
        let service = service.clone();
        async move {
            let body = status(operation);
            let none = None::<zbus::names::BusName<'_>>;
            service.emit_signal(none, PATH, MANAGER, "StatusUpdate", &body).await.unwrap();
        }
    };
    signal("UPDATE_STATUS_IDLE").await;
    until(&found, None).await;
    signal(NEEDS_REBOOT).await;
    until(&found, Some("update_engine has installed 4081.2.0")).await;

    // It is gone for a while: what it said stands until it says otherwise.
    drop(service.close().await);
    let _next = bus.service("UPDATE_STATUS_IDLE").await;
    until(&found, None).await;
    following.abort();
}
