//! The line to systemd: two connections to the system bus, kept up.
//!
//! Owns connecting, subscribing, and reading signals as fast as they come. The second connection is for calls alone:
//! zbus stops reading a socket while one of its queues is full, so replies must not share a socket with signals.
//! It never asks systemd for anything by itself but to subscribe, and believes nobody but the connection that owns
//! systemd's name at that moment (see [`crate::bus`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use muster_common::state::ActiveState;
use muster_common::unit::UnitName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Semaphore, watch};
use zbus::zvariant::{DynamicType, Type as Signature};
use zbus::{Message, OwnedObjectPath, OwnedVariant};

use super::manager::{
    JobId, JobKind, ListedUnit, ManagerSignal, PropertyValue, SignalSink, SystemdManager,
    UnitProperty,
};
use super::wire::{self, UnitEntry};
use crate::bus::{self, BusMessage, CallError, Calls, Method, NameWatch, is_signal};
use crate::runner::RunnerError;
use crate::stdx::timer::sleep_until_opt;

/// systemd's name on the bus.
const SYSTEMD: &str = "org.freedesktop.systemd1";
/// Its one object that is no unit and no job.
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
/// The interface of that object.
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
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
/// Units of which a listing is asked for by their names. systemd compares each with all it has loaded, which for more costs it as much
/// as to list them all.
const NAMED_AT_MOST: usize = 16;
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
pub(super) struct Bus {
    address: Option<String>,
    callee: watch::Sender<Option<Callee>>,
    slots: Semaphore,
    signals: Arc<dyn SignalSink>,
}

impl Bus {
    /// A line to the system bus, or to another one (in tests). Not connected yet: see [`SystemdManager::keep_connected`].
    pub(super) fn new(address: Option<String>, signals: Arc<dyn SignalSink>) -> Self {
        Self {
            address,
            callee: watch::Sender::new(None),
            slots: Semaphore::new(CALLS_AT_ONCE),
            signals,
        }
    }

    /// Calls one of systemd's methods.
    async fn call_method<B, R>(
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
    async fn call_for_message<B>(
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
        calls.call_method(&owner, method, body).await.map_err(|error| match error {
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
        let mut absent = Some(muster_runtime::Instant::now() + ABSENCE);
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
                    self.signals.on_signal(ManagerSignal::Connected);
                }
                heard = line.next() => match heard {
                    Ok(BusMessage::Signal(signal)) => self.on_message(&signal),
                    Ok(BusMessage::Owner(owner)) => {
                        // Nobody is called before the new owner has taken our subscription, and what the old one said
                        // of its jobs is not held for those of the new one.
                        self.callee.send_replace(None);
                        self.signals.on_signal(ManagerSignal::OwnerChanged);
                        absent = owner.is_none().then(|| muster_runtime::Instant::now() + ABSENCE);
                        subscribing = owner.map(|owner| {
                            Box::pin(subscribe_to_manager(Callee { calls: Arc::clone(calls), owner }))
                        });
                    }
                    Err(error) => return error.to_string(),
                },
                () = sleep_until_opt(absent) => {
                    absent = None;
                    self.say_lost("systemd is not on the system bus");
                }
            }
        }
    }

    /// Takes in a signal of systemd's. Each counts only where systemd sends it: at the manager or, of a property, at a unit.
    fn on_message(&self, message: &Message) {
        let header = message.header();
        let path = bus::path_of(&header);
        let signal = if is_signal(&header, PROPERTIES, "PropertiesChanged") {
            let unit = wire::unit_of(path).filter(|unit| self.signals.is_watched(unit));
            unit.and_then(|unit| wire::unit_changed(unit, &message.body()))
        } else if path != MANAGER_PATH {
            None
        } else if is_signal(&header, MANAGER, "JobRemoved") {
            wire::job_removed(&message.body())
        } else if is_signal(&header, MANAGER, "Reloading") {
            // Sent with `true` before and `false` after; what was emitted in between may be lost.
            let over = matches!(message.body().deserialize::<bool>(), Ok(false));
            over.then_some(ManagerSignal::Reloaded)
        } else {
            None
        };
        if let Some(signal) = signal {
            self.signals.on_signal(signal);
        }
    }

    fn say_lost(&self, problem: &str) {
        self.signals.on_signal(ManagerSignal::Lost { problem: problem.to_owned() });
    }

    /// A property of the manager's own; `None` if it has another type than expected.
    async fn manager_property<T>(&self, name: &str) -> Result<Option<T>, RunnerError>
    where
        T: TryFrom<OwnedVariant>,
    {
        let value: OwnedVariant =
            self.call_method(MANAGER_PATH, PROPERTIES, "Get", &(MANAGER, name)).await?;
        Ok(T::try_from(value).ok())
    }
}

