//! The world of a run: what there is.
//!
//! Owns its parts and the checks on what changes in the records. What passes between nodes and store is [`crate::store_traffic`]'s business, what passes
//! between a node and its host [`crate::host_traffic`]'s; faults are [`crate::fault_effects`]', and the order of events is [`crate::run`]'s.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use muster_common::seed::Seed;
use muster_store::KeyChange;

use crate::clock::MachineClock;
use crate::connections::Connections;
use crate::coverage::Coverage;
use crate::etcd::{AutoCompaction, ClusterOptions, EtcdCluster, EtcdRelease};
use crate::events::Event;
use crate::facts::Facts;
use crate::invariants::delays::{self, Lacks};
use crate::invariants::waits::OpenWait;
use crate::invariants::{Findings, Violation, moves, places, promises, reboots};
use crate::machine::Machine;
use crate::member_faults::MemberFaults;
use crate::moment::Micros;
use crate::network::Network;
use crate::plan::Plan;
use crate::plan::faults::Fault;
use crate::queue::Queue;
use crate::step_guard::StepGuard;
use crate::store_state::StoreState;
use crate::trace::Trace;
use crate::users::SimulatedUsers;
use crate::wire::Outgoing;

/// The keys of registrations.
const MACHINES: &str = "/muster/v1/machine/";

/// The world.
pub(crate) struct World {
    pub(crate) plan: Arc<Plan>,
    pub(crate) now: Micros,
    pub(crate) queue: Queue<Event>,
    pub(crate) trace: Trace,
    pub(crate) network: Network,
    /// The members of etcd.
    pub(crate) etcd: EtcdCluster,
    /// The clock of the members, by which leases are counted.
    pub(crate) members_clock: MachineClock,
    /// The moment at which members do something by themselves next.
    pub(crate) etcd_due: Option<Micros>,
    /// The member that leads, as far as the facts know.
    pub(crate) known_leader: Option<usize>,
    pub(crate) member_faults: Vec<MemberFaults>,
    /// The members that faults found, by the fault.
    pub(crate) found_members: BTreeMap<usize, usize>,
    pub(crate) connections: Connections,
    pub(crate) store: StoreState,
    pub(crate) machines: Vec<Machine>,
    pub(crate) users: SimulatedUsers,
    /// The waits of users that daemons tell of, by the number of their request.
    pub(crate) waits: BTreeMap<usize, OpenWait>,
    pub(crate) facts: Facts,
    pub(crate) violations: Vec<Violation>,
    pub(crate) coverage: Coverage,
    /// When requests of units were made, by their number.
    pub(crate) asked_at: Vec<Micros>,
    pub(crate) outage_began: Option<Micros>,
    /// The count of steps that lead nowhere.
    pub(crate) step_guard: StepGuard,
    /// The things that lack while all is calm.
    pub(crate) lacks: Lacks,
    /// True if machines of this run become copies of others.
    pub(crate) has_copies: bool,
    /// The events there were at the last look at the whole cluster.
    pub(crate) looked_at: Option<u64>,
    pub(crate) ttl: Micros,
}

impl World {
    /// The world before anything has happened.
    pub(crate) fn new(plan: &Arc<Plan>, keeps_lines: bool) -> Self {
        let seed = Seed(plan.seed);
        let shape = &plan.shape;
        let machines: Vec<Machine> =
            (0..shape.machines).map(|number| Machine::new(number, seed, shape)).collect();
        let etcd = EtcdCluster::new(
            Duration::ZERO,
            ClusterOptions {
                members: shape.members,
                release: if shape.has_old_members {
                    EtcdRelease::Old
                } else {
                    EtcdRelease::Current
                },
                quota: None,
                compaction: match shape.compacts_every {
                    Some(age) => AutoCompaction::Periodic(age.to_duration()),
                    None => AutoCompaction::Off,
                },
                seed,
            },
        );
        let mut connections = Connections::default();
        let users = machines.len();
        let users_line = shape.line_options(connections.add_line(users), users, seed);
        let mut world = Self {
            now: Micros::ZERO,
            queue: Queue::new(),
            trace: Trace::new(keeps_lines),
            // The users' node comes after the machines', and the host of a lone member after that.
            network: Network::new(seed, shape.machines + 2, shape.latency),
            members_clock: MachineClock::started_at(Micros::ZERO, shape.members_drift),
            etcd_due: None,
            known_leader: etcd.find_leader(),
            etcd,
            member_faults: vec![MemberFaults::default(); shape.members],
            found_members: BTreeMap::new(),
            connections,
            store: StoreState::default(),
            users: SimulatedUsers::new(&users_line),
            waits: BTreeMap::new(),
            facts: Facts::new(),
            violations: Vec::new(),
            coverage: Coverage::default(),
            asked_at: vec![Micros::ZERO; plan.requests.len()],
            outage_began: None,
            // The machines, and the users.
            step_guard: StepGuard::new(shape.machines + 1),
            lacks: Lacks::default(),
            looked_at: None,
            has_copies: plan.faults.iter().any(|it| matches!(it.fault, Fault::Cloned { .. })),
            ttl: Micros::from_secs(shape.ttl_seconds),
            machines,
            plan: Arc::clone(plan),
        };
        for machine in 0..world.machines.len() {
            let at = world.network.draw_delay(machine, Micros::ZERO, Micros::from_secs(1));
            world.queue.push(at, Event::MachineBoots(machine));
        }
        for (index, fault) in plan.faults.iter().enumerate() {
            if let Fault::StoreRestored { age, .. } = fault.fault {
                world.queue.push(fault.at - age, Event::BackupIsMade(index));
            }
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
                Outgoing::Etcd { member, message } => self.send_message(node, member, message),
                Outgoing::Api(call) => self.send_api_call(node, call),
            }
        }
    }

    pub(crate) fn name_node(&self, node: usize) -> String {
        self.machines.get(node).map_or_else(|| "users".to_owned(), Machine::machine_name)
    }

    pub(crate) fn note_changes(&mut self, revision: u64, changes: &[KeyChange]) {
        self.facts.now = self.now;
        self.facts.apply_changes(revision, changes);
        for change in changes {
            let Some(machine) = change.key().strip_prefix(MACHINES) else { continue };
            let lost = matches!(change, KeyChange::Delete { .. });
            let rightly = lost.then(|| moves::is_loss_right(&self.facts, machine, self.ttl));
            self.facts.note_registration(machine, rightly);
        }
        // Who is registered under a name that two bear is seen here only.
        if self.has_copies && changes.iter().any(|change| change.key().starts_with(MACHINES)) {
            self.note_conditions();
        }
        let keys: Vec<&str> = changes.iter().map(KeyChange::key).collect();
        self.trace.note_event(self.now, format_args!("revision {revision}: {}", keys.join(" ")));
        self.report_violations(places::check_places(&self.facts, changes));
        self.report_violations(moves::check_moves(&self.facts, changes, self.ttl));
        self.report_violations(promises::check_promises(&self.facts, changes));
        let slots = reboots::check_slots(&mut self.facts, changes);
        self.report_violations(slots);
    }
}
