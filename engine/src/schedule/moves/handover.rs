//! Units that move away from a drained machine.
//!
//! Owns the moves: a unit is first started on another machine, and stopped where it was once it is up there. Between the
//! two it has two placements, of which the new one says from where it takes over; everything else follows from the
//! placements and from what the two machines report, so that a new leader goes on where the old one was.
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

use muster_common::decision::Decision;
use muster_common::machine::MachineId;
use muster_common::snapshot::Handover;

use crate::machine::arrival::Arrival;

use crate::schedule::drain_status::Verdict;
use crate::schedule::group::Group;
use crate::schedule::index::Index;
use crate::schedule::pass::Pass;
use crate::schedule::table::{MachineKey, UnitKey};

/// On how many machines a unit is tried before it is left where it is.
pub(crate) const TRIES: usize = 3;

/// What has become of a move.
enum Outcome {
    /// All that move are up on the new machine.
    Arrived,
    /// They are not up yet.
    Pending,
    /// This one did not start; what the machine says.
    Failed(UnitKey, String),
}

impl Index {
    /// Where a unit takes over, and from where; a placement that takes over from nothing has no part in a move.
    pub(crate) fn handover(&self, unit: UnitKey) -> Option<(MachineKey, MachineKey)> {
        let row = &self.units[unit];
        row.places.iter().find_map(|place| {
            let source = place.placement.handover.takes_over.as_ref()?;
            let source = *self.machine_keys.get(source)?;
            row.place_on(source).filter(|_| source != place.machine)?;
            Some((source, place.machine))
        })
    }

    /// A machine that may still run a unit which may not run twice, and is not to keep it.
    pub(crate) fn lingering_machine(&self, unit: UnitKey) -> Option<MachineKey> {
        let row = &self.units[unit];
        if !self.is_single(unit) {
            return None;
        }
        let reporting = row.reports.iter().map(|(machine, _)| *machine);
        let reporting = reporting.filter(|machine| row.place_on(*machine).is_none());
        let placed = row.places.iter().map(|place| place.machine);
        placed.chain(reporting).find(|machine| self.is_live(*machine))
    }

    /// Whether a unit that may not run twice is placed on a live machine that has not said a word of it. Such a machine may be
    /// about to start it, and would be thought to have ended it were it taken from there now.
    pub(crate) fn is_unheard_of(&self, unit: UnitKey) -> bool {
        let row = &self.units[unit];
        let unheard = |machine| self.is_live(machine) && row.report_of(machine).is_none();
        self.is_single(unit) && row.places.iter().any(|place| unheard(place.machine))
    }

    /// Whether a unit that may not run twice has to end elsewhere before it comes to a machine.
    pub(crate) fn ends_first(&self, unit: UnitKey, machine: MachineKey) -> bool {
        let row = &self.units[unit];
        row.place_on(machine).is_none() && self.lingering_machine(unit).is_some()
    }

    /// The unit that a decision would let run twice though it may not, by coming to a machine or leaving one too early.
    /// `about`: the unit that it is most likely about.
    pub(crate) fn would_run_twice(&self, about: UnitKey, decision: &Decision) -> Option<UnitKey> {
        let (Decision::Place { machine, unit, .. } | Decision::Remove { machine, unit, .. }) =
            decision;
        let known = (self.units[about].name == *unit).then_some(about);
        let unit = known.or_else(|| self.unit_keys.get(unit).copied())?;
        let row = &self.units[unit];
        if !self.is_single(unit) {
            return None;
        }
        let twice = match decision {
            Decision::Place { .. } => self.ends_first(unit, *self.machine_keys.get(machine)?),
            Decision::Remove { .. } => {
                row.is_wanted() && row.places.len() == 1 && self.is_unheard_of(unit)
            }
        };
        twice.then_some(unit)
    }

    /// Where units were tried in vain from a machine, with what was wrong.
    pub(crate) fn tried(
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
}

impl Pass<'_> {
    /// Goes on with a group's move; false when it is not on the move.
    pub(crate) fn advance_move(&mut self, group: &Group) -> bool {
        let handovers = group.members.iter().filter_map(|unit| self.index.handover(*unit));
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
                if let Some((source, target)) = self.index.handover(*unit) {
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
            self.index.is_single(*unit) && (waits || self.index.handover(*unit).is_some())
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
            (true, true) => match self.outcome(&moving, source, target) {
                Outcome::Arrived => {
                    self.gather_at(group, target);
                    self.note_verdict(&moving, source, &Verdict::Stopping);
                }
                Outcome::Failed(unit, problem) if draining => {
                    self.abort_move(&moving, source, target, Some(&(unit, problem)));
                }
                Outcome::Pending if draining && !self.index.draining.contains(&target) => {
                    self.start(group, &moving, source, target);
                    self.note_verdict(&moving, source, &Verdict::Moving(target));
                }
                Outcome::Pending | Outcome::Failed(..) => {
                    self.abort_move(&moving, source, target, None);
                }
            },
        }
        true
    }

