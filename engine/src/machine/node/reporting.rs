//! What a node says and keeps: observed states for the store, placements for the disk.
//!
//! Owns what is said of a unit. When it is said is [`StateReport`]'s business.
//!
//! [`StateReport`]: crate::machine::report::StateReport

use std::time::Duration;

use muster_common::probe::is_planted;
use muster_common::state::{ObservedState, load, sub};
use muster_common::unit::UnitName;

use super::io::{NodeEffect, PublishAnswer};
use super::model::{Basis, Node, Outlook};
use crate::machine::memory::{LastKnown, NodeMemory};
use crate::machine::observation::UnitObservation;

/// A publication that was not answered may be carried out as late as this: a member of the store that stood still goes on with what it was
/// asked before. A later one of a unit that is up is refused, since it is guarded by what it replaces; but one that says the first word of a
/// unit of which there is nothing any more is taken.
const LATE_WRITE: Duration = Duration::from_secs(600);
/// Pause between two looks for such a state.
const LATE_WRITE_LOOK: Duration = Duration::from_secs(15);

impl Node {
    /// The state to be published of a unit; `None`: there is nothing of it here.
    pub fn published_state(
        &self,
        memory: &NodeMemory<'_>,
        unit: &UnitName,
    ) -> Option<ObservedState> {
        if self.released.contains(unit) {
            return None;
        }
        let entry = memory.owned.get(unit);
        let refused = self.refused.get(unit);
        let nothing = UnitObservation::default();
        let seen = self.seen.get(unit).unwrap_or(&nothing);
        let (generation, desired, problem) = match (refused, entry) {
            (Some((generation, desired, problem)), _) => {
                (*generation, *desired, Some(problem.clone()))
            }
            (None, Some(entry)) => {
                let early = || memory.steadiness.failure_of(unit).map(str::to_owned);
                let problem = entry.problem.clone().or_else(early);
                let (generation, desired) = entry.carried_out();
                (generation, desired, problem)
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
            load: word(&seen.observed.load, load::LOADED),
            active: seen.observed.active.clone(),
            sub: word(&seen.observed.sub, sub::DEAD),
            hash: file
                .and_then(|file| self.cached_file(file))
                .map(|cached| cached.fleet_hash.clone())
                .unwrap_or_default(),
            file,
            generation,
            desired,
            since: seen.since,
            invocation: seen.invocation.clone(),
            problem,
            remark: seen.remark.clone(),
        })
    }

    /// The time at which something is to be published. While a pass is under way nothing is: it changes what there is to say.
    pub(super) fn publish_at(&self) -> Option<Duration> {
        self.presence.as_ref()?;
        if !self.is_idle() {
            return None;
        }
        self.report.next_deadline()
    }

    pub(super) fn publish_changes(&mut self, now: Duration, memory: &NodeMemory<'_>) {
        let Some(presence) = self.presence.clone() else { return };
        // Nothing is said before it is known what runs.
        if self.basis == Basis::Unknown || !self.runner_up {
            self.report.postpone_publication(now);
            return;
        }
        let mut report = std::mem::take(&mut self.report);
        let publication = report.take_changes(now, |unit| self.published_state(memory, unit));
        self.report = report;
        if let Some(publication) = publication {
            let (number, states) = (publication.number, publication.states);
            self.effects.push(NodeEffect::Publish { number, presence, states });
        }
    }

    pub(super) fn on_published(&mut self, now: Duration, number: u64, answer: PublishAnswer) {
        self.report.on_answer(now, number, answer == PublishAnswer::Taken);
        if answer == PublishAnswer::Unknown && !is_planted("late-publication-overlooked") {
            self.late_until = Some(now + LATE_WRITE);
            self.plan_late_look(now);
        }
        if answer == PublishAnswer::NotRegistered && !is_planted("refused-publication-accepted") {
            self.effects.push(NodeEffect::SuspectLease);
        }
    }

    /// Has the store's states read again after a while, for as long as a late publication may bring one back.
    pub(super) fn plan_late_look(&mut self, now: Duration) {
        self.late_until = self.late_until.filter(|until| now < *until);
        if self.late_until.is_some() && self.presence.is_some() {
            self.rejoin_at.get_or_insert(now + LATE_WRITE_LOOK);
        }
    }

    pub(super) fn save_placements(&mut self) {
        self.save.at = None;
        self.save.under_way = true;
        let texts = self.files.iter().filter_map(|(hash, cached)| {
            cached.as_ref().ok().map(|cached| (*hash, cached.file.text().to_owned()))
        });
        let known = LastKnown { places: self.desired.clone(), files: texts.collect() };
        self.effects.push(NodeEffect::SavePlacements(known));
    }

    /// Says and saves what is left.
    pub(super) fn on_close(&mut self, now: Duration, memory: &NodeMemory<'_>) {
        self.outlook = Outlook::Closes;
        if self.save.at.is_some() {
            self.save_placements();
        }
        if self.presence.is_some() && self.report.next_deadline().is_some() {
            self.publish_changes(now, memory);
        }
    }
}
