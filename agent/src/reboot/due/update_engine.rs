//! `update_engine`, which writes new versions of Flatcar.
//!
//! Owns the line to it: its status is asked for when it appears on the system bus, and its signals are read after that. A
//! machine without it is no error and costs one idle connection. Only the connection that owns its name is believed:
//! whoever is, reboots this machine.

use std::time::Duration;

use muster_engine::reboot::due::reason_of_update;
use zbus::Message;
use zbus::message::{Body, Sequence};

use super::reasons::DueReasons;
use crate::bus::{self, BusMessage, CallError, Calls, Method, NameWatch};
use crate::config::DueSource;

const NAME: &str = "com.coreos.update1";
const PATH: &str = "/com/coreos/update1";
const MANAGER: &str = "com.coreos.update1.Manager";

/// Its signals, as a match rule.
const MATCHES: [&str; 1] = [
    "type='signal',sender='com.coreos.update1',interface='com.coreos.update1.Manager',member='StatusUpdate'",
];

/// The time that it may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(25);
/// Pause before the bus is tried again.
const BUS_RETRY: Duration = Duration::from_secs(5);

/// `GetStatus` and `StatusUpdate`: last checked, progress, operation, new version, new size.
type EngineStatus = (i64, f64, String, String, i64);

/// Follows it on the system bus, or on another one (in tests).
pub(super) async fn follow_update_engine(address: Option<String>, reasons: DueReasons) {
    loop {
        if let Err(error) = read_signals(address.as_deref(), &reasons).await {
            tracing::debug!(%error, "the line to update_engine broke");
        }
        muster_runtime::sleep(BUS_RETRY).await;
    }
}

/// Reads until the line breaks.
async fn read_signals(address: Option<&str>, reasons: &DueReasons) -> zbus::Result<()> {
    let connection = bus::connect(address).await?;
    let calls = Calls::new(connection.clone(), ANSWER_LIMIT);
    let mut line = NameWatch::open(connection, NAME, &MATCHES).await?;
    // What is under way: the question to the present owner. Nothing else may wait while signals come.
    let mut asking = None;
    let mut signalled = Sequence::default();
    loop {
        tokio::select! {
            biased;
            // Cancel-safe.
            heard = line.next() => match heard? {
                BusMessage::Owner(owner) => asking = Some(Box::pin(ask_status(&calls, owner))),
                BusMessage::Signal(signal) => {
                    let header = signal.header();
                    let status = bus::is_signal(&header, MANAGER, "StatusUpdate");
                    if status && bus::path_of(&header) == PATH {
                        signalled = signal.recv_position();
                        take_status(&signal.body(), reasons);
                    }
                }
            },
            asked = async { match asking.as_mut() {
                Some(asking) => asking.await,
                None => std::future::pending().await,
            } } => {
                asking = None;
                match asked {
                    // What it has signalled since is newer.
                    Ok(Some(reply)) if reply.recv_position() > signalled => take_status(&reply.body(), reasons),
                    Ok(_) => {}
                    Err(error) => tracing::debug!(%error, "update_engine does not say how it is"),
                }
            }
        }
    }
}

/// Asks for its status. One that is not there, or is restarted, leaves what it said before; one that the bus can start is
/// wanted, and is asked when it has come.
async fn ask_status(calls: &Calls, owner: Option<String>) -> Result<Option<Message>, CallError> {
    let Some(owner) = owner else { return calls.start(NAME).await.map(|()| None) };
    let method = Method { path: PATH, interface: MANAGER, member: "GetStatus" };
    calls.call_method(&owner, method, &()).await.map(Some)
}

fn take_status(body: &Body, reasons: &DueReasons) {
    match body.deserialize::<EngineStatus>() {
        Ok((_, _, operation, version, _)) => {
            reasons.set_reason(DueSource::UpdateEngine, reason_of_update(&operation, version));
        }
        Err(error) => tracing::warn!(%error, "update_engine's status cannot be understood"),
    }
}

#[cfg(test)]
#[path = "update_engine_tests.rs"]
mod tests;