    /// Begins to move a group away from a machine that is drained; false when it stays for now.
    pub(crate) fn begin_move(&mut self, group: &Group, home: MachineKey) -> bool {
        if !self.index.draining.contains(&home) {
            return false;
        }
        let here = |unit: &UnitKey| self.index.units[*unit].place_on(home).is_some();
        let leaving: Vec<UnitKey> = group.members.iter().copied().filter(here).collect();
        if leaving.iter().any(|unit| !self.index.may_stay(*unit, home)) {
            return false;
        }
        if self.room == 0 {
            return false;
        }
        let singles: Vec<UnitKey> =
            leaving.iter().copied().filter(|unit| self.index.is_single(*unit)).collect();
        let Some(target) = self.find_destination(group, &leaving, home) else {
            self.note_verdict(&leaving, home, &Verdict::Stuck);
            return false;
        };
        let goes = Verdict::Goes { to: target, stops_first: !singles.is_empty() };
        self.note_verdict(&leaving, home, &goes);
        // One that has only just come may be about to start: its machine has to say how it stands before it is stopped.
        let unsaid = |unit: &UnitKey| self.arrival(*unit, home) == Arrival::Pending;
        if singles.iter().any(unsaid) {
            return false;
        }
        self.room = self.room.saturating_sub(leaving.len());
        if singles.is_empty() {
            self.start(group, &leaving, home, target);
        } else {
            for unit in &leaving {
                // It keeps its room there for the rest of this plan.
                self.count(*unit, target);
                let decisions = self.remove_decisions(*unit, |_| true);
                self.push(*unit, decisions);
            }
            let others = group.members.iter().copied().filter(|unit| !leaving.contains(unit));
            self.leave_where_they_are(&others.collect::<Vec<_>>(), home);
        }
        true
    }

    /// Keeps units away from every machine while one of them, which may not run twice, has not ended where it was; false
    /// when there is nothing to wait for.
    pub(crate) fn wait_for_the_end(&mut self, members: &[UnitKey]) -> bool {
        if members.iter().all(|unit| self.index.lingering_machine(*unit).is_none()) {
            return false;
        }
        // Their room is kept for them; whether those that are not heard of need any shows later.
        let heard = !members.iter().any(|unit| self.index.is_unheard_of(*unit));
        if let Some(machine) = self.best_machine(members, None).filter(|_| heard) {
            for unit in members {
                self.count(*unit, machine);
            }
        }
        for unit in members {
            self.refuse_unit(*unit);
        }
        true
    }

    /// Where units would go from a machine, if anywhere: beside all of their group, or else without those that have not
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
        let tried = self.index.tried(leaving, home);
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

    /// Has units run on both machines, those of the group that are on neither on the new one, if it takes them; and tells
    /// both what the user wants by now.
    fn start(&mut self, group: &Group, moving: &[UnitKey], source: MachineKey, target: MachineKey) {
        // Those that move have the room there before any newcomer.
        for unit in moving {
            if self.index.units[*unit].place_on(target).is_none() {
                self.count(*unit, target);
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
                self.count(*unit, target);
            }
            let mut decisions = self.remove_decisions(*unit, |at| at != source && at != target);
            if here {
                decisions.extend(self.place_decision(*unit, source));
            }
            let takes_over = here.then(|| self.id(source));
            let handover = Handover { takes_over, ..Handover::default() };
            decisions.extend(self.place_decision_as(*unit, target, handover));
            self.push(*unit, decisions);
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
            self.push(unit, decisions);
        }
        self.note_verdict(moving, source, &Verdict::Waits);
        self.note_verdict(moving, target, &Verdict::Stopping);
    }

    /// How far units have come that move from one machine to another. One that has failed where it was arrives by being
    /// tried.
    fn outcome(&self, moving: &[UnitKey], source: MachineKey, target: MachineKey) -> Outcome {
        let mut outcome = Outcome::Arrived;
        for unit in moving {
            let row = &self.index.units[*unit];
            if row.place_on(source).is_none() {
                continue;
            }
            match self.arrival(*unit, target) {
                Arrival::Here => {}
                Arrival::Pending => outcome = Outcome::Pending,
                Arrival::Failed(problem) => {
                    if !matches!(self.arrival(*unit, source), Arrival::Failed(_)) {
                        return Outcome::Failed(*unit, problem);
                    }
                }
            }
        }
        outcome
    }

    /// How far a machine has come with what the user wants of a unit now.
    fn arrival(&self, unit: UnitKey, machine: MachineKey) -> Arrival {
        let row = &self.index.units[unit];
        let Some((place, record)) = row.place_on(machine).zip(row.record.as_ref()) else {
            return Arrival::Pending;
        };
        let placement = &place.placement;
        let current = placement.file == record.file
            && placement.generation == record.generation
            && placement.desired == record.desired;
        match row.report_of(machine) {
            Some(report) if current => report.arrival(placement, record.desired),
            _ => Arrival::Pending,
        }
    }

    fn note_verdict(&mut self, units: &[UnitKey], on: MachineKey, verdict: &Verdict) {
        if self.index.draining.contains(&on) {
            for unit in units {
                self.verdicts.insert((*unit, on), verdict.clone());
            }
        }
    }
}
