//! Calls, and the replies of those that were called.
//!
//! Owns the pairing of a call with its reply. A method is called at a unique name, so that it is known beforehand who will
//! answer; what anybody else sends under the same number is passed over, and the answer is waited for all the same. The
//! one that may speak up besides is the bus, which says that nobody is there, or that it does not pass the call on.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use futures::StreamExt as _;
use serde::Serialize;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use zbus::message::Type;
use zbus::zvariant::DynamicType;
use zbus::{Connection, Message, MessageStream};

use super::{BUS, BUS_PATH, NO_OWNER, is_from};

use crate::stdx::sync::lock;

/// The bus's words for a call that it does not pass on.
const DENIED: &str = "org.freedesktop.DBus.Error.AccessDenied";

/// Why a call has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallError {
    /// The one that was called says no, or the bus does not let us call it.
    #[error("{problem}")]
    Refused {
        /// The error's name on the bus.
        name: String,
        /// In the other's words.
        problem: String,
    },
    /// Nobody is there to be called.
    #[error("{0} is not on the bus")]
    Absent(String),
    /// It is not known whether it was heard: the line broke, the bus gave up on it, or no answer came in time.
    #[error("{0}")]
    Lost(String),
}

/// A method of an object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Method<'a> {
    /// The object.
    pub(crate) path: &'a str,
    /// The interface.
    pub(crate) interface: &'a str,
    /// The method.
    pub(crate) member: &'a str,
}

/// Calls that wait, by number.
type OpenCalls = Mutex<HashMap<NonZeroU32, (String, oneshot::Sender<Message>)>>;

/// A connection, for calls.
#[derive(Debug)]
pub(crate) struct Calls {
    connection: Connection,
    open: Arc<OpenCalls>,
    answer_timeout: Duration,
    reader: JoinHandle<()>,
}

impl Drop for Calls {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Calls {
    /// Begins to read a connection's replies. `answer_timeout` is how long each may take.
    pub(crate) fn new(connection: Connection, answer_timeout: Duration) -> Self {
        let open: Arc<OpenCalls> = Arc::default();
        let stream = MessageStream::from(&connection);
        let reader = tokio::spawn(read(stream, Arc::clone(&open)));
        Self { connection, open, answer_timeout, reader }
    }

    /// Resolves when the connection is closed.
    pub(crate) async fn wait_until_closed(&self) {
        self.connection.closed().await;
    }

    /// True when the connection is known to be closed: nothing that is asked over it is heard.
    pub(crate) fn is_closed(&self) -> bool {
        self.reader.is_finished() || self.wait_until_closed().now_or_never().is_some()
    }

    /// The unique name of the connection that owns a name now; `None` when none does.
    pub(crate) async fn owner_of(&self, name: &str) -> Result<Option<String>, CallError> {
        let method = Method { path: BUS_PATH, interface: BUS, member: "GetNameOwner" };
        match self.call_method(BUS, method, &name).await {
            Ok(reply) => {
                let owner = reply.body().deserialize::<String>();
                owner.map(Some).map_err(|error| CallError::Lost(error.to_string()))
            }
            Err(CallError::Refused { name, .. }) if name == NO_OWNER => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Has the bus start what owns a name, where it knows how. That it does not is no failure.
    pub(crate) async fn start(&self, name: &str) -> Result<(), CallError> {
        let method = Method { path: BUS_PATH, interface: BUS, member: "StartServiceByName" };
        match self.call_method(BUS, method, &(name, 0_u32)).await {
            Ok(_) | Err(CallError::Refused { .. } | CallError::Absent(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Calls a method at a unique name, and waits for the reply of its bearer.
    pub(crate) async fn call_method<B>(
        &self,
        to: &str,
        method: Method<'_>,
        body: &B,
    ) -> Result<Message, CallError>
    where
        B: Serialize + DynamicType + Sync,
    {
        let lost = |error: zbus::Error| CallError::Lost(error.to_string());
        let message = Message::method_call(method.path, method.member)
            .destination(to)
            .interface(method.interface)
            .build(body)
            .map_err(lost)?;
        let (sender, receiver) = oneshot::channel();
        let number = message.primary_header().serial_num();
        let _waiting = PendingCall { number, open: &self.open };
        lock(&self.open).insert(number, (to.to_owned(), sender));
        let answer = async {
            self.connection.send(&message).await.map_err(lost)?;
            receiver.await.map_err(|_| CallError::Lost("the connection was closed".to_owned()))
        };
        match tokio::time::timeout(self.answer_timeout, answer).await {
            Ok(reply) => read_reply(to, reply?),
            Err(_) => Err(CallError::Lost("no answer in time".to_owned())),
        }
    }
}

/// A call that somebody waits for; dropping it ends the waiting.
struct PendingCall<'a> {
    number: NonZeroU32,
    open: &'a OpenCalls,
}

impl Drop for PendingCall<'_> {
    fn drop(&mut self) {
        lock(self.open).remove(&self.number);
    }
}

/// Hands replies to those who wait for them, until the connection is closed.
async fn read(mut stream: MessageStream, open: Arc<OpenCalls>) {
    while let Some(Ok(message)) = stream.next().await {
        let kind = message.message_type();
        if !matches!(kind, Type::MethodReturn | Type::Error) {
            continue;
        }
        let header = message.header();
        let Some(number) = header.reply_serial() else { continue };
        let mut open = lock(&open);
        let Some((to, _)) = open.get(&number) else { continue };
        if is_from(&header, to) || (kind == Type::Error && is_from(&header, BUS)) {
            if let Some((_, sender)) = open.remove(&number) {
                let _ = sender.send(message.clone());
            }
        } else {
            tracing::debug!(sender = ?header.sender(), "a reply from one that was not asked");
        }
    }
    // Whoever still waits learns that nothing comes any more.
    lock(&open).clear();
}

fn read_reply(to: &str, reply: Message) -> Result<Message, CallError> {
    if reply.message_type() != Type::Error {
        return Ok(reply);
    }
    let header = reply.header();
    let name = header.error_name().map(ToString::to_string).unwrap_or_default();
    let body = reply.body();
    let problem = body.deserialize_ignore_signature::<&str>().map_or(name.clone(), str::to_owned);
    if to == BUS || name == DENIED || !is_from(&header, BUS) {
        return Err(CallError::Refused { name, problem });
    }
    match name.as_str() {
        "org.freedesktop.DBus.Error.ServiceUnknown" | NO_OWNER => {
            Err(CallError::Absent(to.to_owned()))
        }
        _ => Err(CallError::Lost(problem)),
    }
}

#[cfg(test)]
#[path = "calls_tests.rs"]
mod tests;
