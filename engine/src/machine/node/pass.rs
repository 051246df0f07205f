//! One pass: what is desired, observed and owned is compared, and the steps that follow are begun.
//!
//! Owns the gathering of what [`next_steps`] needs, question by question, and what becomes of its answer. A pass asks only
//! what it does not know, and goes on at once where it knows everything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use muster_common::probe::{is_planted, reached};
use muster_common::snapshot::Placement;
use muster_common::state::DesiredState;
use muster_common::unit::{FileHash, UnitFile, UnitName, is_up_at_birth, runner_of};

use super::io::{ChainBatch, NodeEffect, NodeFact, PlannedChain, SettledJob};
use super::model::{Basis, Node, PASS_RETRY, PassStage, RefusedUnit, RunningChain};
use crate::machine::converge::{
    Chain, Desired, OVERRIDDEN, Observed, Owned, Step, Steps, next_steps,
};
use crate::machine::job::{JobVerdict, observed_end, verdict_on};
use crate::machine::memory::{CachedFile, NodeMemory, OwnedUnit};
use crate::machine::observation::UnitObservation;

/// Time that what comes waits for what goes: a unit that takes its time to stop must not keep the others from starting.
const REMOVALS_GRACE: Duration = Duration::from_secs(10);

impl Node {
    pub(super) fn begin_pass(&mut self, memory: &NodeMemory<'_>) {
        self.pass.due = false;
        let unknown: BTreeSet<UnitName> = self
            .known_units(memory)
            .into_iter()
            .filter(|unit| self.seen.get(unit).is_none_or(|seen| seen.observed.load.is_empty()))
            .collect();
        if unknown.is_empty() {
            self.read_files(memory);
        } else {
            self.pass.stage = PassStage::Observing;
            self.effects.push(NodeEffect::Observe(unknown));
        }
    }

    pub(super) fn on_observed(
        &mut self,
        now: Duration,
        wall: u64,
        memory: &NodeMemory<'_>,
        observed: Option<BTreeMap<UnitName, UnitObservation>>,
    ) {
        if !matches!(self.pass.stage, PassStage::Observing) {
            return;
        }
        let Some(observed) = observed else {
            self.pass.stage = PassStage::Idle;
            if !is_planted("unanswered-look-not-repeated") {
                self.retry_at = Some(now + PASS_RETRY);
            }
            return;
        };
        for (unit, mut seen) in observed {
            if let Some(before) = self.seen.get(&unit) {
                let same = before.observed.active == seen.observed.active
                    && before.invocation == seen.invocation;
                // Two clocks tell the same moment a little differently; the first word stays.
                if same && before.since != 0 {
                    seen.since = before.since;
                }
            }
            if seen.since == 0 {
                seen.since = wall;
            }
            if self.seen.get(&unit) != Some(&seen) {
                self.report.mark_stale(unit.clone());
                self.seen.insert(unit, seen);
            }
        }
        let units = self.known_units(memory);
        self.seen.retain(|unit, _| units.contains(unit));
        self.read_files(memory);
    }

    fn read_files(&mut self, memory: &NodeMemory<'_>) {
        self.pass.stage = PassStage::Idle;
        if self.basis == Basis::Unknown {
            return;
        }
        let used: BTreeSet<FileHash> = self.desired.values().map(|place| place.file).collect();
        let owned: BTreeSet<FileHash> =
            memory.owned.values().map(|entry| entry.owned.file).collect();
        // One that could not be read is asked for anew.
        self.files
            .retain(|hash, cached| cached.is_ok() && (used.contains(hash) || owned.contains(hash)));
        let missing: Vec<FileHash> =
            used.into_iter().filter(|hash| !self.files.contains_key(hash)).collect();
        if missing.is_empty() {
            self.judge_jobs(memory);
        } else {
            self.pass.stage = PassStage::ReadingFiles;
            self.effects.push(NodeEffect::ReadFiles(missing));
        }
    }

    pub(super) fn on_files_read(
        &mut self,
        now: Duration,
        memory: &NodeMemory<'_>,
        files: Option<BTreeMap<FileHash, Result<Arc<UnitFile>, String>>>,
    ) {
        if !matches!(self.pass.stage, PassStage::ReadingFiles) {
            return;
        }
        match files {
            Some(files) => {
                let cached =
                    files.into_iter().map(|(hash, file)| (hash, file.map(CachedFile::from)));
                self.files.extend(cached);
            }
            None => self.retry_at = Some(now + PASS_RETRY),
        }
        self.judge_jobs(memory);
    }

