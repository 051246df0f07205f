//! When a machine reports the states of its units, and which of them.
//!
//! Owns the comparison of what is to be reported with what the store has taken, and the pace of reporting. It never touches a
//! unit. Time is any monotonic time the caller keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use muster_common::decision::StateUpdate;
use muster_common::probe::is_planted;
use muster_common::state::ObservedState;
use muster_common::unit::UnitName;

/// Least time between two publications. The first change goes out at once; a burst of a thousand starts is reported in a
/// few writes instead of a few thousand.
pub const PUBLISH_PAUSE: Duration = Duration::from_millis(25);
/// Least time between two publications of what changes nothing: a download that comes on, for example.
pub const REMARK_PAUSE: Duration = Duration::from_secs(1);
/// Pause after a publication that the store did not take.
pub const PUBLISH_RETRY: Duration = Duration::from_millis(500);

/// The states that were reported, and the units that are still to be reported on.
#[derive(Debug, Default)]
pub struct StateReport {
    acknowledged: BTreeMap<UnitName, ObservedState>,
    /// Units of which it is not known what the store has: their state is published, and so is that they have none.
    doubted: BTreeSet<UnitName>,
    /// Units to be looked at again.
    stale: BTreeSet<UnitName>,
    /// Units of which only the remark has changed.
    remarked: BTreeSet<UnitName>,
    /// Published, and not acknowledged yet.
    in_flight: BTreeMap<UnitName, Option<ObservedState>>,
    /// Number of the publication whose answer is awaited.
    awaited: Option<u64>,
    /// Publications made.
    published: u64,
    not_before: Option<Duration>,
    /// The time from which remarks may be published again.
    remarks_from: Option<Duration>,
    /// Everything has been reported once since the session began.
    complete: bool,
}

/// States to be published together.
#[derive(Debug, Clone)]
pub struct Publication {
    /// Tells its answer from those to others.
    pub number: u64,
    /// The states.
    pub states: Vec<StateUpdate>,
}

impl StateReport {
    /// Begins anew under a lease: `acknowledged` is what the store has under it, and of `units` everything is looked at again.
    /// The answer to a publication from before is not waited for any more.
    pub fn begin_session(
        &mut self,
        acknowledged: BTreeMap<UnitName, ObservedState>,
        units: impl Iterator<Item = UnitName>,
    ) {
        self.stale = acknowledged.keys().cloned().chain(units).collect();
        self.remarked.clear();
        self.acknowledged = acknowledged;
        self.doubted.clear();
        self.in_flight.clear();
        self.awaited = None;
        self.not_before = None;
        self.complete = false;
    }

    /// A unit's state may have changed.
    pub fn mark_stale(&mut self, unit: UnitName) {
        self.stale.insert(unit);
    }

    /// A unit's remark has changed, and nothing else of it.
    pub fn mark_remarked(&mut self, unit: UnitName) {
        self.remarked.insert(unit);
    }

    /// It is not known what the store has of a unit: it may be from before, and hang on a lease that ends.
    pub fn mark_doubted(&mut self, unit: &UnitName) {
        self.doubted.insert(unit.clone());
        self.stale.insert(unit.clone());
    }

    /// The time from which there is something to publish; `None` when there is nothing, or an answer is awaited.
    pub fn next_deadline(&self) -> Option<Duration> {
        if self.awaited.is_some() || (self.stale.is_empty() && self.remarked.is_empty()) {
            return None;
        }
        let remarks = self.remarks_from.filter(|_| self.stale.is_empty());
        Some(self.not_before.max(remarks).unwrap_or_default())
    }

    /// It is not known yet what to publish.
    pub fn postpone_publication(&mut self, now: Duration) {
        self.not_before = Some(now + PUBLISH_PAUSE * 4);
    }

