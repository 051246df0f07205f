//! The cluster as its leader sees it.
//!
//! Owns what the events of the watch mean to a leader: who is here, lost or about to leave, which drains have a deadline,
//! whether the leader record is still ours, and whether anything has changed since the last plan. It decides nothing; a
//! leader's turn is [`super::term`]'s.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use muster_common::lease::TimeLeft;
use muster_common::machine::MachineId;
use muster_common::snapshot::{Change, ClusterEvent, Leader, Snapshot};

use super::deadlines::DrainDeadlines;
use super::freeze::{Freeze, is_silent};
use super::messages::TermNotice;
use crate::schedule::{Plan, Scheduler};

#[derive(Debug, Clone)]
pub(super) struct LeaderView {
    /// The machine that leads.
    leader: MachineId,
    pub(super) freeze: Freeze,
    pub(super) deadlines: DrainDeadlines,
    /// The cluster, once the watch has begun.
    cluster: Option<FollowedCluster>,
    /// Held machines as the leader record was last seen.
    pub(super) held_seen: BTreeSet<MachineId>,
    /// Members as the store has them.
    pub(super) members: BTreeSet<MachineId>,
    /// Machines that have taken their leave and are still here.
    leaving: BTreeSet<MachineId>,
}

#[derive(Debug, Clone)]
struct FollowedCluster {
    scheduler: Scheduler,
    revision: u64,
    /// Something has changed since the last plan.
    changed: bool,
}

impl LeaderView {
    /// Sees nothing yet. `window` is that of [`Freeze::new`].
    pub(super) fn new(leader: MachineId, window: Duration) -> Self {
        Self {
            leader,
            freeze: Freeze::new(window),
            deadlines: DrainDeadlines::default(),
            cluster: None,
            held_seen: BTreeSet::new(),
            members: BTreeSet::new(),
            leaving: BTreeSet::new(),
        }
    }

    /// Takes an event in. `false`: another leads.
    pub(super) fn handle_event(
        &mut self,
        now: Duration,
        event: ClusterEvent,
        notices: &mut Vec<TermNotice>,
    ) -> bool {
        match event {
            ClusterEvent::Reset(snapshot) => self.begin_anew(now, &snapshot, notices),
            ClusterEvent::Changes { revision, changes } => {
                for change in changes {
                    if let Change::Leader(leader) = &change
                        && !self.follow_leader_record(leader.as_ref(), notices)
                    {
                        return false;
                    }
                    self.apply_change(now, &change, notices);
                }
                if let Some(cluster) = &mut self.cluster {
                    cluster.revision = revision;
                }
                true
            }
            ClusterEvent::Lost { problem } => {
                notices.push(TermNotice::StoreLost { problem });
                true
            }
        }
    }

    /// True if there is something to plan for, on a view that is at least at this revision.
    pub(super) fn is_plan_due(&self, revision: u64) -> bool {
        self.cluster.as_ref().is_some_and(|c| c.changed && c.revision >= revision)
    }

    /// Makes a plan due, though nothing may have changed.
    pub(super) fn require_plan(&mut self) {
        if let Some(cluster) = &mut self.cluster {
            cluster.changed = true;
        }
    }

    /// Plans on what is seen, which has to be at least at this revision. Units of machines whose loss may be part of a larger
    /// one stay where they are.
    pub(super) fn make_plan(&mut self, revision: u64) -> Plan {
        let Some(cluster) = &mut self.cluster else { return Plan::default() };
        debug_assert!(cluster.revision >= revision, "a plan on a view without our own writes");
        cluster.scheduler.hold_machines(self.freeze.waiting_machines());
        cluster.changed = false;
        cluster.scheduler.plan()
    }

    /// The machines that belong to the cluster: those that are missed as well, and not those that take their leave.
    pub(super) fn members_to_record(&self) -> BTreeSet<MachineId> {
        let mut members = self.freeze.known_members();
        members.retain(|machine| !self.leaving.contains(machine));
        members
    }

    /// Registered machines whose leases were not prolonged when they should have been. The leader itself is none of them.
    pub(super) fn silent_machines(
        &self,
        leases: &BTreeMap<MachineId, TimeLeft>,
    ) -> BTreeSet<MachineId> {
        let is_heard_of = |machine: &MachineId| {
            *machine == self.leader
                || leases.get(machine).is_some_and(|time| !is_silent(time.left, time.granted))
        };
        let live = self.freeze.live_machines().iter();
        live.filter(|machine| !is_heard_of(machine)).cloned().collect()
    }

