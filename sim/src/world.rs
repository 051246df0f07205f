//! The world of a run: what there is, and what passes between it.
//!
//! Owns the carrying of messages between nodes, store and systemd, and the checks on them. Faults are [`crate::fault_effects`]' business,
//! the order of events [`crate::run`]'s.

use std::collections::BTreeMap;
use std::sync::Arc;

use muster_common::seed::Seed;
use muster_common::state::ActiveState;
use muster_common::unit::UnitName;
use muster_store::{CommitOutcome, KeyChange, StoreError, WatchEvent};

use crate::coverage::Coverage;
use crate::events::{Event, StoreReply};
use crate::facts::Facts;
use crate::invariants::delays::{self, Lacks};
use crate::invariants::{Findings, Violation, guards, moves, places, promises, steps, twice};
use crate::machine::Machine;
use crate::moment::Micros;
use crate::network::{Network, Way};
use crate::plan::Plan;
use crate::queue::Queue;
use crate::store_server::{StoreServer, WatchNews};
use crate::trace::Trace;
use crate::units_host::{RunnerReply, broken_line};
use crate::user_requests::SimulatedUsers;
use crate::wire::{Outgoing, RunnerCall, StoreAnswer, StoreCall, StoreResult};

/// The longest that a call to systemd is on its way.
const BUS_LATENCY: Micros = Micros::from_millis(3);
/// The longest that a line is silent before its node notices.
const SILENCE: Micros = Micros::from_secs(6);
/// The longest pause before a node tries a broken watch again.
const WATCH_RETRY: Micros = Micros::from_secs(2);

/// The world.
pub(crate) struct World {
    pub(crate) plan: Arc<Plan>,
    pub(crate) now: Micros,
    pub(crate) queue: Queue<Event>,
    pub(crate) trace: Trace,
    pub(crate) network: Network,
    pub(crate) store: StoreServer,
    pub(crate) machines: Vec<Machine>,
    pub(crate) users: SimulatedUsers,
    pub(crate) facts: Facts,
    pub(crate) violations: Vec<Violation>,
    pub(crate) coverage: Coverage,
    /// Requests that wait in a store that stands still.
    pub(crate) waiting_calls: Vec<(usize, StoreCall, StoreReply)>,
    /// When requests of units were made, by their number.
    pub(crate) asked_at: Vec<Micros>,
    pub(crate) outage_began: Option<Micros>,
    /// The things that lack while all is calm.
    pub(crate) lacks: Lacks,
    next_lease_check: Option<Micros>,
    bus_free_at: Vec<Micros>,
    pub(crate) ttl: Micros,
}

impl World {
    /// The world before anything has happened.
    pub(crate) fn new(plan: &Arc<Plan>, keeps_lines: bool) -> Self {
        let seed = Seed(plan.seed);
        let shape = &plan.shape;
        let machines: Vec<Machine> =
            (0..shape.machines).map(|number| Machine::new(number, seed, shape)).collect();
        let mut world = Self {
            now: Micros::ZERO,
            queue: Queue::new(),
            trace: Trace::new(keeps_lines),
            // The users' node comes after the machines'.
            network: Network::new(seed, shape.machines + 1, shape.latency),
            store: StoreServer::new(),
            users: SimulatedUsers::new(seed),
            facts: Facts::new(),
            violations: Vec::new(),
            coverage: Coverage::default(),
            waiting_calls: Vec::new(),
            asked_at: vec![Micros::ZERO; plan.requests.len()],
            outage_began: None,
            lacks: Lacks::default(),
            next_lease_check: None,
            bus_free_at: vec![Micros::ZERO; shape.machines],
            ttl: Micros::from_secs(shape.ttl_seconds),
            machines,
            plan: Arc::clone(plan),
        };
        for machine in 0..world.machines.len() {
            let at = world.network.draw_delay(machine, Micros::ZERO, Micros::from_secs(1));
            world.queue.push(at, Event::MachineBoots(machine));
        }
        for (index, fault) in plan.faults.iter().enumerate() {
            world.queue.push(fault.at, Event::FaultBegins(index));
        }
        for (index, request) in plan.requests.iter().enumerate() {
            world.queue.push(request.at, Event::UserAsks(index));
        }
        world.queue.push(shape.calm_from, Event::CalmBegins);
        world.queue.push(delays::LOOK_INTERVAL, Event::LookAround);
        world
    }

    /// Takes note of violations.
    pub(crate) fn report_violations(&mut self, found: Findings) {
        for (word, text) in found {
            self.trace.note_event(self.now, format_args!("VIOLATION {word}: {text}"));
            self.violations.push(Violation { at: self.now, word, text });
        }
    }

