//! What the cluster wants of this machine, and why that may be believed.
//!
//! Owns what registration, the watch on placements and the disk change about the basis of decisions. It begins no chain.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use muster_common::snapshot::{Change, ClusterEvent, Snapshot};
use muster_common::state::{DesiredState, ObservedState};
use muster_common::unit::{UnitFile, UnitName};

use super::io::{NodeEffect, NodeFact};
use super::model::{Basis, Node, SAVE_DELAY, STORE_GRACE};
use crate::machine::memory::{CachedFile, LastKnown, NodeMemory};
use crate::machine::registration::Registration;

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
                }
                let problem = "the store does not answer".to_owned();
                self.report_fact(NodeFact::PlacementsUnknown(problem));
            }
        }
    }

    fn end_session(&mut self) {
        self.presence = None;
        self.joining = None;
        self.effects.push(NodeEffect::StopWatching);
    }

    /// The states that the store has of our units are known: the session begins.
    pub(super) fn on_states_read(
        &mut self,
        memory: &NodeMemory<'_>,
        states: BTreeMap<UnitName, ObservedState>,
    ) {
        let Some(presence) = self.joining.take() else { return };
        let units = self.known_units(memory);
        // A state that another lease holds dies with that lease, so all are reported again.
        let withdrawn = states.into_iter().filter(|(unit, _)| !units.contains(unit)).collect();
        self.report.begin_session(withdrawn, units.into_iter());
        self.presence = Some(presence);
        self.effects.push(NodeEffect::WatchPlacements);
    }

    /// The store has had time to answer. The last known placements are asked for if it has not.
    pub(super) fn on_store_silent(&mut self, now: Duration) {
        self.store_grace = None;
        if self.basis != Basis::Unknown {
            return;
        }
        match self.registration {
            // It has answered, and what it wants of us is on its way.
            Registration::Registered(_) => self.store_grace = Some(now + STORE_GRACE),
            Registration::Unreachable | Registration::Pending if self.presence.is_none() => {
                self.effects.push(NodeEffect::ReadLastKnown);
            }
            Registration::Unreachable | Registration::Pending | Registration::Refused => {}
        }
    }

    pub(super) fn on_last_known(&mut self, known: Option<LastKnown>) {
        let Some(known) = known else { return };
        // Whatever has been heard while the disk was read is newer.
        if self.basis != Basis::Unknown || self.presence.is_some() || self.joining.is_some() {
            return;
        }
        self.report_fact(NodeFact::UsingLastKnown(known.places.len()));
        for (hash, text) in known.files {
            if let Ok(file) = text.parse::<UnitFile>() {
                self.files.insert(hash, Ok(CachedFile::from(Arc::new(file))));
            }
        }
        self.desired = known.places;
        self.basis = Basis::LastKnown;
        self.pass.due = true;
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
        match event {
            ClusterEvent::Reset(snapshot) => self.on_reset(now, memory, *snapshot),
            ClusterEvent::Changes { changes, .. } => {
                for change in changes {
                    self.on_change(now, change);
                }
            }
            // What is known stays known: the watch goes on by itself.
            ClusterEvent::Lost { problem } => {
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
        self.desired = desired;
        self.unreadable = unreadable;
        self.basis = Basis::Store;
        // Whatever happens to the store from now on, what lies on disk is no newer than what it has said.
        self.store_grace = None;
        self.report_fact(NodeFact::PlacementsKnown);
        // It is known now what is placed here: the runs of other jobs mean nothing any more.
        self.effects.push(NodeEffect::RetainJobs(self.desired.keys().cloned().collect()));
        for unit in before {
            self.report.mark_stale(unit);
        }
        for unit in self.desired.keys() {
            self.report.mark_doubted(unit);
        }
        self.on_placements_changed(now);
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
        if self.basis == Basis::Store {
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
