//! What passes between the nodes and the members of etcd.
//!
//! Owns the way of messages and answers over connections, the moment of what members do by themselves, and the checks on what is asked for. What
//! members make of a message is [`crate::etcd`]'s, and what a node makes of an answer is the product's.

use muster_store::Op;
use muster_store::etcd_protocol::EtcdError;

use crate::etcd::{EtcdAnswer, EtcdCluster, EtcdDelivery, EtcdMessage, EtcdRequest, EtcdResult};
use crate::events::Event;
use crate::invariants::{guards, steps};
use crate::machine::AfterEnd;
use crate::moment::Micros;
use crate::world::World;

/// Connections of a thousand that a cut breaks for good: something on the way has forgotten them, or the far side has given them up.
const BROKEN_BY_CUT_PER_MILLE: u64 = 300;
/// The longest time after a cut until what waited for its end is sent again.
const REPEATED_WITHIN: Micros = Micros::from_secs(3);

impl World {
    /// The host of a member: members are on the first machines, and one that is alone has a host of its own.
    pub(crate) fn host_of_member(&self, member: usize) -> usize {
        if self.plan.shape.members > 1 { member } else { self.machines.len() + 1 }
    }

    /// Sends a node's message to a member on its way.
    pub(crate) fn send_message(&mut self, node: usize, member: usize, message: EtcdMessage) {
        if let EtcdMessage::Call { request, .. } = &message {
            self.check_note(node, request);
            let machine = self.machines.get(node).filter(|machine| machine.power.goes_down());
            if let (Some(machine), EtcdRequest::RevokeLease { .. }) = (machine, request) {
                self.facts.note_own_end(&machine.machine_name());
            }
        }
        let host = self.host_of_member(member);
        let is_open = self.network.is_open(node, host);
        let id = message.connection_id();
        let connection = self.connections.connection_of(id, node, member);
        if connection.is_broken {
            if matches!(message, EtcdMessage::Close { .. }) {
                self.connections.forget_connection(id);
                self.etcd.close_connection(id);
            }
            return;
        }
        if !is_open {
            connection.held_out.push(message);
            return self.coverage.count_world("message held by a cut");
        }
        let trip = self.network.draw_trip(node, host);
        if trip.breaks {
            connection.is_broken = true;
            return self.coverage.count_world("connection broken");
        }
        connection.at_member = connection.at_member.max(self.now + trip.takes);
        let at = connection.at_member;
        self.queue.push(at, Event::MessageArrives { node, member, message });
    }

    /// Checks that a daemon which asks to be counted on does not note that the store is away.
    fn check_note(&mut self, node: usize, request: &EtcdRequest) {
        let asks =
            matches!(request, EtcdRequest::KeepAlive { .. } | EtcdRequest::GrantLease { .. });
        let machine = self.machines.get(node).filter(|machine| asks && !machine.is_copy());
        let Some(machine) = machine else { return };
        let daemon = machine.daemon.as_ref();
        if daemon.is_some_and(|daemon| daemon.then == AfterEnd::Nothing) {
            let (name, noted) = (machine.machine_name(), machine.has_outage_note());
            let found = steps::check_note(&mut self.facts, &name, noted);
            self.report_violations(found);
        }
    }

    /// A message has arrived at a member.
    pub(crate) fn message_arrives(&mut self, node: usize, member: usize, message: EtcdMessage) {
        let id = message.connection_id();
        if matches!(message, EtcdMessage::Close { .. }) {
            self.connections.forget_connection(id);
        } else if let Some(machine) = self.machines.get(node) {
            let name = machine.machine_name();
            self.facts.now = self.now;
            self.facts.note_message(&name);
        }
        let told = match &message {
            EtcdMessage::Call { request: EtcdRequest::Transact { guards, ops }, reply, .. } => {
                let who = self.name_node(node);
                if reply.is_closed() {
                    self.coverage.count_world("late write");
                }
                if node < self.machines.len() {
                    let found = guards::check_commit(&who, guards, ops);
                    self.report_violations(found);
                }
                Some((who, describe_ops(ops)))
            }
            _ => None,
        };
        let now = self.members_clock.shown_at(self.now);
        let deliveries = self.etcd.on_message(now, member, message);
        if let Some((who, ops)) = told {
            let came = deliveries.iter().find(|delivery| delivery.connection == id);
            let came = describe_answer(came.and_then(EtcdDelivery::call_answer));
            if came == "conflict" {
                self.coverage.count_world("conflict");
            }
            self.trace
                .note_event(self.now, format_args!("{who} commits {ops} at etcd-{member}: {came}"));
        }
        self.carry_deliveries(deliveries);
    }

    /// Does something to the members, and carries what follows from it.
    pub(crate) fn with_etcd(
        &mut self,
        work: impl FnOnce(&mut EtcdCluster, std::time::Duration) -> Vec<EtcdDelivery>,
    ) {
        let now = self.members_clock.shown_at(self.now);
        let mut deliveries = self.etcd.advance_to(now);
        deliveries.extend(work(&mut self.etcd, now));
        self.carry_deliveries(deliveries);
    }

