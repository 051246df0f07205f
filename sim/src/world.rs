//! The world of a run: what there is.
//!
//! Owns its parts and the checks on what changes in the records. What passes between nodes and store is [`crate::store_traffic`]'s business, what passes
//! between a node and its host [`crate::host_traffic`]'s; faults are [`crate::fault_effects`]', and the order of events is [`crate::run`]'s.

use std::sync::Arc;

use muster_common::seed::Seed;
use muster_store::KeyChange;

use crate::coverage::Coverage;
use crate::events::{Event, StoreReply};
use crate::facts::Facts;
use crate::invariants::delays::{self, Lacks};
use crate::invariants::{Findings, Violation, moves, places, promises};
use crate::machine::Machine;
use crate::moment::Micros;
use crate::network::Network;
use crate::plan::Plan;
use crate::queue::Queue;
use crate::step_guard::StepGuard;
use crate::store_server::StoreServer;
use crate::trace::Trace;
use crate::user_requests::SimulatedUsers;
use crate::wire::{Outgoing, StoreCall};

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
    /// The count of steps that lead nowhere.
    pub(crate) step_guard: StepGuard,
    /// The things that lack while all is calm.
    pub(crate) lacks: Lacks,
    /// The moment of the next look for leases that are over.
    pub(crate) next_lease_check: Option<Micros>,
    /// By machine: the moment from which its bus takes another call.
    pub(crate) bus_free_at: Vec<Micros>,
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
            // The machines, and the users.
            step_guard: StepGuard::new(shape.machines + 1),
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

    pub(crate) fn name_node(&self, node: usize) -> String {
        self.machines.get(node).map_or_else(|| "users".to_owned(), Machine::machine_name)
    }

    pub(crate) fn note_changes(&mut self, revision: u64, changes: &[KeyChange]) {
        self.facts.now = self.now;
        self.facts.apply_changes(changes);
        let keys: Vec<&str> = changes.iter().map(KeyChange::key).collect();
        self.trace.note_event(self.now, format_args!("revision {revision}: {}", keys.join(" ")));
        self.report_violations(places::check_places(&self.facts, changes));
        self.report_violations(moves::check_moves(&self.facts, changes, self.ttl));
        self.report_violations(promises::check_promises(&self.facts, changes));
    }
}
