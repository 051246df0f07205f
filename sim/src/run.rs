//! A run: the loop that takes the earliest of everything that is to happen.
//!
//! Owns the order: the world's events by their moment, then the nodes' deadlines by their number. There is no quantum: the world
//! stands where something happens, and nowhere else.

use std::sync::Arc;

use muster_common::probe;

use crate::calm;
use crate::coverage::Coverage;
use crate::events::Event;
use crate::invariants::{Violation, delays, waits, whole};
use crate::member_faults::MemberFault;
use crate::moment::Micros;
use crate::plan::Plan;
use crate::trace::Trace;
use crate::world::World;

/// In the place of a node: the members of etcd.
const ETCD: usize = usize::MAX;

/// The outcome of a run.
#[derive(Debug)]
pub struct RunOutcome {
    /// The first moment's violations; the run ends with them.
    pub violations: Vec<Violation>,
    /// The trace.
    pub trace: Trace,
    /// The time that has passed in the world.
    pub lasted: Micros,
    /// The counts of what came.
    pub coverage: Coverage,
    /// The number of times that the planted fault was passed.
    pub planted_hits: u64,
}

/// Runs a plan to its end, or to its first violation.
pub fn run_plan(plan: &Plan, keeps_lines: bool) -> RunOutcome {
    // What an earlier run of this thread has left.
    probe::take_reached();
    probe::take_planted_hits();
    let plan = Arc::new(plan.clone());
    let end = plan.shape.calm_from + plan.shape.settling_time();
    let mut world = World::new(&plan, keeps_lines);
    while world.violations.is_empty() && world.step_until(end) {}
    world.now = world.now.max(end.min(world.now + end));
    if world.violations.is_empty() {
        world.facts.now = world.now;
        let found = calm::check_calm(&world.facts, &world.machines, &plan.shape);
        world.report_violations(found);
    }
    let mut coverage = std::mem::take(&mut world.coverage);
    coverage.branches = probe::take_reached();
    RunOutcome {
        violations: std::mem::take(&mut world.violations),
        trace: std::mem::replace(&mut world.trace, Trace::new(false)),
        lasted: world.now,
        coverage,
        planted_hits: probe::take_planted_hits(),
    }
}

impl World {
    /// Does what comes next. False when nothing comes before the end.
    fn step_until(&mut self, end: Micros) -> bool {
        let mut next = self.queue.next_at().map(|at| (at, None));
        for (number, machine) in self.machines.iter().enumerate() {
            if let Some(at) = machine.next_deadline()
                && next.is_none_or(|(earliest, _)| at < earliest)
            {
                next = Some((at, Some(number)));
            }
        }
        if let Some(at) = self.users.next_deadline()
            && next.is_none_or(|(earliest, _)| at < earliest)
        {
            next = Some((at, Some(self.machines.len())));
        }
        if let Some(at) = self.etcd_due
            && next.is_none_or(|(earliest, _)| at < earliest)
        {
            next = Some((at, Some(ETCD)));
        }
        let Some((at, node)) = next else { return false };
        if at >= end {
            self.now = end;
            return false;
        }
        // A deadline may be in the past, as that of a daemon that was paused.
        self.now = self.now.max(at);
        self.facts.now = self.now;
        if self.step_guard.count_step(self.now, node) {
            let who = node.map_or_else(|| "the world".to_owned(), |node| self.name_node(node));
            self.report_violations(vec![(
                "never-at-rest",
                format!("{who} goes on and on, and gets nowhere"),
            )]);
            return false;
        }
        match node {
            Some(ETCD) => self.with_etcd(|_, _| Vec::new()),
            Some(node) => self.run_node(node),
            None => {
                if let Some((_, event)) = self.queue.pop() {
                    self.happen(event);
                }
            }
        }
        true
    }

