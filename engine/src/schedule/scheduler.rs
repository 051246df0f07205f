//! The scheduler: a cluster that is indexed once and planned for again and again.
//!
//! Owns what is remembered between two plans: who waits, and where the last plan put units. What becomes of a unit is decided by
//! the pass.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use muster_common::decision::Move;
use muster_common::machine::MachineId;
use muster_common::refusal::Refusal;
use muster_common::snapshot::{Change, Snapshot, Unit};
use muster_common::state::DesiredState;
use muster_common::unit::{FileHash, UnitFile, UnitName};

use super::index::Index;
use super::pass::PlanPass;
use super::table::{Bits, MachineKey, UnitKey};

/// The moves that make placements as they should be, and the units that cannot be placed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The moves to write, in an order in which each can stand alone.
    pub moves: Vec<Move>,
    /// Units that should be placed and cannot be; [`Scheduler::explain_refusal`] says why.
    pub refused: BTreeSet<UnitName>,
}

/// A unit that might be launched; see [`Scheduler::admit_candidates`].
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Its name; it may be new to the cluster.
    pub name: UnitName,
    /// Its file.
    pub file: Arc<UnitFile>,
}

/// The cluster, indexed for deciding. The leader keeps one between wake-ups; any daemon may make one to say what the
/// leader would do.
#[derive(Debug, Clone)]
pub struct Scheduler {
    pub(super) index: Index,
    /// Units that should be placed and cannot be.
    waiting: BTreeSet<UnitKey>,
    /// Units with the machines where the last pass put them, to be forgotten before the next.
    planned: Vec<(UnitKey, MachineKey)>,
    /// Passes so far.
    passes: u64,
}

/// A full plan from nothing.
pub fn schedule(snapshot: &Snapshot) -> Plan {
    Scheduler::new(snapshot).plan()
}

impl Scheduler {
    /// Indexes a cluster.
    pub fn new(snapshot: &Snapshot) -> Self {
        Self {
            index: Index::from_snapshot(snapshot),
            waiting: BTreeSet::new(),
            planned: Vec::new(),
            passes: 0,
        }
    }

    /// Takes one change of the cluster in. The cost is that of the change. False when no plan can come out otherwise
    /// for it, as is the case for most reports of machines.
    pub fn apply(&mut self, change: &Change) -> bool {
        let decides = self.index.apply(change);
        self.index.check_sometimes();
        decides
    }

    /// Machines that vanished while re-placement was frozen: their units stay where they are. Replaces what was held;
    /// a held machine that is registered again is a machine like any other.
    pub fn hold_machines(&mut self, machines: BTreeSet<MachineId>) {
        self.index.hold_machines(machines);
    }

    /// The plan: whatever is to be written now. The cost is that of what changed since the last plan; planning again before the
    /// plan has been applied gives the same plan.
    pub fn plan(&mut self) -> Plan {
        self.forget_planned();
        let agenda = self.take_agenda();
        let number = self.next_pass_number();
        let mut pass = PlanPass::new(&mut self.index, number);
        pass.consider_units(&agenda);
        self.planned = pass.roll_back();
        let PlanPass { moves, moved, seen, refused, .. } = pass;

        for unit in &seen {
            self.waiting.remove(unit);
        }
        self.waiting.extend(refused);
        // A refusal may rest on moves that come to nothing, and room that a removal makes is for the next plan.
        // So is the room that was kept for those who wait for their end, should they need it no more.
        self.index.recheck_refused = !moves.is_empty() || !self.planned.is_empty();
        // One that waits for its end, or to be heard of, has room and no decision yet: it is looked at with those that have.
        let planned = self.planned.iter().map(|(unit, _)| *unit);
        for unit in moved.into_iter().chain(planned) {
            self.index.mark_dirty(unit);
        }
        for unit in seen {
            let row = &self.index.units[unit];
            let nothing = row.record.is_none() && row.places.is_empty() && row.reports.is_empty();
            if nothing && row.unreadable_records == 0 {
                self.index.forget_unit(unit);
            }
        }
        self.index.check_sometimes();
        let names = self.waiting.iter().map(|unit| self.index.units[*unit].name.clone());
        Plan { moves, refused: names.collect() }
    }

