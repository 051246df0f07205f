//! Faults, carried out on the world.
//!
//! Owns what each kind of fault does to the parts of the world when it begins and when it is over. Which come when is the plan's.

use muster_common::seed::Seed;

use crate::events::Event;
use crate::machine::{AfterEnd, Machine};
use crate::member_faults::MemberFault;
use crate::moment::Micros;
use crate::network::LinkFault;
use crate::plan::faults::Fault;
use crate::plan::shape::Shape;
use crate::world::World;

impl World {
    /// A fault of the plan begins.
    pub(crate) fn begin_fault(&mut self, index: usize) {
        let Some(planned) = self.plan.faults.get(index).cloned() else { return };
        let (fault, lasts) = (planned.fault, planned.lasts);
        self.trace.note_event(self.now, format_args!("fault {fault:?} for {lasts}"));
        *self.coverage.faults.entry(fault.kind()).or_default() += 1;
        let over_at_once = match &fault {
            Fault::Cut(machine) => {
                self.cut_link(*machine, &[LinkFault::CutOut, LinkFault::CutIn]);
                false
            }
            Fault::CutToStore(machine) => {
                self.cut_link(*machine, &[LinkFault::CutOut]);
                false
            }
            Fault::CutFromStore(machine) => {
                self.cut_link(*machine, &[LinkFault::CutIn]);
                false
            }
            Fault::CutMany(machines) => {
                for machine in machines {
                    self.cut_link(*machine, &[LinkFault::CutOut, LinkFault::CutIn]);
                }
                let names: Vec<String> =
                    machines.iter().map(|machine| Shape::machine_name(*machine)).collect();
                self.facts.note_mass(&names, self.now + lasts);
                false
            }
            Fault::Lag(machine) => {
                self.network.begin_fault(*machine, LinkFault::Lag);
                self.update_peers();
                false
            }
            Fault::Loss(machine) => {
                self.network.begin_fault(*machine, LinkFault::Loss);
                false
            }
            Fault::StorePaused => {
                self.set_all_members(MemberFault::Paused, true);
                false
            }
            Fault::StoreAway => {
                self.set_all_members(MemberFault::Down, true);
                false
            }
            Fault::StoreFull => {
                self.store.full += 1;
                self.etcd.set_full(true);
                false
            }
            Fault::MemberKilled(member) => {
                self.begin_member_fault(*member, MemberFault::Down);
                false
            }
            Fault::MemberPaused(member) => {
                self.begin_member_fault(*member, MemberFault::Paused);
                false
            }
            Fault::LeaderKilled | Fault::LeaderPaused => {
                self.begin_leader_fault(index, leader_fault(&fault));
                false
            }
            Fault::Election => {
                self.with_etcd(|etcd, now| etcd.begin_election(now, lasts.to_duration()));
                true
            }
            Fault::MemberCut(member) => {
                self.cut_member(*member, true);
                false
            }
            Fault::PairCut(machine, member) => {
                self.cut_pair(*machine, *member, true);
                false
            }
            Fault::Compaction => {
                let revision = self.etcd.agreed_model().revision();
                // Without a leader, or where nothing has changed since the last time, nothing comes of it.
                self.etcd.compact_to(revision).ok();
                true
            }
            Fault::StoreRestored { .. } => {
                self.begin_replacement(index);
                false
            }
            Fault::StoreEmptied => {
                self.begin_mistake(index, true);
                false
            }
            Fault::StoreForeign => {
                self.begin_mistake(index, false);
                false
            }
            Fault::LeaseEnds(machine) => {
                self.end_lease(*machine);
                true
            }
            Fault::DaemonKilled(machine) => {
                self.kill_daemon(*machine, lasts);
                true
            }
            Fault::DaemonRestarted(machine) => {
                self.stop_daemon(*machine, AfterEnd::StartAgain(lasts));
                true
            }
            Fault::DaemonPaused(machine) => {
                if let Some(found) = self.machines.get_mut(*machine) {
                    found.pauses += 1;
                }
                false
            }
            Fault::PowerCut(machine) => {
                self.cut_power(*machine, lasts);
                true
            }
            Fault::Shutdown(machine) => {
                self.begin_going_down(*machine, Some(lasts));
                true
            }
            Fault::Host(machine, fault) => self.begin_host_fault(*machine, fault, lasts),
            Fault::Container(machine, fault) => self.begin_container_fault(*machine, fault, lasts),
            Fault::Cloned { machine, of } => self.begin_copy(*machine, *of),
            Fault::WallJump(machine, seconds) => {
                if let Some(found) = self.machines.get_mut(*machine) {
                    found.clock.jump_wall(*seconds);
                }
                true
            }
        };
        if !over_at_once {
            self.queue.push(self.now + lasts, Event::FaultEnds(index));
        }
    }

