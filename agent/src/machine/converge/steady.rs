//! Whether a unit that has just been started stays up.
//!
//! Owns the first moments of units for which being started says nothing yet ([`is_up_at_birth`]): the machine says that it has
//! carried a start out once the unit has stayed up for [`SETTLE`], or has failed. One that fails within that time, and that
//! its runner perhaps starts again and again, is shown with how it failed until it has been up for [`STEADY`].
//!
//! [`is_up_at_birth`]: muster_common::unit::is_up_at_birth

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use muster_common::state::{ActiveState, sub};
use muster_common::unit::UnitName;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How long a unit has to stay up before its start counts as carried out. A program that is missing, or that its file does not
/// let run, is gone within milliseconds; one that stumbles over its configuration, in tens of them. Twice systemd's default
/// pause before it starts a service again (`RestartSec=100ms`), so that one that ends at once is seen to be started again, and
/// still a time that nobody who waits for a start notices much.
pub(super) const SETTLE: Duration = Duration::from_millis(200);

/// How long a unit that has failed in its first moments has to be up before it counts as well: the time within which systemd
/// counts starts (`StartLimitIntervalSec=10s`), so that what survives it is in no circle of restarts.
const STEADY: Duration = Duration::from_secs(10);

/// Units in their first moments, and units that have failed in them.
#[derive(Debug, Default)]
pub(super) struct Steady {
    watched: BTreeMap<UnitName, Arc<Notify>>,
    unsteady: BTreeMap<UnitName, Unsteady>,
}

#[derive(Debug)]
struct Unsteady {
    why: String,
    /// The run it is up in, and since when.
    up: Option<(String, Instant)>,
}

impl Steady {
    /// A unit is about to be started. What is answered is told when it may have failed.
    pub(super) fn watch(&mut self, unit: &UnitName) -> Arc<Notify> {
        self.unsteady.remove(unit);
        let fell = Arc::new(Notify::new());
        self.watched.insert(unit.clone(), Arc::clone(&fell));
        fell
    }

    /// Its first moments are over.
    pub(super) fn unwatch(&mut self, unit: &UnitName) {
        self.watched.remove(unit);
    }

    /// It has failed in its first moments.
    pub(super) fn fell(&mut self, unit: &UnitName, why: String) {
        self.unsteady.insert(unit.clone(), Unsteady { why, up: None });
    }

    /// It is not here any more.
    pub(super) fn forget(&mut self, unit: &UnitName) {
        self.watched.remove(unit);
        self.unsteady.remove(unit);
    }

    /// How a unit failed in its first moments, if it has not been up for long since.
    pub(super) fn why(&self, unit: &UnitName) -> Option<&str> {
        self.unsteady.get(unit).map(|unsteady| unsteady.why.as_str())
    }

    /// A unit's state has changed.
    pub(super) fn changed(
        &mut self,
        unit: &UnitName,
        active: &ActiveState,
        sub: &str,
        invocation: &str,
    ) {
        let fell = *active == ActiveState::Failed || sub::awaits_restart(sub);
        if let Some(watched) = self.watched.get(unit).filter(|_| fell) {
            watched.notify_one();
        }
        if let Some(unsteady) = self.unsteady.get_mut(unit) {
            let same = unsteady.up.as_ref().is_some_and(|(run, _)| run == invocation);
            match active {
                ActiveState::Active if same => {}
                ActiveState::Active => unsteady.up = Some((invocation.to_owned(), Instant::now())),
                _ => unsteady.up = None,
            }
        }
    }

    /// When the next unit may have been up for long enough.
    pub(super) fn due(&self) -> Option<Instant> {
        let up = self.unsteady.values().filter_map(|unsteady| unsteady.up.as_ref());
        up.map(|(_, since)| *since + STEADY).min()
    }

    /// Units that have been up for long enough by now.
    pub(super) fn recovered(&mut self) -> Vec<UnitName> {
        let now = Instant::now();
        let well = |unsteady: &Unsteady| {
            unsteady.up.as_ref().is_some_and(|(_, since)| *since + STEADY <= now)
        };
        let units: Vec<UnitName> = self
            .unsteady
            .iter()
            .filter(|(_, unsteady)| well(unsteady))
            .map(|(unit, _)| unit.clone())
            .collect();
        for unit in &units {
            self.unsteady.remove(unit);
        }
        units
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit() -> UnitName {
        "a.service".parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_unit_that_fell_is_well_once_it_has_been_up_in_one_run() {
        let mut steady = Steady::default();
        steady.fell(&unit(), "exit status 1".to_owned());
        assert_eq!(steady.due(), None);
        steady.changed(&unit(), &ActiveState::Active, "running", "1");
        tokio::time::advance(STEADY / 2).await;
        steady.changed(&unit(), &ActiveState::Activating, "auto-restart", "1");
        steady.changed(&unit(), &ActiveState::Active, "running", "2");
        tokio::time::advance(STEADY / 2).await;
        assert!(steady.recovered().is_empty(), "another run began");
        assert_eq!(steady.why(&unit()), Some("exit status 1"));
        steady.changed(&unit(), &ActiveState::Active, "running", "2");
        tokio::time::advance(STEADY / 2).await;
        assert_eq!(steady.recovered(), [unit()]);
        assert_eq!(steady.why(&unit()), None);
    }

    #[tokio::test]
    async fn whoever_watches_is_told_of_a_failure_even_if_it_came_first() {
        let mut steady = Steady::default();
        let fell = steady.watch(&unit());
        steady.changed(&unit(), &ActiveState::Active, "running", "1");
        steady.changed(&unit(), &ActiveState::Activating, "auto-restart", "1");
        fell.notified().await;
        steady.unwatch(&unit());
    }
}
