//! What this machine reports of its units.
//!
//! Owns the comparison of what is to be reported with what the store was told, and the pace of telling it. It never
//! touches a unit.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use muster_common::decision::StateUpdate;
use muster_common::state::ObservedState;
use muster_common::unit::UnitName;
use tokio::time::Instant;

/// Least time between two publications. The first change goes out at once; a burst of a thousand starts is told in a
/// few writes instead of a few thousand.
const PACE: Duration = Duration::from_millis(25);
/// Least time between two publications of what changes nothing: a download that comes on, for example.
const REMARKS: Duration = Duration::from_secs(1);
/// Pause after a publication that the store did not take.
const RETRY: Duration = Duration::from_millis(500);

/// What was told, and what is still to be told.
#[derive(Debug, Default)]
pub(super) struct Report {
    told: BTreeMap<UnitName, ObservedState>,
    /// Units of which it is not known what the store has: what there is of them is told, and so is that there is nothing.
    doubted: BTreeSet<UnitName>,
    /// Units to be looked at again.
    pub(super) stale: BTreeSet<UnitName>,
    /// Units of which only the remark has changed.
    pub(super) remarked: BTreeSet<UnitName>,
    /// Told, and not acknowledged yet.
    in_flight: BTreeMap<UnitName, Option<ObservedState>>,
    busy: bool,
    not_before: Option<Instant>,
    /// When remarks may be told again.
    remarks: Option<Instant>,
    /// Whether everything has been told once since it began.
    pub(super) complete: bool,
}

impl Report {
    /// Begins anew under a lease: `told` is what the store has under it, everything of `units` is looked at again.
    pub(super) fn begin(
        &mut self,
        told: BTreeMap<UnitName, ObservedState>,
        units: impl Iterator<Item = UnitName>,
    ) {
        self.stale = told.keys().cloned().chain(units).collect();
        self.remarked.clear();
        self.told = told;
        self.doubted.clear();
        self.in_flight.clear();
        self.busy = false;
        self.not_before = None;
        self.complete = false;
    }

