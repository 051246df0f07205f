//! Taking the steps of one unit, in order.
//!
//! Owns what each step means to the runner and to the ledger. It chooses nothing: a step that fails for good leaves
//! its problem for the `Settle` at the end of the chain, a runner that cannot be reached ends the chain.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use muster_common::unit::{UnitFile, UnitName};
use muster_engine::machine::converge::Step;
use muster_engine::machine::job::RunEnd;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::steady::{SETTLE, Steady};
use crate::machine::jobs::Jobs;
use crate::machine::ledger::Ledger;
use crate::runner::{Outcome, Runner, RunnerError};
use crate::stdx::sync::lock;
use crate::telemetry::health::Health;

/// What every chain works with.
#[derive(Clone)]
pub(super) struct Hands {
    pub(super) runner: Arc<dyn Runner>,
    pub(super) ledger: Arc<Mutex<Ledger>>,
    pub(super) jobs: Arc<Mutex<Jobs>>,
    pub(super) steady: Arc<Mutex<Steady>>,
    pub(super) health: Health,
}

/// A chain on its way.
pub(super) struct Work {
    pub(super) unit: UnitName,
    pub(super) steps: VecDeque<Step>,
    /// The file the steps speak of.
    pub(super) file: Option<Arc<UnitFile>>,
    /// Whether the unit is a job, to be noted before it is begun.
    pub(super) job: bool,
    /// Whether that it was started does not say yet that the unit is up.
    pub(super) up_at_birth: bool,
    /// What a step has failed with.
    pub(super) problem: Option<String>,
}

/// How a chain ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// Every step was taken.
    Done,
    /// The unit is to be something else by now; the rest was not waited for.
    Superseded,
    /// The rest could not be tried, and is to be decided anew.
    Dropped,
    /// The unit is not gone, and is to be asked to go once more.
    Held,
}

