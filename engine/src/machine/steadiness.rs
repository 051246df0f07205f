//! Whether a unit that has just been started stays up.
//!
//! Owns the first moments of units for which being started says nothing yet ([`is_up_at_birth`]): the machine says that it has
//! carried a start out once the unit has stayed up for [`FIRST_MOMENTS`], or has failed. One that fails within that time, and
//! that its runner perhaps starts again and again, is shown with how it failed until it has been up for [`STEADY_AFTER`].
//! Time is any monotonic time the caller keeps.
//!
//! [`is_up_at_birth`]: muster_common::unit::is_up_at_birth

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use muster_common::state::{ActiveState, sub};
use muster_common::unit::UnitName;

/// Time that a unit has to stay up before its start counts as carried out. A program that is missing, or that its file does not
/// let run, is gone within milliseconds; one that stumbles over its configuration, in tens of them. Twice systemd's default
/// pause before it starts a service again (`RestartSec=100ms`), so that one that ends at once is seen to be started again, and
/// still a time that nobody who waits for a start notices much.
pub const FIRST_MOMENTS: Duration = Duration::from_millis(200);

/// Time that a unit that has failed in its first moments has to be up before it counts as well: the time within which systemd
/// counts starts (`StartLimitIntervalSec=10s`), so that what survives it is in no circle of restarts.
pub const STEADY_AFTER: Duration = Duration::from_secs(10);

/// Units in their first moments, and units that have failed in them.
#[derive(Debug, Default)]
pub struct Steadiness {
    watched: BTreeSet<UnitName>,
    unsteady: BTreeMap<UnitName, EarlyFailure>,
}

#[derive(Debug)]
struct EarlyFailure {
    problem: String,
    /// The run it is up in, and since when.
    up: Option<(String, Duration)>,
}

impl Steadiness {
    /// A unit is about to be started.
    pub fn begin_watch(&mut self, unit: &UnitName) {
        self.unsteady.remove(unit);
        self.watched.insert(unit.clone());
    }

    /// Its first moments are over.
    pub fn end_watch(&mut self, unit: &UnitName) {
        self.watched.remove(unit);
    }

    /// It has failed in its first moments.
    pub fn note_failure(&mut self, unit: &UnitName, problem: String) {
        self.unsteady.insert(unit.clone(), EarlyFailure { problem, up: None });
    }

    /// It is not here any more.
    pub fn forget_unit(&mut self, unit: &UnitName) {
        self.watched.remove(unit);
        self.unsteady.remove(unit);
    }

    /// The way in which a unit failed in its first moments, if it has not been up for long since.
    pub fn failure_of(&self, unit: &UnitName) -> Option<&str> {
        self.unsteady.get(unit).map(|failure| failure.problem.as_str())
    }

    /// A unit's state has changed. True when it is in its first moments and may have failed: whoever started it is to look.
    pub fn on_state_changed(
        &mut self,
        now: Duration,
        unit: &UnitName,
        active: &ActiveState,
        sub: &str,
        invocation: &str,
    ) -> bool {
        if let Some(failure) = self.unsteady.get_mut(unit) {
            let same_run = failure.up.as_ref().is_some_and(|(run, _)| run == invocation);
            match active {
                ActiveState::Active if same_run => {}
                ActiveState::Active => failure.up = Some((invocation.to_owned(), now)),
                _ => failure.up = None,
            }
        }
        let failed = *active == ActiveState::Failed || sub::awaits_restart(sub);
        failed && self.watched.contains(unit)
    }

    /// The time at which the next unit may have been up for long enough.
    pub fn next_deadline(&self) -> Option<Duration> {
        let up = self.unsteady.values().filter_map(|failure| failure.up.as_ref());
        up.map(|(_, since)| *since + STEADY_AFTER).min()
    }

    /// Takes out the units that have been up for long enough by now.
    pub fn take_recovered(&mut self, now: Duration) -> Vec<UnitName> {
        let recovered = |failure: &EarlyFailure| {
            failure.up.as_ref().is_some_and(|(_, since)| *since + STEADY_AFTER <= now)
        };
        let units = self.unsteady.iter().filter(|(_, failure)| recovered(failure));
        let units: Vec<UnitName> = units.map(|(unit, _)| unit.clone()).collect();
        self.unsteady.retain(|_, failure| !recovered(failure));
        // Whoever waits for the deadline would otherwise be woken for the same unit without end.
        debug_assert!(self.next_deadline().is_none_or(|at| at > now), "{self:?} at {now:?}");
        units
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit() -> UnitName {
        "a.service".parse().unwrap()
    }

    #[test]
    fn a_unit_that_failed_early_is_well_once_it_has_been_up_in_one_run() {
        let half = STEADY_AFTER / 2;
        let mut steadiness = Steadiness::default();
        let change = |steadiness: &mut Steadiness, now, active: ActiveState, sub, run| {
            steadiness.on_state_changed(now, &unit(), &active, sub, run)
        };
        steadiness.note_failure(&unit(), "exit status 1".to_owned());
        assert_eq!(steadiness.next_deadline(), None);
        change(&mut steadiness, Duration::ZERO, ActiveState::Active, "running", "1");
        change(&mut steadiness, half, ActiveState::Activating, "auto-restart", "1");
        change(&mut steadiness, half, ActiveState::Active, "running", "2");
        assert!(steadiness.take_recovered(half * 2).is_empty(), "another run began");
        assert_eq!(steadiness.failure_of(&unit()), Some("exit status 1"));
        change(&mut steadiness, half * 2, ActiveState::Active, "running", "2");
        assert_eq!(steadiness.next_deadline(), Some(half * 3));
        assert_eq!(steadiness.take_recovered(half * 3), [unit()]);
        assert_eq!(steadiness.failure_of(&unit()), None);
    }

    #[test]
    fn only_whoever_is_watched_is_looked_at_when_it_may_have_failed() {
        let mut steadiness = Steadiness::default();
        let failed = |steadiness: &mut Steadiness| {
            let active = ActiveState::Activating;
            steadiness.on_state_changed(Duration::ZERO, &unit(), &active, "auto-restart", "1")
        };
        assert!(!failed(&mut steadiness));
        steadiness.begin_watch(&unit());
        assert!(failed(&mut steadiness));
        steadiness.end_watch(&unit());
        assert!(!failed(&mut steadiness));
    }
}
