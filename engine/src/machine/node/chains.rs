//! The runner's events and the chains of steps on their way.
//!
//! Owns what an event of the runner and the end of a chain change about what is known. It never takes a step.

use std::time::Duration;

use muster_common::probe::is_planted;
use muster_common::state::load;
use muster_common::unit::UnitName;

use super::io::{ChainEnd, ChainStart, NodeEffect, NodeFact, StopPlan};
use super::model::{Node, PASS_RETRY, RELIST_INTERVAL};
use crate::machine::converge::Observed;
use crate::machine::memory::NodeMemory;
use crate::machine::observation::{RunnerEvent, UnitObservation};
use crate::run_origin::RunOrigin;
use crate::single::is_single;

/// Pause before a unit that does not stop is asked to once more: often enough for whoever mends it, and no flood of jobs.
const HELD_RETRY: Duration = Duration::from_secs(5);

impl Node {
    pub(super) fn on_runner_event(
        &mut self,
        now: Duration,
        wall: u64,
        memory: &mut NodeMemory<'_>,
        event: RunnerEvent,
    ) {
        match event {
            RunnerEvent::Changed { unit, active, sub, invocation, since, remark } => {
                let observed = Observed { active, sub, ..Observed::default() };
                let shown = UnitObservation { observed, invocation, since, remark };
                self.on_unit_changed(now, wall, memory, unit, shown);
            }
            RunnerEvent::Relist => {
                self.runner_up = true;
                self.report_fact(NodeFact::RunnerFound);
                self.observe_again(now);
            }
            RunnerEvent::Lost { problem } => {
                self.runner_up = false;
                self.report_fact(NodeFact::RunnerLost(problem));
            }
        }
    }

    fn on_unit_changed(
        &mut self,
        now: Duration,
        wall: u64,
        memory: &mut NodeMemory<'_>,
        unit: UnitName,
        shown: UnitObservation,
    ) {
        let Some(seen) = self.seen.get_mut(&unit) else { return };
        let UnitObservation { observed, invocation, since, remark } = shown;
        let same = seen.observed.active == observed.active
            && seen.observed.sub == observed.sub
            && seen.invocation == invocation;
        if same && seen.remark != remark {
            seen.remark = remark;
            self.report.mark_remarked(unit);
            return;
        }
        let is_down = observed.active.is_down();
        let (active, sub) = (&observed.active, &observed.sub);
        if memory.steadiness.on_state_changed(now, &unit, active, sub, &invocation) {
            self.effects.push(NodeEffect::CheckFirstMoments(unit.clone()));
        }
        self.steady_at = memory.steadiness.next_deadline();
        seen.remark = remark;
        if !observed.active.is_down() {
            load::LOADED.clone_into(&mut seen.observed.load);
        }
        if seen.observed.active != observed.active || since > 0 {
            seen.since = if since > 0 { since } else { wall };
        }
        // From which file another run is, a look has to say; so has it whether another one is being begun.
        seen.observed.outdated &= seen.invocation == invocation;
        seen.observed.between_runs = false;
        // So has it whether somebody else has begun this run; what a chain has begun is known.
        if !is_down && seen.invocation != invocation && !self.running.contains_key(&unit) {
            seen.observed.load.clear();
        }
        if seen.invocation != invocation {
            seen.observed.origin = RunOrigin::default();
        }
        seen.observed.active = observed.active;
        seen.observed.sub = observed.sub;
        seen.invocation = invocation;
        self.report.mark_stale(unit.clone());
        // The end of a job is noted in a pass, and whether a run that was cut off goes on is decided in one.
        let is_interrupted = seen.observed.is_interrupted();
        if is_interrupted || is_down && self.is_job(&unit) {
            self.pass.due = true;
        }
    }

    fn is_job(&self, unit: &UnitName) -> bool {
        let placed = self.desired.get(unit).and_then(|place| self.cached_file(place.file));
        placed.is_some_and(|cached| cached.job)
    }