    /// A fault of the plan is over.
    pub(crate) fn end_fault(&mut self, index: usize) {
        let Some(planned) = self.plan.faults.get(index).cloned() else { return };
        let fault = planned.fault;
        self.trace.note_event(self.now, format_args!("over: {fault:?}"));
        match fault {
            Fault::Cut(machine) => {
                self.mend_link(machine, &[LinkFault::CutOut, LinkFault::CutIn]);
            }
            Fault::CutToStore(machine) => self.mend_link(machine, &[LinkFault::CutOut]),
            Fault::CutFromStore(machine) => self.mend_link(machine, &[LinkFault::CutIn]),
            Fault::CutMany(machines) => {
                for machine in machines {
                    self.mend_link(machine, &[LinkFault::CutOut, LinkFault::CutIn]);
                }
            }
            Fault::Lag(machine) => {
                self.mend_link(machine, &[LinkFault::Lag]);
                // What is on its way still takes its time, and what is asked for now comes after it.
                self.facts.note_setback(&Shape::machine_name(machine));
            }
            Fault::Loss(machine) => self.mend_link(machine, &[LinkFault::Loss]),
            Fault::StorePaused => {
                self.set_all_members(MemberFault::Paused, false);
                self.facts.note_answers();
            }
            Fault::StoreAway => self.set_all_members(MemberFault::Down, false),
            Fault::StoreFull => {
                self.store.full = self.store.full.saturating_sub(1);
                self.etcd.set_full(self.store.full > 0);
            }
            Fault::MemberKilled(member) => self.end_member_fault(member, MemberFault::Down),
            Fault::MemberPaused(member) => {
                self.end_member_fault(member, MemberFault::Paused);
                self.facts.note_answers();
            }
            Fault::LeaderKilled | Fault::LeaderPaused => {
                if let Some(member) = self.found_members.remove(&index) {
                    self.end_member_fault(member, leader_fault(&fault));
                    self.facts.note_answers();
                }
            }
            Fault::MemberCut(member) => self.cut_member(member, false),
            Fault::PairCut(machine, member) => self.cut_pair(machine, member, false),
            Fault::StoreRestored { bump, keeps_id, .. } => {
                self.restore_backup(index, bump, keeps_id);
            }
            Fault::StoreEmptied | Fault::StoreForeign => self.end_mistake(index),
            Fault::DaemonPaused(machine) => {
                if let Some(found) = self.machines.get_mut(machine) {
                    found.pauses = found.pauses.saturating_sub(1);
                    found.stood_still = self.now;
                }
            }
            Fault::Cloned { machine, .. } => self.end_copy(machine),
            Fault::Host(machine, fault) => self.end_host_fault(machine, &fault),
            Fault::Container(machine, fault) => self.end_container_fault(machine, &fault),
            _ => {}
        }
    }

