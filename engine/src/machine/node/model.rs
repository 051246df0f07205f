//! The node itself: what it knows, the order in which a step goes, and its deadlines.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use muster_common::lease::{LeaseId, Presence};
use muster_common::machine::MachineId;
use muster_common::probe::is_planted;
use muster_common::snapshot::Placement;
use muster_common::state::DesiredState;
use muster_common::unit::{FileHash, UnitName};

use super::io::{NodeEffect, NodeFact, NodeInput};
use crate::machine::memory::{CachedFile, NodeMemory};
use crate::machine::observation::UnitObservation;
use crate::machine::registration::Registration;
use crate::machine::report::StateReport;

/// Time that the store has to answer after the daemon has begun before the last known placements are used.
pub(super) const STORE_GRACE: Duration = Duration::from_secs(3);
/// Pause between two questions to the runner about everything, as a net under its events.
pub(super) const RELIST_INTERVAL: Duration = Duration::from_secs(10);
/// Pause before a pass that could not be completed is made again.
pub(super) const PASS_RETRY: Duration = Duration::from_millis(500);
/// Time that placements must have rested before they are saved.
pub(super) const SAVE_DELAY: Duration = Duration::from_millis(300);

/// The reason why placements may be carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// They may not: it is not known what the cluster wants.
    Unknown,
    /// They are the last known ones, and the store has been away since the daemon began.
    LastKnown,
    /// They were read from the store under our lease.
    Store,
}

/// The time that the daemon has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outlook {
    /// As far as is known for ever.
    Stays,
    /// The machine is about to go down: no pass begins, unless it does not go after all.
    Leaves,
    /// The daemon ends: no pass begins any more.
    Closes,
}

/// A chain on its way.
#[derive(Debug)]
pub(super) struct RunningChain {
    /// The wish it began with.
    pub(super) wanted: Option<Wanted>,
    /// Its waits have been ended.
    pub(super) superseded: bool,
}

/// The wish for a unit here: file, state and generation.
pub(super) type Wanted = (FileHash, DesiredState, u64);

/// A unit that is not carried out, with the generation and the state that are given up on, and why.
pub(super) type RefusedUnit = (u64, DesiredState, String);

/// The answer that a pass waits for.
#[derive(Debug, Default)]
pub(super) enum PassStage {
    /// None: there is no pass under way.
    #[default]
    Idle,
    /// The runner's, on the units.
    Observing,
    /// The files.
    ReadingFiles,
    /// That jobs are remembered as carried out; these are given up on.
    SettlingJobs(BTreeMap<UnitName, String>),
    /// The runner's, on what is in the way of units; these jobs are given up on.
    FindingObstacles(BTreeMap<UnitName, String>),
}

/// The pass that is under way, and whether another one follows.
#[derive(Debug, Default)]
pub(super) struct PassProgress {
    /// One is to begin.
    pub(super) due: bool,
    pub(super) stage: PassStage,
}

/// The listing of placements, which says whose it is, as the present registration rests on it.
#[derive(Debug, Default)]
pub(super) struct ListingTrust {
    /// A listing was believed under this registration.
    pub(super) believed: bool,
    /// The time at which the placements are watched anew, after some that could not be believed.
    pub(super) retry_at: Option<Duration>,
    /// The cluster is remembered on disk, as far as this registration goes.
    pub(super) remembered: bool,
}

/// The saving of placements.
#[derive(Debug, Default)]
pub(super) struct Save {
    /// The time from which they have rested for long enough.
    pub(super) at: Option<Duration>,
    /// An answer is awaited.
    pub(super) under_way: bool,
}

/// A machine's daemon, without its hands. See the module.
#[derive(Debug)]
pub struct Node {
    pub(super) machine: MachineId,
    pub(super) registration: Registration,
    /// The presence whose published states are being read.
    pub(super) joining: Option<Presence>,
    /// The time at which they are asked for again.
    pub(super) rejoin_at: Option<Duration>,
    /// Until when a publication that was not answered may still be carried out.
    pub(super) late_until: Option<Duration>,
    pub(super) presence: Option<Presence>,
    pub(super) basis: Basis,
    pub(super) desired: BTreeMap<UnitName, Placement>,
    /// Units whose placements cannot be read. They are left as they are.
    pub(super) unreadable: BTreeSet<UnitName>,
    pub(super) files: BTreeMap<FileHash, Result<CachedFile, String>>,

    pub(super) runner_up: bool,
    pub(super) seen: BTreeMap<UnitName, UnitObservation>,
    pub(super) running: BTreeMap<UnitName, RunningChain>,
    pub(super) refused: BTreeMap<UnitName, RefusedUnit>,
    pub(super) report: StateReport,
    pub(super) reported: bool,
    /// The lease under which the machine may say that it goes.
    pub(super) parting: Option<LeaseId>,
    pub(super) owned_count: usize,
    pub(super) outlook: Outlook,
    /// Units of which nothing is said any more, so that others may have them.
    pub(super) released: BTreeSet<UnitName>,