    /// Finds the jobs that are not to be begun again. One that has been carried out is to be remembered as such, and one that has
    /// ended is noted.
    fn judge_jobs(&mut self, memory: &NodeMemory<'_>) {
        self.pass.stage = PassStage::Idle;
        if self.basis == Basis::Unknown {
            return;
        }
        let mut given_up = BTreeMap::new();
        let mut settled = Vec::new();
        let nothing = Observed::default();
        for (unit, place) in &self.desired {
            let is_job = self.cached_file(place.file).is_some_and(|cached| cached.job);
            let launched = place.desired == DesiredState::Launched;
            if !is_job || !launched || self.running.contains_key(unit) {
                continue;
            }
            let seen = self.seen.get(unit).map_or(&nothing, |seen| &seen.observed);
            let owned = memory.owned.get(unit).map(OwnedUnit::for_decision);
            let run = memory.jobs.get(unit);
            let wanted = (place.file, place.generation);
            match verdict_on(run, wanted, owned.as_ref(), seen) {
                JobVerdict::Unrestricted => {}
                JobVerdict::CarriedOut => settled.push(SettledJob {
                    unit: unit.clone(),
                    file: place.file,
                    generation: place.generation,
                    desired: place.desired,
                }),
                JobVerdict::GivenUp(problem) => {
                    given_up.insert(unit.clone(), problem);
                }
            }
            let end = run.zip(owned).and_then(|(run, owned)| observed_end(run, &owned, seen));
            if let Some(end) = end {
                self.effects.push(NodeEffect::NoteJobEnd { unit: unit.clone(), end });
            }
        }
        if settled.is_empty() {
            self.find_obstacles(memory, given_up);
        } else {
            self.pass.stage = PassStage::SettlingJobs(given_up);
            self.effects.push(NodeEffect::SettleJobs(settled));
        }
    }

    pub(super) fn on_jobs_settled(
        &mut self,
        memory: &NodeMemory<'_>,
        problems: BTreeMap<UnitName, String>,
    ) {
        if let PassStage::SettlingJobs(mut given_up) = std::mem::take(&mut self.pass.stage) {
            given_up.extend(problems);
            self.find_obstacles(memory, given_up);
        }
    }

    /// Asks what is in the way of the units that are to be enabled.
    fn find_obstacles(&mut self, memory: &NodeMemory<'_>, given_up: BTreeMap<UnitName, String>) {
        let mut enabled: Vec<(UnitName, Arc<UnitFile>)> = Vec::new();
        for (unit, place) in &self.desired {
            if given_up.contains_key(unit) || self.is_left_alone(unit) {
                continue;
            }
            let Some(cached) = self.cached_file(place.file).filter(|cached| cached.install) else {
                continue;
            };
            let owned = memory.owned.get(unit);
            let seen = self.seen.get(unit);
            if seen.is_some_and(|seen| !believable_part(seen, owned, Some(place.file)).foreign) {
                enabled.push((unit.clone(), Arc::clone(&cached.file)));
            }
        }
        if enabled.is_empty() {
            self.decide_steps(memory, &given_up, &BTreeMap::new());
        } else {
            self.pass.stage = PassStage::FindingObstacles(given_up);
            self.effects.push(NodeEffect::FindObstacles(enabled));
        }
    }

    pub(super) fn on_obstacles_found(
        &mut self,
        memory: &NodeMemory<'_>,
        obstacles: &BTreeMap<UnitName, String>,
    ) {
        if let PassStage::FindingObstacles(given_up) = std::mem::take(&mut self.pass.stage) {
            self.decide_steps(memory, &given_up, obstacles);
        }
    }

    /// A unit with a chain on its way, or whose placement cannot be read, is no pass's business.
    fn is_left_alone(&self, unit: &UnitName) -> bool {
        self.running.contains_key(unit) || self.unreadable.contains(unit)
    }

    fn decide_steps(
        &mut self,
        memory: &NodeMemory<'_>,
        given_up: &BTreeMap<UnitName, String>,
        obstacles: &BTreeMap<UnitName, String>,
    ) {
        self.pass.stage = PassStage::Idle;
        if self.basis == Basis::Unknown {
            return;
        }
        let mut desired = BTreeMap::new();
        let mut observed = BTreeMap::new();
        let mut owned: BTreeMap<UnitName, Owned> = BTreeMap::new();
        let mut refused: BTreeMap<UnitName, RefusedUnit> = BTreeMap::new();
        for unit in self.known_units(memory) {
            if self.is_left_alone(&unit) {
                continue;
            }
            let entry = memory.owned.get(&unit);
            let settled = entry.map(|entry| &entry.owned);
            if self.outdates_disk(settled, self.desired.get(&unit)) {
                continue;
            }
            let mut file = None;
            let mut is_job = false;
            if let Some(place) = self.desired.get(&unit) {
                let Placement { file: hash, desired: wanted, generation, .. } = *place;
                let problem = match (given_up.get(&unit), self.files.get(&hash)) {
                    (Some(problem), _) | (None, Some(Err(problem))) => problem.clone(),
                    (None, Some(Ok(cached))) => {
                        let install = cached.install;
                        is_job = cached.job;
                        let wish = Desired { file: hash, desired: wanted, generation, install };
                        desired.insert(unit.clone(), wish);
                        file = Some(hash);
                        String::new()
                    }
                    // Not known yet: the unit is left as it is until it is.
                    (None, None) => continue,
                };
                if file.is_none() {
                    refused.insert(unit, (generation, wanted, problem));
                    continue;
                }
            }
            if let Some(seen) = self.seen.get(&unit) {
                let mut believed = believable_part(seen, entry, file);
                // Nobody has asked for a job to run anew.
                believed.outdated &= !is_job;
                if let Some(obstacle) = obstacles.get(&unit) {
                    believed.obstacle.clone_from(obstacle);
                }
                observed.insert(unit.clone(), believed);
            }
            if let Some(entry) = entry {
                owned.insert(unit, entry.for_decision());
            }
        }
        let mut steps = next_steps(&desired, &observed, &owned);
        self.withhold_starts(memory, &mut steps);
        self.refuse_units(refused, &steps);
        self.begin_chains(steps);
        self.note_owned(memory);
    }

