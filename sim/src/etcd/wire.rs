//! What passes between a daemon's line and the members, as data.
//!
//! Owns the form of messages and nothing about their way: latency, loss and cuts are the world's, which stands behind [`EtcdWire`]. A
//! message that the world drops is silence for whoever waits, as a lost packet is; a connection that breaks is an answer that says so
//! ([`refusal::connection_reset`](super::refusal::connection_reset)).

use muster_store::etcd_protocol::{EtcdError, WatchMessage, WatchQuery};
use tokio::sync::{mpsc, oneshot};

use super::request::{EtcdRequest, EtcdResult};

/// Names a connection: the line it belongs to, and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EtcdConnectionId {
    /// The line: one life of one daemon.
    pub line: u32,
    /// The number.
    pub number: u32,
}

/// Names a watch stream: the connection it belongs to, and its number on that line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EtcdStreamId {
    /// The connection.
    pub connection: EtcdConnectionId,
    /// The number.
    pub stream: u32,
}

/// A message from a line to a member.
#[derive(Debug)]
pub enum EtcdMessage {
    /// A request with one answer.
    Call {
        /// The connection it comes by.
        connection: EtcdConnectionId,
        /// The request.
        request: EtcdRequest,
        /// Where the answer is waited for. Whoever does not wait any more has dropped the other end.
        reply: oneshot::Sender<EtcdResult>,
    },
    /// Opens a watch.
    OpenWatch {
        /// Its name.
        stream: EtcdStreamId,
        /// The keys, and the revision to begin at.
        query: WatchQuery,
        /// Where its messages go.
        messages: mpsc::UnboundedSender<Result<WatchMessage, EtcdError>>,
    },
    /// Asks a watch for a sign of life.
    RequestProgress {
        /// Which.
        stream: EtcdStreamId,
    },
    /// Ends a watch.
    CloseWatch {
        /// Which.
        stream: EtcdStreamId,
    },
    /// Ends a connection.
    Close {
        /// Which.
        connection: EtcdConnectionId,
    },
}

impl EtcdMessage {
    /// The connection it comes by.
    pub fn connection_id(&self) -> EtcdConnectionId {
        match self {
            Self::Call { connection, .. } | Self::Close { connection } => *connection,
            Self::OpenWatch { stream, .. }
            | Self::RequestProgress { stream }
            | Self::CloseWatch { stream } => stream.connection,
        }
    }
}

/// The way of a daemon's messages to the members. The world implements it, with a queue.
pub trait EtcdWire: Send + Sync + 'static {
    /// Sends a message to a member.
    fn send_message(&self, member: usize, message: EtcdMessage);
}

/// A message from a member to a line, on its way. [`Self::hand_over`] is its arrival; dropping it is its loss.
#[derive(Debug)]
pub struct EtcdDelivery {
    /// The member it comes from.
    pub member: usize,
    /// The connection it goes by.
    pub connection: EtcdConnectionId,
    body: DeliveryForm,
}

#[derive(Debug)]
enum DeliveryForm {
    Answer {
        reply: oneshot::Sender<EtcdResult>,
        answer: EtcdResult,
    },
    Message {
        messages: mpsc::UnboundedSender<Result<WatchMessage, EtcdError>>,
        message: Result<WatchMessage, EtcdError>,
    },
}

impl EtcdDelivery {
    /// The answer to a call.
    pub(super) fn of_answer(
        member: usize,
        connection: EtcdConnectionId,
        reply: oneshot::Sender<EtcdResult>,
        answer: EtcdResult,
    ) -> Self {
        Self { member, connection, body: DeliveryForm::Answer { reply, answer } }
    }

    /// A message of a watch; an error is its last.
    pub(super) fn of_message(
        member: usize,
        connection: EtcdConnectionId,
        messages: mpsc::UnboundedSender<Result<WatchMessage, EtcdError>>,
        message: Result<WatchMessage, EtcdError>,
    ) -> Self {
        Self { member, connection, body: DeliveryForm::Message { messages, message } }
    }

    /// Gives it to whoever waits for it, if anybody does.
    pub fn hand_over(self) {
        // Whoever waits no longer misses nothing.
        match self.body {
            DeliveryForm::Answer { reply, answer } => drop(reply.send(answer)),
            DeliveryForm::Message { messages, message } => drop(messages.send(message)),
        }
    }

    /// Breaks the connection instead: whoever waits is told that it was reset.
    #[must_use]
    pub fn into_reset(self) -> Self {
        let reset = super::refusal::connection_reset;
        let body = match self.body {
            DeliveryForm::Answer { reply, .. } => {
                DeliveryForm::Answer { reply, answer: Err(reset()) }
            }
            DeliveryForm::Message { messages, .. } => {
                DeliveryForm::Message { messages, message: Err(reset()) }
            }
        };
        Self { body, ..self }
    }

    /// The answer, if it is one to a call.
    pub fn call_answer(&self) -> Option<&EtcdResult> {
        match &self.body {
            DeliveryForm::Answer { answer, .. } => Some(answer),
            DeliveryForm::Message { .. } => None,
        }
    }

    /// True for the answer to a call, false for a message of a watch.
    pub fn is_answer(&self) -> bool {
        matches!(self.body, DeliveryForm::Answer { .. })
    }
}
