//! `update_engine`, which writes new versions of Flatcar.
//!
//! Owns the line to it: its status is asked for when it appears on the system bus, and its signals are read after that. A
//! machine without it is no error and costs one idle connection.

use std::time::Duration;

use futures::StreamExt as _;
use muster_common::reboot::DueReason;
use zbus::message::{Body, Type};
use zbus::{Connection, MessageStream};

use super::Found;
use crate::config::Source;

const NAME: &str = "com.coreos.update1";
const PATH: &str = "/com/coreos/update1";
const MANAGER: &str = "com.coreos.update1.Manager";

/// Its word for a new version that waits for the reboot.
const NEEDS_REBOOT: &str = "UPDATE_STATUS_UPDATED_NEED_REBOOT";

/// What is wanted of the bus: its signals, and its coming and going.
const MATCHES: [&str; 2] = [
    "type='signal',sender='com.coreos.update1',interface='com.coreos.update1.Manager',member='StatusUpdate'",
    "type='signal',sender='org.freedesktop.DBus',interface='org.freedesktop.DBus',member='NameOwnerChanged',\
     arg0='com.coreos.update1'",
];

/// Pause before the bus is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// `GetStatus` and `StatusUpdate`: last checked, progress, operation, new version, new size.
type Status = (i64, f64, String, String, i64);

/// Follows it on the system bus, or on another one (in tests).
pub(super) async fn follow(address: Option<String>, found: Found) {
    loop {
        if let Err(error) = read(address.as_deref(), &found).await {
            tracing::debug!(%error, "the line to update_engine broke");
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Reads until the line breaks.
async fn read(address: Option<&str>, found: &Found) -> zbus::Result<()> {
    let builder = match address {
        Some(address) => zbus::connection::Builder::address(address),
        None => zbus::connection::Builder::system(),
    };
    let bus = builder.method_timeout(Duration::from_secs(25)).build().await?;
    let mut stream = MessageStream::from(&bus);
    for rule in MATCHES {
        let bus_name = "org.freedesktop.DBus";
        let path = "/org/freedesktop/DBus";
        bus.call_method(Some(bus_name), path, Some(bus_name), "AddMatch", &rule).await?;
    }
    ask(&bus, found).await;
    while let Some(message) = stream.next().await {
        let message = message?;
        if message.message_type() != Type::Signal {
            continue;
        }
        match message.header().member().map(zbus::names::MemberName::as_str) {
            Some("StatusUpdate") => say(&message.body(), found),
            Some("NameOwnerChanged") => ask(&bus, found).await,
            _ => {}
        }
    }
    Ok(())
}

/// Asks for its status. One that is not there, or is restarted, leaves what it said before.
async fn ask(bus: &Connection, found: &Found) {
    // A service that is not installed is not to be started by asking, and one that can be started is wanted.
    if let Ok(reply) = bus.call_method(Some(NAME), PATH, Some(MANAGER), "GetStatus", &()).await {
        say(&reply.body(), found);
    }
}

fn say(body: &Body, found: &Found) {
    match body.deserialize::<Status>() {
        Ok((_, _, operation, version, _)) => {
            let due = operation == NEEDS_REBOOT;
            found.say(Source::UpdateEngine, due.then_some(DueReason::UpdateEngine { version }));
        }
        Err(error) => tracing::warn!(%error, "update_engine's status cannot be understood"),
    }
}

#[cfg(test)]
#[path = "update_engine_tests.rs"]
mod tests;
