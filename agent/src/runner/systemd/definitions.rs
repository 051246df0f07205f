//! What systemd has in memory of files that have been replaced or removed since.
//!
//! systemd reads a unit's file when the unit is first named, and keeps what it read for as long as the unit runs or anything refers to
//! it: an `After=`, a timer, a socket. Whatever starts the unit then starts the old file, until a daemon-reload. So each of our writes
//! and removals leaves a mark here, which goes only once systemd has nothing older in memory.
//!
//! A unit that somebody else has started meanwhile goes on from the old file, reload or not: the run that a unit with another text is in
//! when its mark goes is remembered.
//!
//! Owns the marks, and the reloads that they lead to: at once where somebody waits for it, else within a moment. It asks for one only
//! where systemd says `NeedDaemonReload`, and once for all marks. What is not in systemd's memory at all is found out for all marks
//! at once: of a thousand new units hardly one is, and a question to each would have systemd load it and forget it again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use muster_common::probe::{is_planted, reached};
use muster_common::state::ActiveState;
use muster_common::unit::UnitName;
use muster_runtime::sleep;
use tokio::sync::Notify;

use super::host::UnitHost;
use super::manager::{SystemdManager, UnitProperty};
use crate::runner::RunnerError;
use crate::stdx::sync::lock;

/// Pause after a write before systemd is made to read it if nobody else has: many files are written in a row, and most are started
/// right after, which does the same. No timer that is worth anything fires the old file twice within it.
const GATHER: Duration = Duration::from_millis(100);
/// Pause before another attempt when systemd could not be asked.
const RETRY: Duration = Duration::from_secs(1);

/// Units of which systemd may have an older file in memory than the one in place, or one where none is.
pub(super) struct Definitions {
    manager: Arc<dyn SystemdManager>,
    machine: Arc<dyn UnitHost>,
    marks: Mutex<Marks>,
    /// Held by the one who looks what is in memory, so that others find it done.
    listing: tokio::sync::Mutex<()>,
    /// Held by the one who reloads, so that others find it done.
    reload: tokio::sync::Mutex<()>,
    marked: Notify,
}

/// Each unit with its last mark.
#[derive(Debug, Default)]
struct Marks {
    units: BTreeMap<UnitName, Mark>,
    last: u64,
    /// The runs that units were in when systemd had read another text in their place: what is in one of them still runs from the text
    /// before.
    earlier_runs: BTreeMap<UnitName, String>,
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    /// Counts marks, so that one that is set while something is looked at stays.
    number: u64,
    /// The unit was seen in systemd's memory since.
    loaded: bool,
    /// The text in its place is another than systemd may have read.
    replaced: bool,
}

impl Definitions {
    pub(super) fn new(manager: Arc<dyn SystemdManager>, machine: Arc<dyn UnitHost>) -> Self {
        Self {
            manager,
            machine,
            marks: Mutex::default(),
            listing: tokio::sync::Mutex::default(),
            reload: tokio::sync::Mutex::default(),
            marked: Notify::new(),
        }
    }