    /// Takes note of who is well now.
    pub(crate) fn note_conditions(&mut self) {
        self.facts.now = self.now;
        let leader = self.etcd.find_leader();
        for (number, machine) in self.machines.iter().enumerate() {
            let name = machine.machine_name();
            // Where nobody leads, nobody knows the way: it is as it was, and that there is no leader is no fault of the machine.
            // One whose name a copy of it bears is away: what the store knows of it is the copy's doing.
            let bearer = self.find_bearer(number);
            let is_itself = bearer == number && !machine.is_copy();
            let bears = |bearer: &Machine| bearer.own_belief() == number && bearer.daemon_runs();
            let daemon_runs = self.machines.get(bearer).is_some_and(bears);
            let (to_store, _) = self.find_way_to_store(bearer);
            let was_well = self.facts.machines.get(&name).is_some_and(|before| before.is_well);
            let ways = self.count_sound_ways(bearer);
            let knows_way = if leader.is_some() { ways > 0 } else { was_well };
            let well = is_itself
                && daemon_runs
                && !machine.power.goes_down()
                && self.network.is_sound(number)
                && knows_way;
            self.facts.set_condition(&name, well);
            self.facts.set_narrow_way(&name, ways * 2 < self.plan.shape.members);
            let engine_works = machine.engine.is_some() && machine.engine_faults == 0;
            self.facts.set_engine(&name, engine_works);
            let silent = !daemon_runs || !to_store || leader.is_none();
            // Its own daemon is asked whether the store answers, whoever bears its name.
            let (to_store, from_store) = self.find_way_to_store(number);
            let no_way = leader.is_none() || !to_store && !from_store;
            let cut = no_way && machine.daemon_runs();
            self.facts.set_silence(&name, silent, cut);
        }
        let is_there = leader.is_some() && !self.store.is_foreign();
        let is_full = self.store.full > 0;
        let is_sound = is_there && !is_full && self.all_members_well();
        self.facts.set_store_sound(is_sound);
        let is_line_sound = |member| self.network.is_sound(self.host_of_member(member));
        let members = self.plan.shape.members;
        let lines_sound = members == 1 || (0..members).all(is_line_sound);
        self.facts.set_ways_sound(is_there && self.all_members_well() && lines_sound);
        self.facts.set_full(is_full);
        self.facts.set_store_there(is_there, &mut self.outage_began);
    }

    /// Takes note of it when a leader of etcd is lost or found.
    pub(crate) fn note_store(&mut self) {
        let leads = self.etcd.find_leader();
        if self.known_leader != leads {
            self.known_leader = leads;
            let now = leads.map_or_else(|| "nobody".to_owned(), |member| format!("etcd-{member}"));
            self.trace.note_event(self.now, format_args!("{now} leads etcd"));
            self.note_conditions();
        }
    }

    /// True for each way in which a machine reaches a member that has the leader behind it, and is reached by it; where nobody leads, any
    /// member.
    fn find_way_to_store(&self, machine: usize) -> (bool, bool) {
        let leader = self.etcd.find_leader();
        let (mut to_store, mut from_store) = (false, false);
        for member in 0..self.plan.shape.members {
            if leader.is_none_or(|leader| self.etcd.are_members_connected(member, leader)) {
                let host = self.host_of_member(member);
                to_store |= self.network.is_open(machine, host);
                from_store |= self.network.is_open(host, machine);
            }
        }
        (to_store, from_store)
    }

    /// How many members that have the leader behind them can be reached over lines with which nothing is wrong.
    fn count_sound_ways(&self, machine: usize) -> usize {
        let leader = self.etcd.find_leader();
        let is_sound = |member: &usize| {
            let member = *member;
            let host = self.host_of_member(member);
            let is_near = host == machine || self.plan.shape.members == 1;
            leader.is_none_or(|leader| self.etcd.are_members_connected(member, leader))
                && self.network.is_open(machine, host)
                && self.network.is_open(host, machine)
                && (is_near || self.network.is_sound(host))
        };
        (0..self.plan.shape.members).filter(is_sound).count()
    }

    fn cut_link(&mut self, machine: usize, faults: &[LinkFault]) {
        for fault in faults {
            self.network.begin_fault(machine, *fault);
        }
        self.break_connections();
        self.update_peers();
    }

