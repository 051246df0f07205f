//! Taking the steps of one unit, in order.
//!
//! Owns what each step means to the runner and to the ledger. It chooses nothing: a step that fails for good leaves
//! its problem for the `Settle` at the end of the chain, a runner that cannot be reached ends the chain.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use muster_common::probe::is_planted;
use muster_common::state::DesiredState;
use muster_common::unit::{UnitFile, UnitName};
use muster_engine::machine::converge::Step;
use muster_engine::machine::job::JobEnd;
use muster_engine::machine::node::{ChainEnd, PlannedChain};
use muster_engine::machine::steadiness::FIRST_MOMENTS;
use muster_runtime::{Instant, timeout_at};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::first_moments::FirstMoments;
use crate::machine::jobs::JobMemory;
use crate::machine::ledger::Ledger;
use crate::runner::{Runner, RunnerError, StartOutcome};
use crate::stdx::sync::lock;
use crate::telemetry::health::Health;

/// Takes the steps of chains. Cheap to clone.
#[derive(Clone)]
pub(super) struct ChainExecutor {
    pub(super) runner: Arc<dyn Runner>,
    pub(super) ledger: Arc<Mutex<Ledger>>,
    pub(super) jobs: Arc<Mutex<JobMemory>>,
    pub(super) first_moments: Arc<Mutex<FirstMoments>>,
    pub(super) health: Health,
}

/// A chain on its way.
pub(super) struct ChainWork {
    pub(super) unit: UnitName,
    /// The steps that are left.
    pub(super) steps: VecDeque<Step>,
    file: Option<Arc<UnitFile>>,
    job: bool,
    up_at_birth: bool,
    /// The run that the unit was in as it began.
    run: Option<String>,
    /// The problem with which a step has failed.
    problem: Option<String>,
}

impl From<PlannedChain> for ChainWork {
    fn from(chain: PlannedChain) -> Self {
        let PlannedChain { unit, steps, file, job, up_at_birth, run } = chain;
        Self { unit, steps: steps.into(), file, job, up_at_birth, run, problem: None }
    }
}

