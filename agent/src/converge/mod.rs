//! The converge loop: makes this machine run what it was placed to run, and says what it runs.
//!
//! Owns this machine's placements as last read, what the runner last reported, and the chains of steps on their way. Every
//! wake-up leads to the same pass: desired, observed and owned go to the engine, and the steps it names are taken. It
//! never acts on not knowing: without a lease, or before the placements have been read under it, nothing is started
//! or stopped. The one exception is a store that has been away since the daemon began: then the last known placements,
//! from disk, are carried out.

mod chain;
mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use muster_common::machine::MachineId;
use muster_common::snapshot::{Change, Placement, Snapshot};
use muster_common::state::{DesiredState, ObservedState};
use muster_common::unit::{FileHash, UnitFile, UnitName};
use muster_engine::converge::{Chain, Desired, Observed, Owned, Step, Steps, converge};
use muster_store::{Event, Presence, Registry, RegistryError, StoreError, Updates};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::chain::{End, Hands, Work};
use self::report::Report;
use crate::health::{Health, unix_seconds};
use crate::ledger::{Entry, Ledger};
use crate::placements::{self, LastKnown};
use crate::presence::{Standing, chain as causes};
use crate::runner::{Runner, RunnerError, RunnerEvent, Seen};

/// How long the store may take to answer after the daemon has begun before the last known placements are used.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often the runner is asked for everything, as a net under its events.
const RELIST: Duration = Duration::from_secs(10);
/// Pause before a pass that could not be completed is made again.
const RETRY: Duration = Duration::from_millis(500);
/// How long placements must have rested before they are written to disk.
const SAVE: Duration = Duration::from_millis(300);
/// How long what comes waits for what goes: a unit that takes its time to stop must not keep the others from starting.
const GOING: Duration = Duration::from_secs(10);

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
    pub standing: watch::Receiver<Standing>,
    /// To be told when the store refuses a write under the lease.
    pub doubt: Arc<Notify>,
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
    standing: watch::Receiver<Standing>,
    doubt: Arc<Notify>,
    placements: PathBuf,

    basis: Basis,
    presence: Option<Presence>,
    updates: Option<Updates>,
    desired: BTreeMap<UnitName, Placement>,
    poisoned: BTreeSet<UnitName>,
    files: BTreeMap<FileHash, Result<Known, String>>,

    runner_up: bool,
    seen: BTreeMap<UnitName, Seen>,
    busy: BTreeMap<UnitName, Busy>,
    refused: BTreeMap<UnitName, (u64, DesiredState, String)>,
    report: Report,

    ends: (mpsc::UnboundedSender<Ended>, mpsc::UnboundedReceiver<Ended>),
    published: (mpsc::Sender<Answer>, mpsc::Receiver<Answer>),
    pass_due: bool,
    retry: Option<Instant>,
    save: Option<Instant>,
    relist: Instant,
}

/// A unit file with what is asked of it again and again.
#[derive(Clone)]
struct Known {
    file: Arc<UnitFile>,
    fleet_hash: String,
    install: bool,
}

impl From<Arc<UnitFile>> for Known {
    fn from(file: Arc<UnitFile>) -> Self {
        let install = file.options().iter().any(|o| o.section == "Install");
        Self { fleet_hash: file.fleet_hash(), install, file }
    }
}

impl Converge {
    /// The loop, not begun.
    pub fn new(parts: Parts) -> Self {
        let Parts { machine, registry, runner, ledger, standing, doubt, placements, health } =
            parts;
        let hands = Hands { runner, ledger: Arc::new(Mutex::new(ledger)), health };
        Self {
            machine,
            registry,
            hands,
            standing,
            doubt,
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
            ends: mpsc::unbounded_channel(),
            published: mpsc::channel(1),
            pass_due: false,
            retry: None,
            save: None,
            relist: Instant::now() + RELIST,
        }
    }

