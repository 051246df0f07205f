//! The converge loop: makes this machine run what it was placed to run, and says what it runs.
//!
//! Owns this machine's placements as last read, what the runner last reported, and the chains of steps on their way. Every
//! wake-up leads to the same pass: desired, observed and owned go to the engine, and the steps it names are taken. It
//! never acts on not knowing: without a lease, or before the placements have been read under it, nothing is started
//! or stopped. The one exception is a store that has been away since the daemon began: then the last known placements,
//! from disk, are carried out.

mod chain;
mod jobs;
mod news;
mod pass;
mod report;
mod steady;
mod telling;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use muster_common::machine::MachineId;
use muster_common::snapshot::{ClusterEvent, Placement};
use muster_common::state::DesiredState;
use muster_common::unit::{FileHash, RequirementsTemplate, UnitFile, UnitName};
use muster_engine::single::is_single;
use muster_store::{ClusterWatch, Presence, Registry, RegistryError};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use self::chain::{End, Hands};
use self::report::Report;
use self::steady::Steady;
use crate::machine::jobs::Jobs;
use crate::machine::last_known;
use crate::machine::ledger::Ledger;
use crate::machine::registration::Registration;
use crate::runner::{Outcome, Runner, RunnerEvent, UnitObservation};
use crate::stdx::disk::Disk;
use crate::stdx::timer::sleep_until_opt;
use crate::telemetry::health::Health;

/// How long the store may take to answer after the daemon has begun before the last known placements are used.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often the runner is asked for everything, as a net under its events.
const RELIST: Duration = Duration::from_secs(10);
/// Pause before a pass that could not be completed is made again.
const RETRY: Duration = Duration::from_millis(500);
/// Pause before a unit that does not stop is asked to once more: often enough for whoever mends it, and no flood of jobs.
const HELD: Duration = Duration::from_secs(5);
/// How long placements must have rested before they are written to disk.
const SAVE: Duration = Duration::from_millis(300);
/// How long what comes waits for what goes: a unit that takes its time to stop must not keep the others from starting.
const GOING: Duration = Duration::from_secs(10);

/// How long is looked whether a unit has left processes behind, once it has stopped on a machine that goes.
const LEFT: Duration = Duration::from_secs(1);

/// What the loop is made of.
pub struct Parts {
    /// This machine.
    pub machine: MachineId,
    /// The store.
    pub registry: Registry,
    /// What runs units.
    pub runner: Arc<dyn Runner>,
    /// What is remembered of them.
    pub ledger: Ledger,
    /// Where this machine stands with the cluster.
    pub standing: watch::Receiver<Registration>,
    /// To be told when the store refuses a write under the lease.
    pub doubt: Arc<Notify>,
    /// The disk that they and the ledger lie on.
    pub disk: Arc<dyn Disk>,
    /// File of the last known placements.
    pub placements: PathBuf,
    /// Where to say how it goes.
    pub health: Health,
}

/// Why placements may be carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Basis {
    /// They may not: it is not known what the cluster wants.
    Unknown,
    /// They are the last known ones, and the store has been away since we began.
    Disk,
    /// They were read from the store under our lease.
    Store,
}

/// A chain on its way.
struct Busy {
    /// What was wanted when it began.
    wanted: Option<(FileHash, DesiredState, u64)>,
    superseded: CancellationToken,
}

/// A unit whose chain has ended, and how.
type Ended = (UnitName, End);
/// What the store said to a publication.
type Answer = Result<(), RegistryError>;

/// The loop.
pub struct Converge {
    machine: MachineId,
    registry: Registry,
    hands: Hands,
    standing: watch::Receiver<Registration>,
    doubt: Arc<Notify>,
    disk: Arc<dyn Disk>,
    placements: PathBuf,

    basis: Basis,
    presence: Option<Presence>,
    updates: Option<ClusterWatch>,
    desired: BTreeMap<UnitName, Placement>,
    poisoned: BTreeSet<UnitName>,
    files: BTreeMap<FileHash, Result<Known, String>>,

    runner_up: bool,
    seen: BTreeMap<UnitName, UnitObservation>,
    busy: BTreeMap<UnitName, Busy>,
    refused: BTreeMap<UnitName, (u64, DesiredState, String)>,
    report: Report,
    reported: bool,