    /// Sentences on whatever contradicts itself in what is known: an index that is not what the rows say, a filter whose set of
    /// machines and whose reasons differ. There are none; it is for tests and simulations, and costs a look at each unit and machine.
    /// The reasons of the last plan's refusals are not known any more after it.
    pub fn find_contradictions(&mut self) -> Vec<String> {
        self.forget_planned();
        let mut found = self.index.find_index_problems();
        found.extend(self.index.find_filter_contradictions());
        found
    }

    /// Why a unit is not placed, as of the last plan; `None` if it is, or need not be.
    pub fn explain_refusal(&self, unit: &UnitName) -> Option<Refusal> {
        let unit = self.index.unit_keys.get(unit)?;
        self.waiting.contains(unit).then(|| self.index.explain_unit(*unit))?
    }

    /// The refusals that these units would meet were they launched now, everything else as it is: in order, each seeing those
    /// admitted before it, leaders named in one call with their followers counting as launched. Other units that the next
    /// plan looks at have their turns as they would have them there. Only refusals are named; no trace is left.
    pub fn admit_candidates(&mut self, wanted: &[Candidate]) -> BTreeMap<UnitName, Refusal> {
        self.forget_planned();
        let notes = self.save_notes();
        let before: Vec<Unlaunched> = wanted.iter().map(|c| self.launch_candidate(c)).collect();
        let candidates: Vec<UnitKey> =
            wanted.iter().filter_map(|c| self.index.unit_keys.get(&c.name).copied()).collect();
        let refusals =
            self.rehearse_pass(|pass, agenda| consider_candidates(pass, agenda, &candidates));
        for before in before.into_iter().rev() {
            self.restore_unit(before);
        }
        self.restore_notes(notes);
        refusals
    }

