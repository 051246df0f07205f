//! The loop itself: what it is made of, and how it waits and feeds.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use muster_common::machine::MachineId;
use muster_common::probe::is_planted;
use muster_common::snapshot::ClusterEvent;
use muster_common::unit::UnitName;
use muster_engine::machine::memory::NodeMemory;
use muster_engine::machine::node::{ChainEnd, Node, NodeEffect, NodeInput};
use muster_engine::machine::registration::{Registration, UnitsReported};
use muster_engine::machine::report::PUBLISH_RETRY;
use muster_runtime::{Instant, timeout};
use muster_store::{ClusterWatch, Registry};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::chain::ChainExecutor;
use super::first_moments::FirstMoments;
use crate::host::power::HostPower;
use crate::machine::cluster_memory::ClusterMemory;
use crate::machine::jobs::JobMemory;
use crate::machine::ledger::Ledger;
use crate::machine::outage_note::OutageNote;
use crate::runner::{Runner, RunnerEvents};
use crate::stdx::clock::Wall;
use crate::stdx::disk::Disk;
use crate::stdx::timer::sleep_until_opt;
use crate::telemetry::health::Health;

/// The parts that the loop is made of.
pub struct ConvergeConfig {
    /// This machine.
    pub machine: MachineId,
    /// The store.
    pub registry: Registry,
    /// The runner of its units.
    pub runner: Arc<dyn Runner>,
    /// Where its reports that nobody asked for arrive.
    pub runner_events: RunnerEvents,
    /// The memory of them.
    pub ledger: Ledger,
    /// The host, which tells one userspace from the next.
    pub host: Arc<dyn HostPower>,
    /// This machine's registration.
    pub registration: watch::Receiver<Registration>,
    /// When its lease is over, unless the store says otherwise.
    pub lease_ends: watch::Receiver<Option<Instant>>,
    /// True while the machine is about to go down.
    pub leaving: watch::Receiver<bool>,
    /// Where it is said how much of what runs here has been reported.
    pub reported: watch::Sender<UnitsReported>,
    /// To be notified when the store refuses a write under the lease.
    pub lease_suspect: Arc<Notify>,
    /// The disk that the placements and the ledger lie on.
    pub disk: Arc<dyn Disk>,
    /// File of the last known placements.
    pub placements: PathBuf,
    /// The memory of the cluster that they are of.
    pub cluster: ClusterMemory,
    /// The note that says whether they may be started without the store.
    pub outage: OutageNote,
    /// The clock that dates what the runner does not.
    pub wall: Wall,
    /// The place to say how it goes.
    pub health: Health,
}

/// The loop.
pub struct Converge {
    pub(super) machine: MachineId,
    pub(super) registry: Registry,
    pub(super) executor: ChainExecutor,
    pub(super) host: Arc<dyn HostPower>,
    registration: watch::Receiver<Registration>,
    lease_ends: watch::Receiver<Option<Instant>>,
    leaving: watch::Receiver<bool>,
    pub(super) reported: watch::Sender<UnitsReported>,
    pub(super) lease_suspect: Arc<Notify>,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) placements: PathBuf,
    pub(super) cluster: ClusterMemory,
    pub(super) outage: OutageNote,
    wall: Wall,

    pub(super) node: Node,
    /// The node's time counts from here.
    began: Instant,

    pub(super) placements_watch: Option<ClusterWatch>,
    /// Ends the waits of chains on their way.
    pub(super) superseders: BTreeMap<UnitName, CancellationToken>,
    pub(super) chain_ends: Channel<(UnitName, ChainEnd)>,
    /// Answers to what was begun and not waited for: publications, saved placements.
    pub(super) answers: Channel<NodeInput>,
    pub(super) publishing: bool,
    pub(super) saving: bool,
    /// The runner's reports that nobody asked for.
    pub(super) runner_events: RunnerEvents,
}

/// Both ends of a channel.
pub(super) type Channel<T> = (mpsc::UnboundedSender<T>, mpsc::UnboundedReceiver<T>);

impl Converge {
    /// The loop, not begun.
    pub fn new(config: ConvergeConfig) -> Self {
        let ledger = Arc::new(Mutex::new(config.ledger));
        config.health.set_owned_units(Arc::<Mutex<Ledger>>::clone(&ledger));
        let jobs = JobMemory::open_beside(Arc::clone(&config.disk), &config.placements);
        let executor = ChainExecutor {
            runner: config.runner,
            ledger,
            jobs: Arc::new(Mutex::new(jobs)),
            first_moments: Arc::new(Mutex::new(FirstMoments::default())),
            health: config.health,
        };
        let began = Instant::now();
        Self {
            node: Node::new(config.machine.clone(), began.elapsed()),
            machine: config.machine,
            registry: config.registry,
            executor,
            host: config.host,
            registration: config.registration,
            lease_ends: config.lease_ends,
            leaving: config.leaving,
            reported: config.reported,
            lease_suspect: config.lease_suspect,
            disk: config.disk,
            placements: config.placements,
            cluster: config.cluster,
            outage: config.outage,
            wall: config.wall,
            began,
            placements_watch: None,
            superseders: BTreeMap::new(),
            chain_ends: mpsc::unbounded_channel(),
            answers: mpsc::unbounded_channel(),
            publishing: false,
            saving: false,
            runner_events: config.runner_events,
        }
    }

