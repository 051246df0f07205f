//! A message bus for tests: a real one, that ends with the test, and those who are on it.

use std::process::Stdio;

use futures::StreamExt as _;
use serde::Serialize;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use zbus::message::Type;
use zbus::names::BusName;
use zbus::zvariant::DynamicType;
use zbus::{Connection, Message, MessageStream};

use super::{BUS, BUS_PATH};

/// The bus.
pub(crate) struct TestBus {
    pub(crate) address: String,
    _daemon: Child,
}

impl TestBus {
    pub(crate) async fn start() -> Self {
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

    /// Somebody on it.
    pub(crate) async fn connection(&self) -> Connection {
        super::connect(Some(&self.address)).await.unwrap()
    }

    /// A service that owns a name and answers every call with what `reply` makes of it, if it makes anything.
    pub(crate) async fn service<R>(
        &self,
        name: &'static str,
        reply: impl Fn(&Message) -> Option<R> + Send + 'static,
    ) -> Connection
    where
        R: Serialize + DynamicType + Send + Sync + 'static,
    {
        let service = self.connection().await;
        let mut asked = MessageStream::from(&service);
        let answers = service.clone();
        tokio::spawn(async move {
            while let Some(Ok(message)) = asked.next().await {
                if message.message_type() == Type::MethodCall
                    && let Some(body) = reply(&message)
                {
                    let _ = answers.reply(&message.header(), &body).await;
                }
            }
        });
        service.request_name(name).await.unwrap();
        service
    }
}

/// Sends a signal to everybody on the bus: broadcast, and straight to each unique name. When it returns the bus has
/// passed it on.
pub(crate) async fn shout<B>(from: &Connection, path: &str, interface: &str, member: &str, body: &B)
where
    B: Serialize + DynamicType,
{
    let names = from.call_method(Some(BUS), BUS_PATH, Some(BUS), "ListNames", &()).await.unwrap();
    let names: Vec<String> = names.body().deserialize().unwrap();
    let straight = names.into_iter().filter(|name| name.starts_with(':')).map(Some);
    for name in straight.chain([None]) {
        let name = name.map(|name| BusName::try_from(name).unwrap());
        from.emit_signal(name, path, interface, member, body).await.unwrap();
    }
    through(from).await;
}

/// Returns when the bus has passed on whatever this connection has sent.
pub(crate) async fn through(connection: &Connection) {
    connection.call_method(Some(BUS), BUS_PATH, Some(BUS), "GetId", &()).await.unwrap();
}