    /// Sends what members have said on its way, and takes note of what has changed.
    fn carry_deliveries(&mut self, deliveries: Vec<EtcdDelivery>) {
        for delivery in deliveries {
            self.send_delivery(delivery);
        }
        self.take_records();
        self.etcd_due = self.etcd.next_deadline().map(|at| self.members_clock.moment_of(at));
        self.note_store();
    }

    fn send_delivery(&mut self, delivery: EtcdDelivery) {
        let host = self.host_of_member(delivery.member);
        let Some(connection) = self.connections.find_connection(delivery.connection) else {
            return;
        };
        if connection.is_broken {
            return;
        }
        let node = connection.node;
        if !self.network.is_open(host, node) {
            connection.held_in.push(delivery);
            return self.coverage.count_world("answer held by a cut");
        }
        let trip = self.network.draw_trip(node, host);
        if trip.breaks {
            connection.is_broken = true;
            return self.coverage.count_world("connection broken");
        }
        connection.at_node = connection.at_node.max(self.now + trip.takes);
        let at = connection.at_node;
        self.queue.push(at, Event::DeliveryArrives { delivery });
    }

    /// An answer, or a message of a watch, has arrived at its node.
    pub(crate) fn delivery_arrives(&mut self, delivery: EtcdDelivery) {
        let alive = self.connections.find_connection(delivery.connection);
        if alive.is_some_and(|connection| !connection.is_broken) {
            delivery.hand_over();
        }
    }

    /// Breaks some of the connections over which nothing passes any more, as a cut begins.
    pub(crate) fn break_connections(&mut self) {
        let shape = &self.plan.shape;
        let own_host = self.machines.len() + 1;
        for (_, connection) in self.connections.all_connections() {
            let host = if shape.members > 1 { connection.member } else { own_host };
            let node = connection.node;
            let is_open = self.network.is_open(node, host) && self.network.is_open(host, node);
            if !is_open
                && !connection.is_broken
                && self.network.draw_luck(node, BROKEN_BY_CUT_PER_MILLE)
            {
                connection.is_broken = true;
                connection.held_out.clear();
                connection.held_in.clear();
                self.coverage.count_world("connection broken");
            }
        }
    }

    /// Sends again what has waited for a cut to be mended, where it is.
    pub(crate) fn repeat_messages(&mut self) {
        let shape = &self.plan.shape;
        let own_host = self.machines.len() + 1;
        for (_, connection) in self.connections.all_connections() {
            let host = if shape.members > 1 { connection.member } else { own_host };
            let node = connection.node;
            if !connection.held_out.is_empty() && self.network.is_open(node, host) {
                let after = self.network.draw_delay(node, Micros::ZERO, REPEATED_WITHIN);
                let at = connection.at_member.max(self.now + after);
                connection.at_member = at;
                let member = connection.member;
                for message in std::mem::take(&mut connection.held_out) {
                    self.queue.push(at, Event::MessageArrives { node, member, message });
                }
            }
            if !connection.held_in.is_empty() && self.network.is_open(host, node) {
                let after = self.network.draw_delay(node, Micros::ZERO, REPEATED_WITHIN);
                let at = connection.at_node.max(self.now + after);
                connection.at_node = at;
                for delivery in std::mem::take(&mut connection.held_in) {
                    self.queue.push(at, Event::DeliveryArrives { delivery });
                }
            }
        }
    }

    /// The process on a node is gone: its host ends its connections. What it has sent arrives all the same.
    pub(crate) fn end_lines(&mut self, node: usize) {
        for line in self.connections.end_lines(node) {
            self.etcd.close_line(line);
        }
    }

    /// Takes over what has changed in the records.
    fn take_records(&mut self) {
        if self.store.is_foreign() {
            return;
        }
        let (known, present) = (self.store.known_revision, self.etcd.agreed_model().revision());
        if present <= known {
            return;
        }
        self.store.known_revision = present;
        for (revision, changes) in self.etcd.agreed_model().all_changes_between(known + 1, present)
        {
            self.note_changes(revision, &changes);
        }
    }
}

fn describe_ops(ops: &[Op]) -> String {
    let one = |op: &Op| match op {
        Op::Put { key, .. } => format!("+{key}"),
        Op::Delete { key } => format!("-{key}"),
    };
    ops.iter().map(one).collect::<Vec<_>>().join(" ")
}

fn describe_answer(answer: Option<&EtcdResult>) -> String {
    match answer {
        Some(Ok(EtcdAnswer::Transaction(outcome))) if outcome.succeeded => {
            format!("at {}", outcome.revision)
        }
        Some(Ok(EtcdAnswer::Transaction(_))) => "conflict".to_owned(),
        Some(Ok(_)) => "done".to_owned(),
        Some(Err(error)) => describe_error(error),
        None => "no answer yet".to_owned(),
    }
}

fn describe_error(error: &EtcdError) -> String {
    format!("{error:?}")
}
