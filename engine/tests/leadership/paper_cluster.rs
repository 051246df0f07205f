//! A store on paper: a cluster's records, the guards of what a leader writes, and the events its watch yields.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use muster_common::cordon::{AtDeadline, Cordon, CordonHolder, Drain, Hold};
use muster_common::decision::{Decision, Move, PlacesCommitted};
use muster_common::lease::{Leadership, TimeLeft};
use muster_common::machine::{Machine, MachineId};
use muster_common::snapshot::{Change, ClusterEvent, Leader, Snapshot, Unit};
use muster_common::state::DesiredState;
use muster_common::unit::{UnitFile, UnitName};
use muster_engine::leader::messages::{TermAnswer, TermRequest};

/// The time a machine's lease is granted.
const GRANTED: Duration = Duration::from_secs(6);

#[derive(Default)]
pub(crate) struct PaperCluster {
    pub(crate) snapshot: Snapshot,
    /// Revision that created the leader record.
    pub(crate) leader_created: u64,
    /// Revision that last wrote it.
    leader_written: u64,
    /// The same, as the request that stays in the socket has found it.
    leader_found: u64,
    /// Machines that have not prolonged their leases when they should have.
    pub(crate) silent: BTreeSet<MachineId>,
    /// The time for which its leader has counted leases; absent: for ever.
    pub(crate) counted_for: Option<Duration>,
    /// Changes that the leader has not seen yet.
    pending: Vec<(u64, Change)>,
    /// The leader has to begin anew.
    reset: bool,
    /// The listing that it begins anew with, of before what is pending.
    listing: Option<Snapshot>,
    /// The records as they were backed up.
    backup: Snapshot,
}

impl PaperCluster {
    /// Writes a record, under a revision of its own.
    pub(crate) fn change(&mut self, change: Change) {
        self.snapshot.revision += 1;
        self.snapshot.apply(change.clone());
        self.pending.push((self.snapshot.revision, change));
    }

    /// A watch that begins, or that does not know what it has missed.
    pub(crate) fn begin_anew(&mut self) {
        self.reset = true;
    }

    /// The same with a listing that is made now and comes later.
    pub(crate) fn list_early(&mut self) {
        self.pending.clear();
        self.listing = Some(self.snapshot.clone());
    }

    pub(crate) fn back_up(&mut self) {
        self.backup = self.snapshot.clone();
    }

    /// Everything is as it was backed up, revisions too; the watch begins anew.
    pub(crate) fn restore(&mut self) {
        self.snapshot = self.backup.clone();
        self.pending.clear();
        self.reset = true;
    }

    /// All that has happened since the last call.
    pub(crate) fn events(&mut self) -> Vec<ClusterEvent> {
        let pending = std::mem::take(&mut self.pending);
        if std::mem::take(&mut self.reset) {
            return vec![ClusterEvent::Reset(Box::new(self.snapshot.clone()))];
        }
        let listing = self.listing.take().map(|listed| ClusterEvent::Reset(Box::new(listed)));
        let changes = pending
            .into_iter()
            .map(|(revision, change)| ClusterEvent::Changes { revision, changes: vec![change] });
        listing.into_iter().chain(changes).collect()
    }

    pub(crate) fn register(&mut self, id: &str) {
        let machine = serde_json::json!({"id": id, "address": "", "runners": ["systemd"]});
        let mut machine: Machine = serde_json::from_value(machine).unwrap();
        machine.created = self.snapshot.revision + 1;
        // Whoever registers anew has booted.
        machine.boot = format!("boot {}", machine.created);
        self.silent.remove(&machine.id);
        self.change(Change::Machine(machine.id.clone(), Some(machine)));
    }

    /// Writes the record of a machine again, as it was, or with the word that it goes.
    pub(crate) fn rewrite(&mut self, id: &str, leaving: bool) {
        let mut machine = self.snapshot.machines.get(&id.parse().unwrap()).unwrap().clone();
        machine.leaving |= leaving;
        self.change(Change::Machine(machine.id.clone(), Some(machine)));
    }

    pub(crate) fn launch(&mut self, name: &str) {
        let file: UnitFile = "[Service]\nExecStart=/bin/true\n".parse().unwrap();
        let (name, hash): (UnitName, _) = (name.parse().unwrap(), file.hash());
        self.change(Change::File(hash, Some(Arc::new(file))));
        let generation = self.snapshot.units.get(&name).map_or(1, |unit| unit.generation + 1);
        let revision = self.snapshot.revision + 1;
        let desired = DesiredState::Launched;
        let unit = Unit { name: name.clone(), file: hash, desired, generation, revision };
        self.change(Change::Unit(name, Some(unit)));
    }

    /// Orders a machine to be emptied within some seconds.
    pub(crate) fn drain(&mut self, id: &str, seconds: u64) {
        let then = AtDeadline::default();
        let drain = Drain { began: 0, deadline: Some(seconds), then, ended: None };
        let hold = Hold { drain: Some(drain), ..Hold::default() };
        let revision = self.snapshot.revision + 1;
        let holds = [(CordonHolder::Person, hold)].into();
        self.change(Change::Cordon(id.parse().unwrap(), Some(Cordon { holds, revision })));
    }