    /// Runs until `shutdown`, then says and saves what is left to be said and saved.
    pub async fn run(mut self, shutdown: CancellationToken) -> Self {
        let registration = self.registration.borrow_and_update().clone();
        self.feed_node(vec![NodeInput::Registration(registration)]).await;
        loop {
            let mut inputs = Vec::new();
            let deadline = self.next_deadline();
            // Every arm is cancel-safe: channels, a watch and a timer.
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(event) = self.runner_events.recv() => inputs.push(NodeInput::Runner(event)),
                Some(ended) = self.chain_ends.1.recv() => {
                    // What the runner said before a chain ended is in its queue by now, and is to be reported with it.
                    while let Ok(event) = self.runner_events.try_recv() {
                        inputs.push(NodeInput::Runner(event));
                    }
                    inputs.push(self.chain_ended(ended));
                    while let Ok(ended) = self.chain_ends.1.try_recv() {
                        inputs.push(self.chain_ended(ended));
                    }
                }
                event = next_event(&mut self.placements_watch) => match event {
                    Some(event) => inputs.push(NodeInput::Placements(event)),
                    None => self.placements_watch = None,
                },
                changed = self.registration.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    let registration = self.registration.borrow_and_update().clone();
                    inputs.push(NodeInput::Registration(registration));
                }
                Ok(()) = self.leaving.changed() => {
                    inputs.push(NodeInput::Leaving(*self.leaving.borrow_and_update()));
                }
                Some(answer) = self.answers.1.recv() => inputs.push(answer),
                () = sleep_until_opt(deadline) => inputs.push(NodeInput::Tick),
            }
            while let Some(event) = ready_event(&mut self.placements_watch) {
                inputs.push(NodeInput::Placements(event));
            }
            self.feed_node(inputs).await;
        }
        self.close().await;
        self
    }

    /// The moment at which the node wants to be looked after again.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.node.next_deadline().map(|at| self.began + at)
    }

    /// When the machine's lease is over, on the node's clock.
    pub(super) fn lease_end(&self) -> Option<Duration> {
        let ends = *self.lease_ends.borrow();
        ends.map(|ends| ends.saturating_duration_since(self.began))
    }

    pub(super) fn chain_ended(&mut self, (unit, end): (UnitName, ChainEnd)) -> NodeInput {
        self.superseders.remove(&unit);
        NodeInput::ChainEnded { unit, end }
    }

    /// Feeds the node and carries out what follows, until nothing more does.
    pub(super) async fn feed_node(&mut self, mut inputs: Vec<NodeInput>) {
        loop {
            self.hear_registration(&mut inputs);
            let effects = self.step_node(std::mem::take(&mut inputs));
            for effect in effects {
                self.carry_out(effect, &mut inputs).await;
            }
            if inputs.is_empty() {
                return;
            }
        }
    }

    /// Puts it first that the machine is registered otherwise by now: an answer of the store may have taken its time, and what it is for
    /// was told under the registration of before.
    fn hear_registration(&mut self, inputs: &mut Vec<NodeInput>) {
        let is_changed = self.registration.has_changed().unwrap_or(false);
        if is_changed && !is_planted("registration-heard-late") {
            let registration = self.registration.borrow_and_update().clone();
            inputs.insert(0, NodeInput::Registration(registration));
        }
    }

    fn step_node(&mut self, inputs: Vec<NodeInput>) -> Vec<NodeEffect> {
        for input in &inputs {
            match input {
                NodeInput::Published { .. } => self.publishing = false,
                NodeInput::PlacementsSaved(_) => self.saving = false,
                _ => {}
            }
        }
        let ledger = self.executor.lock_ledger();
        let jobs = self.executor.lock_jobs();
        let mut first_moments = self.executor.lock_first_moments();
        let mut memory = NodeMemory {
            cluster: self.cluster.current_cluster(),
            lease_ends: self.lease_end(),
            owned: ledger.owned_units(),
            jobs: jobs.job_runs(),
            steadiness: &mut first_moments.steadiness,
        };
        self.node.step(self.began.elapsed(), self.wall.unix_seconds(), &mut memory, inputs)
    }

    /// Says and saves what is left.
    async fn close(&mut self) {
        self.until_saved().await;
        let was_publishing = self.publishing;
        self.feed_node(vec![NodeInput::Close]).await;
        self.until_saved().await;
        if !was_publishing && self.publishing {
            let _ = timeout(PUBLISH_RETRY, self.until_published()).await;
        }
    }

    async fn until_saved(&mut self) {
        while self.saving
            && let Some(answer) = self.answers.1.recv().await
        {
            self.feed_node(vec![answer]).await;
        }
    }

    async fn until_published(&mut self) {
        while self.publishing
            && let Some(answer) = self.answers.1.recv().await
        {
            self.feed_node(vec![answer]).await;
        }
    }
}

async fn next_event(watch: &mut Option<ClusterWatch>) -> Option<ClusterEvent> {
    match watch {
        Some(watch) => watch.events.recv().await,
        None => std::future::pending().await,
    }
}

fn ready_event(watch: &mut Option<ClusterWatch>) -> Option<ClusterEvent> {
    watch.as_mut()?.events.try_recv().ok()
}