    /// Sends what a node has asked for on its way.
    pub(crate) fn send_requests(&mut self, node: usize, requests: Vec<Outgoing>) {
        for request in requests {
            match request {
                Outgoing::Store { call, reply } => self.send_call(node, call, reply),
                Outgoing::Watch { range, events } => {
                    let watch = self.store.add_watch(node, range, events);
                    self.queue.push(self.now, Event::WatchArrives { watch });
                }
                Outgoing::Runner { call, reply } => self.send_unit_call(node, call, reply),
            }
        }
    }

    fn send_call(&mut self, node: usize, call: StoreCall, reply: StoreReply) {
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

    fn name_node(&self, node: usize) -> String {
        self.machines.get(node).map_or_else(|| "users".to_owned(), Machine::machine_name)
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

    fn note_changes(&mut self, revision: u64, changes: &[KeyChange]) {
        self.facts.now = self.now;
        self.facts.apply_changes(changes);
        let keys: Vec<&str> = changes.iter().map(KeyChange::key).collect();
        self.trace.note_event(self.now, format_args!("revision {revision}: {}", keys.join(" ")));
        self.report_violations(places::check_places(&self.facts, changes));
        self.report_violations(moves::check_moves(&self.facts, changes, self.ttl));
        self.report_violations(promises::check_promises(&self.facts, changes));
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

    fn send_unit_call(&mut self, node: usize, call: RunnerCall, reply: RunnerReply) {
        let Some(machine) = self.machines.get(node) else { return };
        let boot = machine.boots;
        // What is asked first over one connection arrives first.
        let takes = self.network.draw_delay(node, Micros(100), BUS_LATENCY);
        let Some(free) = self.bus_free_at.get_mut(node) else { return };
        *free = (*free).max(self.now + takes);
        let at = *free;
        self.queue.push(at, Event::UnitCall { machine: node, boot, call, reply });
    }

    /// A request has arrived at a machine's systemd.
    pub(crate) fn unit_call(
        &mut self,
        number: usize,
        boot: u64,
        call: RunnerCall,
        reply: RunnerReply,
    ) {
        let Some(machine) = self.machines.get_mut(number).filter(|m| m.is_on && m.boots == boot)
        else {
            return;
        };
        if machine.broken_lines > 0 && !matches!(call, RunnerCall::Write { .. }) {
            let _ = reply.send(Err(broken_line()));
            return;
        }
        let name = machine.machine_name();
        let goes_down = machine.power.goes_down();
        let found = match &call {
            RunnerCall::Start { unit, generation } | RunnerCall::Restart { unit, generation } => {
                let is = machine.units.units().get(unit);
                let mut found = steps::check_start(&self.facts, &name, unit, *generation, is);
                found.extend(steps::check_job(&mut self.facts, unit, *generation));
                found
            }
            RunnerCall::Stop(unit) if !goes_down => {
                let is = machine.units.units().get(unit);
                steps::check_stop(&self.facts, &name, unit, is)
            }
            _ => Findings::new(),
        };
        if !matches!(call, RunnerCall::Observe(_) | RunnerCall::Nothing) {
            self.trace.note_event(self.now, format_args!("{name} {}", call.describe()));
        }
        let wall = machine.clock.wall_at(self.now);
        machine.units.carry_out(wall, call, reply);
        self.report_violations(found);
        self.take_host_output(number);
    }

    /// Takes what has come of a call, of a job or of a fault on a machine.
    pub(crate) fn take_host_output(&mut self, number: usize) {
        let Some(machine) = self.machines.get_mut(number) else { return };
        let output = machine.units.take_output();
        let boot = machine.boots;
        for (after, job) in output.due {
            self.queue.push(self.now + after, Event::JobDue { machine: number, boot, job });
        }
        let name = machine.machine_name();
        let mut started = Vec::new();
        for unit in output.changed {
            if let Some(is) = machine.units.units().get(&unit) {
                self.trace.note_event(self.now, format_args!("{name} {unit} is {}", is.active));
                if is.active == ActiveState::Activating {
                    started.push(unit);
                }
            }
        }
        let connected = machine.daemon.as_ref().filter(|_| machine.broken_lines == 0);
        if let Some(daemon) = connected {
            for event in output.events {
                daemon.tell_report(event);
            }
        }
        for (reply, result) in output.answers {
            let result = if machine.broken_lines > 0 { Err(broken_line()) } else { result };
            // Nobody may wait for it any more.
            let _ = reply.send(result);
        }
        for unit in started {
            self.check_twice(&name, &unit);
        }
    }

    fn check_twice(&mut self, machine: &str, unit: &UnitName) {
        let mut up = BTreeMap::new();
        for other in self.machines.iter().filter(|other| other.machine_name() != machine) {
            let is = other.units.units().get(unit).filter(|is| !is.active.is_down());
            up.extend(is.map(|is| (other.machine_name(), is.active.to_string())));
        }
        let found = twice::check_single(&self.facts, machine, unit, &up);
        self.report_violations(found);
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