    pub(crate) fn set_leader(&mut self, machine: &str, held: BTreeSet<MachineId>) {
        let leader = Leader { machine: machine.parse().unwrap(), held };
        self.change(Change::Leader(Some(leader)));
        self.leader_written = self.snapshot.revision;
    }

    /// Carries out what a leader asks for, guarded as the store guards it.
    pub(crate) fn carry_out(&mut self, request: &TermRequest) -> TermAnswer {
        let current = Leadership { created: self.leader_created };
        let questions =
            matches!(request, TermRequest::ProbeLeases { .. } | TermRequest::EndDrains { .. });
        if !questions && request.guarding_leadership() != Some(current) {
            return TermAnswer::Deposed;
        }
        match request {
            TermRequest::ProbeLeases { machines, .. } => {
                let time = |machine: &MachineId| {
                    let counted_for = self.counted_for.unwrap_or(Duration::MAX);
                    let given_anew = counted_for < GRANTED / 2;
                    let is_silent = self.silent.contains(machine) && !given_anew;
                    let left = if is_silent { GRANTED / 3 } else { GRANTED };
                    (machine.clone(), TimeLeft { left, granted: GRANTED, counted_for })
                };
                let registered =
                    machines.iter().filter(|m| self.snapshot.machines.contains_key(*m));
                TermAnswer::Leases(registered.map(time).collect())
            }
            TermRequest::EndDrains { leadership, machine, drains } => {
                if *leadership != current {
                    return TermAnswer::Failed("another leads".to_owned());
                }
                self.end_drains(machine, drains);
                TermAnswer::Done
            }
            TermRequest::RecordMembers { seen, .. } if *seen != self.snapshot.members => {
                TermAnswer::Overtaken
            }
            TermRequest::RecordMembers { members, .. } => {
                self.change(Change::Members(members.clone()));
                TermAnswer::Done
            }
            TermRequest::RecordHeld { presence, held, .. } => {
                self.set_leader(presence.machine.as_str(), held.clone());
                TermAnswer::Written { revision: self.snapshot.revision }
            }
            TermRequest::CommitPlan { fence, .. } if *fence != self.leader_written => {
                TermAnswer::Overtaken
            }
            TermRequest::CommitPlan { moves, .. } => {
                let mut committed = PlacesCommitted::default();
                for (index, step) in moves.iter().enumerate() {
                    if step.decisions.iter().all(|decision| self.holds(decision)) {
                        self.write_move(step);
                        committed.revision = self.snapshot.revision;
                    } else {
                        committed.conflicts.push(index);
                    }
                }
                TermAnswer::Committed(committed)
            }
        }
    }

    /// The request under way stays in the socket: what it rests on, it has found.
    pub(crate) fn keep_request(&mut self) {
        self.leader_found = self.leader_written;
    }

    /// Carries out what stayed in the socket.
    pub(crate) fn carry_out_late(&mut self, request: &TermRequest) -> TermAnswer {
        let is_held = matches!(request, TermRequest::RecordHeld { .. });
        if is_held && self.leader_found != self.leader_written {
            return TermAnswer::Overtaken;
        }
        self.carry_out(request)
    }

    fn end_drains(&mut self, machine: &MachineId, drains: &[(CordonHolder, Drain)]) {
        let Some(mut cordon) = self.snapshot.cordons.get(machine).cloned() else { return };
        for (holder, drain) in drains {
            let hold = cordon.holds.get_mut(holder);
            if let Some(now) = hold.and_then(|hold| hold.drain.as_mut())
                && now == drain
            {
                now.ended = Some(now.then.end());
            }
        }
        cordon.revision = self.snapshot.revision + 1;
        self.change(Change::Cordon(machine.clone(), Some(cordon)));
    }

    /// Whether all that a decision rests on is still so.
    fn holds(&self, decision: &Decision) -> bool {
        let Snapshot { units, machines, places, cordons, .. } = &self.snapshot;
        let unit = units.get(decision.unit()).map_or(0, |unit| unit.revision);
        let there = places.get(decision.unit()).and_then(|p| p.get(decision.machine()));
        let there = there.map_or(0, |placement| placement.revision);
        match decision {
            Decision::Place {
                machine, placement, unit_revision, machine_created, cordon, ..
            } => {
                let created = machines.get(machine).map_or(0, |machine| machine.created);
                let cordoned = cordons.get(machine).map_or(0, |cordon| cordon.revision);
                *unit_revision == unit
                    && placement.revision == there
                    && *machine_created == created
                    && (there != 0 || *cordon == cordoned)
            }
            Decision::Remove { machine, revision, unit_revision, leaving, .. } => {
                let source = machines.get(machine);
                *unit_revision == unit
                    && *revision == there
                    && leaving.is_none_or(|as_seen| source.is_some_and(|s| s.revision == as_seen))
            }
        }
    }

    fn write_move(&mut self, step: &Move) {
        for decision in &step.decisions {
            let record = match decision {
                Decision::Place { placement, .. } => {
                    let mut placement = placement.clone();
                    placement.revision = self.snapshot.revision + 1;
                    Some(placement)
                }
                Decision::Remove { .. } => None,
            };
            let (machine, unit) = (decision.machine().clone(), decision.unit().clone());
            self.change(Change::Place(machine, unit, record));
        }
    }
}
