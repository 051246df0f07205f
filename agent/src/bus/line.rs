//! A name on the bus, and what its owner says.
//!
//! Owns knowing which connection owns a well-known name, from one message to the next: the matches are asked for before the
//! owner is, on one connection, whose messages the bus keeps in order, so that no change falls in between. Signals of
//! anybody else, and all while the owner is not known, are dropped.

use std::collections::HashSet;
use std::num::NonZeroU32;

use futures::StreamExt as _;
use serde::Serialize;
use zbus::message::Type;
use zbus::zvariant::DynamicType;
use zbus::{Connection, Message, MessageStream};

use super::{BUS, BUS_PATH, NO_OWNER, is_from, is_signal, path_of};

/// Something to be believed.
#[derive(Debug)]
pub(crate) enum BusMessage {
    /// The name is owned by the connection of this unique name from now on, or by none. It is said once at the beginning
    /// and with every change; what earlier owners said is out of date with it.
    Owner(Option<String>),
    /// A signal of the present owner. Its path and interface are whatever the owner has written.
    Signal(Message),
}

/// The line. Nothing else reads from its connection, and it is read all the time: a queue that fills up stops the socket.
#[derive(Debug)]
pub(crate) struct NameWatch {
    name: &'static str,
    connection: Connection,
    stream: MessageStream,
    /// Calls of ours that have no reply yet: for matches, and for the owner.
    matches: HashSet<NonZeroU32>,
    asked: Option<NonZeroU32>,
    /// The owner; none while there is none, or it is not known.
    owner: Option<String>,
}

impl NameWatch {
    /// Asks for signals, by match rules, and for the owner of the name. A rule should name the name as its `sender`, or the
    /// bus sends what others broadcast too, only to be dropped here.
    pub(crate) async fn open(
        connection: Connection,
        name: &'static str,
        rules: &[&str],
    ) -> zbus::Result<Self> {
        let stream = MessageStream::from(&connection);
        let matches = HashSet::new();
        let mut line = Self { name, connection, stream, matches, asked: None, owner: None };
        let changes = format!(
            "type='signal',sender='{BUS}',interface='{BUS}',member='NameOwnerChanged',arg0='{name}'"
        );
        for rule in [changes.as_str()].iter().chain(rules) {
            let number = line.send_to_bus("AddMatch", rule).await?;
            line.matches.insert(number);
        }
        line.asked = Some(line.send_to_bus("GetNameOwner", &name).await?);
        Ok(line)
    }

    /// The next thing to be believed; an error when the line has broken. Cancel-safe: what was read is returned.
    pub(crate) async fn next(&mut self) -> zbus::Result<BusMessage> {
        loop {
            let closed = || zbus::Error::Failure("the connection to the bus was closed".to_owned());
            let message = self.stream.next().await.ok_or_else(closed)??;
            if let Some(heard) = self.read_message(&message)? {
                return Ok(heard);
            }
        }
    }

    /// Sends a call to the bus without waiting for its reply, which [`Line::judge`] finds. Returns its number.
    async fn send_to_bus<B>(&self, member: &str, body: &B) -> zbus::Result<NonZeroU32>
    where
        B: Serialize + DynamicType + Sync,
    {
        let call = Message::method_call(BUS_PATH, member).destination(BUS).interface(BUS);
        let call = call.build(body)?;
        let number = call.primary_header().serial_num();
        self.connection.send(&call).await?;
        Ok(number)
    }

    /// The content of a message, if it is to be believed.
    fn read_message(&mut self, message: &Message) -> zbus::Result<Option<BusMessage>> {
        let header = message.header();
        if is_from(&header, BUS) {
            let change =
                path_of(&header) == BUS_PATH && is_signal(&header, BUS, "NameOwnerChanged");
            return match message.message_type() {
                Type::Signal if change => Ok(self.on_owner_changed(message)),
                Type::MethodReturn | Type::Error => self.on_reply(message),
                _ => Ok(None),
            };
        }
        let from_owner = self.owner.as_ref().is_some_and(|owner| is_from(&header, owner));
        if message.message_type() == Type::Signal && !from_owner {
            tracing::trace!(sender = ?header.sender(), name = self.name, "a signal of somebody else");
        }
        let believed = from_owner && message.message_type() == Type::Signal;
        Ok(believed.then(|| BusMessage::Signal(message.clone())))
    }

    fn on_owner_changed(&mut self, message: &Message) -> Option<BusMessage> {
        let body = message.body();
        let (name, _, new) = body.deserialize::<(&str, &str, &str)>().ok()?;
        // Before the first answer there is nothing to be changed: the answer, which is still to come, knows of it.
        if name != self.name || self.asked.is_some() {
            return None;
        }
        let owner = Some(new.to_owned()).filter(|new| !new.is_empty());
        self.owner.clone_from(&owner);
        Some(BusMessage::Owner(owner))
    }

    fn on_reply(&mut self, message: &Message) -> zbus::Result<Option<BusMessage>> {
        let header = message.header();
        let Some(number) = header.reply_serial() else { return Ok(None) };
        let failed = message.message_type() == Type::Error;
        if self.matches.remove(&number) && failed {
            return Err(zbus::Error::from(message.clone()));
        }
        if self.asked != Some(number) {
            return Ok(None);
        }
        self.asked = None;
        let nobody = header.error_name().is_some_and(|name| name.as_str() == NO_OWNER);
        let owner = match (failed, nobody) {
            (false, _) => Some(message.body().deserialize::<String>()?),
            (true, true) => None,
            (true, false) => return Err(zbus::Error::from(message.clone())),
        };
        self.owner.clone_from(&owner);
        Ok(Some(BusMessage::Owner(owner)))
    }
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
