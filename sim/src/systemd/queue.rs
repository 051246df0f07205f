//! The queue of jobs.
//!
//! Owns what a request brings into the queue with it, which jobs take the place of which, and in what order they run
//! (systemd.unit(5); `StartUnit` in org.freedesktop.systemd1(5), mode `replace`).

use std::collections::BTreeSet;

use muster_common::state::load;
use muster_common::unit::UnitName;
use musterd::runner::systemd::manager::{JobId, JobKind, JobResult, ManagerSignal};

use super::state::{Phase, QueuedJob, SystemdModel};

impl SystemdModel {
    /// A request by hand. The number of the job it becomes, or systemd's refusal.
    pub(super) fn request_job(&mut self, kind: JobKind, unit: &UnitName) -> Result<u64, String> {
        self.load_unit(unit);
        let found = self.units.get(unit).ok_or_else(|| format!("Unit {unit} not found."))?;
        let (by_hand_start, by_hand_stop) = found
            .definition
            .as_ref()
            .map_or((false, false), |found| (found.refuses_start, found.refuses_stop));
        let refused = || {
            format!(
                "Operation refused, unit {unit} may be requested by dependency only (it is configured to refuse manual start/stop)."
            )
        };
        if (kind == JobKind::Start && by_hand_start)
            || (kind == JobKind::Stop && by_hand_stop)
            || (kind == JobKind::Restart && (by_hand_start || by_hand_stop))
        {
            return Err(refused());
        }
        if kind == JobKind::Stop && found.load != load::LOADED && !found.is_there() {
            return Err(format!("Unit {unit} not loaded."));
        }
        self.request_by_systemd(kind, unit)
    }

    /// The same where a timer, a socket or a dependency asks.
    pub(super) fn request_by_systemd(
        &mut self,
        kind: JobKind,
        unit: &UnitName,
    ) -> Result<u64, String> {
        self.load_unit(unit);
        if kind == JobKind::Stop {
            self.stop_with_dependents(unit);
        } else {
            if self.stopping {
                return Err(format!(
                    "Transaction for {unit} is destructive (it is being shut down)."
                ));
            }
            let mut jobs = Vec::new();
            self.plan_start(kind, unit, &mut jobs)?;
            for (kind, unit) in jobs {
                self.install_job(kind, &unit);
            }
        }
        let job = self.jobs.get(unit).map(|job| job.number);
        self.run_queue();
        Ok(job.unwrap_or(self.next_job))
    }

    /// The jobs that a start brings along, to be put into the queue together or not at all.
    fn plan_start(
        &self,
        kind: JobKind,
        unit: &UnitName,
        jobs: &mut Vec<(JobKind, UnitName)>,
    ) -> Result<(), String> {
        if jobs.iter().any(|(kind, planned)| planned == unit && *kind != JobKind::Stop) {
            return Ok(());
        }
        let found = self.units.get(unit).filter(|found| found.load == load::LOADED);
        let Some(definition) = found.and_then(|found| found.definition.clone()) else {
            let state = self.units.get(unit).map_or(load::NOT_FOUND, |found| found.load);
            return Err(match state {
                load::NOT_FOUND => format!("Unit {unit} not found."),
                _ => format!("Unit {unit} has a bad unit file setting."),
            });
        };
        jobs.push((kind, unit.clone()));
        for required in &definition.requires {
            self.plan_start(JobKind::Start, required, jobs)?;
        }
        for wanted in &definition.wants {
            // What is wanted and cannot be started is passed over, with all it would bring along.
            let before = jobs.len();
            if self.plan_start(JobKind::Start, wanted, jobs).is_err() {
                jobs.truncate(before);
            }
        }
        for other in &definition.conflicts {
            let stops = self.list_dependents(other).into_iter().chain([other.clone()]);
            jobs.extend(stops.map(|unit| (JobKind::Stop, unit)));
        }
        if kind == JobKind::Restart {
            let dependents = self.list_dependents(unit).into_iter();
            jobs.extend(dependents.map(|unit| (JobKind::Restart, unit)));
        }
        Ok(())
    }

    fn stop_with_dependents(&mut self, unit: &UnitName) {
        for dependent in self.list_dependents(unit) {
            self.install_job(JobKind::Stop, &dependent);
        }
        self.install_job(JobKind::Stop, unit);
    }

    /// Units that are there and go when this one does, near and far.
    fn list_dependents(&self, unit: &UnitName) -> BTreeSet<UnitName> {
        let mut found = BTreeSet::new();
        let mut open = vec![unit.clone()];
        while let Some(gone) = open.pop() {
            for (name, other) in &self.units {
                let Some(definition) = &other.definition else { continue };
                let goes =
                    definition.requires.contains(&gone) || definition.part_of.contains(&gone);
                let there = other.is_there() || self.jobs.contains_key(name);
                if goes && there && name != unit && found.insert(name.clone()) {
                    open.push(name.clone());
                }
            }
        }
        found
    }

    /// Puts a job into the queue, in the place of one that conflicts, or together with one that does not.
    fn install_job(&mut self, kind: JobKind, unit: &UnitName) {
        if let Some(job) = self.jobs.get_mut(unit) {
            if (job.kind == JobKind::Stop) == (kind == JobKind::Stop) {
                if job.kind == JobKind::Start && kind == JobKind::Restart {
                    (job.kind, job.running) = (kind, false);
                }
                return;
            }
            self.finish_job(unit, JobResult::Cancelled);
        }
        self.next_job += 1;
        let job = QueuedJob { number: self.next_job, kind, running: false };
        self.jobs.insert(unit.clone(), job);
    }