    fn run_node(&mut self, node: usize) {
        let now = self.now;
        let Some(machine) = self.machines.get_mut(node) else {
            let requests = self.users.run_users(now);
            self.send_requests(node, requests);
            return self.take_user_notes();
        };
        match machine.run_daemon(now) {
            Ok(requests) => {
                let (ended, reboots) = (machine.daemon_has_ended(), machine.power.take_wish());
                self.send_requests(node, requests);
                self.take_host_news(node);
                if reboots {
                    self.reboot_host(node);
                }
                if ended {
                    self.daemon_ended(node);
                    self.note_conditions();
                }
            }
            Err(panic) => {
                let name = machine.machine_name();
                self.report_violations(vec![(
                    "daemon-panicked",
                    format!("{name}'s daemon panicked: {panic}"),
                )]);
            }
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::MessageArrives { node, member, message } => {
                self.message_arrives(node, member, message);
            }
            Event::DeliveryArrives { delivery } => self.delivery_arrives(delivery),
            Event::BackupIsMade(fault) => self.make_backup(fault),
            Event::MemberStarts(member) => {
                self.end_member_fault(member, MemberFault::Down);
                self.note_conditions();
            }
            Event::ApiCallArrives(call) => self.api_call_arrives(call),
            Event::ApiCallLost(call) => drop(call),
            Event::HostStops(machine, since) => self.host_stops(machine, since),
            Event::HostMayGo(machine, since) => self.host_may_go(machine, since),
            Event::FaultBegins(index) => {
                self.begin_fault(index);
                self.note_conditions();
            }
            Event::FaultEnds(index) => {
                self.end_fault(index);
                self.note_conditions();
            }
            Event::UserAsks(index) => self.user_asks(index),
            Event::MachineBoots(machine) => self.boot_machine(machine),
            Event::DaemonStarts(machine) => {
                self.start_daemon(machine);
                self.note_conditions();
            }
            Event::CalmBegins => self.network.calm_down(),
            Event::LookAround => self.look_around(),
        }
    }

    /// Looks for what is late.
    fn look_around(&mut self) {
        self.queue.push(self.now + delays::LOOK_INTERVAL, Event::LookAround);
        if self.now >= self.plan.shape.calm_from && !self.facts.by_hand.is_empty() {
            self.take_away_by_hand();
        }
        let mut found = delays::check_lost(&self.facts, self.ttl);
        if self.store.may_be_foreign(self.now) {
            self.waits.clear();
        }
        found.extend(waits::check_waits(&mut self.waits, &self.facts, &self.plan.shape));
        if std::mem::take(&mut self.facts.is_unlooked) {
            found.extend(whole::check_records(&self.facts));
        }
        for machine in &self.machines {
            let name = machine.machine_name();
            let condition = self.facts.machines.get(&name);
            let cut_since = condition.and_then(|condition| condition.cut_since);
            if let (Some(since), Some(daemon)) = (cut_since, &machine.daemon) {
                let store_ok = daemon.health.status().store.ok;
                found.extend(delays::check_health(&name, self.now - since, store_ok, self.ttl));
            }
        }
        // A machine that was lost has come back, and whoever leads has had the time to see it.
        let calm = self.ttl + self.ttl + Micros::from_secs(20);
        let lines = self
            .machines
            .iter()
            .all(|machine| machine.broken_lines + machine.busies + machine.engine_faults == 0);
        if lines && self.facts.is_calm_for(calm) {
            // Where nothing was amiss and nothing has happened since, nothing is amiss.
            let events = self.trace.count_events();
            if self.lacks.is_empty() && self.looked_at == Some(events) {
                return self.report_violations(found);
            }
            self.looked_at = Some(events);
            let lacks = calm::check_calm(&self.facts, &self.machines, &self.plan.shape);
            found.extend(self.lacks.note_lacks(self.now, &lacks));
        } else {
            self.looked_at = None;
            self.lacks.clear();
        }
        self.report_violations(found);
    }
}
