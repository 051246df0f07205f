//! The cluster as its leader sees it.
//!
//! Owns what the events of the watch mean to a leader: who is here, lost or about to leave, which drains have a deadline,
//! whether the leader record is still ours, and whether anything has changed since the last plan. It decides nothing; a
//! leader's turn is [`super::term`]'s.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use muster_common::lease::TimeLeft;
use muster_common::machine::{Machine, MachineId};
use muster_common::probe::{is_planted, reached};
use muster_common::snapshot::{Change, ClusterEvent, Leader, Snapshot};

use super::deadlines::DrainDeadlines;
use super::freeze::{Freeze, LeaseProbe, PROBED_AT_ONCE, is_silent};
use super::messages::TermNotice;
use crate::schedule::{Plan, Scheduler};

#[derive(Debug, Clone)]
pub(super) struct LeaderView {
    /// The machine that leads.
    leader: MachineId,
    /// Who led before, and when that was seen to end.
    predecessor: Option<(MachineId, Duration)>,
    /// Probes so far.
    probes: usize,
    pub(super) freeze: Freeze,
    pub(super) deadlines: DrainDeadlines,
    /// The cluster, once the watch has begun.
    cluster: Option<FollowedCluster>,
    /// The store went back to an earlier revision, which the term has not heard of yet.
    went_back: bool,
    /// Held machines as the leader record was last seen.
    pub(super) held_seen: BTreeSet<MachineId>,
    /// Our own writes of the held machines.
    own_held: OwnHeldWrites,
    /// Members as the store has them.
    pub(super) members: BTreeSet<MachineId>,
    /// Members that we have sent to be written, and of which the watch has not told yet: no answer has come, or none ever will, or it
    /// came first.
    own_members: Vec<BTreeSet<MachineId>>,
    /// Machines that have taken their leave and are still here.
    leaving: BTreeSet<MachineId>,
    /// The boot that each machine is registered from, and whether it says that it goes.
    registered: BTreeMap<MachineId, (String, bool)>,
}

