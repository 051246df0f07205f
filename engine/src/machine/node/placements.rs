//! What the cluster wants of this machine, and why that may be believed.
//!
//! Owns what registration and the watch on placements change about the basis of decisions. It begins no chain.

use std::collections::BTreeMap;
use std::time::Duration;

use muster_common::probe::{is_planted, reached};
use muster_common::snapshot::{Change, ClusterEvent, Snapshot};
use muster_common::state::{DesiredState, ObservedState};
use muster_common::unit::UnitName;

use super::io::{NodeEffect, NodeFact};
use super::model::{Basis, Node, PASS_RETRY, SAVE_DELAY};
use crate::machine::job::runs_to_forget;
use crate::machine::memory::NodeMemory;
use crate::machine::registration::Registration;

/// The key of the cluster's identity, below the prefix.
const IDENTITY: &str = "cluster";

impl Node {
    pub(super) fn on_registration(&mut self, registration: Registration) {
        self.registration = registration.clone();
        match registration {
            Registration::Registered(presence) => {
                let current = self.presence.as_ref().or(self.joining.as_ref());
                if current.is_some_and(|p| {
                    p.lease.id == presence.lease.id && p.created == presence.created
                }) {
                    return;
                }
                if self.presence.is_some() && is_planted("session-outlives-lease") {
                    self.presence = Some(presence);
                    return;
                }
                // What was known before the lease may have been decided otherwise meanwhile: read it again, and do
                // nothing until then.
                self.end_session();
                self.basis = Basis::Unknown;
                self.joining = Some(presence);
                self.effects.push(NodeEffect::ReadStates);
            }
            Registration::Pending | Registration::Refused => {
                self.end_session();
                self.basis = Basis::Unknown;
                let problem = "this machine is not registered".to_owned();
                self.report_fact(NodeFact::PlacementsUnknown(problem));
            }
            // The store has been away since we began, or since the lease went: whichever, we know no more than before.
            Registration::Unreachable => {
                self.end_session();
                if self.basis == Basis::Store {
                    self.basis = Basis::Unknown;
                    self.withheld = 0;
                }
                // Each attempt to register ends here. What waits for a person stays the thing to say.
                let fact = match self.withheld {
                    0 => NodeFact::PlacementsUnknown("the store does not answer".to_owned()),
                    count => NodeFact::LastKnownWithheld(count),
                };
                self.report_fact(fact);
            }
        }
    }

    fn end_session(&mut self) {
        self.presence = None;
        self.joining = None;
        self.rejoin_at = None;
        self.listing.remembered = false;
        self.listing.believed = false;
        self.listing.retry_at = None;
        self.effects.push(NodeEffect::StopWatching);
    }

    /// The states that the store has of our units are known: the session begins.
    pub(super) fn on_states_read(
        &mut self,
        now: Duration,
        memory: &NodeMemory<'_>,
        states: Option<BTreeMap<UnitName, ObservedState>>,
    ) {
        let Some(presence) = self.joining.take() else {
            return self.on_states_read_again(now, memory, states);
        };
        let states =
            states.or_else(|| is_planted("unread-states-taken-for-none").then(BTreeMap::new));
        let Some(states) = states else {
            // What an earlier daemon has said and nobody takes back would be shown for as long as the lease lives.
            self.joining = Some(presence);
            self.rejoin_at = Some(now + PASS_RETRY);
            return;
        };
        let units = self.known_units(memory);
        // A state that another lease holds dies with that lease, so all are reported again; and what is here now may be gone
        // before it is.
        let (known, withdrawn): (BTreeMap<_, _>, BTreeMap<_, _>) =
            states.into_iter().partition(|(unit, _)| units.contains(unit));
        self.report.begin_session(withdrawn, units.into_iter());
        for unit in known.keys().filter(|_| !is_planted("states-of-before-forgotten")) {
            self.report.mark_doubted(unit);
        }
        self.presence = Some(presence);
        self.plan_late_look(now);
        self.effects.push(NodeEffect::WatchPlacements);
    }