    fn begin_anew(
        &mut self,
        now: Duration,
        snapshot: &Snapshot,
        notices: &mut Vec<TermNotice>,
    ) -> bool {
        if !self.follow_leader_record(snapshot.leader.as_ref(), notices) {
            return false;
        }
        let machines: BTreeSet<MachineId> = snapshot.machines.keys().cloned().collect();
        if self.cluster.is_none() {
            self.members.clone_from(&snapshot.members);
            self.freeze.take_over(machines, &known_machines(snapshot), now);
        } else {
            self.follow_members(&snapshot.members);
            let live = self.freeze.live_machines();
            let gone: Vec<_> = live.difference(&machines).cloned().collect();
            let returned: Vec<_> = machines.difference(live).cloned().collect();
            for machine in gone {
                self.on_machine_gone(now, machine, notices);
            }
            for machine in returned {
                self.on_machine_returned(machine);
            }
        }
        self.deadlines.set_all(&snapshot.cordons, now);
        let scheduler = Scheduler::new(snapshot);
        self.cluster =
            Some(FollowedCluster { scheduler, revision: snapshot.revision, changed: true });
        true
    }

    /// Follows the leader record. `false`: it is not ours.
    fn follow_leader_record(
        &mut self,
        record: Option<&Leader>,
        notices: &mut Vec<TermNotice>,
    ) -> bool {
        let Some(record) = record.filter(|record| record.machine == self.leader) else {
            return false;
        };
        // When all held machines are back we empty it ourselves, and there is nothing left to unfreeze.
        if record.held.is_empty() && !self.held_seen.is_empty() && self.freeze.is_frozen() {
            notices.push(TermNotice::Unfrozen);
            self.freeze.unfreeze_all();
        }
        self.held_seen.clone_from(&record.held);
        true
    }

    fn apply_change(&mut self, now: Duration, change: &Change, notices: &mut Vec<TermNotice>) {
        if self.cluster.is_none() {
            return;
        }
        match change {
            Change::Machine(machine, record) => {
                match (record, self.freeze.live_machines().contains(machine)) {
                    (Some(_), false) => self.on_machine_returned(machine.clone()),
                    (None, true) => self.on_machine_gone(now, machine.clone(), notices),
                    _ => {}
                }
            }
            Change::Members(members) => self.follow_members(members),
            Change::Cordon(machine, cordon) => self.deadlines.set(machine, cordon.as_ref(), now),
            _ => {}
        }
        if let Some(cluster) = &mut self.cluster {
            // Most of what machines report decides nothing.
            cluster.changed |= cluster.scheduler.apply(change);
        }
    }

    /// A machine's registration is gone: with a leave taken, or lost.
    fn on_machine_gone(
        &mut self,
        now: Duration,
        machine: MachineId,
        notices: &mut Vec<TermNotice>,
    ) {
        if self.leaving.remove(&machine) {
            self.freeze.on_machine_left(&machine);
        } else {
            notices.push(TermNotice::MachineLost(machine.clone()));
            self.freeze.on_machine_lost(machine, now);
        }
    }

    fn on_machine_returned(&mut self, machine: MachineId) {
        self.leaving.remove(&machine);
        self.freeze.on_machine_returned(machine);
    }

    /// Follows the record of the members. We take none out of it that is here: one that is here and out of it has taken
    /// its leave.
    fn follow_members(&mut self, members: &BTreeSet<MachineId>) {
        let here = self.freeze.live_machines();
        let left = self.members.difference(members).filter(|machine| here.contains(*machine));
        self.leaving.extend(left.cloned());
        // It was our own record, overtaken by a later one of ours.
        self.leaving.retain(|machine| !members.contains(machine));
        self.members.clone_from(members);
    }
}

/// Machines that belong to the cluster a new leader finds. Nobody has recorded any where no leader ever led: then those
/// that something was placed on do.
fn known_machines(snapshot: &Snapshot) -> BTreeSet<MachineId> {
    if !snapshot.members.is_empty() {
        return snapshot.members.clone();
    }
    snapshot.places.values().flat_map(BTreeMap::keys).cloned().collect()
}
