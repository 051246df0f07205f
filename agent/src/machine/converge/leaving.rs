//! Giving units up on a machine that goes.
//!
//! Owns the stopping of what the node names, the time it may take, and that no boot starts by itself what was given up.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use muster_common::probe::is_planted;
use muster_common::unit::{UnitName, UnitType};
use muster_engine::machine::memory::NodeMemory;
use muster_engine::machine::node::{NodeInput, StopPlan};
use muster_engine::machine::report::PUBLISH_RETRY;
use muster_runtime::{Instant, timeout, timeout_at};
use tokio::sync::mpsc;

use super::converge_loop::Converge;
use crate::machine::last_known;
use crate::machine::outage_note::OutageNote;
use crate::runner::{Runner, StartOutcome};
use crate::stdx::timer::sleep_until_opt;

/// Time that starts have to be called off on a machine that goes. What is only asked of systemd or written takes less.
const CALL_OFF_GRACE: Duration = Duration::from_secs(2);

/// Time to stop for units that systemd starts before any service, and so stops after all of them when the host goes, this daemon
/// included: they cannot be waited for then. On a machine that stays, as when Muster is removed, they stop at once.
const EARLY_UNIT_GRACE: Duration = Duration::from_secs(2);

/// Time that hooks have to be taken away: a few links that systemd removes.
const UNHOOK_GRACE: Duration = Duration::from_secs(3);

/// Time for which processes that a unit has left behind are looked for, once it has stopped on a machine that goes.
const LEFTOVER_GRACE: Duration = Duration::from_secs(1);

impl Converge {
    /// Stops every unit this daemon owns: the machine itself goes. Each is given to the others when it is down; one that is not down
    /// within `grace` is given to them all the same, and those that may not run twice are waited for up to `single_grace`. With `soft`
    /// only userspace goes, and units that survive that by their own settings are left running. False when something was not down by
    /// then, or has left processes behind.
    pub async fn give_up(&mut self, grace: Duration, single_grace: Duration, soft: bool) -> bool {
        self.call_off_starts().await;
        self.unhook_units().await;
        let (StopPlan { singles, others }, surviving) = self.units_to_stop(soft);
        let mut going: BTreeSet<UnitName> = others.iter().cloned().collect();
        let runner = Arc::clone(&self.executor.runner);
        let (sender, mut stopped) = mpsc::unbounded_channel();
        let stop_all = |units: Vec<UnitName>, may_run_twice: bool| {
            let (runner, sender) = (&runner, sender.clone());
            futures::future::join_all(units.into_iter().map(move |unit| {
                let sender = sender.clone();
                async move {
                    let stop = stop_for_good(runner, unit.clone());
                    let down = if starts_before_services(&unit) {
                        timeout(EARLY_UNIT_GRACE, stop).await.ok()
                    } else {
                        Some(stop.await)
                    };
                    if down.unwrap_or(may_run_twice) {
                        let _ = sender.send(unit);
                    }
                    down == Some(true)
                }
            }))
        };
        let began = Instant::now();
        let grace_ends = began + grace;
        let others = timeout_at(grace_ends, stop_all(others, true));
        let singles = timeout_at(began + single_grace, stop_all(singles, false));
        let stops = futures::future::join(others, singles);
        tokio::pin!(stops);
        // What stops is shown as stopping, here as at any other time.
        let (others, singles) = loop {
            let deadline = self.next_deadline();
            let waits = Some(grace_ends).filter(|_| !going.is_empty());
            let inputs = tokio::select! {
                biased;
                down = &mut stops => break down,
                Some(unit) = stopped.recv() => {
                    going.remove(&unit);
                    vec![NodeInput::Released(unit)]
                }
                Some(event) = self.runner_events.recv() => vec![NodeInput::Runner(event)],
                Some(answer) = self.answers.1.recv() => vec![answer],
                () = sleep_until_opt(waits) => {
                    std::mem::take(&mut going).into_iter().map(NodeInput::Released).collect()
                }
                () = sleep_until_opt(deadline) => vec![NodeInput::Tick],
            };
            self.feed_node(inputs).await;
        };
        if others.is_err() || singles.is_err() {
            tracing::warn!("some units did not stop in time; systemd stops them");
        }
        let stopped_well = |down: Result<Vec<bool>, _>| down.is_ok_and(|d| !d.contains(&false));
        let down = [others, singles].into_iter().all(stopped_well) && surviving.is_empty();
        if !down {
            // The lease lives on for a while; what is down is not to wait for its end.
            let mut released = Vec::new();
            while let Ok(unit) = stopped.try_recv() {
                released.push(NodeInput::Released(unit));
            }
            self.feed_node(released).await;
            let _ = timeout(PUBLISH_RETRY, self.until_told()).await;
        }
        down
    }