    /// Runs until `shutdown`, then says and saves what is left to be said and saved.
    pub async fn run(mut self, shutdown: CancellationToken) -> Self {
        let mut events = self.hands.runner.events();
        let mut patience = Some(Instant::now() + PATIENCE);
        self.standing_changed().await;
        loop {
            // Every arm is cancel-safe: channels, a watch and timers.
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(event) = events.recv() => self.runner_event(event),
                Some((unit, end)) = self.ends.1.recv() => {
                    // What the runner said before a chain ended is in its queue by now, and is to be reported with it.
                    while let Ok(event) = events.try_recv() {
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
                () = until(self.report.due()), if self.presence.is_some() => self.publish(),
                () = until(self.retry) => {
                    self.retry = None;
                    self.pass_due = true;
                }
                () = until(self.save) => self.save().await,
                () = until(patience) => {
                    patience = self.fall_back().then(|| Instant::now() + PATIENCE);
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
        }
        self.close().await;
        self
    }

    /// Stops every unit this daemon owns and forgets the placements: the machine itself goes.
    pub async fn give_up(&mut self, patience: Duration) {
        let units: Vec<UnitName> = self.hands.ledger().entries().keys().cloned().collect();
        let runner = &self.hands.runner;
        let stops = units.iter().map(|unit| async move {
            if let Err(error) = runner.stop(unit).await {
                tracing::warn!(%unit, %error, "cannot stop the unit");
            }
        });
        let all = futures::future::join_all(stops);
        if tokio::time::timeout(patience, all).await.is_err() {
            tracing::warn!("some units did not stop in time; systemd stops them");
        }
        if let Err(error) = placements::forget(&self.placements) {
            tracing::warn!(%error, "cannot forget the last known placements");
        }
    }

    // ---- what wakes the loop ----

    async fn standing_changed(&mut self) {
        let standing = self.standing.borrow_and_update().clone();
        match standing {
            Standing::Registered(presence) => {
                let known = self.presence.as_ref();
                if known.is_some_and(|p| {
                    p.lease.id == presence.lease.id && p.created == presence.created
                }) {
                    return;
                }
                // What was known before the lease may have been decided otherwise meanwhile: read it again, and do
                // nothing until then.
                self.basis = Basis::Unknown;
                self.updates = Some(self.registry.watch_places(&self.machine));
                let told = self.registry.states_of(&self.machine).await.unwrap_or_default();
                let units: Vec<UnitName> = self.units().into_iter().collect();
                // A state that another lease holds dies with that lease, so all are told again.
                let withdrawn =
                    told.into_iter().filter(|(unit, _)| !units.contains(unit)).collect();
                self.report.begin(withdrawn, units.iter().cloned());
                self.presence = Some(presence);
            }
            Standing::Waiting | Standing::Refused => {
                self.presence = None;
                self.updates = None;
                self.basis = Basis::Unknown;
                self.not_from_store("this machine is not registered");
            }
            // The store has been away since we began, or since the lease went: whichever, we know no more than before.
            Standing::Unreachable => {
                self.presence = None;
                self.updates = None;
                if self.basis == Basis::Store {
                    self.basis = Basis::Unknown;
                }
                self.not_from_store("the store does not answer");
            }
        }
    }

    fn not_from_store(&self, why: &str) {
        self.hands.health.ill(|s| &mut s.placements, why.to_owned());
    }

    /// Uses the last known placements if the store has not answered. Returns whether that is still to be seen.
    fn fall_back(&mut self) -> bool {
        match (self.basis, &*self.standing.borrow()) {
            (Basis::Unknown, Standing::Unreachable | Standing::Waiting)
                if self.presence.is_none() => {}
            (Basis::Unknown, Standing::Registered(_)) => return true,
            _ => return false,
        }
        let Some(known) = placements::load(&self.placements) else { return false };
        tracing::warn!(
            units = known.places.len(),
            "the store does not answer; carrying out the last known placements"
        );
        for (hash, text) in known.files {
            if let Ok(file) = text.parse::<UnitFile>() {
                self.files.insert(hash, Ok(Known::from(Arc::new(file))));
            }
        }
        self.desired = known.places;
        self.basis = Basis::Disk;
        self.pass_due = true;
        false
    }

    fn store_event(&mut self, event: Option<Event>) {
        match event {
            None => self.updates = None,
            Some(Event::Reset(snapshot)) => self.reset(*snapshot),
            Some(Event::Changes { changes, .. }) => {
                for change in changes {
                    self.changed(change);
                }
            }
            // What is known stays known: the watch goes on by itself.
            Some(Event::Lost { problem }) => self.hands.health.ill(|s| &mut s.placements, problem),
        }
    }

    fn reset(&mut self, snapshot: Snapshot) {
        let poisoned = snapshot.unreadable.keys().filter_map(|key| unit_of(key)).collect();
        let mut desired = BTreeMap::new();
        for (unit, mut places) in snapshot.places {
            if let Some(place) = places.remove(&self.machine) {
                desired.insert(unit, place);
            }
        }
        let before = self.units();
        self.desired = desired;
        self.poisoned = poisoned;
        self.basis = Basis::Store;
        self.hands.health.well(|s| &mut s.placements);
        self.report.stale.extend(before);
        self.report.stale.extend(self.desired.keys().cloned());
        self.placements_changed();
        self.supersede();
    }

    fn changed(&mut self, change: Change) {
        match change {
            Change::Place(machine, unit, place) if machine == self.machine => {
                self.report.stale.insert(unit.clone());
                self.poisoned.remove(&unit);
                match place {
                    Some(place) => self.desired.insert(unit, place),
                    None => self.desired.remove(&unit),
                };
            }
            Change::Unreadable(key, record) => {
                let Some(unit) = unit_of(&key) else { return };
                if record.is_some() {
                    tracing::warn!(%unit, "its placement cannot be read; the unit is left as it is");
                    self.poisoned.insert(unit);
                } else {
                    self.poisoned.remove(&unit);
                }
            }
            _ => return,
        }
        self.hands.health.well(|s| &mut s.placements);
        self.placements_changed();
        self.supersede();
    }

    fn placements_changed(&mut self) {
        self.pass_due = true;
        if self.basis == Basis::Store {
            self.save = Some(Instant::now() + SAVE);
        }
    }

    /// Ends the wait for starts that nobody wants any more. A start that is only asked for once more goes on, and so
    /// does a stop: its outcome is what the next decision rests on.
    fn supersede(&mut self) {
        for (unit, busy) in &self.busy {
            if self.poisoned.contains(unit) {
                continue;
            }
            let wanted = self.desired.get(unit);
            let kept = match (&busy.wanted, wanted) {
                (Some((file, _, _)), Some(now)) => {
                    *file == now.file && now.desired == DesiredState::Launched
                }
                (None, None) => true,
                _ => false,
            };
            if !kept {
                busy.superseded.cancel();
            }
        }
    }

    fn runner_event(&mut self, event: RunnerEvent) {
        match event {
            RunnerEvent::Changed { unit, active, sub, invocation, since } => {
                let Some(seen) = self.seen.get_mut(&unit) else { return };
                if !matches!(active.as_str(), "inactive" | "failed") {
                    "loaded".clone_into(&mut seen.observed.load);
                }
                if seen.observed.active != active || since > 0 {
                    seen.since = if since > 0 { since } else { unix_seconds() };
                }
                seen.observed.active = active;
                seen.observed.sub = sub;
                seen.invocation = invocation;
                self.report.stale.insert(unit);
            }
            RunnerEvent::Relist => {
                self.runner_up = true;
                self.hands.health.well(|s| &mut s.runner);
                self.look_again();
            }
            RunnerEvent::Lost { problem } => {
                self.runner_up = false;
                tracing::warn!(problem, "the runner cannot be reached");
                self.hands.health.ill(|s| &mut s.runner, problem);
            }
        }
    }

    /// Forgets that anything is known to have been seen, so that the next pass asks for all of it.
    fn look_again(&mut self) {
        self.pass_due = true;
        self.relist = Instant::now() + RELIST;
        for seen in self.seen.values_mut() {
            seen.observed.load.clear();
        }
    }

    fn ended(&mut self, unit: &UnitName, end: &End) {
        let Some(busy) = self.busy.remove(unit) else { return };
        self.report.stale.insert(unit.clone());
        self.note_owned();
        let wanted = self.desired.get(unit).map(|p| (p.file, p.desired, p.generation));
        match end {
            // Removed or written: what was seen of it is out of date.
            End::Done if wanted.is_none() => {
                self.seen.remove(unit);
                self.pass_due |= busy.wanted.is_some();
            }
            End::Done => self.pass_due |= wanted != busy.wanted,
            End::Superseded => self.pass_due = true,
            End::Dropped => self.retry = Some(Instant::now() + RETRY),
        }
    }

    // ---- the pass ----

    /// Every unit that concerns this machine.
    fn units(&self) -> BTreeSet<UnitName> {
        let ledger = self.hands.ledger();
        self.desired.keys().chain(ledger.entries().keys()).cloned().collect()
    }

    async fn pass(&mut self) {
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
        {
            let ledger = self.hands.ledger();
            for unit in &units {
                if self.busy.contains_key(unit) || self.poisoned.contains(unit) {
                    continue;
                }
                let entry = ledger.get(unit);
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
                    observed.insert(unit.clone(), judged(seen, entry, desired.get(unit)));
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
    async fn observe(&mut self, units: &BTreeSet<UnitName>) -> Result<(), RunnerError> {
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

    async fn fetch_files(&mut self) {
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
        match self.registry.files(&missing).await {
            Ok(found) => {
                for (hash, file) in found {
                    self.files.insert(hash, file.map(Known::from));
                }
            }
            Err(error) => {
                tracing::warn!(error = causes(&error), "cannot read unit files");
                self.retry = Some(Instant::now() + RETRY);
            }
        }
    }

    async fn carry_out(&mut self, steps: Steps) {
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
    async fn prepare(&mut self, chains: Vec<Chain>) -> Vec<Work> {
        let mut rest = Vec::new();
        for Chain { unit, steps } in chains {
            let steps = steps.into_iter().filter(|s| !matches!(s, Step::Refuse { .. })).collect();
            let file = self.desired.get(&unit).and_then(|place| self.file(place.file));
            let mut work = Work {
                unit,
                steps,
                file: file.map(|known| Arc::clone(&known.file)),
                problem: None,
            };
            if work.steps.is_empty() {
                continue;
            }
            self.report.stale.insert(work.unit.clone());
            let prepared = self.hands.prepare(&mut work).await;
            if prepared.is_err() {
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
    fn written(&mut self, unit: &UnitName) {
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
    async fn enable(&self, works: impl Iterator<Item = &mut Work>) {
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

    fn begin(
        &mut self,
        work: &Work,
    ) -> (Hands, CancellationToken, mpsc::UnboundedSender<(UnitName, End)>) {
        let superseded = CancellationToken::new();
        let wanted = self.desired.get(&work.unit).map(|p| (p.file, p.desired, p.generation));
        self.busy.insert(work.unit.clone(), Busy { wanted, superseded: superseded.clone() });
        (self.hands.clone(), superseded, self.ends.0.clone())
    }

    fn file(&self, hash: FileHash) -> Option<&Known> {
        self.files.get(&hash).and_then(|known| known.as_ref().ok())
    }

    fn note_owned(&self) {
        let units = self.hands.ledger().entries().len();
        if self.hands.health.status().units != units {
            self.hands.health.update(|s| s.units = units);
        }
    }

    // ---- what is reported ----

    /// What is to be said of a unit; `None`: nothing, it is not here.
    fn state(&self, unit: &UnitName) -> Option<ObservedState> {
        let ledger = self.hands.ledger();
        let entry = ledger.get(unit);
        let refused = self.refused.get(unit);
        if entry.is_none() && refused.is_none() {
            return None;
        }
        let nothing = Seen::default();
        let seen = self.seen.get(unit).unwrap_or(&nothing);
        let (generation, desired, problem) = match (refused, entry) {
            (Some((generation, desired, problem)), _) => {
                (*generation, *desired, Some(problem.clone()))
            }
            (None, Some(entry)) => {
                (entry.owned.generation, entry.owned.desired, entry.problem.clone())
            }
            (None, None) => return None,
        };
        let file = entry
            .map(|entry| entry.owned.file)
            .filter(|file| !seen.observed.foreign && seen.observed.file == Some(*file));
        let word = |word: &str, otherwise: &str| {
            if word.is_empty() { otherwise.to_owned() } else { word.to_owned() }
        };
        Some(ObservedState {
            load: word(&seen.observed.load, "loaded"),
            active: word(&seen.observed.active, "inactive"),
            sub: word(&seen.observed.sub, "dead"),
            hash: file
                .and_then(|file| self.file(file))
                .map(|known| known.fleet_hash.clone())
                .unwrap_or_default(),
            file,
            generation,
            desired,
            since: seen.since,
            invocation: seen.invocation.clone(),
            problem,
        })
    }

    fn publish(&mut self) {
        let Some(presence) = self.presence.clone() else { return };
        // Nothing is said before it is known what runs.
        if self.basis == Basis::Unknown || !self.runner_up {
            self.report.wait();
            return;
        }
        let mut report = std::mem::take(&mut self.report);
        let states = report.take(|unit| self.state(unit));
        self.report = report;
        if states.is_empty() {
            return;
        }
        self.hands.health.count(|c| c.published += states.len() as u64);
        let (registry, sender) = (self.registry.clone(), self.published.0.clone());
        tokio::spawn(async move {
            let outcome = registry.publish(&presence, states).await;
            let _ = sender.send(outcome).await;
        });
    }

    fn published(&mut self, outcome: Result<(), RegistryError>) {
        self.report.answered(outcome.is_ok());
        match outcome {
            Ok(()) => {}
            Err(
                RegistryError::NotRegistered { .. }
                | RegistryError::Store(StoreError::LeaseGone { .. }),
            ) => self.doubt.notify_one(),
            Err(error) => tracing::warn!(error = causes(&error), "cannot publish states"),
        }
    }

    async fn save(&mut self) {
        self.save = None;
        let texts = self.files.iter().filter_map(|(hash, known)| {
            known.as_ref().ok().map(|known| (*hash, known.file.text().to_owned()))
        });
        let known = LastKnown { places: self.desired.clone(), files: texts.collect() };
        let path = self.placements.clone();
        let saved = tokio::task::spawn_blocking(move || placements::save(&path, &known)).await;
        if let Ok(Err(error)) = saved {
            tracing::error!(path = %self.placements.display(), %error, "cannot save the placements");
        }
    }

    /// Says and saves what is left.
    async fn close(&mut self) {
        if self.save.is_some() {
            self.save().await;
        }
        if self.presence.is_some() && self.report.due().is_some() {
            self.publish();
            let answer = self.published.1.recv();
            let _ = tokio::time::timeout(RETRY, answer).await;
        }
    }
}

/// What a decision may believe of a unit. A file at our place that we do not remember and that is not the one wanted
/// was put there by somebody else.
fn judged(seen: &Seen, entry: Option<&Entry>, desired: Option<&Desired>) -> Observed {
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

/// The unit of a key `place/<machine>/<unit>`.
fn unit_of(key: &str) -> Option<UnitName> {
    key.strip_prefix("place/")?.split_once('/')?.1.parse().ok()
}

async fn next(updates: &mut Option<Updates>) -> Option<Event> {
    match updates {
        Some(updates) => updates.events.recv().await,
        None => std::future::pending().await,
    }
}

fn ready(updates: &mut Option<Updates>) -> Option<Event> {
    updates.as_mut()?.events.try_recv().ok()
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
