//! The trait behind which units are run.
//!
//! Owns the words between the converge loop and whatever runs units. The words are systemd's load, active and sub,
//! nothing else of it, so that a container engine is a second implementation that passes the same conformance suite.
//! A runner never chooses: it does what a step says and reports what it sees.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use muster_common::state::{ActiveState, sub::awaits_restart};
use muster_common::unit::{FileHash, UnitFile, UnitName};
use muster_engine::machine::converge::Observed;
use muster_engine::machine::observation::{RunnerEvent, UnitObservation};

/// Where a runner's reports arrive that nobody asked for.
pub type RunnerEvents = tokio::sync::mpsc::Receiver<RunnerEvent>;

/// The outcome of a start, restart or stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartOutcome {
    /// As asked.
    Done,
    /// Otherwise, for good: asking again changes nothing.
    Failed {
        /// The failure, for the user.
        problem: String,
    },
}

/// Why a runner could not do as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RunnerError {
    /// It cannot be reached; whether it did as asked is not known.
    #[error("the runner cannot be reached ({during}): {problem}")]
    Lost {
        /// The operation.
        during: String,
        /// The problem.
        problem: String,
    },
    /// It refuses, and would again.
    #[error("{problem}")]
    Refused {
        /// Why, in the runner's own words.
        problem: String,
    },
    /// The machine has something of its own in the unit's place, and the file was not written. From then on the runner
    /// reports the unit as [`Observed::foreign`] for as long as that is so.
    #[error("{problem}")]
    Taken {
        /// The obstacle, for the user.
        problem: String,
    },
    /// The unit is there although it was to be gone: something on the machine has started it. It is still ours.
    #[error("{problem}")]
    StillUp {
        /// The problem, for the user.
        problem: String,
    },
    /// The unit's file cannot be written or removed.
    #[error("cannot {during}: {problem}")]
    Files {
        /// The operation and the file.
        during: String,
        /// The problem.
        problem: String,
    },
}

/// A runner of units on this machine. Each constructor returns the runner and where its [`RunnerEvent`]s arrive.
///
/// Every future may be dropped at any point: what was asked for goes on, only nobody waits for it any more.
#[async_trait]
pub trait Runner: Send + Sync + 'static {
    /// The boot of the machine's userspace, as soon as it can be told. For a runner that remembers over a restart of the daemon what it has
    /// run.
    fn learn_userspace(&self, _userspace: &str) {}

    /// The observation of each of these units; one it knows nothing of is reported as `not-found`.
    async fn observe_units(
        &self,
        units: &BTreeSet<UnitName>,
    ) -> Result<BTreeMap<UnitName, UnitObservation>, RunnerError>;

    /// The machine's own thing that is in the way of a unit with this file, besides its name, which is
    /// [`Observed::foreign`]'s: names that enabling it would take, for example. For the user; `None` where nothing is.
    fn find_obstacle(&self, _unit: &UnitName, _file: &UnitFile) -> Option<String> {
        None
    }

    /// Puts a unit's file in its place.
    async fn write(&self, unit: &UnitName, hash: FileHash, text: &str) -> Result<(), RunnerError>;

    /// Deletes a unit's file and whatever the runner remembers of it, a failure for example. Once that has succeeded nothing of the
    /// file can be started any more, by whatever refers to the unit, and nothing of it is there; fails with
    /// [`RunnerError::StillUp`] where something was started meanwhile.
    async fn remove(&self, unit: &UnitName) -> Result<(), RunnerError>;

    /// Does what the units' `[Install]` sections say, until the next boot.
    async fn enable(&self, units: &[UnitName]) -> Result<(), RunnerError>;

    /// Takes `enable` back.
    async fn disable(&self, units: &[UnitName]) -> Result<(), RunnerError>;

    /// Reads a unit's file as it would before a start, and says what is wrong with it. Starts nothing.
    async fn load(&self, unit: &UnitName) -> Result<StartOutcome, RunnerError>;

    /// Starts a unit and waits for the outcome, however long that takes. The generation is that of its placement, for a
    /// runner that marks what it starts.
    async fn start(&self, unit: &UnitName, generation: u64) -> Result<StartOutcome, RunnerError>;

    /// The name of the run that a restart would replace; empty for one that does not run, or whose runs have no names. Whatever begins to
    /// run under another name afterwards runs from the file that was written last.
    async fn find_replaced_run(&self, _unit: &UnitName) -> Result<String, RunnerError> {
        Ok(String::new())
    }

    /// The name of the run that a unit is in, if that is the same for every daemon of this boot, and costs no question; empty otherwise. By
    /// it a later daemon knows that what runs is ours, though the host has come to have a unit of that name.
    fn find_lasting_run(&self, _unit: &UnitName) -> String {
        String::new()
    }

    /// Stops and starts a unit and waits for the outcome.
    async fn restart(&self, unit: &UnitName, generation: u64) -> Result<StartOutcome, RunnerError>;

    /// The failure of a unit since it was last started on somebody's word, if it has failed: it is failed, or waits to be started again
    /// by its runner, or has been started again by it.
    async fn failed_since_start(&self, unit: &UnitName) -> Result<Option<String>, RunnerError> {
        let seen = self.observe_units(&BTreeSet::from([unit.clone()])).await?.remove(unit);
        Ok(seen.and_then(|seen| {
            let Observed { active, sub, .. } = &seen.observed;
            let failed = *active == ActiveState::Failed || awaits_restart(sub);
            let shown = || format!("it failed within moments of its start ({active}/{sub})");
            failed.then(|| if seen.remark.is_empty() { shown() } else { seen.remark.clone() })
        }))
    }

    /// Stops a unit and waits for the outcome; a unit that does not run is no failure.
    async fn stop(&self, unit: &UnitName) -> Result<StartOutcome, RunnerError>;

    /// Waits until no process of a unit that was stopped is left; true then. False when the unit runs, again or still: it is
    /// not waited for. A runner whose stop leaves nothing behind has nothing to wait for.
    async fn wait_until_empty(&self, _unit: &UnitName) -> Result<bool, RunnerError> {
        Ok(true)
    }
}