#[async_trait]
impl SystemdManager for Bus {
    async fn keep_connected(&self) {
        loop {
            match tokio::time::timeout(CONNECT_TIMEOUT, self.connect()).await {
                Ok(Ok((calls, line))) => {
                    let broken = self.read(&calls, line).await;
                    self.callee.send_replace(None);
                    self.say_lost(&broken);
                }
                Ok(Err(error)) => self.say_lost(&error.to_string()),
                Err(_) => self.say_lost("the system bus does not answer"),
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn list_units(
        &self,
        units: &BTreeSet<UnitName>,
    ) -> Result<BTreeMap<UnitName, ListedUnit>, RunnerError> {
        // One listing of what is loaded. A query by name (`ListUnitsByNames`) would load each unit it does not know, for nothing.
        let reply = if units.len() > NAMED_AT_MOST {
            self.call_for_message(MANAGER_PATH, MANAGER, "ListUnits", &()).await?
        } else {
            // No name of a unit has a letter that means something in a pattern: a backslash is one like others to systemd.
            let states: [&str; 0] = [];
            let names: Vec<&str> = units.iter().map(UnitName::as_str).collect();
            let body = (&states[..], names);
            self.call_for_message(MANAGER_PATH, MANAGER, "ListUnitsByPatterns", &body).await?
        };
        let body = reply.body();
        let listed: Vec<UnitEntry<'_>> =
            body.deserialize().map_err(|error| lost_error("ListUnits", &error))?;
        let asked: BTreeMap<&str, &UnitName> =
            units.iter().map(|unit| (unit.as_str(), unit)).collect();
        let found = listed.iter().filter_map(|entry| {
            let unit = *asked.get(entry.0)?;
            let (load, active) = (entry.2.to_owned(), ActiveState::from(entry.3));
            Some((unit.clone(), ListedUnit { load, active, sub: entry.4.to_owned() }))
        });
        Ok(found.collect())
    }

    async fn read_property(
        &self,
        unit: &UnitName,
        property: UnitProperty,
    ) -> Result<PropertyValue, RunnerError> {
        let asked = wire::property_name(property);
        let value: OwnedVariant =
            self.call_method(&wire::path_of(unit), PROPERTIES, "Get", &asked).await?;
        wire::property_value(&value).ok_or_else(|| {
            let during = format!("reading {} of {unit}", asked.1);
            lost_error(&during, &"it has another type than expected")
        })
    }

    async fn enqueue_job(&self, kind: JobKind, unit: &UnitName) -> Result<JobId, RunnerError> {
        let (member, body) = (wire::job_method(kind), (unit.as_str(), "replace"));
        let job: OwnedObjectPath = self.call_method(MANAGER_PATH, MANAGER, member, &body).await?;
        Ok(JobId(job.as_str().to_owned()))
    }

    async fn enable_units(&self, units: &[UnitName]) -> Result<(), RunnerError> {
        let names: Vec<&str> = units.iter().map(UnitName::as_str).collect();
        let body = (names, true, false);
        self.call_for_message(MANAGER_PATH, MANAGER, "EnableUnitFiles", &body).await.map(|_| ())
    }

    async fn disable_units(&self, units: &[UnitName]) -> Result<(), RunnerError> {
        let names: Vec<&str> = units.iter().map(UnitName::as_str).collect();
        let body = (names, true);
        self.call_for_message(MANAGER_PATH, MANAGER, "DisableUnitFiles", &body).await.map(|_| ())
    }

    async fn reset_failed(&self, unit: &UnitName) -> Result<(), RunnerError> {
        let body = (unit.as_str(),);
        self.call_for_message(MANAGER_PATH, MANAGER, "ResetFailedUnit", &body).await.map(|_| ())
    }

    async fn reload_units(&self) -> Result<(), RunnerError> {
        self.call_method(MANAGER_PATH, MANAGER, "Reload", &()).await
    }

    async fn unit_path(&self) -> Result<Vec<String>, RunnerError> {
        Ok(self.manager_property("UnitPath").await?.unwrap_or_default())
    }

    async fn own_group(&self) -> Result<String, RunnerError> {
        Ok(self.manager_property("ControlGroup").await?.unwrap_or_default())
    }
}

/// Asks systemd to emit signals. That we are subscribed already is no failure, and one that cannot be asked now is
/// about to change its owner again.
async fn subscribe_to_manager(callee: Callee) -> Callee {
    let method = Method { path: MANAGER_PATH, interface: MANAGER, member: "Subscribe" };
    if let Err(error) = callee.calls.call_method(&callee.owner, method, &()).await {
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