    fn mend_link(&mut self, machine: usize, faults: &[LinkFault]) {
        for fault in faults {
            self.network.end_fault(machine, *fault);
        }
        self.update_peers();
        self.repeat_messages();
    }

    fn cut_pair(&mut self, machine: usize, member: usize, begins: bool) {
        let host = self.host_of_member(member);
        self.network.set_pair_cut(machine, host, begins);
        self.after_pair_cut(begins);
    }

    /// The others' hosts do not reach the member's; but a daemon beside another member does not use that way.
    fn cut_member(&mut self, member: usize, begins: bool) {
        for other in 0..self.plan.shape.members {
            if other != member {
                let (here, there) = (self.host_of_member(member), self.host_of_member(other));
                self.network.set_pair_cut(here, there, begins);
            }
        }
        self.after_pair_cut(begins);
    }

    fn after_pair_cut(&mut self, begins: bool) {
        if begins {
            self.break_connections();
        }
        self.update_peers();
        if !begins {
            self.repeat_messages();
        }
    }

    /// Whoever leads etcd, or led it last, is what the fault finds.
    fn begin_leader_fault(&mut self, index: usize, fault: MemberFault) {
        if let Some(member) = self.etcd.find_leader() {
            self.found_members.insert(index, member);
            self.begin_member_fault(member, fault);
        }
    }

    fn end_lease(&mut self, machine: usize) {
        let name = Shape::machine_name(machine);
        let record = self.facts.find_record(&format!("machine/{name}"));
        let lease = record.and_then(|record| record.lease);
        self.facts.note_setback(&name);
        if let Some(lease) = lease {
            self.with_etcd(|etcd, _| etcd.end_lease(lease));
        }
    }

    fn kill_daemon(&mut self, machine: usize, away: Micros) {
        let Some(found) = self.machines.get_mut(machine).filter(|found| found.daemon.is_some())
        else {
            return;
        };
        found.kill_daemon();
        self.end_lines(machine);
        self.queue.push(self.now + away, Event::DaemonStarts(machine));
    }

    /// A daemon is asked to end, while its machine stays up.
    pub(crate) fn stop_daemon(&mut self, machine: usize, then: AfterEnd) {
        let Some(found) = self.machines.get_mut(machine) else { return };
        if let Some(daemon) =
            found.daemon.as_mut().filter(|daemon| daemon.then == AfterEnd::Nothing)
        {
            daemon.begin_shutdown(then);
        }
    }

    /// A machine's daemon is started, unless there is one.
    pub(crate) fn start_daemon(&mut self, machine: usize) {
        let (now, seed) = (self.now, Seed(self.plan.seed));
        if let Some(found) = self.machines.get_mut(machine).filter(|found| found.needs_daemon()) {
            let line = self.connections.add_line(machine);
            found.start_daemon(now, &self.plan.shape.line_options(line, machine, seed));
            let name = found.machine_name();
            self.trace.note_event(now, format_args!("{name} starts its daemon"));
        }
    }

    /// A machine's daemon has come to its end.
    pub(crate) fn daemon_ended(&mut self, machine: usize) {
        let now = self.now;
        let Some(found) = self.machines.get_mut(machine) else { return };
        let Some(then) = found.daemon.as_ref().map(|daemon| daemon.then) else { return };
        found.kill_daemon();
        let name = found.machine_name();
        self.end_lines(machine);
        self.trace.note_event(now, format_args!("{name} daemon has ended"));
        match then {
            AfterEnd::Nothing => {
                self.report_violations(vec![(
                    "daemon-ended",
                    format!("{name}'s daemon ended by itself"),
                )]);
            }
            AfterEnd::StartAgain(after) => {
                self.queue.push(now + after, Event::DaemonStarts(machine));
            }
            // Its machine goes when everything else has ended as well.
            AfterEnd::GoDown(_) => {}
        }
    }
}

fn leader_fault(fault: &Fault) -> MemberFault {
    if matches!(fault, Fault::LeaderKilled) { MemberFault::Down } else { MemberFault::Paused }
}
