//! This daemon's memory of the units it owns.
//!
//! Owns one small file a unit below `/run/muster/owned`, so that a daemon that starts again adopts what runs, and
//! so that the memory ends with the boot, as the units do. It never looks at the units themselves.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use muster_common::api::inspect::OwnedReport;
use muster_common::boot::BootMark;
use muster_common::probe::{is_planted, reached};
use muster_common::state::DesiredState;
use muster_common::unit::{FileHash, UnitName};
use muster_engine::machine::converge::Owned;
use muster_engine::machine::memory::{OwnedUnit, ReplacedRun};
use muster_runtime::Instant;
use serde::{Deserialize, Serialize};

use crate::stdx::disk::Disk;
use crate::stdx::files::{Durability, remove_file, replace_file};
use crate::stdx::sync::lock;
use crate::telemetry::health::OwnedUnits;

/// The memory, on disk and in hand.
#[derive(Debug)]
pub struct Ledger {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    entries: BTreeMap<UnitName, OwnedUnit>,
    /// The boot in which each was last written down, as far as that is known.
    boots: BTreeMap<UnitName, BootMark>,
    /// The present one.
    boot: Option<BootMark>,
    /// When units were forgotten that were ours until then. In hand only: it is for who follows a journal across a cut.
    left: BTreeMap<UnitName, Instant>,
}

/// Time for which it is remembered that a unit was ours: longer than a line to this machine is cut as a rule, and shorter than it takes
/// until somebody uses the name for something else.
const REMEMBERED_FOR: Duration = Duration::from_secs(300);

/// Most units of which that is remembered; whoever follows journals follows a few.
const MOST_REMEMBERED: usize = 1_000;

#[derive(Serialize, Deserialize)]
struct OwnedRecord {
    file: FileHash,
    generation: u64,
    desired: DesiredState,
    #[serde(default)]
    enabled: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    /// A stop was begun, and is not known to have ended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    stopping: bool,
    /// The run that is to give way to another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replaced: Option<ReplacedRun>,
    /// The run that it was in once its last start had been carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run: Option<String>,
    /// The boot it holds for. Daemons before this one did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    boot: Option<BootMark>,
}

impl Ledger {
    /// Reads what an earlier daemon of this boot remembered. A file that cannot be read is forgotten: its unit is then
    /// judged by what runs. The directory is there, and closed to others.
    pub fn open(disk: Arc<dyn Disk>, directory: PathBuf) -> io::Result<Self> {
        let (mut entries, mut boots) = (BTreeMap::new(), BTreeMap::new());
        for name in disk.list(&directory)? {
            let name = name.into_string().unwrap_or_default();
            let Ok(unit) = name.parse::<UnitName>() else { continue };
            let record = disk
                .read(&directory.join(&name))
                .ok()
                .and_then(|bytes| serde_json::from_slice::<OwnedRecord>(&bytes).ok());
            if let Some(mut record) = record {
                boots.extend(record.boot.take().map(|boot| (unit.clone(), boot)));
                entries.insert(unit, restore_entry(record));
            } else {
                tracing::warn!(%unit, "what was remembered of the unit cannot be read");
            }
        }
        Ok(Self { disk, directory, entries, boots, boot: None, left: BTreeMap::new() })
    }

    /// The same in this boot of the machine: of what was written down in another one nothing has been carried out, though the
    /// units' files may still be there.
    #[must_use]
    pub fn in_boot(mut self, boot: BootMark) -> Self {
        self.take_boot(boot);
        self
    }

    /// True while nobody can say which userspace this is: what is remembered may be of another one, and what is written down would hold
    /// for every later one.
    pub fn is_userspace_unknown(&self) -> bool {
        let is_unknown = self.boot.as_ref().is_some_and(|boot| boot.userspace.is_none());
        is_unknown && !is_planted("userspace-not-asked-for-again")
    }

