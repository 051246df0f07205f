//! How a unit gets from one machine to another, whatever the reason.
//!
//! Owns the way: a unit is first started on another machine, and stopped where it was once it is up there. Between the
//! two it has two placements, of which the new one says from where it takes over; everything else follows from the
//! placements and from what the two machines report, so that a new leader goes on where the old one was. A reason of its own that
//! wants to move a unit asks for [`PlanPass::begin_handover`]; a move under way goes on while its reason holds.
//!
//! | the unit | becomes |
//! | --- | --- |
//! | on a drained machine, another takes it | started there too, if there is room among those that move |
//! | up on the new machine | the old placement goes, the new one is like any other |
//! | did not start there | the new placement goes; the old one remembers that it was tried |
//! | the new machine is lost, or suits no more | the new placement goes, and another machine is chosen |
//! | the old machine is lost, or suits no more | the new placement is home, as if it were up |
//! | the drain is called off, or given up | moved if it is up on the new machine, else the new placement goes |
//!
//! A unit that keeps data on its machine, or names itself in `Conflicts=`, may not run twice: it is stopped first, and started
//! elsewhere once no machine reports it any more. So is one that was made from a file that kept data and is made from another by
//! now, for as long as a machine may run it from the old one. That holds for every move, not only for those of a drain; what a
//! lost machine still runs nobody can say. Units tied together by `MachineOf=` move as one. A unit that has failed where it is has nothing
//! to lose: it moves whether it starts on the new machine or not.
//!
//! No target is a machine that still reports the unit: its report would be taken for that of the new copy.

use std::collections::{BTreeMap, BTreeSet};

use muster_common::decision::MoveReason;
use muster_common::machine::MachineId;

use muster_common::snapshot::Handover;

use crate::machine::arrival::Arrival;

use super::verdict::DrainVerdict;
use crate::schedule::group::Group;
use crate::schedule::index::Index;
use crate::schedule::pass::PlanPass;
use crate::schedule::table::{MachineKey, UnitKey};

/// On how many machines a unit is tried before it is left where it is.
const TRIES: usize = 3;

/// The state of a move under way.
enum MoveOutcome {
    /// All that move are up on the new machine.
    Arrived,
    /// They are not up yet.
    Pending,
    /// This one did not start; what the machine says.
    Failed(UnitKey, String),
}

impl Index {
    /// The machines on which units were tried in vain from this one, with what was wrong there.
    pub(crate) fn tried_machines(
        &self,
        units: &[UnitKey],
        from: MachineKey,
    ) -> BTreeMap<&MachineId, &String> {
        let rows = units.iter().map(|unit| &self.units[*unit]);
        let known = rows.filter_map(|row| {
            let place = &row.place_on(from)?.placement;
            let record = row.record.as_ref()?;
            let holds = place.file == record.file && place.generation == record.generation;
            holds.then_some(&place.handover.tried)
        });
        known.flatten().collect()
    }

    /// The machines from which and on which a unit takes over, in this order; a placement that takes over from nothing has no part in a move.
    pub(crate) fn handover_of(&self, unit: UnitKey) -> Option<(MachineKey, MachineKey)> {
        let row = &self.units[unit];
        row.places.iter().find_map(|place| {
            let source = place.placement.handover.takes_over.as_ref()?;
            let source = *self.machine_keys.get(source)?;
            row.place_on(source).filter(|_| source != place.machine)?;
            Some((source, place.machine))
        })
    }
}