    /// Notes that these units are all there are, and returns whether everything there is to report of them has been taken
    /// since the session began, now or earlier.
    pub fn note_complete<'a>(&mut self, units: impl Iterator<Item = &'a UnitName>) -> bool {
        if !self.complete {
            self.complete = self.is_caught_up(units);
        }
        self.complete
    }

    /// True once everything has been reported since the session began.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// True if the store has taken all there is to report, and something of each of these units.
    pub fn is_caught_up<'a>(&self, mut units: impl Iterator<Item = &'a UnitName>) -> bool {
        let idle = self.awaited.is_none() && self.stale.is_empty();
        idle && units.all(|unit| self.acknowledged.contains_key(unit))
    }

    /// Takes what differs from what the store has; `state` says what there is of a unit. `None` when nothing does.
    pub fn take_changes(
        &mut self,
        now: Duration,
        state: impl Fn(&UnitName) -> Option<ObservedState>,
    ) -> Option<Publication> {
        debug_assert!(self.awaited.is_none(), "one publication at a time");
        if !self.remarked.is_empty() && self.remarks_from.is_none_or(|at| at <= now) {
            self.remarks_from = Some(now + REMARK_PAUSE);
            self.stale.append(&mut self.remarked);
        }
        for unit in std::mem::take(&mut self.stale) {
            self.remarked.remove(&unit);
            let state = state(&unit);
            if self.doubted.remove(&unit) || self.acknowledged.get(&unit) != state.as_ref() {
                self.in_flight.insert(unit, state);
            }
        }
        if self.in_flight.is_empty() {
            return None;
        }
        self.published += 1;
        self.awaited = Some(self.published);
        self.not_before = Some(now + PUBLISH_PAUSE);
        let states = self.in_flight.iter();
        let states =
            states.map(|(unit, state)| StateUpdate { unit: unit.clone(), state: state.clone() });
        Some(Publication { number: self.published, states: states.collect() })
    }

    /// The store has taken a publication, or has not. An answer that is not awaited, to a publication of an earlier session
    /// for example, says nothing of what is in flight now.
    pub fn on_answer(&mut self, now: Duration, number: u64, taken: bool) {
        if self.awaited != Some(number) && !is_planted("late-answer-counts") {
            return;
        }
        self.awaited = None;
        let taken = taken || is_planted("failed-publication-counts");
        for (unit, state) in std::mem::take(&mut self.in_flight) {
            if !taken {
                // Whether the store has it is not known; what is published next is published whole.
                self.acknowledged.remove(&unit);
                if !is_planted("withdrawal-forgotten") {
                    self.doubted.insert(unit.clone());
                }
                self.stale.insert(unit);
                continue;
            }
            match state {
                Some(state) => self.acknowledged.insert(unit, state),
                None => self.acknowledged.remove(&unit),
            };
        }
        if !taken {
            self.not_before = Some(now + PUBLISH_RETRY);
        }
        // What is in flight is awaited: whatever was published has been answered.
        debug_assert!(self.in_flight.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_common::state::DesiredState;

    fn state(active: &str) -> ObservedState {
        ObservedState {
            load: "loaded".to_owned(),
            active: active.into(),
            sub: String::new(),
            file: None,
            hash: String::new(),
            generation: 1,
            desired: DesiredState::Launched,
            since: 0,
            invocation: String::new(),
            problem: None,
            remark: String::new(),
        }
    }

    fn unit() -> UnitName {
        "a.service".parse().unwrap()
    }

    /// A report with one unit to look at.
    fn begun() -> StateReport {
        let mut report = StateReport::default();
        report.begin_session(BTreeMap::new(), [unit()].into_iter());
        report
    }

    const START: Duration = Duration::ZERO;

    /// Publishes what there is, which is to be something.
    fn publish(report: &mut StateReport, now: Duration, state: Option<&ObservedState>) -> u64 {
        let publication = report.take_changes(now, |_| state.cloned()).expect("something to say");
        assert_eq!(publication.states.len(), 1);
        publication.number
    }

    #[test]
    fn that_there_is_nothing_is_reported_until_the_store_has_taken_it() {
        let mut report = StateReport::default();
        report.begin_session(BTreeMap::new(), std::iter::empty());
        report.mark_doubted(&unit());
        let first = publish(&mut report, START, None);
        report.on_answer(START, first, false);
        let second = publish(&mut report, START, None);
        report.on_answer(START, second, true);
        report.mark_stale(unit());
        assert!(report.take_changes(START, |_| None).is_none());
    }

    #[test]
    fn a_state_that_the_store_has_is_not_reported_again() {
        let mut report = begun();
        let number = publish(&mut report, START, Some(&state("active")));
        assert_eq!(report.next_deadline(), None, "an answer is awaited");
        report.on_answer(START, number, true);
        report.mark_stale(unit());
        assert!(report.next_deadline().is_some());
        assert!(report.take_changes(START, |_| Some(state("active"))).is_none());
        assert_eq!(report.next_deadline(), None);
    }

    #[test]
    fn remarks_are_reported_no_more_often_than_once_a_second() {
        let remarked = |remark: usize| {
            let remark = remark.to_string();
            ObservedState { remark, ..state("activating") }
        };
        let mut report = begun();
        let number = publish(&mut report, START, Some(&state("activating")));
        report.on_answer(START, number, true);
        let mut reported = Vec::new();
        let mut now = START;
        for percent in 0..300 {
            report.mark_remarked(unit());
            if report.next_deadline().is_some_and(|due| due <= now) {
                let number = publish(&mut report, now, Some(&remarked(percent)));
                report.on_answer(now, number, true);
                reported.push(now.as_secs_f64().round());
            }
            now += Duration::from_millis(10);
        }
        assert_eq!(reported, [0.0, 1.0, 2.0]);

        // A change of state is reported at once, and the remark with it.
        report.mark_stale(unit());
        assert!(report.next_deadline().is_some_and(|due| due <= now));
        let number = publish(&mut report, now, Some(&state("active")));
        report.on_answer(now, number, true);
        assert_eq!(report.next_deadline(), None);
    }

    #[test]
    fn a_publication_that_the_store_did_not_take_is_made_again() {
        let mut report = begun();
        let number = publish(&mut report, START, Some(&state("active")));
        report.on_answer(START, number, false);
        assert_eq!(report.next_deadline(), Some(PUBLISH_RETRY));
        publish(&mut report, START, Some(&state("active")));
    }

    #[test]
    fn an_answer_from_an_earlier_session_acknowledges_nothing_of_this_one() {
        let mut report = begun();
        let old = publish(&mut report, START, Some(&state("active")));
        report.begin_session(BTreeMap::new(), [unit()].into_iter());
        let new = publish(&mut report, START, Some(&state("active")));
        report.on_answer(START, old, true);
        assert_eq!(report.next_deadline(), None, "the answer is still awaited");
        report.on_answer(START, new, false);
        publish(&mut report, START, Some(&state("active")));
    }

    #[test]
    fn a_state_left_by_an_earlier_daemon_is_withdrawn() {
        let mut report = StateReport::default();
        report.begin_session([(unit(), state("active"))].into(), std::iter::empty());
        let publication = report.take_changes(START, |_| None).unwrap();
        assert!(publication.states.iter().all(|update| update.state.is_none()));
    }
}