impl Hands {
    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }

    pub(super) fn jobs(&self) -> MutexGuard<'_, Jobs> {
        lock(&self.jobs)
    }

    pub(super) fn steady(&self) -> MutexGuard<'_, Steady> {
        lock(&self.steady)
    }

    /// Takes the steps at the head of a chain that wait for nothing but the file system.
    pub(super) async fn prepare(&self, work: &mut Work) -> Result<(), End> {
        while matches!(
            work.steps.front(),
            Some(Step::Write { .. } | Step::Adopt { .. } | Step::Settle { .. })
        ) {
            self.next(work).await?;
        }
        Ok(())
    }

    /// Takes the rest. `superseded` ends a wait for a start, or for the end of what a stop has left.
    pub(super) async fn finish(&self, work: &mut Work, superseded: CancellationToken) -> End {
        while let Some(step) = work.steps.front() {
            let starting = matches!(step, Step::Start { .. } | Step::Restart { .. });
            let end = if starting || *step == Step::AwaitEmpty {
                tokio::select! {
                    // A start that has ended has ended, whatever else has happened.
                    biased;
                    taken = self.next(work) => taken.err(),
                    () = superseded.cancelled() => Some(End::Superseded),
                }
            } else {
                self.next(work).await.err()
            };
            if let Some(end) = end {
                if starting && end == End::Dropped {
                    self.ledger().unsure(&work.unit);
                }
                return end;
            }
        }
        End::Done
    }

    async fn next(&self, work: &mut Work) -> Result<(), End> {
        let Some(step) = work.steps.front().cloned() else { return Ok(()) };
        if step == Step::AwaitEmpty {
            self.emptied(work).await?;
            work.steps.pop_front();
            return Ok(());
        }
        let outcome = self.take(work, &step).await;
        work.steps.pop_front();
        match outcome {
            Ok(Outcome::Done) => {}
            Ok(Outcome::Failed { problem }) | Err(RunnerError::Refused { problem }) => {
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
                if let Err(error) = self.ledger().forget(&work.unit) {
                    tracing::error!(unit = %work.unit, %error, "cannot forget a unit");
                }
                return Err(End::Dropped);
            }
            Err(error @ RunnerError::Lost { .. }) => {
                tracing::warn!(unit = %work.unit, %error, "a step could not be tried");
                return Err(End::Dropped);
            }
        }
        Ok(())
    }

    /// Waits until nothing of the unit is left.
    async fn emptied(&self, work: &Work) -> Result<(), End> {
        let unit = &work.unit;
        match self.runner.emptied(unit).await {
            Ok(true) => Ok(()),
            Ok(false) => {
                tracing::warn!(%unit, problem = work.problem, "it does not stop");
                if let Some(problem) = &work.problem {
                    self.ledger().note(unit, problem);
                }
                Err(End::Held)
            }
            Err(error) => {
                tracing::warn!(%unit, %error, "cannot see whether it has stopped");
                Err(End::Dropped)
            }
        }
    }

    async fn take(&self, work: &Work, step: &Step) -> Result<Outcome, RunnerError> {
        let unit = &work.unit;
        let remembered = |done: std::io::Result<()>| {
            done.map(|()| Outcome::Done).map_err(|error| RunnerError::Files {
                during: format!("remember {unit}"),
                problem: error.to_string(),
            })
        };
        match step {
            // One is said in every pass, the other waited for, by the caller.
            Step::Refuse { .. } | Step::AwaitEmpty => Ok(Outcome::Done),
            Step::Write { file } => {
                let Some(text) = &work.file else { return Ok(Outcome::Done) };
                remembered(self.ledger().write(unit, *file))?;
                self.runner.write(unit, *file, text.text()).await.map(|()| Outcome::Done)
            }
            Step::Adopt { file } => {
                tracing::info!(%unit, "adopted");
                remembered(self.ledger().write(unit, *file))
            }
            Step::Enable => {
                self.runner.enable(std::slice::from_ref(unit)).await?;
                remembered(self.ledger().enabled(unit, true))
            }
            Step::Disable => {
                self.runner.disable(std::slice::from_ref(unit)).await?;
                remembered(self.ledger().enabled(unit, false))
            }
            // What could not even be written is not started.
            Step::Load | Step::Start { .. } | Step::Restart { .. } if work.problem.is_some() => {
                Ok(Outcome::Done)
            }
            Step::Load => self.runner.load(unit).await,
            Step::Start { generation } | Step::Restart { generation } => {
                if work.job {
                    remembered(self.jobs().begin(unit, *generation))?;
                }
                self.ledger().begun(unit);
                let fell = self.steady().watch(unit);
                let outcome = match step {
                    Step::Restart { .. } => self.runner.restart(unit, *generation).await,
                    _ => self.runner.start(unit, *generation).await,
                };
                if work.up_at_birth && outcome == Ok(Outcome::Done) {
                    self.stay_up(unit, &fell).await;
                }
                self.steady().unwatch(unit);
                if work.job
                    && let Ok(outcome) = &outcome
                    && let Err(error) = self.jobs().end(unit, run_end(outcome))
                {
                    tracing::error!(%unit, %error, "cannot note how a job ended");
                }
                self.health.update_counters(|c| {
                    c.starts += 1;
                    c.failed_starts += u64::from(!matches!(outcome, Ok(Outcome::Done)));
                });
                outcome
            }
            Step::Stop => {
                self.health.update_counters(|c| c.stops += 1);
                self.runner.stop(unit).await
            }
            Step::Remove => {
                self.runner.remove(unit).await?;
                self.steady().forget(unit);
                remembered(self.ledger().forget(unit))
            }
            Step::Settle { generation, desired } => {
                let problem = work.problem.clone();
                remembered(self.ledger().settle(unit, *generation, *desired, problem))
            }
        }
    }
}

impl Hands {
    /// Waits until a unit that was just started has stayed up for a moment, or has failed; how it failed is noted.
    async fn stay_up(&self, unit: &UnitName, fell: &Notify) {
        let end = Instant::now() + SETTLE;
        while timeout_at(end, fell.notified()).await.is_ok() {
            // It may have been an earlier run that failed.
            match self.runner.failed_since_start(unit).await {
                Ok(Some(why)) => {
                    tracing::warn!(%unit, why, "the unit failed in its first moments");
                    self.steady().fell(unit, why);
                    return;
                }
                Ok(None) => {}
                Err(_) => return,
            }
        }
    }
}

fn run_end(outcome: &Outcome) -> RunEnd {
    match outcome {
        Outcome::Done => RunEnd::Well,
        Outcome::Failed { problem } => RunEnd::Badly(problem.clone()),
    }
}
