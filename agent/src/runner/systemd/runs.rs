//! The runs that units of ours are in.
//!
//! Owns what is known of them: each that was seen, begun by a job of ours, or told of by systemd. Should a file of the host's come to win
//! over ours, what runs is by that still known to be ours. It asks systemd nothing, and takes no run for ours that may be of the host's.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use muster_common::probe::is_planted;
use muster_common::unit::UnitName;

use super::host_units::HostUnits;
use super::manager::ManagerSignal;
use crate::runner::files::UnitFiles;
use crate::stdx::sync::lock;

/// The last known run of each unit.
pub(super) struct OwnRuns {
    files: Arc<Mutex<UnitFiles>>,
    host: Arc<Mutex<HostUnits>>,
    runs: Mutex<BTreeMap<UnitName, String>>,
}

impl OwnRuns {
    pub(super) fn new(files: Arc<Mutex<UnitFiles>>, host: Arc<Mutex<HostUnits>>) -> Self {
        Self { files, host, runs: Mutex::default() }
    }

    /// The run that a unit was last known to be in.
    pub(super) fn find_run(&self, unit: &UnitName) -> Option<String> {
        lock(&self.runs).get(unit).cloned()
    }

    /// Remembers the run that a unit is in; one without a name tells nothing.
    pub(super) fn note_run(&self, unit: &UnitName, run: &str) {
        if !run.is_empty() {
            lock(&self.runs).insert(unit.clone(), run.to_owned());
        }
    }

    /// The unit is no longer ours.
    pub(super) fn forget_unit(&self, unit: &UnitName) {
        lock(&self.runs).remove(unit);
    }

    /// Takes in what systemd says of a unit that is asked for. Nobody may wait for the end of the job that began a run, and nobody look
    /// before the host comes to use the name: as long as no file of the host's wins, the run is of ours.
    pub(super) fn on_signal(&self, signal: &ManagerSignal) {
        let ManagerSignal::UnitChanged { unit, invocation, .. } = signal else { return };
        if invocation.is_empty()
            || self.find_run(unit).as_ref() == Some(invocation)
            || is_planted("told-run-forgotten")
        {
            return;
        }
        let is_hosts = {
            let mut host = lock(&self.host);
            host.refresh_names();
            host.overrides_ours(unit.as_str())
        };
        if !is_hosts && lock(&self.files).hash(unit).is_some() {
            self.note_run(unit, invocation);
        }
    }
}