    ends: (mpsc::UnboundedSender<Ended>, mpsc::UnboundedReceiver<Ended>),
    published: (mpsc::Sender<Answer>, mpsc::Receiver<Answer>),
    /// What the runner reports unasked.
    events: mpsc::Receiver<RunnerEvent>,
    pass_due: bool,
    /// Until when the store is given time to answer for the first time.
    patience: Option<Instant>,
    retry: Option<Instant>,
    save: Option<Instant>,
    /// When a unit that failed in its first moments may have been up for long enough.
    steady_at: Option<Instant>,
    relist: Instant,
}

/// A unit file with what is asked of it again and again.
#[derive(Clone)]
struct Known {
    file: Arc<UnitFile>,
    fleet_hash: String,
    install: bool,
    job: bool,
}

impl From<Arc<UnitFile>> for Known {
    fn from(file: Arc<UnitFile>) -> Self {
        let install = file.options().iter().any(|o| o.section == "Install");
        // Whether the section is well written otherwise is for whoever places units.
        let job = RequirementsTemplate::parse(&file).is_ok_and(|section| section.is_job());
        Self { fleet_hash: file.fleet_hash(), install, job, file }
    }
}

impl Converge {
    /// The loop, not begun.
    pub fn new(parts: Parts) -> Self {
        let Parts { machine, registry, runner, ledger, standing, doubt, disk, placements, health } =
            parts;
        let ledger = Arc::new(Mutex::new(ledger));
        let events = runner.events();
        health.set_ledger(&ledger);
        let hands = Hands {
            runner,
            ledger,
            jobs: Arc::new(Mutex::new(Jobs::beside(Arc::clone(&disk), &placements))),
            steady: Arc::new(Mutex::new(Steady::default())),
            health,
        };
        Self {
            machine,
            registry,
            hands,
            standing,
            doubt,
            disk,
            placements,
            basis: Basis::Unknown,
            presence: None,
            updates: None,
            desired: BTreeMap::new(),
            poisoned: BTreeSet::new(),
            files: BTreeMap::new(),
            runner_up: false,
            seen: BTreeMap::new(),
            busy: BTreeMap::new(),
            refused: BTreeMap::new(),
            report: Report::default(),
            reported: false,
            ends: mpsc::unbounded_channel(),
            published: mpsc::channel(1),
            events,
            pass_due: false,
            patience: None,
            retry: None,
            save: None,
            steady_at: None,
            relist: Instant::now() + RELIST,
        }
    }

