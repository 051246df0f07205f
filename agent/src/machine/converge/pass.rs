//! One pass: what is desired, observed and owned goes to the engine, and the steps it names are begun.
//!
//! Owns the gathering of the engine's arguments and the order in which its chains begin. It chooses no step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use muster_common::snapshot::Placement;
use muster_common::unit::{FileHash, UnitName, is_up_at_birth};
use muster_engine::machine::converge::{Chain, Desired, Observed, Owned, Step, Steps, converge};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::chain::{End, Hands, Work};
use super::{Basis, Busy, Converge, GOING, Known, RETRY};
use crate::machine::ledger::Entry;
use crate::runner::{RunnerError, UnitObservation};
use crate::stdx::errors::error_chain;
use crate::telemetry::health::unix_seconds;

impl Converge {
    /// Every unit that concerns this machine.
    pub(super) fn units(&self) -> BTreeSet<UnitName> {
        let ledger = self.hands.ledger();
        self.desired.keys().chain(ledger.entries().keys()).cloned().collect()
    }

    pub(super) async fn pass(&mut self) {
        if !self.runner_up {
            return;
        }
        self.pass_due = false;
        let units = self.units();
        if let Err(error) = self.observe(&units).await {
            tracing::warn!(%error, "cannot see what runs");
            self.retry = Some(Instant::now() + RETRY);
            return;
        }
        if self.basis == Basis::Unknown {
            return;
        }
        self.fetch_files().await;

        let mut desired = BTreeMap::new();
        let mut observed = BTreeMap::new();
        let mut owned: BTreeMap<UnitName, Owned> = BTreeMap::new();
        let mut refused = BTreeMap::new();
        let spent = self.judge_jobs(&units);
        {
            let ledger = self.hands.ledger();
            for unit in &units {
                if self.busy.contains_key(unit) || self.poisoned.contains(unit) {
                    continue;
                }
                let entry = ledger.get(unit);
                if let Some((place, problem)) = self.desired.get(unit).zip(spent.get(unit)) {
                    let told = (place.generation, place.desired, problem.clone());
                    refused.insert(unit.clone(), told);
                    continue;
                }
                if let Some(place) = self.desired.get(unit) {
                    let known = match self.files.get(&place.file) {
                        Some(Ok(known)) => known,
                        Some(Err(problem)) => {
                            let told = (place.generation, place.desired, problem.clone());
                            refused.insert(unit.clone(), told);
                            continue;
                        }
                        // Not known yet: the unit is left as it is until it is.
                        None => continue,
                    };
                    let Placement { file, desired: wanted, generation, .. } = *place;
                    let install = known.install;
                    desired.insert(
                        unit.clone(),
                        Desired { file, desired: wanted, generation, install },
                    );
                }
                if let Some(seen) = self.seen.get(unit) {
                    let mut judged = judged(seen, entry, desired.get(unit));
                    let known = desired.get(unit).and_then(|wanted| self.file(wanted.file));
                    if let Some(known) = known.filter(|known| known.install && !judged.foreign)
                        && let Some(obstacle) = self.hands.runner.obstacle(unit, &known.file)
                    {
                        judged.obstacle = obstacle;
                    }
                    observed.insert(unit.clone(), judged);
                }
                if let Some(entry) = entry {
                    owned.insert(unit.clone(), entry.decisive());
                }
            }
        }
        let steps = converge(&desired, &observed, &owned);
        for chain in steps.removals.iter().chain(&steps.others) {
            for step in &chain.steps {
                if let Step::Refuse { problem, generation, desired } = step {
                    refused
                        .insert(chain.unit.clone(), (*generation, *desired, problem.to_string()));
                }
            }
        }
        if refused != self.refused {
            for (unit, (_, _, problem)) in &refused {
                if !self.refused.contains_key(unit) {
                    tracing::warn!(%unit, problem, "the unit is refused");
                }
            }
            self.report.stale.extend(self.refused.keys().chain(refused.keys()).cloned());
            self.refused = refused;
        }
        self.carry_out(steps).await;
        self.note_owned();
    }

    /// Asks the runner about units it has not been asked about, or all if one is out of date.
    pub(super) async fn observe(&mut self, units: &BTreeSet<UnitName>) -> Result<(), RunnerError> {
        let unknown: BTreeSet<UnitName> = units
            .iter()
            .filter(|unit| self.seen.get(*unit).is_none_or(|seen| seen.observed.load.is_empty()))
            .cloned()
            .collect();
        if unknown.is_empty() {
            return Ok(());
        }
        for (unit, mut seen) in self.hands.runner.observe(&unknown).await? {
            if let Some(before) = self.seen.get(&unit) {
                let same = before.observed.active == seen.observed.active
                    && before.invocation == seen.invocation;
                // Two clocks tell the same moment a little differently; the first word stays.
                if same && before.since != 0 {
                    seen.since = before.since;
                }
            }
            if seen.since == 0 {
                seen.since = unix_seconds();
            }
            if self.seen.get(&unit) != Some(&seen) {
                self.report.stale.insert(unit.clone());
                self.seen.insert(unit, seen);
            }
        }
        self.seen.retain(|unit, _| units.contains(unit));
        Ok(())
    }

