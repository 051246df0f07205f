//! The users: a node of their own from which they ask daemons, as `musterctl` does.
//!
//! Owns the making of requests and the notes of what users were told. Users do not wait for each other. What was said to them is
//! judged by [`crate::invariants`].

mod doctor;
mod errand;
mod machines;
mod notes;
mod units;
mod waits;

use std::sync::Arc;
use std::time::Duration;

use muster_common::unit::UnitName;
use muster_runtime::simulated::Node;
use muster_store::{Op, Store};

use crate::api_line::ApiLine;
use crate::etcd::{LineOptions, open_line};
use crate::moment::Micros;
use crate::plan::shape::Shape;
use crate::plan::users::{PlannedRequest, UserRequest};
use crate::wire::{Outbox, Outgoing};
use errand::Errand;
use notes::Notes;
pub(crate) use notes::{UserNote, WaitNote};

/// The users' node.
pub(crate) struct SimulatedUsers {
    node: Node,
    outbox: Outbox,
    /// The store, for those who write into it by hand.
    store: Arc<dyn Store>,
    notes: Notes,
}

impl SimulatedUsers {
    /// Users who have not asked for anything yet.
    pub(crate) fn new(line: &LineOptions) -> Self {
        let (node, outbox) = (Node::new(Duration::ZERO), Outbox::default());
        let wire = Arc::new(outbox.clone());
        let store = node.enter(|| open_line(wire, line)).unwrap_or_else(|_| unreachable!());
        Self { node, outbox, store, notes: Notes::default() }
    }

    /// Writes into the store by hand. Nobody waits for the answer.
    pub(crate) fn write_by_hand(&self, ops: Vec<Op>) {
        let store = Arc::clone(&self.store);
        self.node.spawn(async move {
            let _ = store.commit(Vec::new(), ops).await;
        });
    }

    /// The moment at which users want to go on.
    pub(crate) fn next_deadline(&self) -> Option<Micros> {
        self.node.next_deadline().map(Micros::from)
    }

    /// Lets users go on. Returns what leaves them.
    pub(crate) fn run_users(&self, now: Micros) -> Vec<Outgoing> {
        self.node.run_at(now.to_duration());
        self.outbox.take_all()
    }

    /// Takes the notes of what users were told.
    pub(crate) fn take_notes(&self) -> Vec<UserNote> {
        self.notes.take_all()
    }

    /// Makes a request. Returns the unit it is about, if it is about one.
    pub(crate) fn make_request(
        &self,
        number: usize,
        planned: &PlannedRequest,
        shape: &Shape,
    ) -> Option<UnitName> {
        let errand = Errand {
            number,
            line: ApiLine::new(self.outbox.clone()),
            notes: self.notes.clone(),
            machines: shape.machines,
            to: planned.to,
            manner: planned.manner,
        };
        let Some(story) = units::UnitStory::of_request(&planned.request, shape) else {
            let request = planned.request.clone();
            self.node.spawn(async move {
                match request {
                    UserRequest::Doctor => errand.ask_doctor().await,
                    UserRequest::Look => errand.look_around().await,
                    request => errand.ask_about_machines(&request).await,
                }
            });
            return None;
        };
        let unit = story.name.clone();
        self.node.spawn(async move { errand.change_unit(story).await });
        Some(unit)
    }
}