/// Our own writes of the held machines, so that none is taken for a person's, and none of a person's for ours.
#[derive(Debug, Clone, Default)]
struct OwnHeldWrites {
    /// Revision of the last one known to be carried out.
    revision: u64,
    /// It held some machine.
    held_some: bool,
    /// One that empties them has been sent, and it is not known whether it was carried out.
    emptying: bool,
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
    pub(super) fn new(
        leader: MachineId,
        predecessor: Option<(MachineId, Duration)>,
        window: Duration,
    ) -> Self {
        Self {
            leader,
            predecessor,
            probes: 0,
            freeze: Freeze::new(window),
            deadlines: DrainDeadlines::default(),
            cluster: None,
            went_back: false,
            held_seen: BTreeSet::new(),
            own_held: OwnHeldWrites::default(),
            members: BTreeSet::new(),
            own_members: Vec::new(),
            leaving: BTreeSet::new(),
            registered: BTreeMap::new(),
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
                        && !self.follow_leader_record(leader.as_ref(), revision, notices)
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

    /// The revision up to which the store has been seen; 0 before the watch has begun.
    pub(super) fn seen_revision(&self) -> u64 {
        self.cluster.as_ref().map_or(0, |cluster| cluster.revision)
    }

    /// True if there is something to plan for, on a view that is at least at this revision.
    pub(super) fn is_plan_due(&self, revision: u64) -> bool {
        self.cluster.as_ref().is_some_and(|c| c.changed && c.revision >= revision)
    }

    /// True, once, if the store went back to an earlier revision: it was restored, and what is known of revisions means nothing.
    pub(super) fn take_went_back(&mut self) -> bool {
        std::mem::take(&mut self.went_back)
    }

    /// Makes a plan due, though nothing may have changed.
    pub(super) fn require_plan(&mut self) {
        if let Some(cluster) = &mut self.cluster {
            cluster.changed = true;
        }
    }

    /// Plans on what is seen, which has to be at least at this revision. Units of machines whose loss may be part of a larger
    /// one stay where they are.
    pub(super) fn make_plan(&mut self, now: Duration, revision: u64) -> Plan {
        let Some(cluster) = &mut self.cluster else { return Plan::default() };
        debug_assert!(cluster.revision >= revision, "a plan on a view without our own writes");
        let mut waiting = self.freeze.machines_to_hold(now);
        if is_planted("waiting-machines-moved") {
            waiting.clear();
        }
        cluster.scheduler.hold_machines(waiting);
        cluster.changed = false;
        cluster.scheduler.plan()
    }

    /// The machines that belong to the cluster: those that are missed as well, and not those that take their leave.
    pub(super) fn members_to_record(&self) -> BTreeSet<MachineId> {
        let mut members = self.freeze.known_members();
        members.retain(|machine| !self.leaving.contains(machine));
        members
    }

    /// The machines whose leases to ask about now: all that are registered but the leader, or a part of them.
    pub(super) fn machines_to_probe(&mut self) -> BTreeSet<MachineId> {
        let others: Vec<&MachineId> =
            self.freeze.live_machines().iter().filter(|machine| **machine != self.leader).collect();
        let stride = others.len().div_ceil(PROBED_AT_ONCE).max(1);
        let offset = self.probes.checked_rem(stride).unwrap_or(0);
        self.probes += 1;
        others.into_iter().skip(offset).step_by(stride).cloned().collect()
    }

    /// The machines that were asked about and did not prolong their leases when they should have, or of which nothing is known.
    pub(super) fn read_probe(
        asked: BTreeSet<MachineId>,
        leases: &BTreeMap<MachineId, TimeLeft>,
    ) -> LeaseProbe {
        let is_heard_of =
            |machine: &MachineId| leases.get(machine).is_some_and(|time| !is_silent(time));
        let silent = asked.iter().filter(|machine| !is_heard_of(machine)).cloned().collect();
        LeaseProbe { asked, silent }
    }

    fn begin_anew(
        &mut self,
        now: Duration,
        snapshot: &Snapshot,
        notices: &mut Vec<TermNotice>,
    ) -> bool {
        if !self.follow_leader_record(snapshot.leader.as_ref(), snapshot.revision, notices) {
            return false;
        }
        let machines: BTreeSet<MachineId> = snapshot.machines.keys().cloned().collect();
        self.registered.retain(|machine, _| machines.contains(machine));
        for (machine, record) in &snapshot.machines {
            self.follow_registration(machine, Some(record), false);
        }
        if self.cluster.is_none() {
            self.members.clone_from(&snapshot.members);
            let predecessor = self.predecessor.take();
            // It left the lead, is no member any more, and says in its record that it goes. One that does not say so is back after its
            // leave, or is ourselves, and a member again.
            let goes = |machine: &MachineId| {
                let record = snapshot.machines.get(machine);
                record.is_some_and(|record| {
                    record.leaving || is_planted("resigned-leader-stays-away")
                })
            };
            let resigned = predecessor.as_ref().map(|(machine, _)| machine).filter(|machine| {
                goes(machine)
                    && !snapshot.members.contains(*machine)
                    && !snapshot.members.is_empty()
            });
            self.leaving.extend(resigned.cloned());
            self.freeze.take_over(machines, &known_machines(snapshot), predecessor.as_ref(), now);
        } else {
            // Whoever has taken its leave and is back in the same boot has written that without our seeing it. One that goes and has not
            // come to say so counts as lost when it is gone, which costs it nothing but a look at the others.
            let stays = |machine: &MachineId| {
                let record = snapshot.machines.get(machine);
                record.is_some_and(|record| !record.leaving)
                    && !is_planted("return-behind-a-listing-overlooked")
            };
            self.leaving.retain(|machine| !stays(machine));
            self.follow_members(&snapshot.members, false);
            let live = self.freeze.live_machines();
            let gone: Vec<_> = live.difference(&machines).cloned().collect();
            let returned: Vec<_> = machines.difference(live).cloned().collect();
            for machine in gone {
                self.on_machine_gone(now, machine, false, notices);
            }
            for machine in returned {
                self.on_machine_returned(machine);
            }
        }
        if self.cluster.as_ref().is_some_and(|cluster| snapshot.revision < cluster.revision) {
            reached("revision-goes-backwards");
            self.went_back = true;
            self.own_held = OwnHeldWrites::default();
            self.own_members.clear();
        }
        self.deadlines.set_all(&snapshot.cordons, now);
        let scheduler = Scheduler::new(snapshot);
        self.cluster =
            Some(FollowedCluster { scheduler, revision: snapshot.revision, changed: true });
        true
    }

    /// The held machines are about to be written.
    pub(super) fn on_held_sent(&mut self, held: &BTreeSet<MachineId>) {
        self.own_held.emptying |= held.is_empty();
    }

    /// The held machines have been written, at this revision.
    pub(super) fn on_held_written(&mut self, held: &BTreeSet<MachineId>, revision: u64) {
        let held_some = !held.is_empty();
        self.own_held = OwnHeldWrites { revision, held_some, emptying: false };
    }

    /// Follows the leader record, as it is at a revision. `false`: it is not ours.
    fn follow_leader_record(
        &mut self,
        record: Option<&Leader>,
        revision: u64,
        notices: &mut Vec<TermNotice>,
    ) -> bool {
        let Some(record) = record.filter(|record| record.machine == self.leader) else {
            return is_planted("lost-lead-unnoticed");
        };
        // When all held machines are back we empty it ourselves; a freeze that has begun since is another.
        let may_be_ours = self.own_held.emptying || revision <= self.own_held.revision;
        // Our own write may never be seen: when all begins anew, what came after it is there in its place.
        let held_some = !self.held_seen.is_empty()
            || self.own_held.held_some && revision > self.own_held.revision;
        let is_emptied = record.held.is_empty() && held_some;
        if is_emptied
            && self.freeze.is_frozen()
            && (!may_be_ours || is_planted("own-write-taken-for-unfreeze"))
        {
            notices.push(TermNotice::Unfrozen);
            self.own_held.held_some = false;
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
                self.follow_registration(machine, record.as_ref(), true);
                match (record, self.freeze.live_machines().contains(machine)) {
                    (Some(_), false) => self.on_machine_returned(machine.clone()),
                    (None, true) => self.on_machine_gone(now, machine.clone(), true, notices),
                    _ => {}
                }
            }
            Change::Members(members) => self.follow_members(members, true),
            Change::Cordon(machine, cordon) => self.deadlines.set(machine, cordon.as_ref(), now),
            _ => {}
        }
        if let Some(cluster) = &mut self.cluster {
            // Most of what machines report decides nothing.
            cluster.changed |= cluster.scheduler.apply(change);
        }
    }

    /// Follows how a machine is registered, as it was found or has just been written. One that has taken its leave is back when it is
    /// registered from another boot, or says no more that it goes: its registration of before may never have been seen going, for the
    /// new one took its place. After a soft-reboot it is of the same boot, and the daemon that went may not have come to say so; but
    /// whoever goes writes nothing that does not say it.
    fn follow_registration(
        &mut self,
        machine: &MachineId,
        record: Option<&Machine>,
        is_written: bool,
    ) {
        let Some(record) = record else {
            self.registered.remove(machine);
            return;
        };
        let now = (record.boot.clone(), record.leaving);
        let before = self.registered.insert(machine.clone(), now);
        let is_written = is_written && !is_planted("return-in-one-boot-overlooked");
        if is_written && !record.leaving
            || before.is_some_and(|(boot, left)| boot != record.boot || left && !record.leaving)
        {
            self.leaving.remove(machine);
        }
    }

    /// A machine's registration is gone, seen going now or found missing: with a leave taken, or lost.
    fn on_machine_gone(
        &mut self,
        now: Duration,
        machine: MachineId,
        seen_going: bool,
        notices: &mut Vec<TermNotice>,
    ) {
        if self.leaving.remove(&machine) {
            self.freeze.on_machine_left(&machine);
        } else {
            notices.push(TermNotice::MachineLost(machine.clone()));
            self.freeze.on_machine_lost(machine, seen_going, now);
        }
    }

    fn on_machine_returned(&mut self, machine: MachineId) {
        self.leaving.remove(&machine);
        self.freeze.on_machine_returned(machine);
    }

    /// The members have been written. Every write rests on what was seen, so that no doubtful one can be carried out after it. A listing
    /// that is older than the write may still come, and the watch tells of it after that.
    pub(super) fn on_members_written(&mut self, members: BTreeSet<MachineId>) {
        let is_seen = self.members == members;
        self.members.clone_from(&members);
        self.own_members.clear();
        if !is_seen && !is_planted("own-members-taken-for-leave") {
            self.own_members.push(members);
        }
    }

    /// The members are about to be written: whether they have been is not known before the answer, or before the watch tells of them. A
    /// write that is not answered stays in doubt until one that is.
    pub(super) fn on_members_sent(&mut self, members: BTreeSet<MachineId>) {
        if !self.own_members.contains(&members) {
            self.own_members.push(members);
        }
    }

    /// Follows the record of the members, as it has just been written or was found. We take none out of it that is here: one that is
    /// here and out of it has taken its leave. A write of our own that was in doubt is none: whoever was gone when it was sent may be
    /// back since. Nor is a record that was found, which may be of a backup that was put back: whoever has taken its leave says so.
    fn follow_members(&mut self, members: &BTreeSet<MachineId>, is_written: bool) {
        let is_found = !is_written && !is_planted("found-members-taken-for-leave");
        let is_ours =
            self.own_members.contains(members) && !is_planted("late-members-taken-for-leave");
        let goes =
            |machine: &MachineId| self.registered.get(machine).is_some_and(|(_, says_so)| *says_so);
        let here = self.freeze.live_machines();
        let left = self
            .members
            .difference(members)
            .filter(|machine| here.contains(*machine) && (!(is_ours || is_found) || goes(machine)));
        self.leaving.extend(left.cloned());
        if is_ours {
            self.own_members.clear();
        }
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