    pub(super) listing: ListingTrust,
    /// So many last known placements were said not to be carried out.
    pub(super) withheld: usize,

    /// The time of the step under way.
    pub(super) now: Duration,
    pub(super) pass: PassProgress,
    /// Until when the store is given time to answer for the first time.
    pub(super) store_grace: Option<Duration>,
    pub(super) retry_at: Option<Duration>,
    pub(super) save: Save,
    /// The time at which a unit that failed in its first moments may have been up for long enough.
    pub(super) steady_at: Option<Duration>,
    pub(super) relist_at: Duration,

    pub(super) effects: Vec<NodeEffect>,
}

impl Node {
    /// A node that knows nothing yet, begun at `now`.
    pub fn new(machine: MachineId, now: Duration) -> Self {
        Self {
            machine,
            registration: Registration::Pending,
            joining: None,
            rejoin_at: None,
            late_until: None,
            presence: None,
            basis: Basis::Unknown,
            desired: BTreeMap::new(),
            unreadable: BTreeSet::new(),
            files: BTreeMap::new(),
            runner_up: false,
            seen: BTreeMap::new(),
            running: BTreeMap::new(),
            refused: BTreeMap::new(),
            report: StateReport::default(),
            reported: false,
            parting: None,
            owned_count: 0,
            outlook: Outlook::Stays,
            released: BTreeSet::new(),
            listing: ListingTrust::default(),
            withheld: 0,
            now,
            pass: PassProgress::default(),
            store_grace: Some(now + STORE_GRACE),
            retry_at: None,
            save: Save::default(),
            steady_at: None,
            relist_at: now + RELIST_INTERVAL,
            effects: Vec::new(),
        }
    }

    /// Takes everything in that has been learned since the last step, in its order, and gives what is to be done about it.
    ///
    /// `now` is monotonic time, `wall` seconds since the Unix epoch. `memory` is what is remembered at this moment.
    pub fn step(
        &mut self,
        now: Duration,
        wall: u64,
        memory: &mut NodeMemory<'_>,
        inputs: impl IntoIterator<Item = NodeInput>,
    ) -> Vec<NodeEffect> {
        self.now = now;
        for input in inputs {
            self.on_input(now, wall, memory, input);
        }
        let stays = self.outlook == Outlook::Stays;
        if self.pass.due && self.is_idle() && self.runner_up && stays {
            self.begin_pass(memory);
        }
        self.note_reported();
        self.note_parting(memory);
        self.check_invariants();
        std::mem::take(&mut self.effects)
    }

    fn on_input(
        &mut self,
        now: Duration,
        wall: u64,
        memory: &mut NodeMemory<'_>,
        input: NodeInput,
    ) {
        match input {
            NodeInput::Registration(registration) => self.on_registration(registration),
            NodeInput::StatesRead(states) => self.on_states_read(now, memory, states),
            NodeInput::Placements(event) => self.on_placements(now, memory, event),
            NodeInput::LastKnownRead(found) => self.on_last_known(now, found),
            NodeInput::Runner(event) => self.on_runner_event(now, wall, memory, event),
            NodeInput::Observed(seen) => self.on_observed(now, wall, memory, seen),
            NodeInput::FilesRead(files) => self.on_files_read(now, memory, files),
            NodeInput::JobsSettled(problems) => self.on_jobs_settled(memory, problems),
            NodeInput::ObstaclesFound(obstacles) => self.on_obstacles_found(memory, &obstacles),
            NodeInput::ChainPrepared { unit, prepared } => {
                self.on_chain_prepared(now, memory, &unit, prepared);
            }
            NodeInput::ChainEnded { unit, end } => self.on_chain_ended(now, memory, &unit, end),
            NodeInput::Published { number, answer } => self.on_published(now, number, answer),
            NodeInput::PlacementsSaved(saved) => self.on_placements_saved(now, saved),
            NodeInput::Leaving(leaves) => self.on_leaving(leaves),
            NodeInput::Released(unit) => {
                if !is_planted("stopped-unit-not-released") {
                    self.report.mark_stale(unit.clone());
                    self.released.insert(unit);
                }
            }
            NodeInput::Tick => self.on_tick(now, memory),
            NodeInput::Close => self.on_close(now, memory),
        }
    }

    /// The time at which the next [`NodeInput::Tick`] is due.
    pub fn next_deadline(&self) -> Option<Duration> {
        let deadlines = [
            self.publish_at(),
            self.retry_at,
            self.steady_at,
            self.save.at.filter(|_| !self.save.under_way),
            self.store_grace,
            self.listing.retry_at,
            self.rejoin_at,
            Some(self.relist_at),
        ];
        if self.outlook == Outlook::Closes {
            return self.publish_at();
        }
        deadlines.into_iter().flatten().min()
    }