    /// Forgets that anything is known to have been seen, so that the next pass asks for all of it.
    pub(super) fn observe_again(&mut self, now: Duration) {
        self.pass.due = true;
        self.relist_at = now + RELIST_INTERVAL;
        for seen in self.seen.values_mut() {
            seen.observed.load.clear();
        }
    }

    pub(super) fn on_chain_prepared(
        &mut self,
        now: Duration,
        memory: &NodeMemory<'_>,
        unit: &UnitName,
        prepared: ChainStart,
    ) {
        if prepared != ChainStart::Begun {
            self.running.remove(unit);
        }
        if prepared == ChainStart::Failed {
            // It may have turned out to be otherwise than it was said to be.
            if let Some(seen) = self.seen.get_mut(unit) {
                seen.observed.load.clear();
            }
            self.retry_at = Some(now + PASS_RETRY);
        } else {
            self.note_written(memory, unit);
        }
        self.note_owned(memory);
    }

    /// The file at our place is known now without looking.
    fn note_written(&mut self, memory: &NodeMemory<'_>, unit: &UnitName) {
        let file = memory.owned.get(unit).map(|entry| entry.owned.file);
        if let (Some(file), Some(seen)) = (file, self.seen.get_mut(unit)) {
            seen.observed.file = Some(file);
            if seen.observed.load == load::NOT_FOUND {
                load::LOADED.clone_into(&mut seen.observed.load);
            }
        }
    }

    pub(super) fn on_chain_ended(
        &mut self,
        now: Duration,
        memory: &NodeMemory<'_>,
        unit: &UnitName,
        end: ChainEnd,
    ) {
        let Some(chain) = self.running.remove(unit) else { return };
        self.report.mark_stale(unit.clone());
        self.note_owned(memory);
        if let Some(seen) = self.seen.get_mut(unit) {
            seen.observed.outdated = false;
            seen.observed.origin = RunOrigin::Cluster;
            // Whether a step has come about that could not be tried, or was not waited for, a look has to say.
            if matches!(end, ChainEnd::Dropped | ChainEnd::Superseded) {
                seen.observed.load.clear();
            }
        }
        let wanted = self.wish_for(unit);
        match end {
            // Removed or written: what was seen of it is out of date.
            ChainEnd::Done if wanted.is_none() => {
                self.seen.remove(unit);
                self.pass.due |= chain.wanted.is_some();
            }
            ChainEnd::Done => {
                self.pass.due |= wanted != chain.wanted && !is_planted("changed-wish-forgotten");
            }
            ChainEnd::Superseded => self.pass.due = !is_planted("superseded-wish-forgotten"),
            ChainEnd::Dropped if is_planted("dropped-chain-forgotten") => {}
            ChainEnd::Dropped => self.retry_at = Some(now + PASS_RETRY),
            ChainEnd::Held if is_planted("held-unit-not-stopped-again") => {}
            ChainEnd::Held => {
                self.retry_at.get_or_insert(now + HELD_RETRY);
            }
        }
    }

    /// The units to be stopped when the machine itself goes: all that are ours. What has taken the name of one is the host's.
    /// A unit whose file is not at hand may be one that may not run twice.
    pub fn units_to_stop(&self, memory: &NodeMemory<'_>) -> StopPlan {
        let foreign = |unit: &UnitName| {
            let seen = self.seen.get(unit).filter(|seen| seen.observed.foreign);
            let is_own = |run: &str| memory.owned.get(unit).is_some_and(|it| it.is_own_run(run));
            seen.is_some_and(|seen| !is_own(&seen.invocation))
        };
        let single = |unit: &UnitName| {
            let file = memory.owned.get(unit).map(|entry| entry.owned.file);
            let cached = file.and_then(|file| self.cached_file(file));
            cached.is_none_or(|cached| is_single(unit, &cached.file))
        };
        let units = memory.owned.keys().filter(|unit| !foreign(unit)).cloned();
        let (singles, others) = units.partition(single);
        StopPlan { singles, others }
    }
}
