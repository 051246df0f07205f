//! What wakes the converge loop: where the machine stands, what the store says, what the runner says, a chain that has ended.
//!
//! Owns how each piece of news changes what the loop knows and whether a pass is due. It never takes a step.

use std::collections::BTreeMap;
use std::sync::Arc;

use muster_common::snapshot::{Change, ClusterEvent, Snapshot};
use muster_common::state::DesiredState;
use muster_common::unit::{UnitFile, UnitName};
use tokio::time::Instant;

use super::chain::End;
use super::{Basis, Converge, HELD, Known, RELIST, RETRY, SAVE};
use crate::machine::last_known;
use crate::machine::registration::Registration;
use crate::runner::RunnerEvent;
use crate::telemetry::health::unix_seconds;

impl Converge {
    pub(super) async fn standing_changed(&mut self) {
        let standing = self.standing.borrow_and_update().clone();
        match standing {
            Registration::Registered(presence) => {
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
            Registration::Pending | Registration::Refused => {
                self.presence = None;
                self.updates = None;
                self.basis = Basis::Unknown;
                self.not_from_store("this machine is not registered");
            }
            // The store has been away since we began, or since the lease went: whichever, we know no more than before.
            Registration::Unreachable => {
                self.presence = None;
                self.updates = None;
                if self.basis == Basis::Store {
                    self.basis = Basis::Unknown;
                }
                self.not_from_store("the store does not answer");
            }
        }
    }

    pub(super) fn not_from_store(&self, why: &str) {
        self.hands.health.set_failed(|s| &mut s.placements, why.to_owned());
    }

    /// Uses the last known placements if the store has not answered. Returns whether that is still to be seen.
    pub(super) fn fall_back(&mut self) -> bool {
        match (self.basis, &*self.standing.borrow()) {
            (Basis::Unknown, Registration::Unreachable | Registration::Pending)
                if self.presence.is_none() => {}
            (Basis::Unknown, Registration::Registered(_)) => return true,
            _ => return false,
        }
        let Some(known) = last_known::load(&*self.disk, &self.placements) else { return false };
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

    pub(super) fn store_event(&mut self, event: Option<ClusterEvent>) {
        match event {
            None => self.updates = None,
            Some(ClusterEvent::Reset(snapshot)) => self.reset(*snapshot),
            Some(ClusterEvent::Changes { changes, .. }) => {
                for change in changes {
                    self.changed(change);
                }
            }
            // What is known stays known: the watch goes on by itself.
            Some(ClusterEvent::Lost { problem }) => {
                self.hands.health.set_failed(|s| &mut s.placements, problem);
            }
        }
    }

    pub(super) fn reset(&mut self, snapshot: Snapshot) {
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
        // Whatever happens to the store from now on, what lies on disk is no newer than what it has said.
        self.patience = None;
        self.hands.health.set_ok(|s| &mut s.placements);
        self.forget_jobs();
        self.report.stale.extend(before);
        self.report.tell_again(self.desired.keys());
        self.placements_changed();
        self.supersede();
    }

    pub(super) fn changed(&mut self, change: Change) {
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
        self.hands.health.set_ok(|s| &mut s.placements);
        self.placements_changed();
        self.supersede();
    }

    pub(super) fn placements_changed(&mut self) {
        self.pass_due = true;
        if self.basis == Basis::Store {
            self.save = Some(Instant::now() + SAVE);
        }
    }

    /// Ends the wait for starts that nobody wants any more, and for the end of what is wanted again. A start that is only
    /// asked for once more goes on, and so does a stop: its outcome is what the next decision rests on.
    pub(super) fn supersede(&mut self) {
        for (unit, busy) in &self.busy {
            if self.poisoned.contains(unit) {
                continue;
            }
            let wanted = self.desired.get(unit);
            let kept = match (&busy.wanted, wanted) {
                (Some((file, was, _)), Some(now)) => {
                    *file == now.file
                        && *was == DesiredState::Launched
                        && now.desired == DesiredState::Launched
                }
                (None, None) => true,
                _ => false,
            };
            if !kept {
                busy.superseded.cancel();
            }
        }
    }

    pub(super) fn runner_event(&mut self, event: RunnerEvent) {
        match event {
            RunnerEvent::Changed { unit, active, sub, invocation, since, remark } => {
                let Some(seen) = self.seen.get_mut(&unit) else { return };
                let state = (&seen.observed.active, &seen.observed.sub, &seen.invocation);
                let as_it_was = state == (&active, &sub, &invocation);
                if as_it_was && seen.remark != remark {
                    seen.remark = remark;
                    self.report.remarked.insert(unit);
                    return;
                }
                self.hands.steady().changed(&unit, &active, &sub, &invocation);
                self.steady_at = self.hands.steady().due();
                seen.remark = remark;
                if !active.is_down() {
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
                self.hands.health.set_ok(|s| &mut s.runner);
                self.look_again();
            }
            RunnerEvent::Lost { problem } => {
                self.runner_up = false;
                tracing::warn!(problem, "the runner cannot be reached");
                self.hands.health.set_failed(|s| &mut s.runner, problem);
            }
        }
    }

    /// Forgets that anything is known to have been seen, so that the next pass asks for all of it.
    pub(super) fn look_again(&mut self) {
        self.pass_due = true;
        self.relist = Instant::now() + RELIST;
        for seen in self.seen.values_mut() {
            seen.observed.load.clear();
        }
    }

    pub(super) fn ended(&mut self, unit: &UnitName, end: &End) {
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
            End::Held => {
                self.retry.get_or_insert(Instant::now() + HELD);
            }
        }
    }
}

/// The unit of a key `place/<machine>/<unit>`.
fn unit_of(key: &str) -> Option<UnitName> {
    key.strip_prefix("place/")?.split_once('/')?.1.parse().ok()
}
