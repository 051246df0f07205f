//! The line to systemd: two connections to the system bus, kept up.
//!
//! Owns connecting, subscribing, and reading signals as fast as they come. The second connection is for calls alone:
//! zbus stops reading a socket while one of its queues is full, so replies must not share a socket with signals.
//! It never asks systemd for anything by itself but to subscribe, and believes nobody but the connection that owns
//! systemd's name at that moment (see [`crate::bus`]).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Semaphore, watch};
use zbus::Message;
use zbus::zvariant::{DynamicType, Type as Signature};

use super::signals::SignalReader;
use crate::bus::{self, BusMessage, CallError, Calls, Method, NameWatch, is_signal};
use crate::runner::RunnerError;
use crate::stdx::sync::lock;
use crate::stdx::timer::sleep_until_opt;

/// systemd's name on the bus.
const SYSTEMD: &str = "org.freedesktop.systemd1";
/// Its one object that is no unit and no job.
pub(super) const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
/// The interface of that object.
pub(super) const MANAGER: &str = "org.freedesktop.systemd1.Manager";
/// The interface of changes of properties.
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// systemd answers within milliseconds; one busy with a reload of thousands of units takes seconds.
const CALL_TIMEOUT: Duration = Duration::from_secs(25);
/// The bus of a healthy machine is there at once.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause between attempts to connect.
const RETRY: Duration = Duration::from_millis(250);
/// dbus-daemon allows a connection 128 unanswered calls on the system bus; a few remain for everything else.
const CALLS_AT_ONCE: usize = 96;
/// The time that systemd may be off the bus before that is said: executing itself anew takes it a second at most.
const ABSENCE: Duration = Duration::from_secs(5);

/// Signals we want, as match rules. `arg0` keeps the properties of services, timers and so on away: what is asked of
/// them is asked when it is needed.
const MATCHES: [&str; 3] = [
    "type='signal',sender='org.freedesktop.systemd1',interface='org.freedesktop.systemd1.Manager',member='JobRemoved'",
    "type='signal',sender='org.freedesktop.systemd1',interface='org.freedesktop.systemd1.Manager',member='Reloading'",
    "type='signal',sender='org.freedesktop.systemd1',interface='org.freedesktop.DBus.Properties',\
     member='PropertiesChanged',path_namespace='/org/freedesktop/systemd1/unit',arg0='org.freedesktop.systemd1.Unit'",
];

/// systemd as it can be called now.
#[derive(Debug, Clone)]
struct Callee {
    calls: Arc<Calls>,
    /// The unique name of the connection that owns its name.
    owner: String,
}

/// The line.
#[derive(Debug)]
pub(super) struct Bus {
    address: Option<String>,
    callee: watch::Sender<Option<Callee>>,
    slots: Semaphore,
    signals: Arc<Mutex<SignalReader>>,
}

impl Bus {
    /// A line to the system bus, or to another one (in tests). Not connected yet: see [`Bus::keep`].
    pub(super) fn new(address: Option<String>, signals: Arc<Mutex<SignalReader>>) -> Self {
        Self {
            address,
            callee: watch::Sender::new(None),
            slots: Semaphore::new(CALLS_AT_ONCE),
            signals,
        }
    }