    /// The userspace of this boot, where it could be told.
    pub fn known_userspace(&self) -> Option<String> {
        self.boot.as_ref()?.userspace.clone()
    }

    /// The userspace of this boot, which could not be told before. What has been written down meanwhile is of this one.
    pub fn learn_userspace(&mut self, userspace: String) {
        let Some(boot) = self.boot.take() else { return };
        self.take_boot(BootMark { userspace: Some(userspace), ..boot });
        if is_planted("written-for-any-userspace") {
            return;
        }
        for (unit, entry) in self.entries.clone() {
            if let Err(error) = self.save_entry(&unit, entry) {
                tracing::error!(%unit, %error, "cannot write down of which boot it is");
            }
        }
    }

    fn take_boot(&mut self, boot: BootMark) {
        for (unit, earlier) in std::mem::take(&mut self.boots) {
            if boot.is_same(&earlier) {
                if boot.userspace.is_none() && earlier.userspace.is_some() {
                    self.boots.insert(unit, earlier);
                }
                continue;
            }
            reached("ledger-of-another-boot");
            if let Some(entry) = self.entries.remove(&unit) {
                tracing::info!(%unit, "it was carried out in an earlier boot of this machine");
                self.entries.insert(unit, entry.after_boot());
            }
        }
        self.boot = Some(boot);
    }

    /// Every unit owned.
    pub fn owned_units(&self) -> &BTreeMap<UnitName, OwnedUnit> {
        &self.entries
    }

    /// One unit's entry.
    pub fn get(&self, unit: &UnitName) -> Option<&OwnedUnit> {
        self.entries.get(unit)
    }

    /// The unit is ours and has this file; what was carried out before stays on record.
    pub fn record_file(&mut self, unit: &UnitName, file: FileHash) -> io::Result<()> {
        let entry = self.entries.get(unit).cloned();
        let mut entry = entry.unwrap_or_else(|| OwnedUnit::new(file));
        if entry.owned.file != file {
            entry.replaced = None;
        }
        entry.owned.file = file;
        entry.problem = None;
        self.save_entry(unit, entry)
    }

    /// The unit has got another file while it ran from the one before, on somebody else's word, and goes on: should it be wanted here
    /// while this run lasts, it is started anew.
    pub fn record_outdated(&mut self, unit: &UnitName, run: &str) -> io::Result<()> {
        let Some(mut entry) = self.entries.get(unit).cloned() else { return Ok(()) };
        entry.replaced = Some(ReplacedRun { run: run.to_owned(), restart: None });
        self.save_entry(unit, entry)
    }

    /// A restart of the unit is about to be asked for at this generation, in place of this run, if it is in one: should nobody learn how it
    /// ended, another run says that it has come about.
    pub fn record_restart(
        &mut self,
        unit: &UnitName,
        generation: u64,
        run: &str,
    ) -> io::Result<()> {
        let restart = Some(generation);
        let Some(mut entry) = self.entries.get(unit).cloned() else { return Ok(()) };
        // The one before the first attempt is the one to be replaced.
        let is_noted = entry.replaced.as_ref().is_some_and(|noted| noted.restart == restart);
        if run.is_empty() || is_noted {
            return Ok(());
        }
        entry.replaced = Some(ReplacedRun { run: run.to_owned(), restart });
        self.save_entry(unit, entry)
    }

    /// The unit has another file now than the one it runs from, and is to be stopped and started with it. Until that has come about
    /// nothing is carried out, whatever was at this generation: a store that was put back gives out numbers again.
    pub fn record_replacement(&mut self, unit: &UnitName, file: FileHash) -> io::Result<()> {
        if let Some(entry) = self.entries.get_mut(unit)
            && !is_planted("replaced-file-not-taken-up")
        {
            entry.owned.stopping = true;
        }
        self.record_file(unit, file)
    }