    /// Runs until `shutdown`, then says and saves what is left to be said and saved.
    pub async fn run(mut self, shutdown: CancellationToken) -> Self {
        self.patience = Some(Instant::now() + PATIENCE);
        self.standing_changed().await;
        loop {
            // Every arm is cancel-safe: channels, a watch and timers.
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(event) = self.events.recv() => self.runner_event(event),
                Some((unit, end)) = self.ends.1.recv() => {
                    // What the runner said before a chain ended is in its queue by now, and is to be reported with it.
                    while let Ok(event) = self.events.try_recv() {
                        self.runner_event(event);
                    }
                    self.ended(&unit, &end);
                    while let Ok((unit, end)) = self.ends.1.try_recv() {
                        self.ended(&unit, &end);
                    }
                }
                event = next(&mut self.updates) => self.store_event(event),
                changed = self.standing.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    self.standing_changed().await;
                }
                Some(outcome) = self.published.1.recv() => self.published(outcome),
                () = sleep_until_opt(self.report.due()), if self.presence.is_some() => self.publish(),
                () = sleep_until_opt(self.retry) => {
                    self.retry = None;
                    self.pass_due = true;
                }
                () = sleep_until_opt(self.steady_at) => self.note_steady(),
                () = sleep_until_opt(self.save) => self.save().await,
                () = sleep_until_opt(self.patience) => {
                    self.patience = self.fall_back().then(|| Instant::now() + PATIENCE);
                }
                () = tokio::time::sleep_until(self.relist) => {
                    self.relist = Instant::now() + RELIST;
                    self.look_again();
                }
            }
            while let Some(event) = ready(&mut self.updates) {
                self.store_event(Some(event));
            }
            if self.pass_due {
                self.pass().await;
            }
            self.note_reported();
        }
        self.close().await;
        self
    }

    /// Units that failed in their first moments and have been up for long since are units like any other.
    fn note_steady(&mut self) {
        let recovered = self.hands.steady().recovered();
        self.report.stale.extend(recovered);
        self.steady_at = self.hands.steady().due();
    }

    /// Says whether all that was placed here has been reported under this lease. What comes after that is told as it comes:
    /// what the store has is of this lease then, if perhaps of a moment ago.
    fn note_reported(&mut self) {
        let known = self.basis == Basis::Store && self.presence.is_some();
        if known && !self.pass_due && self.report.is_told(self.desired.keys()) {
            self.report.complete = true;
        }
        let reported = known && self.report.complete;
        if self.reported != reported {
            self.reported = reported;
            self.hands.health.update(|s| s.reported = reported);
        }
    }

    /// Stops every unit this daemon owns and forgets the placements: the machine itself goes. Waits `patience` for them, and up to
    /// `longest` for those that may not run twice. False when something was not down by then, or has left processes behind.
    pub async fn give_up(&mut self, patience: Duration, longest: Duration) -> bool {
        let mut units: Vec<UnitName> = self.hands.ledger().entries().keys().cloned().collect();
        // What has taken the name of a unit of ours is the host's.
        let foreign = |unit: &UnitName| self.seen.get(unit).is_some_and(|s| s.observed.foreign);
        units.retain(|unit| !foreign(unit));
        let (singles, others): (Vec<UnitName>, Vec<UnitName>) =
            units.into_iter().partition(|unit| self.is_single(unit));
        let runner = Arc::clone(&self.hands.runner);
        let stop = |units: Vec<UnitName>| {
            let runner = &runner;
            futures::future::join_all(
                units.into_iter().map(move |unit| stop_for_good(runner, unit)),
            )
        };
        let began = Instant::now();
        let others = timeout_at(began + patience, stop(others));
        let singles = timeout_at(began + longest, stop(singles));
        let stops = futures::future::join(others, singles);
        tokio::pin!(stops);
        // What stops is shown as stopping, here as at any other time.
        let (others, singles) = loop {
            tokio::select! {
                biased;
                down = &mut stops => break down,
                Some(event) = self.events.recv() => self.runner_event(event),
                Some(outcome) = self.published.1.recv() => self.published(outcome),
                () = sleep_until_opt(self.report.due()), if self.presence.is_some() => self.publish(),
            }
        };
        if others.is_err() || singles.is_err() {
            tracing::warn!("some units did not stop in time; systemd stops them");
        }
        let down =
            [others, singles].into_iter().all(|down| down.is_ok_and(|d| !d.contains(&false)));
        if let Err(error) = last_known::forget(&*self.disk, &self.placements) {
            tracing::warn!(%error, "cannot forget the last known placements");
        }
        down
    }
}

impl Converge {
    /// Whether a unit here may not run twice; one whose file is not at hand may be such a one.
    fn is_single(&self, unit: &UnitName) -> bool {
        let file = self.hands.ledger().get(unit).map(|entry| entry.owned.file);
        let known = file.and_then(|file| self.file(file));
        known.is_none_or(|known| is_single(unit, &known.file))
    }
}

/// Stops a unit on a machine that goes; whether it is down then.
async fn stop_for_good(runner: &Arc<dyn Runner>, unit: UnitName) -> bool {
    match runner.stop(&unit).await {
        // Processes that it has left behind are looked for, and not waited for: systemd ends them with the host.
        Ok(Outcome::Done) => matches!(timeout(LEFT, runner.emptied(&unit)).await, Ok(Ok(true))),
        Ok(Outcome::Failed { problem }) => {
            tracing::warn!(%unit, problem, "the unit does not stop");
            false
        }
        Err(error) => {
            tracing::warn!(%unit, %error, "cannot stop the unit");
            false
        }
    }
}

async fn next(updates: &mut Option<ClusterWatch>) -> Option<ClusterEvent> {
    match updates {
        Some(updates) => updates.events.recv().await,
        None => std::future::pending().await,
    }
}

fn ready(updates: &mut Option<ClusterWatch>) -> Option<ClusterEvent> {
    updates.as_mut()?.events.try_recv().ok()
}
