//! What passes between a process on a node and the world.
//!
//! Owns the requests that leave a node, as data, and the places where answers come back. Nothing here waits for anything real, and
//! nothing here is lost: that is the world's doing.

use std::sync::{Arc, Mutex, PoisonError};

use crate::api_call::ApiCall;
use crate::etcd::{EtcdMessage, EtcdWire};

/// A request on its way out of a node.
#[derive(Debug)]
pub(crate) enum Outgoing {
    Etcd { member: usize, message: EtcdMessage },
    Api(ApiCall),
}

/// Requests that a node has made and the world has not taken yet, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outbox(Arc<Mutex<Vec<Outgoing>>>);

impl Outbox {
    /// Adds a request.
    pub(crate) fn put(&self, request: Outgoing) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(request);
    }

    /// Takes all requests out.
    pub(crate) fn take_all(&self) -> Vec<Outgoing> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl EtcdWire for Outbox {
    fn send_message(&self, member: usize, message: EtcdMessage) {
        self.put(Outgoing::Etcd { member, message });
    }
}