impl PlanPass<'_> {
    /// Goes on with a group's move; false when it is not on the move.
    pub(crate) fn advance_move(&mut self, group: &Group) -> bool {
        let handovers = group.members.iter().filter_map(|unit| self.index.handover_of(*unit));
        let handovers: BTreeSet<(MachineKey, MachineKey)> = handovers.collect();
        let mut ways = handovers.iter().copied();
        let Some((source, target)) = ways.next() else { return false };
        let placed = |unit: &UnitKey, at| self.index.units[*unit].place_on(at).is_some();
        let moving: Vec<UnitKey> = group
            .members
            .iter()
            .copied()
            .filter(|unit| placed(unit, source) || placed(unit, target))
            .collect();
        if ways.next().is_some() {
            // Tied together while they were on different ways: each goes back, and then all go as one.
            for unit in &moving {
                if let Some((source, target)) = self.index.handover_of(*unit) {
                    self.abort_move(&[*unit], source, target, None);
                }
            }
            return true;
        }
        let suits = self.index.is_live(target)
            && moving.iter().all(|unit| match self.index.units[*unit].place_on(target) {
                Some(_) => self.index.may_stay(*unit, target),
                None => self.index.may_come(*unit, target),
            });
        let may_stay = self.index.is_live(source)
            && moving.iter().all(|unit| {
                self.index.units[*unit].place_on(source).is_none()
                    || self.index.may_stay(*unit, source)
            });
        let draining = self.index.draining.contains(&source);
        // One that may not run twice has come among them, or it has become one, while they were on their way: back, or away
        // from both. None of its kind is first started where it goes.
        let twice = |unit: &UnitKey| {
            let is_at = |at| self.index.units[*unit].place_on(at).is_some();
            let waits = is_at(source) && !is_at(target);
            self.index.is_single(*unit) && (waits || self.index.handover_of(*unit).is_some())
        };
        if moving.iter().any(twice) {
            if may_stay {
                self.abort_move(&moving, source, target, None);
            } else {
                self.place_new(&group.members);
            }
            return true;
        }
        match (suits, may_stay) {
            (false, false) => self.place_new(&group.members),
            (true, false) => self.gather_at(group, target),
            (false, true) => self.abort_move(&moving, source, target, None),
            (true, true) => match self.move_outcome(&moving, source, target) {
                MoveOutcome::Arrived => {
                    self.gather_at(group, target);
                    self.note_verdict(&moving, source, &DrainVerdict::Stopping);
                }
                MoveOutcome::Failed(unit, problem) if draining => {
                    self.abort_move(&moving, source, target, Some(&(unit, problem)));
                }
                MoveOutcome::Pending if draining && !self.index.draining.contains(&target) => {
                    self.start_handover(group, &moving, source, target);
                    self.note_verdict(&moving, source, &DrainVerdict::Moving(target));
                }
                MoveOutcome::Pending | MoveOutcome::Failed(..) => {
                    self.abort_move(&moving, source, target, None);
                }
            },
        }
        true
    }

    /// The machine to which units would go from this one, if any: beside all of their group, or else without those that have not
    /// been placed yet.
    pub(crate) fn find_destination(
        &mut self,
        group: &Group,
        leaving: &[UnitKey],
        home: MachineKey,
    ) -> Option<MachineKey> {
        // Those that cannot be decided on stay, and so do those that belong beside them.
        if !group.fixed.is_empty() {
            return None;
        }
        let tried = self.index.tried_machines(leaving, home);
        if tried.len() >= TRIES {
            return None;
        }
        let mut except: Vec<MachineKey> =
            tried.keys().filter_map(|id| self.index.machine_keys.get(*id).copied()).collect();
        except.push(home);
        for unit in leaving {
            except.extend(self.index.units[*unit].reports.iter().map(|(machine, _)| *machine));
        }
        let all = self.best_machine(&group.members, except.iter().copied());
        if all.is_some() || group.members.len() == leaving.len() {
            return all;
        }
        self.best_machine(leaving, except)
    }

    /// Begins to move units of a group from one machine to another; false when they stay for now. Where one of them may not run
    /// twice, all are stopped first.
    pub(crate) fn begin_handover(
        &mut self,
        group: &Group,
        leaving: &[UnitKey],
        home: MachineKey,
        target: MachineKey,
    ) -> bool {
        let singles: Vec<UnitKey> =
            leaving.iter().copied().filter(|unit| self.index.is_single(*unit)).collect();
        // One that has only just come may be about to start: its machine has to say how it stands before it is stopped.
        let unsaid = |unit: &UnitKey| self.arrival_at(*unit, home) == Arrival::Pending;
        if singles.iter().any(unsaid) {
            return false;
        }
        self.moves_left = self.moves_left.saturating_sub(leaving.len());
        if singles.is_empty() {
            self.start_handover(group, leaving, home, target);
        } else {
            self.stop_first(group, leaving, home, target);
        }
        true
    }

    /// Takes units from their machine, with their room on the new one kept for the rest of this plan; the next plans bring them
    /// there once they have ended.
    fn stop_first(
        &mut self,
        group: &Group,
        leaving: &[UnitKey],
        home: MachineKey,
        target: MachineKey,
    ) {
        for unit in leaving {
            self.count_planned(*unit, target);
            let decisions = self.remove_decisions(*unit, |_| true);
            self.push_move(*unit, MoveReason::Drain { machine: self.id(home) }, decisions);
        }
        let others = group.members.iter().copied().filter(|unit| !leaving.contains(unit));
        self.leave_where_they_are(&others.collect::<Vec<_>>(), home);
    }

    /// Has units run on both machines, those of the group that are on neither on the new one, if it takes them; and tells
    /// both what the user wants by now.
    fn start_handover(
        &mut self,
        group: &Group,
        moving: &[UnitKey],
        source: MachineKey,
        target: MachineKey,
    ) {
        // Those that move have the room there before any newcomer.
        for unit in moving {
            if self.index.units[*unit].place_on(target).is_none() {
                self.count_planned(*unit, target);
            }
        }
        let mut left: Vec<UnitKey> = Vec::new();
        for unit in &group.members {
            let here = self.index.units[*unit].place_on(source).is_some();
            let there = self.index.units[*unit].place_on(target).is_some();
            if !there && !moving.contains(unit) {
                // Nor does one come whose leader does not.
                let stranded = self
                    .index
                    .leaders_of(*unit)
                    .filter_map(|name| self.index.unit_keys.get(name))
                    .any(|leader| left.contains(leader));
                let lingers = self.index.ends_first(*unit, target);
                // What runs on a third machine is gathered once the others have arrived, if it can be.
                let mut places = self.index.units[*unit].places.iter().map(|place| place.machine);
                let runs = places.any(|at| self.index.may_stay(*unit, at));
                if stranded || lingers || runs || !self.index.may_come(*unit, target) {
                    left.push(*unit);
                    continue;
                }
                self.count_planned(*unit, target);
            }
            let mut decisions = self.remove_decisions(*unit, |at| at != source && at != target);
            if here {
                decisions.extend(self.place_decision(*unit, source));
            }
            let takes_over = here.then(|| self.id(source));
            let handover = Handover { takes_over, ..Handover::default() };
            decisions.extend(self.place_decision_as(*unit, target, handover));
            let reason = if here && !there {
                MoveReason::Drain { machine: self.id(source) }
            } else if there {
                MoveReason::Update
            } else {
                self.index.reason_to_come(*unit, target)
            };
            self.push_move(*unit, reason, decisions);
        }
        self.leave_where_they_are(&left, target);
    }

    /// Leaves units where they were, and remembers of the one that did not start where it was tried.
    fn abort_move(
        &mut self,
        moving: &[UnitKey],
        source: MachineKey,
        target: MachineKey,
        failed: Option<&(UnitKey, String)>,
    ) {
        let first = failed.map(|(unit, _)| *unit);
        let others = moving.iter().copied().filter(|unit| Some(*unit) != first);
        for unit in first.into_iter().chain(others) {
            let mut decisions = self.remove_decisions(unit, |at| at == target);
            if self.index.units[unit].place_on(source).is_some() {
                let mut handover = self.remembered_tries(unit, source);
                if let Some((failed, problem)) = failed
                    && *failed == unit
                {
                    handover.tried.insert(self.id(target), problem.clone());
                }
                decisions.extend(self.place_decision_as(unit, source, handover));
            }
            self.push_move(unit, MoveReason::CallBack { machine: self.id(target) }, decisions);
        }
        self.note_verdict(moving, source, &DrainVerdict::Waits);
        self.note_verdict(moving, target, &DrainVerdict::Stopping);
    }

    /// The state of a move from one machine to another. A unit that has failed where it was arrives by being
    /// tried.
    fn move_outcome(
        &self,
        moving: &[UnitKey],
        source: MachineKey,
        target: MachineKey,
    ) -> MoveOutcome {
        let mut outcome = MoveOutcome::Arrived;
        for unit in moving {
            let row = &self.index.units[*unit];
            if row.place_on(source).is_none() {
                continue;
            }
            match self.arrival_at(*unit, target) {
                Arrival::Here => {}
                Arrival::Pending => outcome = MoveOutcome::Pending,
                Arrival::Failed(problem) => {
                    if !matches!(self.arrival_at(*unit, source), Arrival::Failed(_)) {
                        return MoveOutcome::Failed(*unit, problem);
                    }
                }
            }
        }
        outcome
    }

    /// The state that a unit has reached on a machine, as to what the user wants of it now.
    fn arrival_at(&self, unit: UnitKey, machine: MachineKey) -> Arrival {
        let row = &self.index.units[unit];
        let Some((place, record)) = row.place_on(machine).zip(row.record.as_ref()) else {
            return Arrival::Pending;
        };
        let placement = &place.placement;
        let current = placement.file == record.file
            && placement.generation == record.generation
            && placement.desired == record.desired;
        match row.report_of(machine) {
            Some(report) if current => report.arrival_at(placement, record.desired),
            _ => Arrival::Pending,
        }
    }
}