    /// Runs every job whose turn has come.
    pub(super) fn run_queue(&mut self) {
        loop {
            let waiting: Vec<UnitName> = self
                .jobs
                .iter()
                .filter(|(_, job)| !job.running)
                .map(|(unit, _)| unit.clone())
                .collect();
            let mut went_on = false;
            for unit in waiting {
                let Some(job) = self.jobs.get(&unit).filter(|job| !job.running) else { continue };
                let (number, kind) = (job.number, job.kind);
                if !self.may_run(&unit, kind) {
                    continue;
                }
                self.run_job(&unit, kind);
                let after = self.jobs.get(&unit);
                went_on |=
                    after.is_none_or(|job| job.running || job.number != number || job.kind != kind);
            }
            if !went_on {
                return;
            }
        }
    }

    /// No job that comes first is in the queue: that of a unit it starts after, or, when it stops, that of one that stops before.
    fn may_run(&self, unit: &UnitName, kind: JobKind) -> bool {
        let comes_after = |later: &UnitName, earlier: &UnitName| {
            let orders = |of: &UnitName| self.units.get(of).and_then(|u| u.definition.as_ref());
            orders(later).is_some_and(|definition| definition.after.contains(earlier))
                || orders(earlier).is_some_and(|definition| definition.before.contains(later))
        };
        !self.jobs.iter().filter(|(other, _)| *other != unit).any(|(other, job)| {
            match (kind, job.kind) {
                (JobKind::Stop, JobKind::Stop) => comes_after(other, unit),
                (JobKind::Stop, _) => false,
                // What stops goes first, whichever way the two are ordered.
                (_, JobKind::Stop) => comes_after(unit, other) || comes_after(other, unit),
                _ => comes_after(unit, other) && !comes_after(other, unit),
            }
        })
    }

    fn run_job(&mut self, unit: &UnitName, kind: JobKind) {
        let Some(phase) = self.units.get(unit).map(|found| found.phase) else {
            return self.finish_job(unit, JobResult::Done);
        };
        let is_there = !matches!(phase, Phase::Down | Phase::Failed);
        match kind {
            JobKind::Stop | JobKind::Restart if is_there => {
                self.mark_running(unit);
                self.begin_stop(unit);
            }
            JobKind::Stop => self.finish_job(unit, JobResult::Done),
            JobKind::Start if matches!(phase, Phase::Up | Phase::Remains) => {
                self.finish_job(unit, JobResult::Done);
            }
            // It goes on once the unit is down.
            JobKind::Start if phase == Phase::Stopping => {}
            JobKind::Start if phase == Phase::Starting => self.mark_running(unit),
            JobKind::Start | JobKind::Restart => {
                if let Some(job) = self.jobs.get_mut(unit) {
                    (job.kind, job.running) = (JobKind::Start, true);
                }
                self.launch_unit(unit, false);
            }
        }
    }

    fn mark_running(&mut self, unit: &UnitName) {
        if let Some(job) = self.jobs.get_mut(unit) {
            job.running = true;
        }
    }

    /// A unit has come up, as far as its job goes.
    pub(super) fn job_is_up(&mut self, unit: &UnitName) {
        if self.jobs.get(unit).is_some_and(|job| job.kind == JobKind::Start) {
            self.finish_job(unit, JobResult::Done);
        }
    }

    /// A unit has gone down: a stop is done, a restart goes on, a start has failed.
    pub(super) fn job_is_down(&mut self, unit: &UnitName, failed: bool) {
        let Some(job) = self.jobs.get_mut(unit) else { return };
        match job.kind {
            JobKind::Restart if job.running => (job.kind, job.running) = (JobKind::Start, false),
            JobKind::Stop => self.finish_job(unit, JobResult::Done),
            JobKind::Start if job.running => {
                let result = if failed { JobResult::Failed } else { JobResult::Done };
                self.finish_job(unit, result);
            }
            JobKind::Start | JobKind::Restart => {}
        }
    }

    /// A job leaves the queue. Starts that need what has not come up go with it.
    pub(super) fn finish_job(&mut self, unit: &UnitName, result: JobResult) {
        let Some(job) = self.jobs.remove(unit) else { return };
        let starts_in_vain = job.kind != JobKind::Stop && result != JobResult::Done;
        let id = JobId(job_path(job.number));
        self.signals.push(ManagerSignal::JobRemoved { job: id, result });
        if !starts_in_vain {
            return;
        }
        let needs = |other: &UnitName| {
            let definition = self.units.get(other).and_then(|found| found.definition.as_ref());
            definition.is_some_and(|definition| definition.requires.contains(unit))
        };
        let in_vain: Vec<UnitName> = self
            .jobs
            .iter()
            .filter(|(other, job)| job.kind == JobKind::Start && !job.running && needs(other))
            .map(|(other, _)| other.clone())
            .collect();
        for other in in_vain {
            self.finish_job(&other, JobResult::Dependency);
        }
    }
}

/// The path of a job's object on the bus.
pub(super) fn job_path(number: u64) -> String {
    format!("/org/freedesktop/systemd1/job/{number}")
}