    /// Waits until the store has taken all there is to say.
    async fn until_told(&mut self) {
        while self.publishing || self.next_deadline().is_some() {
            let deadline = self.next_deadline();
            let input = tokio::select! {
                biased;
                Some(answer) = self.answers.1.recv() => answer,
                () = sleep_until_opt(deadline) => NodeInput::Tick,
            };
            self.feed_node(vec![input]).await;
        }
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

    /// Sees to it that no start that was decided on before comes after the stop. Chains that stop something are not waited for.
    async fn call_off_starts(&mut self) {
        if is_planted("start-after-giving-up") {
            return;
        }
        for superseder in self.superseders.values() {
            superseder.cancel();
        }
        let ended = async {
            while !self.superseders.is_empty()
                && let Some(ended) = self.chain_ends.1.recv().await
            {
                let input = self.chain_ended(ended);
                self.feed_node(vec![input]).await;
            }
        };
        let _ = timeout(CALL_OFF_GRACE, ended).await;
    }

    /// Takes the units' hooks away: `/run` outlasts a soft-reboot, and systemd would start what it finds hooked into its targets long
    /// before the daemon knows whether that is still this machine's. What comes back to it is hooked in again.
    async fn unhook_units(&self) {
        if is_planted("hooks-outlast-a-departure") {
            return;
        }
        let hooked: Vec<UnitName> = {
            let ledger = self.executor.lock_ledger();
            let hooked = ledger.owned_units().iter().filter(|(_, entry)| entry.owned.enabled);
            hooked.map(|(unit, _)| unit.clone()).collect()
        };
        if hooked.is_empty() {
            return;
        }
        match timeout(UNHOOK_GRACE, self.executor.runner.disable(&hooked)).await {
            Ok(Ok(())) => {
                let mut ledger = self.executor.lock_ledger();
                for unit in &hooked {
                    if let Err(error) = ledger.record_enabled(unit, false) {
                        tracing::warn!(%unit, %error, "cannot remember that a unit is hooked in no more");
                    }
                }
            }
            Ok(Err(error)) => tracing::warn!(%error, "cannot take the hooks of units away"),
            Err(_) => tracing::warn!("the hooks of units are not taken away in time"),
        }
    }

    /// The units to be stopped, and those that are left running.
    fn units_to_stop(&self, soft: bool) -> (StopPlan, BTreeSet<UnitName>) {
        let (ledger, jobs) = (self.executor.lock_ledger(), self.executor.lock_jobs());
        let mut first_moments = self.executor.lock_first_moments();
        let steadiness = &mut first_moments.steadiness;
        let memory = NodeMemory {
            cluster: self.cluster.current_cluster(),
            lease_ends: self.lease_end(),
            owned: ledger.owned_units(),
            jobs: jobs.job_runs(),
            steadiness,
        };
        let mut plan = self.node.units_to_stop(&memory);
        if !soft {
            return (plan, BTreeSet::new());
        }
        let surviving = self.node.surviving_units(&memory, &plan);
        plan.others.retain(|unit| !surviving.contains(unit));
        for unit in &surviving {
            tracing::info!(%unit, "the unit survives the soft-reboot by its own settings");
        }
        (plan, surviving)
    }
}

/// True for types that systemd orders before every service, by way of `sockets.target` and the like (systemd.special(7)).
fn starts_before_services(unit: &UnitName) -> bool {
    matches!(
        unit.unit_type(),
        UnitType::Automount
            | UnitType::Mount
            | UnitType::Path
            | UnitType::Slice
            | UnitType::Socket
            | UnitType::Swap
            | UnitType::Timer
    )
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