    /// The states that the store has of us are known once more, in the middle of a session.
    fn on_states_read_again(
        &mut self,
        now: Duration,
        memory: &NodeMemory<'_>,
        states: Option<BTreeMap<UnitName, ObservedState>>,
    ) {
        let Some(states) = states else {
            self.rejoin_at = Some(now + PASS_RETRY);
            return;
        };
        let units = self.known_units(memory);
        for unit in states.keys().filter(|unit| !units.contains(*unit)) {
            reached("state-is-back");
            self.report.mark_doubted(unit);
        }
        self.plan_late_look(now);
    }

    pub(super) fn on_placements(
        &mut self,
        now: Duration,
        memory: &NodeMemory<'_>,
        event: ClusterEvent,
    ) {
        // What was sent before the lease went is no longer believed.
        if self.presence.is_none() {
            return;
        }
        // A watch that is given up may have sent more by then. It is heard no further, whatever it sent, and another one begins with
        // everything.
        if self.listing.retry_at.is_some() {
            if !is_planted("given-up-watch-believed") {
                reached("given-up-watch");
                return;
            }
            self.listing.retry_at = None;
        }
        // A store that lost its data, or that is another one by now, places nothing here: whoever believed that would stop
        // everything. So everything that is sent as a whole says whose it is.
        match event {
            ClusterEvent::Reset(snapshot) if !is_planted("empty-listing-believed") => {
                self.on_listing(now, memory, snapshot);
            }
            event => self.believe_placements(now, memory, event),
        }
    }

    /// Believes a listing if the store that gave it holds the cluster that this machine is registered in. To ask afterwards whose
    /// store it is would be too late: another one may answer by then.
    fn on_listing(&mut self, now: Duration, memory: &NodeMemory<'_>, snapshot: Box<Snapshot>) {
        if snapshot.unreadable.contains_key(IDENTITY) {
            let problem = "the record of the cluster's identity cannot be read".to_owned();
            self.report_fact(NodeFact::PlacementsUnknown(problem));
            self.watch_again_at(now + PASS_RETRY);
        } else if snapshot.cluster == memory.cluster {
            self.effects.push(NodeEffect::TrustStore(true));
            self.believe_placements(now, memory, ClusterEvent::Reset(snapshot));
        } else {
            reached("foreign-placements");
            // Whoever keeps the lease finds out what has become of it, and of the store.
            self.basis = Basis::Unknown;
            self.effects.push(NodeEffect::TrustStore(false));
            self.report_fact(NodeFact::ForeignPlacements);
            self.effects.push(NodeEffect::SuspectLease);
            self.watch_again_at(now + PASS_RETRY);
        }
    }

    /// What was sent is dropped for good: a later answer is of a later store.
    fn watch_again_at(&mut self, at: Duration) {
        self.listing.retry_at = Some(at);
        self.effects.push(NodeEffect::StopWatching);
    }

    pub(super) fn watch_again(&mut self) {
        self.listing.retry_at = None;
        self.effects.push(NodeEffect::WatchPlacements);
    }

    fn believe_placements(&mut self, now: Duration, memory: &NodeMemory<'_>, event: ClusterEvent) {
        match event {
            ClusterEvent::Reset(snapshot) => self.on_reset(now, memory, *snapshot),
            ClusterEvent::Changes { changes, .. } => {
                for change in changes {
                    self.on_change(now, change);
                }
                self.forget_job_runs(memory);
            }
            // What is known stays known: the watch goes on by itself.
            ClusterEvent::Lost { problem } => {
                if is_planted("lost-watch-empties-placements") {
                    self.desired.clear();
                    self.on_placements_changed(now);
                }
                self.report_fact(NodeFact::PlacementsUnknown(problem));
            }
        }
    }