    pub(super) async fn fetch_files(&mut self) {
        let used: BTreeSet<FileHash> = self.desired.values().map(|place| place.file).collect();
        let owned: BTreeSet<FileHash> =
            self.hands.ledger().entries().values().map(|entry| entry.owned.file).collect();
        self.files.retain(|hash, known| {
            used.contains(hash) && known.is_ok() || owned.contains(hash) && known.is_ok()
        });
        let missing: Vec<FileHash> =
            used.into_iter().filter(|hash| !self.files.contains_key(hash)).collect();
        if missing.is_empty() {
            return;
        }
        match self.registry.read_files(&missing).await {
            Ok(found) => {
                for (hash, file) in found {
                    self.files.insert(hash, file.map(Known::from));
                }
            }
            Err(error) => {
                tracing::warn!(error = error_chain(&error), "cannot read unit files");
                self.retry = Some(Instant::now() + RETRY);
            }
        }
    }

    pub(super) async fn carry_out(&mut self, steps: Steps) {
        let mut removals = self.prepare(steps.removals).await;
        let mut others = self.prepare(steps.others).await;
        self.enable(removals.iter_mut().chain(&mut others)).await;
        let going = TaskTracker::new();
        for work in removals {
            let (hands, superseded, ends) = self.begin(&work);
            going.spawn(finish(hands, work, superseded, ends));
        }
        going.close();
        for work in others {
            let (hands, superseded, ends) = self.begin(&work);
            let going = going.clone();
            tokio::spawn(async move {
                if !going.is_empty() {
                    let _ = tokio::time::timeout(GOING, going.wait()).await;
                }
                finish(hands, work, superseded, ends).await;
            });
        }
    }

    /// Takes the quick steps at once. Returns the chains that have more.
    pub(super) async fn prepare(&mut self, chains: Vec<Chain>) -> Vec<Work> {
        let mut rest = Vec::new();
        for Chain { unit, steps } in chains {
            let steps = steps.into_iter().filter(|s| !matches!(s, Step::Refuse { .. })).collect();
            let file = self.desired.get(&unit).and_then(|place| self.file(place.file));
            let up_at_birth = file.is_some_and(|known| is_up_at_birth(unit.runner(), &known.file));
            let mut work = Work {
                unit,
                steps,
                job: file.is_some_and(|known| known.job),
                up_at_birth,
                file: file.map(|known| Arc::clone(&known.file)),
                problem: None,
            };
            if work.steps.is_empty() {
                continue;
            }
            self.report.stale.insert(work.unit.clone());
            let prepared = self.hands.prepare(&mut work).await;
            if prepared.is_err() {
                // It may have turned out to be otherwise than it was said to be.
                if let Some(seen) = self.seen.get_mut(&work.unit) {
                    seen.observed.load.clear();
                }
                self.retry = Some(Instant::now() + RETRY);
                continue;
            }
            self.written(&work.unit);
            if !work.steps.is_empty() {
                rest.push(work);
            }
        }
        rest
    }

    /// What lies at our place now is known without looking.
    pub(super) fn written(&mut self, unit: &UnitName) {
        let file = self.hands.ledger().get(unit).map(|entry| entry.owned.file);
        if let (Some(file), Some(seen)) = (file, self.seen.get_mut(unit)) {
            seen.observed.file = Some(file);
            if seen.observed.load == "not-found" {
                "loaded".clone_into(&mut seen.observed.load);
            }
        }
    }

    /// Enables all that is to be enabled in one call. If that fails each chain does it by itself, and learns whose
    /// fault it was.
    pub(super) async fn enable(&self, works: impl Iterator<Item = &mut Work>) {
        let mut works: Vec<&mut Work> =
            works.filter(|work| matches!(work.steps.front(), Some(Step::Enable))).collect();
        if works.len() < 2 {
            return;
        }
        let units: Vec<UnitName> = works.iter().map(|work| work.unit.clone()).collect();
        if self.hands.runner.enable(&units).await.is_err() {
            return;
        }
        for work in &mut works {
            if self.hands.ledger().enabled(&work.unit, true).is_ok() {
                work.steps.pop_front();
            }
        }
    }

    pub(super) fn begin(
        &mut self,
        work: &Work,
    ) -> (Hands, CancellationToken, mpsc::UnboundedSender<(UnitName, End)>) {
        let superseded = CancellationToken::new();
        let wanted = self.desired.get(&work.unit).map(|p| (p.file, p.desired, p.generation));
        self.busy.insert(work.unit.clone(), Busy { wanted, superseded: superseded.clone() });
        (self.hands.clone(), superseded, self.ends.0.clone())
    }

    pub(super) fn file(&self, hash: FileHash) -> Option<&Known> {
        self.files.get(&hash).and_then(|known| known.as_ref().ok())
    }

    pub(super) fn note_owned(&self) {
        let units = self.hands.ledger().entries().len();
        if self.hands.health.status().units != units {
            self.hands.health.update(|s| s.units = units);
        }
    }
}

/// What a decision may believe of a unit. A file at our place that we do not remember and that is not the one wanted
/// was put there by somebody else.
fn judged(seen: &UnitObservation, entry: Option<&Entry>, desired: Option<&Desired>) -> Observed {
    let mut observed = seen.observed.clone();
    let strange = entry.is_none()
        && observed.file.is_some()
        && desired.is_some_and(|desired| Some(desired.file) != observed.file);
    observed.foreign |= strange;
    observed
}
async fn finish(
    hands: Hands,
    mut work: Work,
    superseded: CancellationToken,
    ends: mpsc::UnboundedSender<(UnitName, End)>,
) {
    let end = hands.finish(&mut work, superseded).await;
    let _ = ends.send((work.unit, end));
}
