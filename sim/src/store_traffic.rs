//! What passes between the nodes and the store.
//!
//! Owns the way of requests, answers and watches, the leases' end, and the checks on what is asked for. The store itself is [`crate::store_server`]'s.

use muster_store::{CommitOutcome, StoreError, WatchEvent};

use crate::events::{Event, StoreReply};
use crate::invariants::guards;
use crate::moment::Micros;
use crate::network::Way;
use crate::store_server::WatchNews;
use crate::wire::{StoreAnswer, StoreCall, StoreResult};
use crate::world::World;

/// The longest that a line is silent before its node notices.
const SILENCE: Micros = Micros::from_secs(6);
/// The longest pause before a node tries a broken watch again.
const WATCH_RETRY: Micros = Micros::from_secs(2);

impl World {
    pub(crate) fn send_call(&mut self, node: usize, call: StoreCall, reply: StoreReply) {
        if self.store.refuses_calls() {
            let unreachable = StoreError::Unavailable { during: "a call".to_owned(), source: None };
            let soon = self.network.draw_delay(node, Micros(200), Micros::from_millis(50));
            let result = Err(unreachable);
            return self.queue.push(self.now + soon, Event::AnswerArrives { reply, result });
        }
        match self.network.carry_message(node, Way::ToStore) {
            Some(takes) => {
                self.queue.push(self.now + takes, Event::CallArrives { node, call, reply });
            }
            None => self.coverage.count_world("call lost"),
        }
    }

    /// A request has arrived at the store.
    pub(crate) fn call_arrives(&mut self, node: usize, call: StoreCall, reply: StoreReply) {
        if self.store.refuses_calls() {
            return self.coverage.count_world("call lost in an absent store");
        }
        if !self.store.is_there() {
            // It lies in the socket. Half of those whose clients have given up by then are carried out all the same.
            if self.network.draw_luck(node, 500) {
                self.waiting_calls.push((node, call, reply));
            }
            return;
        }
        self.carry_out(node, call, reply);
    }

    /// The store carries a request out, and answers.
    pub(crate) fn carry_out(&mut self, node: usize, call: StoreCall, reply: StoreReply) {
        let who = self.name_node(node);
        let told = if let StoreCall::Commit(guards, ops) = &call {
            if node < self.machines.len() {
                self.report_violations(guards::check_commit(&who, guards, ops));
            }
            Some(describe_ops(ops))
        } else {
            None
        };
        if reply.is_closed() && told.is_some() {
            self.coverage.count_world("late write");
        }
        let result = self.store.carry_out(self.now, call);
        if let Some(told) = told {
            let came = describe_result(&result);
            self.trace.note_event(self.now, format_args!("{who} commits {told}: {came}"));
            if matches!(result, Ok(StoreAnswer::Committed(CommitOutcome::Conflict { .. }))) {
                self.coverage.count_world("conflict");
            }
        }
        self.take_store_news();
        match self.network.carry_message(node, Way::FromStore) {
            Some(takes) => {
                self.queue.push(self.now + takes, Event::AnswerArrives { reply, result });
            }
            None => self.coverage.count_world("answer lost"),
        }
    }

    /// Takes what has changed in the store to those who watch it, and to the checks.
    pub(crate) fn take_store_news(&mut self) {
        let (changed, news) = self.store.take_news();
        for (revision, changes) in changed {
            self.note_changes(revision, &changes);
        }
        for WatchNews { watch, node, line, event } in news {
            let Some(takes) = self.network.carry_message(node, Way::FromStore) else {
                self.break_watch(watch);
                continue;
            };
            let arrival = self.now + takes;
            if let Some(served) = self.store.watch_mut(watch) {
                served.last_arrival = served.last_arrival.max(arrival);
                let at = served.last_arrival;
                self.queue.push(at, Event::WatchTells { watch, line, event });
            }
        }
        self.plan_lease_check();
    }

    fn plan_lease_check(&mut self) {
        let Some(due) = self.store.next_lease_end() else { return };
        let due = due.max(self.now + Micros(1));
        if self.next_lease_check.is_none_or(|planned| due < planned) {
            self.next_lease_check = Some(due);
            self.queue.push(due, Event::LeasesDue);
        }
    }

    /// Leases whose time is over end.
    pub(crate) fn end_leases(&mut self) {
        self.next_lease_check = None;
        if self.store.is_there() {
            self.store.end_leases(self.now);
            self.take_store_news();
        }
    }

    /// The wish for a watch has arrived, if it can.
    pub(crate) fn open_watch(&mut self, watch: u64) {
        let Some(node) = self.store.watch_mut(watch).map(|served| served.node) else { return };
        let reaches = self.store.is_there()
            && !self.network.is_cut(node, Way::ToStore)
            && !self.network.is_cut(node, Way::FromStore);
        if !reaches {
            return self.break_watch(watch);
        }
        self.store.open_watch(self.now, watch);
        self.take_store_news();
    }

    /// An event of a watch has arrived at its node.
    pub(crate) fn watch_tells(&mut self, watch: u64, line: u64, event: WatchEvent) {
        let Some(served) = self.store.watch_mut(watch).filter(|served| served.line == line) else {
            return;
        };
        if !served.tell_node(event) {
            self.break_watch(watch);
        }
    }

    /// A watch breaks. Its node notices after some silence, and comes back when it can.
    pub(crate) fn break_watch(&mut self, watch: u64) {
        let Some(served) = self.store.watch_mut(watch) else { return };
        served.break_line();
        let (node, line) = (served.node, served.line);
        self.coverage.count_world("watch broken");
        let silent = self.network.draw_delay(node, Micros::from_millis(100), SILENCE);
        self.queue.push(self.now + silent, Event::WatchSilent { watch, line });
        let again = self.network.draw_delay(node, Micros::from_millis(200), WATCH_RETRY);
        self.queue.push(self.now + again, Event::WatchArrives { watch });
    }

    /// A node has noticed that a watch is silent, if it still is.
    pub(crate) fn watch_silent(&mut self, watch: u64, line: u64) {
        if let Some(served) = self.store.watch_mut(watch).filter(|served| served.line == line)
            && !served.is_open()
        {
            served.tell_node(WatchEvent::Lost { problem: "it is silent".to_owned() });
        }
    }
}

fn describe_ops(ops: &[muster_store::Op]) -> String {
    let one = |op: &muster_store::Op| match op {
        muster_store::Op::Put { key, .. } => format!("+{key}"),
        muster_store::Op::Delete { key } => format!("-{key}"),
    };
    ops.iter().map(one).collect::<Vec<_>>().join(" ")
}

fn describe_result(result: &StoreResult) -> String {
    match result {
        Ok(StoreAnswer::Committed(CommitOutcome::Done { revision })) => format!("at {revision}"),
        Ok(StoreAnswer::Committed(CommitOutcome::Conflict { .. })) => "conflict".to_owned(),
        Ok(_) => "done".to_owned(),
        Err(error) => error.to_string(),
    }
}
