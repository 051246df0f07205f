//! Giving units up on a machine that goes.
//!
//! Owns the stopping of what the node names, and the time it may take.

use std::sync::Arc;
use std::time::Duration;

use muster_common::unit::UnitName;
use muster_engine::machine::memory::NodeMemory;
use muster_engine::machine::node::{NodeInput, StopPlan};
use muster_runtime::{Instant, timeout, timeout_at};

use super::converge_loop::Converge;
use crate::machine::last_known;
use crate::machine::outage_note::OutageNote;
use crate::runner::{Runner, StartOutcome};
use crate::stdx::timer::sleep_until_opt;

/// Time for which processes that a unit has left behind are looked for, once it has stopped on a machine that goes.
const LEFTOVER_GRACE: Duration = Duration::from_secs(1);

impl Converge {
    /// Stops every unit this daemon owns: the machine itself goes. Waits `patience` for them, and up to
    /// `longest` for those that may not run twice. False when something was not down by then, or has left processes behind.
    pub async fn give_up(&mut self, patience: Duration, longest: Duration) -> bool {
        let StopPlan { singles, others } = self.units_to_stop();
        let runner = Arc::clone(&self.executor.runner);
        let stop_all = |units: Vec<UnitName>| {
            let runner = &runner;
            futures::future::join_all(
                units.into_iter().map(move |unit| stop_for_good(runner, unit)),
            )
        };
        let began = Instant::now();
        let others = timeout_at(began + patience, stop_all(others));
        let singles = timeout_at(began + longest, stop_all(singles));
        let stops = futures::future::join(others, singles);
        tokio::pin!(stops);
        // What stops is shown as stopping, here as at any other time.
        let (others, singles) = loop {
            let deadline = self.next_deadline();
            let input = tokio::select! {
                biased;
                down = &mut stops => break down,
                Some(event) = self.runner_events.recv() => NodeInput::Runner(event),
                Some(answer) = self.answers.1.recv() => answer,
                () = sleep_until_opt(deadline) => NodeInput::Tick,
            };
            self.feed_node(vec![input]).await;
        };
        if others.is_err() || singles.is_err() {
            tracing::warn!("some units did not stop in time; systemd stops them");
        }
        [others, singles].into_iter().all(|down| down.is_ok_and(|d| !d.contains(&false)))
    }

    /// Forgets the placements: others know that the units are theirs now.
    pub fn forget_placements(&self) {
        if let Err(error) = last_known::remove(&*self.disk, &self.placements) {
            tracing::warn!(%error, "cannot forget the last known placements");
        }
    }

    /// The note that says whether the placements may be started without the store.
    pub fn outage_note(&self) -> &OutageNote {
        &self.outage
    }

    fn units_to_stop(&self) -> StopPlan {
        let (ledger, jobs) = (self.executor.lock_ledger(), self.executor.lock_jobs());
        let mut first_moments = self.executor.lock_first_moments();
        let steadiness = &mut first_moments.steadiness;
        let memory = NodeMemory { owned: ledger.owned_units(), jobs: jobs.job_runs(), steadiness };
        self.node.units_to_stop(&memory)
    }
}

/// Stops a unit on a machine that goes; whether it is down then.
async fn stop_for_good(runner: &Arc<dyn Runner>, unit: UnitName) -> bool {
    match runner.stop(&unit).await {
        // Processes that it has left behind are looked for, and not waited for: systemd ends them with the host.
        Ok(StartOutcome::Done) => {
            matches!(timeout(LEFTOVER_GRACE, runner.wait_until_empty(&unit)).await, Ok(Ok(true)))
        }
        Ok(StartOutcome::Failed { problem }) => {
            tracing::warn!(%unit, problem, "the unit does not stop");
            false
        }
        Err(error) => {
            tracing::warn!(%unit, %error, "cannot stop the unit");
            false
        }
    }
}