    /// Begins nothing for which this machine is not known to be the place any more: its lease is over by its own clock, though it has not
    /// heard so, and what it was told before may be others' by now. What runs goes on, and is restarted.
    fn withhold_starts(&mut self, memory: &NodeMemory<'_>, steps: &mut Steps) {
        let is_over = memory.lease_ends.is_some_and(|ends| ends <= self.now);
        if self.basis != Basis::Store || !is_over || is_planted("lapsed-lease-relied-on") {
            return;
        }
        let begins =
            |chain: &Chain| chain.steps.iter().any(|step| matches!(step, Step::Start { .. }));
        let before = steps.others.len();
        steps.others.retain(|chain| !begins(chain));
        if steps.others.len() < before {
            reached("start-without-lease");
            self.retry_at = Some(self.now + PASS_RETRY);
        }
    }

    fn refuse_units(&mut self, mut refused: BTreeMap<UnitName, RefusedUnit>, steps: &Steps) {
        for chain in steps.removals.iter().chain(&steps.others) {
            for step in &chain.steps {
                if let Step::Refuse { problem, generation, desired } = step {
                    let refusal = (*generation, *desired, problem.to_string());
                    refused.insert(chain.unit.clone(), refusal);
                }
            }
        }
        if refused == self.refused {
            return;
        }
        for (unit, (_, _, problem)) in &refused {
            if !self.refused.contains_key(unit) {
                let (unit, problem) = (unit.clone(), problem.clone());
                self.effects.push(NodeEffect::Report(NodeFact::UnitRefused { unit, problem }));
            }
        }
        for unit in self.refused.keys().chain(refused.keys()) {
            self.report.mark_stale(unit.clone());
        }
        self.refused = refused;
    }

    fn begin_chains(&mut self, steps: Steps) {
        let removals = self.planned_chains(steps.removals);
        let others = self.planned_chains(steps.others);
        if removals.is_empty() && others.is_empty() {
            return;
        }
        for chain in removals.iter().chain(&others) {
            self.report.mark_stale(chain.unit.clone());
            let wanted = self.wish_for(&chain.unit);
            let before =
                self.running.insert(chain.unit.clone(), RunningChain { wanted, superseded: false });
            // Units with a chain on its way are left alone by every pass.
            debug_assert!(before.is_none(), "one chain a unit");
        }
        let batch = ChainBatch { removals, others, removals_grace: REMOVALS_GRACE };
        self.effects.push(NodeEffect::BeginChains(batch));
    }

    /// The chains with what carrying them out needs, without refusals, which are only said.
    fn planned_chains(&self, chains: Vec<Chain>) -> Vec<PlannedChain> {
        let mut planned = Vec::new();
        for Chain { unit, steps } in chains {
            let steps: Vec<Step> =
                steps.into_iter().filter(|s| !matches!(s, Step::Refuse { .. })).collect();
            if steps.is_empty() {
                continue;
            }
            let file = self.desired.get(&unit).and_then(|place| self.cached_file(place.file));
            let seen = self.seen.get(&unit).filter(|seen| seen.observed.is_running());
            planned.push(PlannedChain {
                steps,
                job: file.is_some_and(|cached| cached.job),
                up_at_birth: file.is_some_and(|cached| {
                    is_up_at_birth(runner_of(&unit, &cached.file), &cached.file)
                }),
                file: file.map(|cached| Arc::clone(&cached.file)),
                run: seen.map(|seen| seen.invocation.clone()).filter(|run| !run.is_empty()),
                unit,
            });
        }
        planned
    }
}

/// The part of an observation that a decision may believe. A file at our place that we do not remember and that is not the one
/// wanted was put there by somebody else.
fn believable_part(
    seen: &UnitObservation,
    owned: Option<&OwnedUnit>,
    wanted: Option<FileHash>,
) -> Observed {
    let mut observed = seen.observed.clone();
    let strange = owned.is_none()
        && observed.file.is_some()
        && wanted.is_some_and(|wanted| Some(wanted) != observed.file);
    observed.foreign |= strange;
    // The host has come to have a unit of that name while nobody looked after ours: what runs is still ours for as long as this run lasts.
    if observed.foreign
        && observed.file.is_some()
        && owned.is_some_and(|entry| entry.is_own_run(&seen.invocation))
    {
        observed.foreign = false;
        OVERRIDDEN.clone_into(&mut observed.obstacle);
    }
    if let Some(replaced) = owned.and_then(|entry| entry.replaced.as_ref()) {
        observed.outdated |= replaced.run == seen.invocation;
        observed.restarted_for = replaced.find_restart(&seen.invocation, observed.between_runs);
    }
    observed
}
