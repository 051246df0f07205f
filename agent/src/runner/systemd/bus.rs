//! The line to systemd: two connections to the system bus, kept up.
//!
//! Owns connecting, subscribing, and reading signals as fast as they come. The second connection is for calls alone:
//! zbus stops reading a socket while one of its queues is full, so replies must not share a socket with signals.
//! It never asks systemd for anything by itself but to subscribe.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Semaphore, watch};
use zbus::message::Type;
use zbus::zvariant::{DynamicType, Type as Signature};
use zbus::{Connection, Message, MessageStream};

use super::signals::Signals;
use crate::runner::RunnerError;

/// systemd's name on the bus.
const SYSTEMD: &str = "org.freedesktop.systemd1";
/// Its one object that is no unit and no job.
pub(super) const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
/// The interface of that object.
pub(super) const MANAGER: &str = "org.freedesktop.systemd1.Manager";

/// systemd answers within milliseconds; one busy with a reload of thousands of units takes seconds.
const CALL_TIMEOUT: Duration = Duration::from_secs(25);
/// The bus of a healthy machine is there at once.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause between attempts to connect.
const RETRY: Duration = Duration::from_millis(250);
/// dbus-daemon allows a connection 128 unanswered calls on the system bus; a few remain for everything else.
const CALLS_AT_ONCE: usize = 96;

/// Signals we want, as match rules. `arg0` keeps the properties of services, timers and so on away: what is asked of
/// them is asked when it is needed.
const MATCHES: [&str; 4] = [
    "type='signal',sender='org.freedesktop.systemd1',interface='org.freedesktop.systemd1.Manager',member='JobRemoved'",
    "type='signal',sender='org.freedesktop.systemd1',interface='org.freedesktop.systemd1.Manager',member='Reloading'",
    "type='signal',sender='org.freedesktop.systemd1',interface='org.freedesktop.DBus.Properties',\
     member='PropertiesChanged',path_namespace='/org/freedesktop/systemd1/unit',arg0='org.freedesktop.systemd1.Unit'",
    "type='signal',sender='org.freedesktop.DBus',interface='org.freedesktop.DBus',member='NameOwnerChanged',\
     arg0='org.freedesktop.systemd1'",
];

/// The line.
#[derive(Debug)]
pub(super) struct Bus {
    address: Option<String>,
    calls: watch::Sender<Option<Connection>>,
    slots: Semaphore,
    signals: Arc<Mutex<Signals>>,
}

impl Bus {
    /// A line to the system bus, or to another one (in tests). Not connected yet: see [`Bus::keep`].
    pub(super) fn new(address: Option<String>, signals: Arc<Mutex<Signals>>) -> Self {
        Self {
            address,
            calls: watch::Sender::new(None),
            slots: Semaphore::new(CALLS_AT_ONCE),
            signals,
        }
    }

