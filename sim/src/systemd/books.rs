//! What the world notes of units on a machine beside systemd itself.
//!
//! Owns what checks want to know and nobody on the machine says: the generation with which a daemon had a unit started, whether a unit
//! has ended by itself, and when its file was written or removed. No daemon sees any of it.

use std::collections::BTreeMap;
use std::time::Duration;

use muster_common::unit::{FileHash, UnitName};
use musterd::runner::systemd::manager::{JobId, JobKind, JobResult};

use super::calls::SystemdAnswer;
use super::state::ProgramStart;

/// The notes on one unit.
#[derive(Debug, Clone, Default)]
pub(crate) struct UnitNotes {
    /// The generation of the last start that a daemon wanted to ask for.
    wanted: u64,
    /// That of the last one that systemd has heard of.
    pub(crate) generation: u64,
    /// It has ended by itself, or could not begin.
    pub(crate) ended: bool,
    /// True if its program was begun by somebody else than a daemon.
    pub(crate) by_others: bool,
    /// A daemon's job for it is in the queue.
    has_job: bool,
    /// The file that a daemon has put in its place, and when.
    pub(crate) written: Option<(FileHash, Duration)>,
    /// The moment at which a daemon was told that nothing of it is left.
    pub(crate) removed: Option<Duration>,
}

/// A start of a program, and what was known of its unit then.
#[derive(Debug, Clone)]
pub(crate) struct NotedStart {
    /// The start.
    pub(crate) start: ProgramStart,
    /// The notes on its unit.
    pub(crate) notes: UnitNotes,
}

/// The notes on all units of a machine.
#[derive(Debug, Default)]
pub(super) struct Books {
    units: BTreeMap<UnitName, UnitNotes>,
    jobs: BTreeMap<JobId, UnitName>,
    /// Starts since they were taken last.
    pub(super) starts: Vec<NotedStart>,
    /// Starts that daemons have had carried out: unit and generation.
    pub(super) begun: Vec<(UnitName, u64)>,
}

impl Books {
    /// A boot: nothing runs, and nothing is on its way.
    pub(super) fn begin_boot(&mut self) {
        self.units.clear();
        self.jobs.clear();
    }

    /// The notes on a unit.
    pub(super) fn find(&self, unit: &UnitName) -> UnitNotes {
        self.units.get(unit).cloned().unwrap_or_default()
    }

    /// The generation of the last start that a daemon wanted to ask for.
    pub(super) fn find_wish(&self, unit: &UnitName) -> u64 {
        self.units.get(unit).map_or(0, |notes| notes.wanted)
    }

    pub(super) fn note_wish(&mut self, unit: &UnitName, generation: u64) {
        self.units.entry(unit.clone()).or_default().wanted = generation;
    }

    pub(super) fn note_file(&mut self, unit: &UnitName, now: Duration, file: Option<FileHash>) {
        let notes = self.units.entry(unit.clone()).or_default();
        notes.written = file.map(|file| (file, now));
        notes.removed = file.is_none().then_some(now);
    }

    /// A unit is down because somebody wanted it to be, past its daemon.
    pub(super) fn note_end_by_hand(&mut self, unit: &UnitName) {
        self.units.entry(unit.clone()).or_default().ended = true;
    }

    /// A unit is up because somebody wanted it to be, past its daemon.
    pub(super) fn note_start_by_hand(&mut self, unit: &UnitName) {
        let notes = self.units.entry(unit.clone()).or_default();
        (notes.by_others, notes.ended) = (true, false);
    }

    /// A daemon's job is about to be put into the queue.
    pub(super) fn before_job(&mut self, kind: JobKind, unit: &UnitName) {
        if kind != JobKind::Stop {
            self.units.entry(unit.clone()).or_default().has_job = true;
        }
    }

    /// It has been, or was refused. A start was asked for with a generation in mind.
    pub(super) fn after_job(
        &mut self,
        kind: JobKind,
        unit: &UnitName,
        generation: u64,
        answer: &Result<SystemdAnswer, String>,
    ) {
        if kind == JobKind::Stop {
            return;
        }
        let notes = self.units.entry(unit.clone()).or_default();
        if let Ok(SystemdAnswer::Job(job)) = answer {
            (notes.generation, notes.ended, notes.by_others) = (generation, false, false);
            self.begun.push((unit.clone(), generation));
            self.jobs.insert(job.clone(), unit.clone());
        } else {
            (notes.has_job, notes.ended) = (false, true);
        }
    }

    pub(super) fn on_start(&mut self, start: ProgramStart) {
        let notes = self.units.entry(start.unit.clone()).or_default();
        (notes.by_others, notes.ended) = (!notes.has_job, false);
        self.starts.push(NotedStart { start, notes: notes.clone() });
    }

    pub(super) fn on_end(&mut self, unit: &UnitName, by_itself: bool) {
        if by_itself {
            self.note_end_by_hand(unit);
        }
    }

    pub(super) fn on_job_removed(&mut self, job: &JobId, result: &JobResult) {
        let Some(unit) = self.jobs.remove(job) else { return };
        let notes = self.units.entry(unit).or_default();
        notes.has_job = false;
        notes.ended |= *result != JobResult::Done;
    }
}