    fn on_tick(&mut self, now: Duration, memory: &mut NodeMemory<'_>) {
        let is_due = |at: Option<Duration>| at.is_some_and(|at| at <= now);
        if is_due(self.publish_at()) {
            self.publish_changes(now, memory);
        }
        if self.outlook == Outlook::Closes {
            return;
        }
        if is_due(self.retry_at) {
            self.retry_at = None;
            self.pass.due = true;
        }
        if is_due(self.steady_at) {
            for unit in memory.steadiness.take_recovered(now) {
                self.report.mark_stale(unit);
            }
            self.steady_at = memory.steadiness.next_deadline();
        }
        if is_due(self.save.at) && !self.save.under_way {
            self.save_placements();
        }
        if is_due(self.store_grace) {
            self.on_store_silent(now);
        }
        if is_due(self.rejoin_at) {
            self.rejoin_at = None;
            self.effects.push(NodeEffect::ReadStates);
        }
        if is_due(self.listing.retry_at) {
            self.watch_again();
        }
        if is_due(Some(self.relist_at)) {
            self.observe_again(now);
        }
    }

    fn on_leaving(&mut self, leaves: bool) {
        match (self.outlook, leaves) {
            (Outlook::Stays, true) => self.outlook = Outlook::Leaves,
            (Outlook::Leaves, false) => {
                self.outlook = Outlook::Stays;
                self.pass.due = true;
            }
            (Outlook::Stays | Outlook::Leaves | Outlook::Closes, _) => {}
        }
    }

    /// Placements may be carried out for this reason.
    pub fn current_basis(&self) -> Basis {
        self.basis
    }

    pub(super) fn is_idle(&self) -> bool {
        matches!(self.pass.stage, PassStage::Idle)
    }

    /// Every unit that concerns this machine.
    pub(super) fn known_units(&self, memory: &NodeMemory<'_>) -> BTreeSet<UnitName> {
        self.desired.keys().chain(memory.owned.keys()).cloned().collect()
    }

    pub(super) fn cached_file(&self, hash: FileHash) -> Option<&CachedFile> {
        self.files.get(&hash).and_then(|known| known.as_ref().ok())
    }

    pub(super) fn wish_for(&self, unit: &UnitName) -> Option<Wanted> {
        self.desired.get(unit).map(|place| (place.file, place.desired, place.generation))
    }

    pub(super) fn report_fact(&mut self, fact: NodeFact) {
        self.effects.push(NodeEffect::Report(fact));
    }

    pub(super) fn note_owned(&mut self, memory: &NodeMemory<'_>) {
        let count = memory.owned.len();
        if self.owned_count != count {
            self.owned_count = count;
            self.report_fact(NodeFact::OwnedUnits(count));
        }
    }

    /// Says whether everything that was placed here has been reported under this lease. What comes after that is reported as it
    /// comes: what the store has is of this lease then, if perhaps of a moment ago.
    fn note_reported(&mut self) {
        let known = self.basis == Basis::Store && self.presence.is_some();
        if known && !self.pass.due && self.is_idle() {
            self.report.note_complete(self.desired.keys());
        }
        let reported = known && self.report.is_complete();
        if self.reported != reported {
            self.reported = reported;
            self.report_fact(NodeFact::Reported(reported));
        }
    }

    /// Says whether a machine that goes down may be taken at its word. What it does not report counts as ended from then on, and is
    /// started elsewhere; so all that is here has to be reported first, and once nothing begins any more.
    fn note_parting(&mut self, memory: &NodeMemory<'_>) {
        let under = self.presence.as_ref().map(|presence| presence.lease.id);
        let known = self.basis == Basis::Store && self.outlook != Outlook::Stays;
        let parting = under.filter(|lease| {
            let here = || memory.owned.keys().filter(|unit| !self.released.contains(*unit));
            let is_reported = || self.is_idle() && self.report.is_caught_up(here());
            known && (self.parting == Some(*lease) || is_reported())
        });
        if self.parting != parting {
            self.parting = parting;
            self.report_fact(NodeFact::Parting(parting));
        }
    }

    /// Holds after every step.
    fn check_invariants(&self) {
        // The store speaks under a lease only, and nothing of it is believed any longer than that.
        debug_assert!(self.basis != Basis::Store || self.presence.is_some());
        // Once the store has spoken, the disk never does again: what lies on it is no newer.
        debug_assert!(self.basis != Basis::Store || self.store_grace.is_none());
        // A session is either being read in, or begun.
        debug_assert!(self.joining.is_none() || self.presence.is_none());
        // What could not be believed is read anew for as long as the session lasts.
        debug_assert!(self.listing.retry_at.is_none() || self.presence.is_some());
        // One chain a unit: what is on its way is not refused at the same time.
        debug_assert!(self.refused.keys().all(|unit| !self.running.contains_key(unit)));
    }
}