    /// These units are placed here: what the store has of them may be from before, and hang on a lease that ends.
    pub(super) fn tell_again<'a>(&mut self, units: impl Iterator<Item = &'a UnitName>) {
        for unit in units {
            self.doubted.insert(unit.clone());
            self.stale.insert(unit.clone());
        }
    }

    /// When there is something to tell and it may be told; `None` when there is nothing, or an answer is awaited.
    pub(super) fn due(&self) -> Option<Instant> {
        if self.busy || (self.stale.is_empty() && self.remarked.is_empty()) {
            return None;
        }
        let remarks = self.remarks.filter(|_| self.stale.is_empty());
        Some(self.not_before.max(remarks).unwrap_or_else(Instant::now))
    }

    /// It is not known yet what to tell.
    pub(super) fn wait(&mut self) {
        self.not_before = Some(Instant::now() + PACE * 4);
    }

    /// Whether the store has taken everything there is to tell, these units among it.
    pub(super) fn is_told<'a>(&self, mut units: impl Iterator<Item = &'a UnitName>) -> bool {
        !self.busy && self.stale.is_empty() && units.all(|unit| self.told.contains_key(unit))
    }

    /// Takes what differs from what was told. Empty when nothing does.
    pub(super) fn take(
        &mut self,
        state: impl Fn(&UnitName) -> Option<ObservedState>,
    ) -> Vec<StateUpdate> {
        let now = Instant::now();
        if !self.remarked.is_empty() && self.remarks.is_none_or(|at| at <= now) {
            self.remarks = Some(now + REMARKS);
            self.stale.append(&mut self.remarked);
        }
        for unit in std::mem::take(&mut self.stale) {
            self.remarked.remove(&unit);
            let state = state(&unit);
            if self.doubted.remove(&unit) || self.told.get(&unit) != state.as_ref() {
                self.in_flight.insert(unit, state);
            }
        }
        if self.in_flight.is_empty() {
            return Vec::new();
        }
        self.busy = true;
        self.not_before = Some(now + PACE);
        let updates = self.in_flight.iter();
        updates
            .map(|(unit, state)| StateUpdate { unit: unit.clone(), state: state.clone() })
            .collect()
    }

    /// The store has taken it, or has not.
    pub(super) fn answered(&mut self, taken: bool) {
        self.busy = false;
        for (unit, state) in std::mem::take(&mut self.in_flight) {
            if !taken {
                // Whether the store has it is not known; what is told next is told whole.
                self.told.remove(&unit);
                self.doubted.insert(unit.clone());
                self.stale.insert(unit);
                continue;
            }
            match state {
                Some(state) => self.told.insert(unit, state),
                None => self.told.remove(&unit),
            };
        }
        if !taken {
            self.not_before = Some(Instant::now() + RETRY);
        }
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

    #[test]
    fn that_there_is_nothing_is_told_until_the_store_has_taken_it() {
        let mut report = Report::default();
        report.begin(BTreeMap::new(), std::iter::empty());
        report.tell_again([unit()].iter());
        assert_eq!(report.take(|_| None).len(), 1, "the store may have something from before");
        report.answered(false);
        assert_eq!(report.take(|_| None).len(), 1, "whether it has taken it is not known");
        report.answered(true);
        report.stale.insert(unit());
        assert_eq!(report.take(|_| None).len(), 0);
    }

    #[test]
    fn what_the_store_knows_is_not_told_again() {
        let mut report = Report::default();
        report.begin(BTreeMap::new(), [unit()].into_iter());
        assert_eq!(report.take(|_| Some(state("active"))).len(), 1);
        assert_eq!(report.due(), None, "an answer is awaited");
        report.answered(true);
        report.stale.insert(unit());
        assert!(report.due().is_some());
        assert!(report.take(|_| Some(state("active"))).is_empty());
        assert_eq!(report.due(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn remarks_are_told_no_more_often_than_once_a_second() {
        let remarked = |remark: usize| {
            let remark = remark.to_string();
            ObservedState { remark, ..state("activating") }
        };
        let mut report = Report::default();
        report.begin(BTreeMap::new(), [unit()].into_iter());
        report.take(|_| Some(state("activating")));
        report.answered(true);
        let began = Instant::now();
        let mut told = Vec::new();
        for percent in 0..300 {
            report.remarked.insert(unit());
            if report.due().is_some_and(|due| due <= Instant::now()) {
                assert_eq!(report.take(|_| Some(remarked(percent))).len(), 1);
                report.answered(true);
                told.push(began.elapsed().as_secs_f64().round());
            }
            tokio::time::advance(Duration::from_millis(10)).await;
        }
        assert_eq!(told, [0.0, 1.0, 2.0]);

        // What changes the state is told at once, and the remark with it.
        report.stale.insert(unit());
        assert!(report.due().is_some_and(|due| due <= Instant::now()));
        assert_eq!(report.take(|_| Some(state("active"))).len(), 1);
        report.answered(true);
        assert_eq!(report.due(), None);
    }

    #[test]
    fn what_the_store_did_not_take_is_told_again() {
        let mut report = Report::default();
        report.begin(BTreeMap::new(), [unit()].into_iter());
        report.take(|_| Some(state("active")));
        report.answered(false);
        assert!(report.due().is_some());
        assert_eq!(report.take(|_| Some(state("active"))).len(), 1);
    }

    #[test]
    fn what_is_left_of_an_earlier_daemon_is_withdrawn() {
        let mut report = Report::default();
        report.begin([(unit(), state("active"))].into(), std::iter::empty());
        let updates = report.take(|_| None);
        assert_eq!(updates.len(), 1);
        assert!(updates.iter().all(|u| u.state.is_none()));
    }
}