    /// The unit is enabled, or no longer. A hook is no run: what was carried out is of the boot that it was of.
    pub fn record_enabled(&mut self, unit: &UnitName, enabled: bool) -> io::Result<()> {
        let Some(mut entry) = self.entries.get(unit).cloned() else { return Ok(()) };
        entry.owned.enabled = enabled;
        if is_planted("hook-taken-for-a-run") {
            return self.save_entry(unit, entry);
        }
        self.write_entry(unit, entry)
    }

    /// A unit that is down is about to be started at this generation: what was carried out before is over, and whatever runs from now on
    /// has come of this start. Should nobody learn how it ended, one that runs is left alone, and started anew for another generation.
    pub fn record_down(&mut self, unit: &UnitName, generation: u64) -> io::Result<()> {
        let Some(mut entry) = self.entries.get(unit).cloned() else { return Ok(()) };
        let begun = (generation, DesiredState::Inactive);
        if (entry.owned.generation, entry.owned.desired) == begun
            || is_planted("start-rests-on-run-before")
        {
            return Ok(());
        }
        (entry.owned.generation, entry.owned.desired) = begun;
        self.save_entry(unit, entry)
    }

    /// A start has begun.
    pub fn mark_begun(&mut self, unit: &UnitName) {
        if let Some(entry) = self.entries.get_mut(unit) {
            entry.begun = true;
        }
    }

    /// The start that has begun is waited for no more, and may or may not have been heard of by the runner. It counts as not begun when it
    /// is decided whether to start, and as begun when it is decided whether to stop.
    pub fn mark_unsure(&mut self, unit: &UnitName) {
        if let Some(entry) = self.entries.get_mut(unit) {
            (entry.begun, entry.unsure) = (false, true);
        }
    }

    /// A stop is about to begin. Should it be cut off, the unit is not taken for one that has ended by itself when it is wanted again.
    pub fn record_stopping(&mut self, unit: &UnitName) -> io::Result<()> {
        let Some(mut entry) = self.entries.get(unit).cloned() else { return Ok(()) };
        if entry.owned.stopping {
            return Ok(());
        }
        entry.owned.stopping = true;
        self.save_entry(unit, entry)
    }

    /// Something does not go as asked, and is tried again. In hand only.
    pub fn note_problem(&mut self, unit: &UnitName, problem: &str) {
        if let Some(entry) = self.entries.get_mut(unit) {
            entry.problem = Some(problem.to_owned());
        }
    }

    /// The unit's start is carried out, and it is in this run. In hand only, until that it has settled is put on record.
    pub fn note_run(&mut self, unit: &UnitName, run: String) {
        if let Some(entry) = self.entries.get_mut(unit) {
            entry.run = Some(run).filter(|run| !run.is_empty());
        }
    }

    /// The generation and desired state are carried out, or given up on for the problem.
    pub fn record_settled(
        &mut self,
        unit: &UnitName,
        generation: u64,
        desired: DesiredState,
        problem: Option<String>,
    ) -> io::Result<()> {
        let Some(mut entry) = self.entries.get(unit).cloned() else { return Ok(()) };
        entry.owned.generation = generation;
        entry.owned.desired = desired;
        entry.problem = problem;
        entry.owned.stopping = false;
        entry.begun = false;
        entry.unsure = false;
        // What runs from an earlier file does so until it is replaced, or given up on.
        entry.replaced = entry
            .replaced
            .filter(|noted| desired != DesiredState::Launched && noted.restart.is_none());
        self.save_entry(unit, entry)
    }

    /// The unit is not ours any more.
    pub fn forget_unit(&mut self, unit: &UnitName) -> io::Result<()> {
        self.boots.remove(unit);
        if self.entries.remove(unit).is_some() {
            let now = Instant::now();
            if self.left.len() >= MOST_REMEMBERED {
                self.left.retain(|_, at| now.saturating_duration_since(*at) < REMEMBERED_FOR);
            }
            if self.left.len() < MOST_REMEMBERED {
                self.left.insert(unit.clone(), now);
            }
        }
        debug_assert!(self.left.len() <= MOST_REMEMBERED, "{} units", self.left.len());
        remove_file(&*self.disk, &self.directory.join(unit.as_str()))
    }

