//! Carrying out what the node says.
//!
//! Owns what each effect means to the runner, the store, the disk, health and log. It chooses nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use muster_common::decision::StateUpdate;
use muster_common::lease::Presence;
use muster_common::probe::is_planted;
use muster_common::unit::{FileHash, UnitName};
use muster_engine::machine::memory::{FoundLastKnown, LastKnown};
use muster_engine::machine::node::{
    ChainBatch, ChainEnd, ChainStart, NodeEffect, NodeFact, NodeInput, PlannedChain, PublishAnswer,
    SettledJob,
};
use muster_engine::machine::registration::UnitsReported;
use muster_store::{RegistryError, StoreError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::chain::{ChainExecutor, ChainWork};
use super::converge_loop::Converge;
use crate::machine::last_known;
use crate::stdx::errors::error_chain;

impl Converge {
    /// Carries out one effect. What the node is to know at once goes to `inputs`, in order.
    pub(super) async fn carry_out(&mut self, effect: NodeEffect, inputs: &mut Vec<NodeInput>) {
        match effect {
            NodeEffect::ReadStates => {
                let states = self.registry.states_of(&self.machine).await.inspect_err(|error| {
                    tracing::warn!(error = error_chain(error), "cannot read what was published");
                });
                inputs.push(NodeInput::StatesRead(states.ok()));
            }
            NodeEffect::WatchPlacements => {
                self.placements_watch = Some(self.registry.watch_places(&self.machine));
            }
            NodeEffect::StopWatching => self.placements_watch = None,
            NodeEffect::TrustStore(trusted) => self.trust_store(trusted),
            NodeEffect::RememberCluster => {
                if let Err(error) = self.cluster.save_current() {
                    tracing::error!(%error, "cannot remember the cluster");
                }
            }
            NodeEffect::ReadLastKnown => {
                let found = last_known::load(&*self.disk, &self.placements);
                let found = found.map(|found| FoundLastKnown {
                    known: found.known,
                    is_newest: found.is_newest,
                    outage_noted: self.outage.is_noted(),
                    ordered: self.outage.is_start_ordered(),
                });
                inputs.push(NodeInput::LastKnownRead(found));
            }
            NodeEffect::SavePlacements(known) => self.save_placements(known),
            NodeEffect::Observe(units) => {
                let is_told = self.learn_userspace().await;
                let observed =
                    self.executor.runner.observe_units(&units).await.inspect_err(|error| {
                        tracing::warn!(%error, "cannot see what runs");
                    });
                // A line that has come up between the two can be asked now. Who does not tell even then has nothing to tell.
                if !is_told && observed.is_ok() {
                    self.learn_userspace().await;
                }
                inputs.push(NodeInput::Observed(observed.ok()));
            }
            NodeEffect::ReadFiles(missing) => inputs.push(self.read_files(&missing).await),
            NodeEffect::SettleJobs(jobs) => {
                inputs.push(NodeInput::JobsSettled(self.settle_jobs(jobs)));
            }
            NodeEffect::NoteJobEnd { unit, end } => {
                if let Err(error) = self.executor.lock_jobs().record_end(&unit, end) {
                    tracing::error!(%unit, %error, "cannot note how a job ended");
                }
            }
            NodeEffect::ForgetJobRuns(units) => {
                if let Err(error) = self.executor.lock_jobs().forget_runs(&units) {
                    tracing::error!(%error, "cannot forget jobs that are gone");
                }
            }
            NodeEffect::FindObstacles(units) => {
                let runner = &self.executor.runner;
                let obstacles = units.into_iter().filter_map(|(unit, file)| {
                    Some((unit.clone(), runner.find_obstacle(&unit, &file)?))
                });
                inputs.push(NodeInput::ObstaclesFound(obstacles.collect()));
            }
            NodeEffect::BeginChains(batch) => self.begin_chains(batch, inputs).await,
            NodeEffect::Supersede(_) if is_planted("superseded-chain-goes-on") => {}
            NodeEffect::Supersede(unit) => {
                if let Some(superseder) = self.superseders.get(&unit) {
                    superseder.cancel();
                }
            }
            NodeEffect::CheckFirstMoments(unit) => {
                self.executor.lock_first_moments().ring_bell(&unit);
            }
            NodeEffect::Publish { number, presence, states } => {
                self.publish_states(number, presence, states);
            }
            NodeEffect::SuspectLease => self.lease_suspect.notify_one(),
            NodeEffect::Report(fact) => self.report_fact(fact),
        }
    }

    /// Asks for this boot's userspace, if it could not be told when the daemon began and anything depends on it. False if it still
    /// cannot.
    async fn learn_userspace(&self) -> bool {
        let is_told = self.ask_for_userspace().await;
        // The runners were made before, and may not have been told then.
        let known = self.executor.lock_ledger().known_userspace();
        if let Some(userspace) = known {
            self.executor.runner.learn_userspace(&userspace);
        }
        is_told
    }

    async fn ask_for_userspace(&self) -> bool {
        if !self.executor.lock_ledger().is_userspace_unknown() {
            return true;
        }
        let Some(userspace) = self.host.userspace_id().await else { return false };
        self.executor.lock_ledger().learn_userspace(userspace);
        true
    }

    fn report_fact(&self, fact: NodeFact) {
        let health = &self.executor.health;
        match fact {
            NodeFact::PlacementsKnown => health.set_ok(|s| &mut s.placements),
            NodeFact::PlacementsUnknown(problem) => {
                health.set_failed(|s| &mut s.placements, problem);
            }
            NodeFact::UsingLastKnown(units) => {
                tracing::warn!(
                    units,
                    "the store does not answer; carrying out the last known placements"
                );
            }
            NodeFact::LastKnownWithheld(units) => {
                let problem = withheld_problem(units);
                health.set_failed(|s| &mut s.placements, problem);
            }
            NodeFact::ForeignPlacements => {
                let problem = "the store that sends them is not this machine's any more";
                health.set_failed(|s| &mut s.placements, problem.to_owned());
            }
            NodeFact::PlacementUnreadable(unit) => {
                tracing::warn!(%unit, "its placement cannot be read; the unit is left as it is");
            }
            NodeFact::UnitRefused { unit, problem } => {
                tracing::warn!(%unit, problem, "the unit is refused");
            }
            NodeFact::RunnerFound => health.set_ok(|s| &mut s.runner),
            NodeFact::RunnerLost(problem) => {
                tracing::warn!(problem, "the runner cannot be reached");
                health.set_failed(|s| &mut s.runner, problem);
            }
            NodeFact::Reported(reported) => health.update(|s| s.reported = reported),
            NodeFact::Parting(under) => {
                let reported = under.map_or(UnitsReported::NotYet, UnitsReported::Under);
                self.reported.send_replace(reported);
            }
            NodeFact::OwnedUnits(units) => health.update(|s| s.units = units),
        }
    }

    fn save_placements(&mut self, known: LastKnown) {
        self.saving = true;
        let (disk, path) = (Arc::clone(&self.disk), self.placements.clone());
        let (answers, outage) = (self.answers.0.clone(), self.outage.clone());
        self.disk.run_apart(Box::new(move || {
            let saved = last_known::save(&*disk, &path, &known);
            outage.set_placements_saved(saved.is_ok());
            if let Err(error) = &saved {
                tracing::error!(path = %path.display(), %error, "cannot save the placements");
            }
            let _ = answers.send(NodeInput::PlacementsSaved(saved.is_ok()));
        }));
    }

    fn trust_store(&self, trusted: bool) {
        if trusted {
            self.registry.allow_writes();
        } else {
            // The registration says more about it in a moment.
            self.registry.refuse_writes("the store holds another cluster than this machine's");
        }
    }

    async fn read_files(&self, missing: &[FileHash]) -> NodeInput {
        let found = self.registry.read_files(missing).await.inspect_err(|error| {
            tracing::warn!(error = error_chain(error), "cannot read unit files");
        });
        NodeInput::FilesRead(found.ok())
    }

    fn settle_jobs(&self, jobs: Vec<SettledJob>) -> BTreeMap<UnitName, String> {
        let mut problems = BTreeMap::new();
        let mut ledger = self.executor.lock_ledger();
        for SettledJob { unit, file, generation, desired } in jobs {
            let settled = ledger
                .record_file(&unit, file)
                .and_then(|()| ledger.record_settled(&unit, generation, desired, None));
            if let Err(error) = settled {
                problems.insert(unit, format!("cannot remember it: {error}"));
            }
        }
        problems
    }

    fn publish_states(&mut self, number: u64, presence: Presence, states: Vec<StateUpdate>) {
        self.publishing = true;
        self.executor.health.update_counters(|c| c.published += states.len() as u64);
        let (registry, answers) = (self.registry.clone(), self.answers.0.clone());
        muster_runtime::spawn(async move {
            let answer = match registry.publish_states(&presence, states).await {
                Ok(()) => PublishAnswer::Taken,
                Err(
                    RegistryError::NotRegistered { .. }
                    | RegistryError::Store(StoreError::LeaseGone { .. }),
                ) => PublishAnswer::NotRegistered,
                Err(error) => {
                    tracing::warn!(error = error_chain(&error), "cannot publish states");
                    PublishAnswer::Unknown
                }
            };
            let _ = answers.send(NodeInput::Published { number, answer });
        });
    }

    async fn begin_chains(&mut self, batch: ChainBatch, inputs: &mut Vec<NodeInput>) {
        let mut removals = self.prepare_chains(batch.removals, inputs).await;
        let mut others = self.prepare_chains(batch.others, inputs).await;
        self.executor.enable_together(removals.iter_mut().chain(&mut others)).await;
        let going = TaskTracker::new();
        for work in removals {
            muster_runtime::spawn(going.track_future(self.finish_chain(work)));
        }
        going.close();
        for work in others {
            let going = going.clone();
            let finish = self.finish_chain(work);
            muster_runtime::spawn(async move {
                if !going.is_empty() {
                    let _ = muster_runtime::timeout(batch.removals_grace, going.wait()).await;
                }
                finish.await;
            });
        }
    }

    /// Takes the quick steps at once. Returns the chains that have more.
    async fn prepare_chains(
        &self,
        chains: Vec<PlannedChain>,
        inputs: &mut Vec<NodeInput>,
    ) -> Vec<ChainWork> {
        let mut rest = Vec::new();
        for chain in chains {
            let unit = chain.unit.clone();
            let mut work = ChainWork::from(chain);
            let prepared = match self.executor.take_quick_steps(&mut work).await {
                Err(_) => ChainStart::Failed,
                Ok(()) if work.steps.is_empty() => ChainStart::Complete,
                Ok(()) => ChainStart::Begun,
            };
            if prepared == ChainStart::Begun {
                rest.push(work);
            }
            inputs.push(NodeInput::ChainPrepared { unit, prepared });
        }
        rest
    }

    /// The rest of a chain, to be run; from now on it can be superseded.
    fn finish_chain(&mut self, work: ChainWork) -> impl Future<Output = ()> + Send + 'static {
        let superseded = CancellationToken::new();
        self.superseders.insert(work.unit.clone(), superseded.clone());
        run_chain(self.executor.clone(), work, superseded, self.chain_ends.0.clone())
    }
}

async fn run_chain(
    executor: ChainExecutor,
    mut work: ChainWork,
    superseded: CancellationToken,
    ends: tokio::sync::mpsc::UnboundedSender<(UnitName, ChainEnd)>,
) {
    let end = executor.take_steps(&mut work, superseded).await;
    let _ = ends.send((work.unit, end));
}

fn withheld_problem(units: usize) -> String {
    let units = if units == 1 { "the unit".to_owned() } else { format!("the {units} units") };
    format!(
        "the store does not answer, and {units} that this machine ran last may run elsewhere by now, for it held its lease when it \
         went; to start them all the same: musterd --start-last-known"
    )
}