    fn on_reset(&mut self, now: Duration, memory: &NodeMemory<'_>, snapshot: Snapshot) {
        let unreadable = snapshot.unreadable.keys().filter_map(|key| unit_of_key(key)).collect();
        let mut desired = BTreeMap::new();
        for (unit, mut places) in snapshot.places {
            if let Some(place) = places.remove(&self.machine) {
                desired.insert(unit, place);
            }
        }
        let before = self.known_units(memory);
        if is_planted("reset-keeps-removed") {
            self.desired.extend(desired);
        } else {
            self.desired = desired;
        }
        self.unreadable = unreadable;
        self.basis = Basis::Store;
        // Whatever happens to the store from now on, what lies on disk is no newer than what it has said.
        if !is_planted("disk-after-the-store") {
            self.store_grace = None;
        }
        self.report_fact(NodeFact::PlacementsKnown);
        for unit in before {
            self.report.mark_stale(unit);
        }
        for unit in self.desired.keys() {
            self.report.mark_doubted(unit);
        }
        // A backup may have been put back since the listing before, with states in it that were taken back meanwhile.
        if self.listing.believed && !is_planted("restored-states-kept") {
            self.effects.push(NodeEffect::ReadStates);
        }
        self.listing.believed = true;
        self.forget_job_runs(memory);
        self.on_placements_changed(now);
    }

    /// The store has said what is placed here: of the jobs that are not, only so many are remembered.
    fn forget_job_runs(&mut self, memory: &NodeMemory<'_>) {
        let surplus = runs_to_forget(memory.jobs, |unit| self.desired.contains_key(unit));
        if !surplus.is_empty() {
            self.effects.push(NodeEffect::ForgetJobRuns(surplus));
        }
    }

    fn on_change(&mut self, now: Duration, change: Change) {
        match change {
            Change::Place(machine, unit, place) if machine == self.machine => {
                self.report.mark_stale(unit.clone());
                self.unreadable.remove(&unit);
                match place {
                    Some(place) => self.desired.insert(unit, place),
                    None => self.desired.remove(&unit),
                };
            }
            Change::Unreadable(key, record) => {
                let Some(unit) = unit_of_key(&key) else { return };
                if record.is_some() {
                    self.report_fact(NodeFact::PlacementUnreadable(unit.clone()));
                    self.unreadable.insert(unit);
                } else {
                    self.unreadable.remove(&unit);
                }
            }
            _ => return,
        }
        self.report_fact(NodeFact::PlacementsKnown);
        self.on_placements_changed(now);
    }

    fn on_placements_changed(&mut self, now: Duration) {
        self.pass.due = true;
        // Before the first of them is carried out. A machine that has carried out nothing may still go anywhere.
        if !self.listing.remembered
            && !self.desired.is_empty()
            && !is_planted("cluster-not-remembered")
        {
            self.listing.remembered = true;
            self.effects.push(NodeEffect::RememberCluster);
        }
        if self.basis == Basis::Store && !is_planted("placements-never-saved") {
            self.save.at = Some(now + SAVE_DELAY);
        }
        self.supersede_chains();
    }

    /// Ends the wait for starts that nobody wants any more, and for the end of what is wanted again. A start that is only
    /// asked for once more goes on, and so does a stop: its outcome is what the next decision rests on.
    fn supersede_chains(&mut self) {
        for (unit, chain) in &mut self.running {
            if self.unreadable.contains(unit) || chain.superseded {
                continue;
            }
            let kept = match (&chain.wanted, self.desired.get(unit)) {
                (Some((file, was, _)), Some(now)) => {
                    *file == now.file
                        && *was == DesiredState::Launched
                        && now.desired == DesiredState::Launched
                }
                (None, None) => true,
                _ => false,
            };
            if !kept {
                chain.superseded = true;
                self.effects.push(NodeEffect::Supersede(unit.clone()));
            }
        }
    }
}

/// The unit of a key `place/<machine>/<unit>`.
fn unit_of_key(key: &str) -> Option<UnitName> {
    key.strip_prefix("place/")?.split_once('/')?.1.parse().ok()
}