impl ChainExecutor {
    pub(super) fn lock_ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }

    pub(super) fn lock_jobs(&self) -> MutexGuard<'_, JobMemory> {
        lock(&self.jobs)
    }

    pub(super) fn lock_first_moments(&self) -> MutexGuard<'_, FirstMoments> {
        lock(&self.first_moments)
    }

    /// Takes the steps at the head of a chain that wait for nothing but the file system.
    pub(super) async fn take_quick_steps(&self, work: &mut ChainWork) -> Result<(), ChainEnd> {
        while matches!(
            work.steps.front(),
            Some(Step::Write { .. } | Step::Adopt { .. } | Step::Settle { .. })
        ) {
            self.take_next(work).await?;
        }
        Ok(())
    }

    /// Takes the rest. `superseded` ends a wait for a start, or for the end of what a stop has left.
    pub(super) async fn take_steps(
        &self,
        work: &mut ChainWork,
        superseded: CancellationToken,
    ) -> ChainEnd {
        while let Some(step) = work.steps.front() {
            let starting = matches!(step, Step::Start { .. } | Step::Restart { .. });
            // It may have waited for others to go, and be wanted no more.
            if starting && superseded.is_cancelled() && !is_planted("superseded-start-begun") {
                return ChainEnd::Superseded;
            }
            let end = if starting || *step == Step::AwaitEmpty {
                tokio::select! {
                    // A start that has ended has ended, whatever else has happened.
                    biased;
                    taken = self.take_next(work) => taken.err(),
                    () = superseded.cancelled() => Some(ChainEnd::Superseded),
                }
            } else {
                self.take_next(work).await.err()
            };
            if let Some(end) = end {
                if starting && end.leaves_start_unsure() {
                    self.lock_ledger().mark_unsure(&work.unit);
                }
                return end;
            }
        }
        ChainEnd::Done
    }

    /// Enables all units that are to be enabled next in one call. If that fails each chain does it by itself, and learns whose
    /// fault it was.
    pub(super) async fn enable_together(&self, works: impl Iterator<Item = &mut ChainWork>) {
        let mut works: Vec<&mut ChainWork> =
            works.filter(|work| matches!(work.steps.front(), Some(Step::Enable))).collect();
        if works.len() < 2 {
            return;
        }
        let units: Vec<UnitName> = works.iter().map(|work| work.unit.clone()).collect();
        if self.runner.enable(&units).await.is_err() {
            return;
        }
        for work in &mut works {
            if self.lock_ledger().record_enabled(&work.unit, true).is_ok() {
                work.steps.pop_front();
            }
        }
    }

    async fn take_next(&self, work: &mut ChainWork) -> Result<(), ChainEnd> {
        let Some(step) = work.steps.front().cloned() else { return Ok(()) };
        if step == Step::AwaitEmpty {
            self.await_empty(work).await?;
            work.steps.pop_front();
            return Ok(());
        }
        let outcome = self.take_step(work, &step).await;
        work.steps.pop_front();
        match outcome {
            Ok(StartOutcome::Done) => {}
            Ok(StartOutcome::Failed { problem }) | Err(RunnerError::Refused { problem }) => {
                tracing::warn!(unit = %work.unit, ?step, problem, "a step failed");
                work.problem.get_or_insert(problem);
            }
            Err(error @ RunnerError::Files { .. }) => {
                tracing::error!(unit = %work.unit, %error, "a step failed");
                work.problem.get_or_insert(error.to_string());
            }
            // Nothing of it is here, and the next look says what is in the way.
            Err(error @ RunnerError::Taken { .. }) => {
                tracing::warn!(unit = %work.unit, %error, "a unit's place is taken");
                if let Err(error) = self.lock_ledger().forget_unit(&work.unit) {
                    tracing::error!(unit = %work.unit, %error, "cannot forget a unit");
                }
                return Err(ChainEnd::Dropped);
            }
            // Its file is gone, and it is not: it stays ours, and is stopped once more.
            Err(RunnerError::StillUp { problem }) => {
                tracing::warn!(unit = %work.unit, problem, "a unit is there again");
                self.lock_ledger().note_problem(&work.unit, &problem);
                return Err(ChainEnd::Dropped);
            }
            Err(error @ RunnerError::Lost { .. }) => {
                tracing::warn!(unit = %work.unit, %error, "a step could not be tried");
                return Err(ChainEnd::Dropped);
            }
        }
        Ok(())
    }

    /// Waits until nothing of the unit is left.
    async fn await_empty(&self, work: &ChainWork) -> Result<(), ChainEnd> {
        let unit = &work.unit;
        match self.runner.wait_until_empty(unit).await {
            Ok(true) => Ok(()),
            Ok(false) if is_planted("failed-stop-counts-as-done") => Ok(()),
            Ok(false) => {
                tracing::warn!(%unit, problem = work.problem, "it does not stop");
                if let Some(problem) = &work.problem {
                    self.lock_ledger().note_problem(unit, problem);
                }
                Err(ChainEnd::Held)
            }
            Err(error) => {
                tracing::warn!(%unit, %error, "cannot see whether it has stopped");
                Err(ChainEnd::Dropped)
            }
        }
    }

    async fn take_step(&self, work: &ChainWork, step: &Step) -> Result<StartOutcome, RunnerError> {
        let unit = &work.unit;
        let remembered = |done: std::io::Result<()>| {
            done.map(|()| StartOutcome::Done).map_err(|error| RunnerError::Files {
                during: format!("remember {unit}"),
                problem: error.to_string(),
            })
        };
        match step {
            // One is said in every pass, the other waited for, by the caller.
            Step::Refuse { .. } | Step::AwaitEmpty => Ok(StartOutcome::Done),
            Step::Write { file } => {
                let Some(text) = &work.file else { return Ok(StartOutcome::Done) };
                let restarts = |step: &Step| matches!(step, Step::Restart { .. });
                let recorded = if work.steps.iter().any(restarts) {
                    self.lock_ledger().record_replacement(unit, *file)
                } else {
                    self.lock_ledger().record_file(unit, *file)
                };
                remembered(recorded)?;
                // One that is to be loaded only goes on as it was started.
                if let Some(run) = work.run.as_ref().filter(|_| work.steps.contains(&Step::Load))
                    && let Err(error) = self.lock_ledger().record_outdated(unit, run)
                {
                    tracing::error!(%unit, %error, "cannot remember that a unit runs from an earlier file");
                }
                self.runner.write(unit, *file, text.text()).await.map(|()| StartOutcome::Done)
            }
            Step::Adopt { file } => {
                tracing::info!(%unit, "adopted");
                remembered(self.lock_ledger().record_file(unit, *file))
            }
            Step::Enable => {
                self.runner.enable(std::slice::from_ref(unit)).await?;
                remembered(self.lock_ledger().record_enabled(unit, true))
            }
            Step::Disable => {
                self.runner.disable(std::slice::from_ref(unit)).await?;
                remembered(self.lock_ledger().record_enabled(unit, false))
            }
            // What could not even be written is not started.
            Step::Load | Step::Start { .. } | Step::Restart { .. } if work.problem.is_some() => {
                Ok(StartOutcome::Done)
            }
            Step::Load => self.runner.load(unit).await,
            Step::Start { generation } | Step::Restart { generation } => {
                if let Step::Restart { .. } = step {
                    let run = self.runner.find_replaced_run(unit).await?;
                    let noted = self.lock_ledger().record_restart(unit, *generation, &run);
                    if let Err(error) = noted {
                        tracing::error!(%unit, %error, "cannot remember which run is replaced");
                    }
                }
                if work.job {
                    remembered(self.lock_jobs().record_begin(unit, *generation))?;
                }
                if let Step::Start { .. } = step
                    && let Err(error) = self.lock_ledger().record_down(unit, *generation)
                {
                    tracing::error!(%unit, %error, "cannot remember that a unit was down");
                }
                self.lock_ledger().mark_begun(unit);
                let bell = self.lock_first_moments().begin_watch(unit);
                let outcome = match step {
                    Step::Restart { .. } => self.runner.restart(unit, *generation).await,
                    _ => self.runner.start(unit, *generation).await,
                };
                if work.up_at_birth && outcome == Ok(StartOutcome::Done) {
                    self.await_steadiness(unit, &bell).await;
                }
                self.lock_first_moments().end_watch(unit);
                if work.job
                    && let Ok(outcome) = &outcome
                    && let Err(error) = self.lock_jobs().record_end(unit, job_end(outcome))
                {
                    tracing::error!(%unit, %error, "cannot note how a job ended");
                }
                self.health.update_counters(|c| {
                    c.starts += 1;
                    c.failed_starts += u64::from(!matches!(outcome, Ok(StartOutcome::Done)));
                });
                outcome
            }
            Step::Stop => {
                // A disk that takes nothing keeps no unit from being stopped.
                if let Err(error) = self.lock_ledger().record_stopping(unit) {
                    tracing::error!(%unit, %error, "cannot remember that a unit is stopped");
                }
                self.health.update_counters(|c| c.stops += 1);
                self.runner.stop(unit).await
            }
            Step::Remove => {
                self.runner.remove(unit).await?;
                self.lock_first_moments().forget_unit(unit);
                remembered(self.lock_ledger().forget_unit(unit))
            }
            Step::Settle { generation, desired } => {
                if *desired == DesiredState::Launched {
                    let run = self.runner.find_lasting_run(unit);
                    self.lock_ledger().note_run(unit, run);
                }
                let problem = work.problem.clone();
                remembered(self.lock_ledger().record_settled(unit, *generation, *desired, problem))
            }
        }
    }
}

impl ChainExecutor {
    /// Waits until a unit that was just started has stayed up for a moment, or has failed; how it failed is noted.
    async fn await_steadiness(&self, unit: &UnitName, bell: &Notify) {
        let end = Instant::now() + FIRST_MOMENTS;
        while timeout_at(end, bell.notified()).await.is_ok() {
            // It may have been an earlier run that failed.
            match self.runner.failed_since_start(unit).await {
                Ok(Some(why)) => {
                    tracing::warn!(%unit, why, "the unit failed in its first moments");
                    self.lock_first_moments().steadiness.note_failure(unit, why);
                    return;
                }
                Ok(None) => {}
                Err(_) => return,
            }
        }
    }
}

fn job_end(outcome: &StartOutcome) -> JobEnd {
    match outcome {
        StartOutcome::Done => JobEnd::Succeeded,
        StartOutcome::Failed { problem } => JobEnd::Failed(problem.clone()),
    }
}