    /// Connects, reads signals, and connects again when the line breaks. Never returns.
    pub(super) async fn keep_connected(&self) {
        loop {
            match tokio::time::timeout(CONNECT_TIMEOUT, self.connect()).await {
                Ok(Ok((calls, line))) => {
                    let broken = self.read(&calls, line).await;
                    self.callee.send_replace(None);
                    self.with_signals(|s| s.on_connection_lost(&broken));
                }
                Ok(Err(error)) => self.with_signals(|s| s.on_connection_lost(&error.to_string())),
                Err(_) => {
                    self.with_signals(|s| s.on_connection_lost("the system bus does not answer"));
                }
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Calls one of systemd's methods.
    pub(super) async fn call_method<B, R>(
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
        let reply = self.call_for_message(path, interface, member, body).await?;
        reply.body().deserialize::<R>().map_err(|error| lost_error(member, &error))
    }

    /// The same, for a reply that is read in place.
    pub(super) async fn call_for_message<B>(
        &self,
        path: &str,
        interface: &str,
        member: &str,
        body: &B,
    ) -> Result<Message, RunnerError>
    where
        B: Serialize + DynamicType + Sync,
    {
        let _slot = self.slots.acquire().await.map_err(|error| lost_error(member, &error))?;
        let callee = self.callee.borrow().clone();
        let Callee { calls, owner } = callee
            .ok_or_else(|| lost_error(member, &"not connected to systemd on the system bus"))?;
        let method = Method { path, interface, member };
        calls.call(&owner, method, body).await.map_err(|error| match error {
            CallError::Refused { problem, .. } => RunnerError::Refused { problem },
            CallError::Absent(_) => lost_error(member, &"systemd has left the system bus"),
            CallError::Lost(problem) => lost_error(member, &problem),
        })
    }

    async fn connect(&self) -> zbus::Result<(Arc<Calls>, NameWatch)> {
        let address = self.address.as_deref();
        let calls = Arc::new(Calls::new(bus::connect(address).await?, CALL_TIMEOUT));
        let line = NameWatch::open(bus::connect(address).await?, SYSTEMD, &MATCHES).await?;
        Ok((calls, line))
    }

    /// Subscribes and reads until the line breaks; says how it broke. Between the messages it does nothing that waits.
    async fn read(&self, calls: &Arc<Calls>, mut line: NameWatch) -> String {
        // The subscription needs answers on the calls' connection while this task reads the signals' one.
        let mut subscribing = None;
        let mut absent = Some(tokio::time::Instant::now() + ABSENCE);
        loop {
            // What comes once for each owner, or once at all, is before the signals, which may come without a pause: it keeps
            // them waiting no longer than a moment, and they would keep our own calls waiting. The time of an absence is
            // behind them: after a pause of the daemon the word that systemd is back may have been read already, and while
            // systemd is away it sends no signals.
            // Every arm is cancel-safe: the end of a connection, a future that stays where it is, a message, a timer.
            tokio::select! {
                biased;
                () = calls.wait_until_closed() => return "the connection to the system bus was closed".to_owned(),
                callee = async { match subscribing.as_mut() {
                    Some(subscribing) => subscribing.await,
                    None => std::future::pending().await,
                } } => {
                    subscribing = None;
                    self.callee.send_replace(Some(callee));
                    self.with_signals(SignalReader::ask_for_relist);
                }
                heard = line.next() => match heard {
                    Ok(BusMessage::Signal(signal)) => self.on_message(&signal),
                    Ok(BusMessage::Owner(owner)) => {
                        // Nobody is called before the new owner has taken our subscription, and what the old one said
                        // of its jobs is not held for those of the new one.
                        self.callee.send_replace(None);
                        self.with_signals(|s| s.jobs.forget_early());
                        absent = owner.is_none().then(|| tokio::time::Instant::now() + ABSENCE);
                        subscribing = owner.map(|owner| {
                            Box::pin(subscribe_to_manager(Callee { calls: Arc::clone(calls), owner }))
                        });
                    }
                    Err(error) => return error.to_string(),
                },
                () = sleep_until_opt(absent) => {
                    absent = None;
                    self.with_signals(|s| s.on_connection_lost("systemd is not on the system bus"));
                }
            }
        }
    }

    /// Takes in a signal of systemd's. Each counts only where systemd sends it: at the manager or, of a property, at a unit.
    fn on_message(&self, message: &Message) {
        let header = message.header();
        let path = bus::path_of(&header);
        if is_signal(&header, PROPERTIES, "PropertiesChanged") {
            self.with_signals(|s| s.properties_changed(path, &message.body()));
        } else if path != MANAGER_PATH {
        } else if is_signal(&header, MANAGER, "JobRemoved") {
            self.with_signals(|s| s.job_removed(&message.body()));
        } else if is_signal(&header, MANAGER, "Reloading")
            // Sent with `true` before and `false` after; what was emitted in between may be lost.
            && matches!(message.body().deserialize::<bool>(), Ok(false))
        {
            self.with_signals(SignalReader::ask_for_relist);
        }
    }

    fn with_signals(&self, note: impl FnOnce(&mut SignalReader)) {
        note(&mut lock(&self.signals));
    }
}

/// Asks systemd to emit signals. That we are subscribed already is no failure, and one that cannot be asked now is
/// about to change its owner again.
async fn subscribe_to_manager(callee: Callee) -> Callee {
    let method = Method { path: MANAGER_PATH, interface: MANAGER, member: "Subscribe" };
    if let Err(error) = callee.calls.call(&callee.owner, method, &()).await {
        tracing::debug!(%error, "systemd did not take our subscription");
    }
    callee
}

fn lost_error(during: &str, problem: &dyn std::fmt::Display) -> RunnerError {
    RunnerError::Lost { during: during.to_owned(), problem: problem.to_string() }
}

#[cfg(test)]
#[path = "bus_tests.rs"]
mod tests;