    /// True when a unit was ours until a short time ago.
    pub fn owned_lately(&self, unit: &UnitName, now: Instant) -> bool {
        self.left.get(unit).is_some_and(|at| now.saturating_duration_since(*at) < REMEMBERED_FOR)
    }

    /// The entry is of this boot from now on.
    fn save_entry(&mut self, unit: &UnitName, entry: OwnedUnit) -> io::Result<()> {
        self.boots.remove(unit);
        self.write_entry(unit, entry)
    }

    fn write_entry(&mut self, unit: &UnitName, entry: OwnedUnit) -> io::Result<()> {
        let record = OwnedRecord {
            file: entry.owned.file,
            generation: entry.owned.generation,
            desired: entry.owned.desired,
            enabled: entry.owned.enabled,
            stopping: entry.owned.stopping,
            problem: entry.problem.clone(),
            replaced: entry.replaced.clone(),
            run: entry.run.clone(),
            boot: self.boots.get(unit).or(self.boot.as_ref()).cloned(),
        };
        // `starting` is what follows from a start in hand; on record it is never so, for the next daemon looks for itself.
        debug_assert!(!entry.owned.starting, "{unit}: {entry:?}");
        self.entries.insert(unit.clone(), entry);
        if is_planted("ledger-unsaved") {
            return Ok(());
        }
        let bytes = serde_json::to_vec(&record)?;
        let path = self.directory.join(unit.as_str());
        replace_file(&*self.disk, &path, &bytes, Durability::OutlivesDaemon)
    }
}

impl OwnedUnits for Mutex<Ledger> {
    fn owns_unit(&self, unit: &UnitName) -> bool {
        lock(self).get(unit).is_some()
    }

    fn owned_lately(&self, unit: &UnitName, now: Instant) -> bool {
        lock(self).owned_lately(unit, now)
    }

    fn list_owned(&self) -> BTreeMap<UnitName, OwnedReport> {
        let entries = lock(self).owned_units().clone();
        let reports = entries.into_iter().map(|(unit, entry)| {
            let Owned { file, generation, desired, .. } = entry.owned;
            (unit, OwnedReport { file, generation, desired, problem: entry.problem })
        });
        reports.collect()
    }
}

