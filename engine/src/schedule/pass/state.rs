//! What a pass has decided so far.
//!
//! Owns the counting: what a pass decides counts at once, so that the next unit sees it, and is taken back at the end. The index
//! follows the cluster, not the plan. Every decision goes through [`PlanPass::push_move`], which keeps a unit that may not run twice from
//! doing so, whatever rule led there.

use std::collections::{BTreeMap, BTreeSet};

use muster_common::decision::{Decision, Move, MoveReason};
use muster_common::unit::UnitName;

use crate::schedule::index::Index;
use crate::schedule::moves::DrainVerdict;
use crate::schedule::table::{Bits, MachineKey, UnitKey};

/// The number of units that move away from drained machines at a time: enough to keep several machines busy, and few enough that
/// one that does not start where it goes to is noticed before all have been tried there.
const MOVING: usize = 10;

/// A pass under way.
pub(crate) struct PlanPass<'a> {
    pub(crate) index: &'a mut Index,
    /// Distinguishes units this pass has looked at.
    number: u64,
    pub(crate) moves: Vec<Move>,
    /// Units that moves are about, replaced ones included.
    pub(crate) moved: Vec<UnitKey>,
    /// Units looked at.
    pub(crate) seen: Vec<UnitKey>,
    /// Units that should be placed and cannot be.
    pub(crate) refused: Vec<UnitKey>,
    /// Units counted on machines, to be taken back at the end.
    pub(crate) counted: Vec<(UnitKey, MachineKey)>,
    /// The number of units that may still begin to move away from drained machines.
    pub(crate) moves_left: usize,
    /// The lot of the units on drained machines.
    pub(crate) verdicts: BTreeMap<(UnitKey, MachineKey), DrainVerdict>,
}

impl<'a> PlanPass<'a> {
    pub(crate) fn new(index: &'a mut Index, number: u64) -> Self {
        let moves_left = MOVING.saturating_sub(index.moving.len());
        Self {
            index,
            number,
            moves: Vec::new(),
            moved: Vec::new(),
            seen: Vec::new(),
            refused: Vec::new(),
            counted: Vec::new(),
            moves_left,
            verdicts: BTreeMap::new(),
        }
    }

    /// The best machine that takes all these units.
    pub(crate) fn best_machine(
        &mut self,
        members: &[UnitKey],
        except: impl IntoIterator<Item = MachineKey>,
    ) -> Option<MachineKey> {
        let mut blocked = Bits::default();
        let mut together: Option<Bits> = None;
        let mut last = None;
        for unit in members {
            let class = self.index.units[*unit].spec_ok()?.class;
            let eligible = self.index.eligible_machines(class);
            if members.len() > 1 {
                match &mut together {
                    Some(together) => together.intersect_with(eligible),
                    None => together = Some(eligible.clone()),
                }
            }
            last = Some(class);
            self.index.add_blocked(*unit, &mut blocked);
        }
        if members.len() > 1 && self.index.find_contradiction(members).is_some() {
            return None;
        }
        for machine in except {
            blocked.insert(self.index.machines[machine].position);
        }
        let eligible = match &together {
            Some(together) => together,
            None => self.index.classes.eligible_machines(last?),
        };
        let position = self.index.rank.best_of(eligible, &blocked)?;
        self.index.order.get(position as usize).copied()
    }

    pub(crate) fn count_planned(&mut self, unit: UnitKey, machine: MachineKey) {
        self.index.count_unit(unit, machine);
        self.index.machines[machine].planned.push(unit);
        if !self.index.units[unit].is_global() {
            self.index.units[unit].planned = Some(machine);
        }
        self.counted.push((unit, machine));
    }

    /// Decides, unless that would let a unit run twice that may not: whatever led here, it comes to no machine while another
    /// may run it, and leaves none that has not said how it stands.
    pub(crate) fn push_move(
        &mut self,
        unit: UnitKey,
        reason: MoveReason,
        mut decisions: Vec<Decision>,
    ) {
        decisions.retain(|decision| {
            let twice = self.index.would_run_twice(unit, decision);
            self.refused.extend(twice.filter(|unit| !self.refused.contains(unit)));
            twice.is_none()
        });
        if decisions.is_empty() {
            return;
        }
        let unit_name = self.index.units[unit].name.clone();
        let decided = Move { unit: unit_name, reason, decisions };
        debug_assert!(is_sound(&decided), "{decided:?}");
        self.moves.push(decided);
        self.moved.push(unit);
    }

    /// Gives up what was counted after the first `keep`: it is not what the pass decides.
    pub(crate) fn uncount_after(&mut self, keep: usize) {
        for (unit, machine) in self.counted.drain(keep..).rev() {
            self.index.uncount_unit(unit, machine);
            self.index.machines[machine].planned.pop();
            self.index.units[unit].planned = None;
        }
    }

    /// Takes back what was counted, so that the index follows the cluster again. Where the pass puts units stays on
    /// record, for explanations; it is answered too, to be forgotten before the next pass.
    pub(crate) fn roll_back(&mut self) -> Vec<(UnitKey, MachineKey)> {
        for (unit, machine) in self.counted.iter().rev() {
            self.index.uncount_unit(*unit, *machine);
        }
        std::mem::take(&mut self.counted)
    }

    /// Marks a unit as looked at; false when it already was.
    pub(crate) fn mark_seen(&mut self, unit: UnitKey) -> bool {
        let number = self.number;
        let row = &mut self.index.units[unit];
        if row.seen_in_pass == number {
            return false;
        }
        row.seen_in_pass = number;
        self.seen.push(unit);
        true
    }
}

/// True if a move can be written as it is: it is about its unit and those that make room for it, writes each record once, and places
/// nothing where no machine is registered, for the store would refuse it for ever.
fn is_sound(decided: &Move) -> bool {
    let concerns = |unit: &UnitName| match &decided.reason {
        MoveReason::Replace { units } => *unit == decided.unit || units.contains(unit),
        _ => *unit == decided.unit,
    };
    let is_registered = |decision: &Decision| match decision {
        Decision::Place { machine_created, .. } => *machine_created > 0,
        Decision::Remove { .. } => true,
    };
    let records: BTreeSet<_> = decided.decisions.iter().map(|d| (d.machine(), d.unit())).collect();
    records.len() == decided.decisions.len()
        && decided.decisions.iter().all(|d| concerns(d.unit()) && is_registered(d))
}