    /// Connects, reads signals, and connects again when the line breaks. Never returns.
    pub(super) async fn keep(&self) {
        loop {
            match tokio::time::timeout(CONNECT_TIMEOUT, self.connect()).await {
                Ok(Ok((calls, signals))) => {
                    self.read(calls, signals).await;
                    self.calls.send_replace(None);
                    self.note(|s| s.lost("the connection to the system bus was closed"));
                }
                Ok(Err(error)) => self.note(|s| s.lost(&error.to_string())),
                Err(_) => self.note(|s| s.lost("the system bus does not answer")),
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Calls one of systemd's methods.
    pub(super) async fn call<B, R>(
        &self,
        path: &str,
        interface: &str,
        member: &str,
        body: &B,
    ) -> Result<R, RunnerError>
    where
        B: Serialize + DynamicType + Sync,
        R: DeserializeOwned + Signature,
    {
        let reply = self.message(path, interface, member, body).await?;
        reply.body().deserialize::<R>().map_err(|error| lost(member, &error))
    }

    /// The same, for a reply that is read in place.
    pub(super) async fn message<B>(
        &self,
        path: &str,
        interface: &str,
        member: &str,
        body: &B,
    ) -> Result<Message, RunnerError>
    where
        B: Serialize + DynamicType + Sync,
    {
        let _slot = self.slots.acquire().await.map_err(|error| lost(member, &error))?;
        let calls = self.calls.borrow().clone();
        let calls = calls.ok_or_else(|| lost(member, &"not connected to the system bus"))?;
        calls
            .call_method(Some(SYSTEMD), path, Some(interface), member, body)
            .await
            .map_err(|error| refused_or_lost(member, error))
    }

    async fn connect(&self) -> zbus::Result<(Connection, Connection)> {
        let calls = self.connection().await?;
        let signals = self.connection().await?;
        Ok((calls, signals))
    }

    async fn connection(&self) -> zbus::Result<Connection> {
        let builder = match &self.address {
            Some(address) => zbus::connection::Builder::address(address.as_str()),
            None => zbus::connection::Builder::system(),
        };
        builder.method_timeout(CALL_TIMEOUT).build().await
    }

    /// Subscribes and reads until the line breaks. Between the messages it does nothing that waits.
    async fn read(&self, calls: Connection, signals: Connection) {
        let mut stream = MessageStream::from(&signals);
        // The subscription needs answers on the calls' connection while this task reads the signals' one.
        let subscribe = async {
            for rule in MATCHES {
                signals
                    .call_method(
                        Some("org.freedesktop.DBus"),
                        "/org/freedesktop/DBus",
                        Some("org.freedesktop.DBus"),
                        "AddMatch",
                        &rule,
                    )
                    .await?;
            }
            subscribe(&calls).await;
            Ok::<(), zbus::Error>(())
        };
        tokio::pin!(subscribe);
        let mut subscribed = false;
        loop {
            tokio::select! {
                // Cancel-safe: a stream yields a message or is polled again.
                message = stream.next() => match message {
                    Some(Ok(message)) => self.take(&message, &calls),
                    Some(Err(_)) | None => return,
                },
                outcome = &mut subscribe, if !subscribed => {
                    if outcome.is_err() {
                        return;
                    }
                    subscribed = true;
                    self.calls.send_replace(Some(calls.clone()));
                    self.note(Signals::relist);
                }
                () = calls.closed() => return,
            }
        }
    }

    fn take(&self, message: &Message, calls: &Connection) {
        if message.message_type() != Type::Signal {
            return;
        }
        let header = message.header();
        match header.member().map(zbus::names::MemberName::as_str) {
            Some("PropertiesChanged") => {
                let path = header.path().map(zbus::ObjectPath::as_str);
                self.note(|s| s.properties_changed(path.unwrap_or_default(), &message.body()));
            }
            Some("JobRemoved") => self.note(|s| s.job_removed(&message.body())),
            // Sent with `true` before and `false` after; what was emitted in between may be lost.
            Some("Reloading") if matches!(message.body().deserialize::<bool>(), Ok(false)) => {
                self.note(Signals::relist);
            }
            // systemd has executed itself anew, or the bus has: it does not know us any more.
            Some("NameOwnerChanged") => {
                let (calls, signals) = (calls.clone(), Arc::clone(&self.signals));
                tokio::spawn(async move {
                    subscribe(&calls).await;
                    signals.lock().unwrap_or_else(PoisonError::into_inner).relist();
                });
            }
            _ => {}
        }
    }

    fn note(&self, note: impl FnOnce(&mut Signals)) {
        note(&mut self.signals.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Asks systemd to emit signals. That we are subscribed already is no failure, and one that cannot be asked now is
/// about to change its owner again.
async fn subscribe(calls: &Connection) {
    let asked =
        calls.call_method(Some(SYSTEMD), MANAGER_PATH, Some(MANAGER), "Subscribe", &()).await;
    if let Err(error) = asked {
        tracing::debug!(%error, "systemd did not take our subscription");
    }
}

fn lost(during: &str, problem: &dyn std::fmt::Display) -> RunnerError {
    RunnerError::Lost { during: during.to_owned(), problem: problem.to_string() }
}

/// An error systemd itself sends is a refusal; anything else is the line's.
fn refused_or_lost(during: &str, error: zbus::Error) -> RunnerError {
    match error {
        zbus::Error::MethodError(name, text, _) => {
            RunnerError::Refused { problem: text.unwrap_or_else(|| name.to_string()) }
        }
        zbus::Error::FDO(error) => match *error {
            zbus::fdo::Error::InvalidArgs(problem)
            | zbus::fdo::Error::AccessDenied(problem)
            | zbus::fdo::Error::FileNotFound(problem)
            | zbus::fdo::Error::FileExists(problem)
            | zbus::fdo::Error::NotSupported(problem) => RunnerError::Refused { problem },
            other => lost(during, &other),
        },
        other => lost(during, &other),
    }
}
