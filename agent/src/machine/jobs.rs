//! This machine's memory of the jobs it has begun.
//!
//! Owns `jobs.json` in the state directory, which outlives daemon, boot and store: a job is noted there before it is begun,
//! and how it ended when it has. It never decides what follows from that: [`muster_engine::machine::job`] does.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use muster_common::probe::is_planted;
use muster_common::unit::UnitName;
use muster_engine::machine::job::{JobEnd, JobRun};

use crate::stdx::disk::Disk;
use crate::stdx::files::{Durability, read_file, replace_file};

/// The memory, on disk and in hand.
#[derive(Debug)]
pub(crate) struct JobMemory {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    /// The runs that were noted, or why they cannot be read: then no job is begun, for it may have been before.
    runs: Result<BTreeMap<UnitName, JobRun>, String>,
}

impl JobMemory {
    /// Reads what was noted in the same directory as the last known placements.
    pub(crate) fn open_beside(disk: Arc<dyn Disk>, placements: &Path) -> Self {
        let path = placements.with_file_name("jobs.json");
        let runs = match read_file(&*disk, &path) {
            Ok(Some(bytes)) => serde_json::from_slice(&bytes).map_err(|error| error.to_string()),
            Ok(None) => Ok(BTreeMap::new()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = &runs {
            tracing::error!(path = %path.display(), error, "cannot read which jobs were begun");
        }
        Self { disk, path, runs }
    }

    /// The last run of each job that was begun here; none where that cannot be read.
    pub(crate) fn job_runs(&self) -> &BTreeMap<UnitName, JobRun> {
        static NONE: BTreeMap<UnitName, JobRun> = BTreeMap::new();
        self.runs.as_ref().unwrap_or(&NONE)
    }

    /// The job is about to begin. It may only do so once this has been written.
    pub(crate) fn record_begin(&mut self, unit: &UnitName, generation: u64) -> io::Result<()> {
        if is_planted("job-begin-not-noted") {
            return Ok(());
        }
        self.change_runs(|runs| {
            runs.insert(unit.clone(), JobRun { generation, end: None });
        })
    }

    /// The job has ended.
    pub(crate) fn record_end(&mut self, unit: &UnitName, end: JobEnd) -> io::Result<()> {
        self.change_runs(|runs| {
            if let Some(run) = runs.get_mut(unit) {
                run.end = Some(end);
            }
        })
    }

    /// The runs of these jobs are forgotten.
    pub(crate) fn forget_runs(&mut self, units: &BTreeSet<UnitName>) -> io::Result<()> {
        self.change_runs(|runs| runs.retain(|unit, _| !units.contains(unit)))
    }

    fn change_runs(
        &mut self,
        change: impl FnOnce(&mut BTreeMap<UnitName, JobRun>),
    ) -> io::Result<()> {
        let mut runs = match &self.runs {
            Ok(runs) => runs.clone(),
            Err(error) => {
                let path = self.path.display();
                return Err(io::Error::other(format!("{path} cannot be read: {error}")));
            }
        };
        change(&mut runs);
        // An end is noted of a run that was noted before it began: whoever reads an end may rely on nobody having begun unseen.
        debug_assert!(
            runs.iter().all(|(unit, run)| run.end.is_none() || self.job_runs().contains_key(unit)),
            "{runs:?}"
        );
        let bytes = serde_json::to_vec(&runs)?;
        replace_file(&*self.disk, &self.path, &bytes, Durability::OutlivesPowerCut)?;
        self.runs = Ok(runs);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::stdx::disk::HostDisk;

    #[test]
    fn the_next_daemon_knows_what_this_one_has_begun() {
        let directory = tempfile::tempdir().unwrap();
        let placements = directory.path().join("placements.json");
        let unit: UnitName = "migrate.service".parse().unwrap();
        let mut jobs = JobMemory::open_beside(Arc::new(HostDisk), &placements);
        assert_eq!(jobs.job_runs().get(&unit), None);
        jobs.record_begin(&unit, 3).unwrap();
        let begun = JobRun { generation: 3, end: None };
        assert_eq!(
            JobMemory::open_beside(Arc::new(HostDisk), &placements).job_runs().get(&unit),
            Some(&begun)
        );
        jobs.record_end(&unit, JobEnd::Succeeded).unwrap();
        let ended = JobRun { generation: 3, end: Some(JobEnd::Succeeded) };
        assert_eq!(
            JobMemory::open_beside(Arc::new(HostDisk), &placements).job_runs().get(&unit),
            Some(&ended)
        );
        jobs.forget_runs(&BTreeSet::from([unit.clone()])).unwrap();
        assert_eq!(
            JobMemory::open_beside(Arc::new(HostDisk), &placements).job_runs().get(&unit),
            None
        );
    }

    #[test]
    fn what_cannot_be_read_lets_no_job_begin_and_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let placements = directory.path().join("placements.json");
        fs::write(directory.path().join("jobs.json"), "{").unwrap();
        let unit: UnitName = "migrate.service".parse().unwrap();
        let mut jobs = JobMemory::open_beside(Arc::new(HostDisk), &placements);
        assert!(jobs.record_begin(&unit, 1).is_err());
        assert!(jobs.forget_runs(&BTreeSet::from([unit])).is_err());
        assert_eq!(fs::read(directory.path().join("jobs.json")).unwrap(), b"{");
    }
}