    /// Has a pass over the units that the next plan looks at, and takes back whatever it did.
    pub(super) fn rehearse_pass<T>(
        &mut self,
        consider: impl FnOnce(&mut PlanPass<'_>, &[UnitKey]) -> T,
    ) -> T {
        self.forget_planned();
        let notes = self.save_notes();
        let agenda = self.take_agenda();
        let number = self.next_pass_number();
        let mut pass = PlanPass::new(&mut self.index, number);
        let answer = consider(&mut pass, &agenda);
        self.planned = pass.roll_back();
        self.forget_planned();
        for unit in agenda {
            self.index.mark_dirty(unit);
        }
        self.restore_notes(notes);
        answer
    }

    fn save_notes(&self) -> PassMemory {
        PassMemory {
            recheck_refused: self.index.recheck_refused,
            global_machines: self.index.saved_global_machines(),
        }
    }

    fn restore_notes(&mut self, notes: PassMemory) {
        self.index.recheck_refused = notes.recheck_refused;
        self.index.restore_global_machines(notes.global_machines);
    }

    /// Makes a unit wanted, and says how to undo it.
    fn launch_candidate(&mut self, candidate: &Candidate) -> Unlaunched {
        let hash = candidate.file.hash();
        let key = self.index.unit_keys.get(&candidate.name);
        let unit = key.and_then(|key| self.index.units[*key].record.clone());
        let known = self.index.files.get(&hash).is_some_and(|file| file.template.is_some());
        if !known {
            self.index.apply(&Change::File(hash, Some(Arc::clone(&candidate.file))));
        }
        let launched = Unit {
            name: candidate.name.clone(),
            file: hash,
            desired: DesiredState::Launched,
            generation: unit.as_ref().map_or(0, |unit| unit.generation),
            revision: unit.as_ref().map_or(0, |unit| unit.revision),
        };
        self.index.apply(&Change::Unit(candidate.name.clone(), Some(launched)));
        Unlaunched { name: candidate.name.clone(), unit, file: (!known).then_some(hash) }
    }

    fn restore_unit(&mut self, before: Unlaunched) {
        self.index.apply(&Change::Unit(before.name, before.unit));
        if let Some(hash) = before.file {
            self.index.apply(&Change::File(hash, None));
        }
    }

    /// The units to look at, by name.
    fn take_agenda(&mut self) -> Vec<UnitKey> {
        if std::mem::take(&mut self.index.recheck_refused) {
            for unit in &self.waiting {
                self.index.mark_dirty(*unit);
            }
            // A global unit may be on some machines and wait for others.
            let globals = self.index.globals.iter().copied();
            let globals: Vec<UnitKey> =
                globals.filter(|unit| self.index.units[*unit].partially_placed).collect();
            for unit in globals {
                self.index.mark_dirty(unit);
            }
        }
        self.index.mark_draining();
        // Those tied to a unit are decided on with it, and in the order in which they would be without it.
        let mut next = 0;
        while let Some(unit) = self.index.dirty.get(next).copied() {
            next += 1;
            if self.index.is_tied(unit) {
                let leaders = self.index.leaders_of(unit);
                let leaders = leaders.filter_map(|name| self.index.unit_keys.get(name).copied());
                // A global one ties its followers to itself, not to one another.
                let leaders = leaders.filter(|leader| !self.index.is_global_leader(*leader));
                let tied: Vec<UnitKey> = leaders.chain(self.index.followers_of(unit)).collect();
                for unit in tied {
                    self.index.mark_dirty(unit);
                }
            }
        }
        let mut agenda = std::mem::take(&mut self.index.dirty);
        for unit in &agenda {
            self.index.units[*unit].dirty = false;
        }
        let units = &self.index.units;
        agenda.sort_by(|a, b| units[*a].name.cmp(&units[*b].name));
        agenda
    }

    fn forget_planned(&mut self) {
        for (unit, machine) in self.planned.drain(..) {
            self.index.units[unit].planned = None;
            self.index.machines[machine].planned.clear();
        }
    }

    fn next_pass_number(&mut self) -> u64 {
        self.passes += 1;
        self.passes
    }
}

/// A unit as it was before [`Scheduler::admit_candidates`] launched it.
struct Unlaunched {
    name: UnitName,
    unit: Option<Unit>,
    /// The file that was brought along.
    file: Option<FileHash>,
}

/// The notes of earlier passes, which a rehearsal must not change.
struct PassMemory {
    recheck_refused: bool,
    global_machines: Vec<(UnitKey, Bits)>,
}

/// The refusals of candidates, in the order of the plan that would follow, with the candidates' turns taken in the order they were
/// named.
fn consider_candidates(
    pass: &mut PlanPass<'_>,
    agenda: &[UnitKey],
    candidates: &[UnitKey],
) -> BTreeMap<UnitName, Refusal> {
    let known: BTreeSet<UnitKey> = candidates.iter().copied().collect();
    let looked_at: BTreeSet<UnitKey> = agenda.iter().copied().collect();
    let mut all = agenda.to_vec();
    all.extend(candidates.iter().filter(|unit| !looked_at.contains(unit)));
    let mut named = candidates.iter();
    let mut refusals = BTreeMap::new();
    let mut noted = 0;
    let mut refused: BTreeSet<UnitKey> = BTreeSet::new();
    for unit in pass.in_order(&all) {
        let is_candidate = known.contains(&unit);
        let unit = if is_candidate { named.next().copied().unwrap_or(unit) } else { unit };
        pass.consider_unit(unit);
        refused.extend(pass.refused.iter().skip(noted));
        noted = pass.refused.len();
        if is_candidate
            && refused.contains(&unit)
            && let Some(refusal) = pass.index.explain_unit(unit)
        {
            refusals.insert(pass.index.units[unit].name.clone(), refusal);
        }
    }
    refusals
}