    /// The files of these units may have changed.
    pub(super) fn mark_units<'a>(&self, units: impl IntoIterator<Item = &'a UnitName>) {
        for unit in units {
            self.mark_unit(unit, false);
        }
    }

    /// The file of this unit was written or goes; `replaced` where the text of before was another. To be called before a file goes and
    /// after one has come.
    pub(super) fn mark_unit(&self, unit: &UnitName, replaced: bool) {
        let mut marks = lock(&self.marks);
        marks.last += 1;
        let number = marks.last;
        // systemd may still have the first of several.
        let replaced = replaced || marks.units.get(unit).is_some_and(|mark| mark.replaced);
        marks.units.insert(unit.clone(), Mark { number, loaded: false, replaced });
        self.marked.notify_one();
    }

    /// The unit is in a run that was begun before systemd had read the text that lies in its place: on somebody else's word.
    pub(super) fn runs_earlier_file(&self, unit: &UnitName) -> bool {
        let earlier = lock(&self.marks).earlier_runs.get(unit).cloned();
        earlier.is_some_and(|run| run == self.current_run(unit))
    }

    /// Empty for one that does not run.
    fn current_run(&self, unit: &UnitName) -> String {
        self.machine.current_run(unit, &ActiveState::Active).0
    }

    /// Returns once systemd has nothing older of this unit in memory than what lies in its place.
    pub(super) async fn refresh_unit(&self, unit: &UnitName) -> Result<(), RunnerError> {
        self.find_loaded(unit).await?;
        // Those that are in memory are asked all at once.
        if !self.is_marked(unit) || !self.is_outdated(unit).await? {
            return Ok(());
        }
        let _one = self.reload.lock().await;
        // Whoever held the lock before may have reloaded for us.
        if self.is_marked(unit) { self.reload_units().await } else { Ok(()) }
    }

    /// Does the same for all that are marked, as marks are set. Never returns.
    pub(super) async fn keep_fresh(&self) {
        loop {
            self.marked.notified().await;
            sleep(GATHER).await;
            while let Err(error) = self.refresh_all().await {
                tracing::debug!(%error, "cannot see whether systemd has old files in memory");
                sleep(RETRY).await;
            }
        }
    }

    async fn refresh_all(&self) -> Result<(), RunnerError> {
        if is_planted("replacement-not-reloaded") {
            return Ok(());
        }
        let _one = self.reload.lock().await;
        self.find_all_loaded().await?;
        let left: Vec<UnitName> = lock(&self.marks).units.keys().cloned().collect();
        for unit in &left {
            if self.is_outdated(unit).await? {
                return self.reload_units().await;
            }
        }
        Ok(())
    }

    /// Finds out whether a marked unit is in systemd's memory, unless that is known.
    async fn find_loaded(&self, unit: &UnitName) -> Result<(), RunnerError> {
        let is_unknown = || lock(&self.marks).units.get(unit).is_some_and(|mark| !mark.loaded);
        if !is_unknown() {
            return Ok(());
        }
        let _one = self.listing.lock().await;
        // Whoever held the lock before may have looked for us.
        if is_unknown() { self.list_marked().await } else { Ok(()) }
    }

    async fn find_all_loaded(&self) -> Result<(), RunnerError> {
        let _one = self.listing.lock().await;
        self.list_marked().await
    }

    /// Finds out which of the marked units are in systemd's memory. The marks of the others go: what is not loaded is read when it is
    /// next named.
    async fn list_marked(&self) -> Result<(), RunnerError> {
        let (before, unknown) = {
            let marks = lock(&self.marks);
            let unknown = marks.units.iter().filter(|(_, mark)| !mark.loaded);
            (marks.last, unknown.map(|(unit, _)| unit.clone()).collect::<BTreeSet<_>>())
        };
        if unknown.is_empty() {
            return Ok(());
        }
        let loaded = self.manager.list_units(&unknown).await?;
        self.clear_marks(before, |unit| unknown.contains(unit) && !loaded.contains_key(unit));
        for (unit, mark) in &mut lock(&self.marks).units {
            mark.loaded |= mark.number <= before && loaded.contains_key(unit);
        }
        Ok(())
    }

    /// systemd has an older file of a unit in memory. The mark of one that is up to date goes.
    async fn is_outdated(&self, unit: &UnitName) -> Result<bool, RunnerError> {
        let before = lock(&self.marks).last;
        let asked = self.manager.read_property(unit, UnitProperty::NeedDaemonReload).await;
        let outdated = match asked {
            Ok(value) => value.into_flag() == Some(true),
            // It cannot be loaded: then nothing can start it.
            Err(RunnerError::Refused { .. }) => false,
            Err(error) => return Err(error),
        };
        if !outdated {
            self.clear_marks(before, |marked| marked == unit);
        }
        Ok(outdated)
    }

    async fn reload_units(&self) -> Result<(), RunnerError> {
        reached("old-definition-in-memory");
        let before = lock(&self.marks).last;
        self.manager.reload_units().await?;
        self.clear_marks(before, |_| true);
        Ok(())
    }

    fn is_marked(&self, unit: &UnitName) -> bool {
        lock(&self.marks).units.contains_key(unit)
    }

    /// Clears marks that were there before something was looked at. Somebody may have reloaded for us, so that one which is up may run
    /// from the earlier text though systemd has read the other.
    fn clear_marks(&self, before: u64, is_fresh: impl Fn(&UnitName) -> bool) {
        let mut marks = lock(&self.marks);
        let Marks { units, earlier_runs, .. } = &mut *marks;
        let mut replaced = Vec::new();
        units.retain(|unit, mark| {
            let goes = mark.number <= before && is_fresh(unit);
            if goes && mark.replaced {
                replaced.push(unit.clone());
            }
            !goes
        });
        earlier_runs.retain(|unit, run| *run == self.current_run(unit));
        for unit in replaced {
            let run = self.current_run(&unit);
            if !run.is_empty() {
                earlier_runs.insert(unit, run);
            }
        }
    }
}

#[cfg(test)]
#[path = "definitions_tests.rs"]
mod tests;