fn restore_entry(record: OwnedRecord) -> OwnedUnit {
    let OwnedRecord {
        file, generation, desired, enabled, stopping, problem, replaced, run, ..
    } = record;
    let owned = Owned { file, generation, desired, enabled, starting: false, stopping };
    OwnedUnit { owned, problem, replaced, run, ..OwnedUnit::new(file) }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use muster_engine::machine::converge::{Desired, Observed, Step, next_steps};

    use crate::stdx::disk::HostDisk;

    fn open(directory: &Path) -> io::Result<Ledger> {
        Ledger::open(Arc::new(HostDisk), directory.to_owned())
    }

    #[test]
    fn the_next_daemon_remembers_what_this_one_carried_out() {
        let directory = tempfile::tempdir().unwrap();
        let unit: UnitName = "a.service".parse().unwrap();
        let file = FileHash::of_text("a");
        let mut ledger = open(directory.path()).unwrap();
        ledger.record_file(&unit, file).unwrap();
        ledger.record_enabled(&unit, true).unwrap();
        ledger
            .record_settled(&unit, 3, DesiredState::Launched, Some("it failed".to_owned()))
            .unwrap();

        let again = open(directory.path()).unwrap();
        assert_eq!(again.owned_units(), ledger.owned_units());
        let entry = again.get(&unit).unwrap();
        assert_eq!((entry.owned.generation, entry.owned.enabled), (3, true));
        assert_eq!(entry.problem.as_deref(), Some("it failed"));

        let now = Instant::now();
        assert!(!ledger.owned_lately(&unit, now));
        ledger.forget_unit(&unit).unwrap();
        assert!(ledger.owned_lately(&unit, Instant::now()));
        assert!(!ledger.owned_lately(&unit, Instant::now() + REMEMBERED_FOR));
        assert!(open(directory.path()).unwrap().owned_units().is_empty());
    }

    #[test]
    fn what_was_carried_out_in_another_boot_is_to_be_done_anew() {
        let directory = tempfile::tempdir().unwrap();
        let unit: UnitName = "a.service".parse().unwrap();
        let boot = |userspace: &str| BootMark {
            machine: "a-1".to_owned(),
            userspace: Some(userspace.to_owned()),
        };
        let mut ledger = open(directory.path()).unwrap().in_boot(boot("x"));
        ledger.record_file(&unit, FileHash::of_text("a")).unwrap();
        ledger.record_enabled(&unit, true).unwrap();
        ledger.record_settled(&unit, 3, DesiredState::Launched, None).unwrap();

        let again = open(directory.path()).unwrap().in_boot(boot("x"));
        assert_eq!(again.owned_units(), ledger.owned_units(), "the daemon was started again");
        let unknown = BootMark { userspace: None, ..boot("x") };
        let again = open(directory.path()).unwrap().in_boot(unknown);
        assert_eq!(again.owned_units(), ledger.owned_units(), "systemd could not be asked");
        let again = open(directory.path()).unwrap().in_boot(boot("y"));
        let owned = &again.get(&unit).unwrap().owned;
        assert_eq!((owned.generation, owned.desired), (0, DesiredState::Inactive));
        assert_eq!((owned.file, owned.enabled), (FileHash::of_text("a"), true));
    }

    #[test]
    fn a_start_that_was_only_begun_is_not_on_record() {
        let directory = tempfile::tempdir().unwrap();
        let unit: UnitName = "a.service".parse().unwrap();
        let mut ledger = open(directory.path()).unwrap();
        ledger.record_file(&unit, FileHash::of_text("a")).unwrap();
        ledger.mark_begun(&unit);
        assert_eq!(ledger.get(&unit).unwrap().for_decision().desired, DesiredState::Launched);
        ledger.mark_unsure(&unit);
        let decisive = ledger.get(&unit).unwrap().for_decision();
        assert_eq!((decisive.desired, decisive.starting), (DesiredState::Inactive, true));
        let again = open(directory.path()).unwrap();
        assert_eq!(again.get(&unit).unwrap().for_decision().desired, DesiredState::Inactive);
    }

    #[test]
    fn a_unit_that_was_down_before_its_start_is_left_alone_if_it_runs_after_it() {
        let directory = tempfile::tempdir().unwrap();
        let unit: UnitName = "a.service".parse().unwrap();
        let file = FileHash::of_text("a");
        let mut ledger = open(directory.path()).unwrap();
        ledger.record_file(&unit, file).unwrap();
        ledger.record_settled(&unit, 1, DesiredState::Launched, None).unwrap();
        // It has ended, and is started at a later generation; how that ended nobody learns.
        ledger.record_down(&unit, 2).unwrap();
        ledger.mark_begun(&unit);
        ledger.mark_unsure(&unit);
        let found = open(directory.path()).unwrap();
        for memory in [&ledger, &found] {
            let owned = memory.get(&unit).unwrap().for_decision();
            let steps = |active: &str, desired: DesiredState, generation: u64| {
                let wanted = Desired { file, desired, generation, install: false };
                let seen =
                    Observed { active: active.into(), file: Some(file), ..Observed::default() };
                let (seen, owned) =
                    ([(unit.clone(), seen)].into(), [(unit.clone(), owned.clone())].into());
                let next = next_steps(&[(unit.clone(), wanted)].into(), &seen, &owned);
                next.others.into_iter().flat_map(|chain| chain.steps).collect::<Vec<_>>()
            };
            let settle = |generation| Step::Settle { generation, desired: DesiredState::Launched };
            let launched = |active, generation| steps(active, DesiredState::Launched, generation);
            assert_eq!(launched("active", 2), [settle(2)]);
            assert_eq!(launched("inactive", 2), [Step::Start { generation: 2 }, settle(2)]);
            // A restart that was asked for meanwhile is no start that was carried out already.
            assert_eq!(launched("active", 3), [Step::Restart { generation: 3 }, settle(3)]);
        }
    }

    #[test]
    fn the_run_before_a_restart_is_on_record_until_its_end_is_known() {
        let directory = tempfile::tempdir().unwrap();
        let unit: UnitName = "a.service".parse().unwrap();
        let file = FileHash::of_text("a");
        let replaced = |run: &str, restart| Some(ReplacedRun { run: run.to_owned(), restart });
        let mut ledger = open(directory.path()).unwrap();
        ledger.record_file(&unit, file).unwrap();
        ledger.record_settled(&unit, 1, DesiredState::Launched, None).unwrap();
        ledger.record_restart(&unit, 2, "x").unwrap();
        // What runs at a second attempt may have come of the first.
        ledger.record_restart(&unit, 2, "y").unwrap();
        ledger.record_restart(&unit, 3, "").unwrap();
        let found = open(directory.path()).unwrap();
        assert_eq!(found.get(&unit).unwrap().replaced, replaced("x", Some(2)));
        ledger.record_settled(&unit, 2, DesiredState::Launched, None).unwrap();
        assert_eq!(open(directory.path()).unwrap().get(&unit).unwrap().replaced, None);
    }

    #[test]
    fn a_run_from_an_earlier_file_is_on_record_until_it_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let unit: UnitName = "a.service".parse().unwrap();
        let mut ledger = open(directory.path()).unwrap();
        ledger.record_file(&unit, FileHash::of_text("a")).unwrap();
        ledger.record_outdated(&unit, "x").unwrap();
        ledger.record_file(&unit, FileHash::of_text("a")).unwrap();
        ledger.record_settled(&unit, 1, DesiredState::Loaded, None).unwrap();
        let found = open(directory.path()).unwrap().get(&unit).unwrap().replaced.clone();
        assert_eq!(found, Some(ReplacedRun { run: "x".to_owned(), restart: None }));
        ledger.record_file(&unit, FileHash::of_text("b")).unwrap();
        assert_eq!(ledger.get(&unit).unwrap().replaced, None);
    }

    #[test]
    fn no_unit_is_in_the_way_of_anothers_record() {
        let directory = tempfile::tempdir().unwrap();
        let longest = format!("{}.service", "x".repeat(247));
        let units = [".a.service", "a.service", "..a.service", &longest];
        let units = units.map(|unit| unit.parse::<UnitName>().unwrap());
        let mut ledger = open(directory.path()).unwrap();
        for unit in &units {
            ledger.record_file(unit, FileHash::of_text(unit.as_str())).unwrap();
        }
        let again = open(directory.path()).unwrap();
        for unit in &units {
            let file = again.get(unit).map(|entry| entry.owned.file);
            assert_eq!(file, Some(FileHash::of_text(unit.as_str())), "{unit}");
        }
    }

    #[test]
    fn a_record_that_cannot_be_read_harms_only_itself() {
        let directory = tempfile::tempdir().unwrap();
        let unit: UnitName = "a.service".parse().unwrap();
        let mut ledger = open(directory.path()).unwrap();
        ledger.record_file(&unit, FileHash::of_text("a")).unwrap();
        fs::write(directory.path().join("b.service"), "{").unwrap();
        let again = open(directory.path()).unwrap();
        assert_eq!(again.owned_units().keys().collect::<Vec<_>>(), [&unit]);
    }
}
