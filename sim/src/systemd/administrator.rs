//! What a person with root does to units on one machine.
//!
//! Owns the commands that are given by hand, past the daemon. Which come when is the plan's.

use muster_common::unit::UnitName;
use musterd::runner::systemd::manager::{JobKind, JobResult};

use super::state::{Phase, SystemdModel};

impl SystemdModel {
    /// The services that are up, or start, in the order of their names.
    pub(crate) fn list_services_up(&self) -> Vec<UnitName> {
        let up = self.units.iter().filter(|(_, found)| {
            let service =
                found.running.as_ref().is_some_and(|running| running.service_part().is_some());
            service && found.phase == Phase::Up
        });
        up.map(|(unit, _)| unit.clone()).collect()
    }

    /// The units that have a file and are not up, of those that are loaded or lie in a directory.
    pub(crate) fn list_down(&self, names: &[UnitName]) -> Vec<UnitName> {
        let down = |unit: &&UnitName| self.units.get(*unit).is_none_or(|found| !found.is_there());
        names.iter().filter(down).cloned().collect()
    }

    /// Somebody says `systemctl start` or `systemctl stop`. Returns whether it was taken.
    pub(crate) fn ask_by_hand(&mut self, kind: JobKind, unit: &UnitName) -> bool {
        let taken = self.request_job(kind, unit).is_ok();
        self.collect_garbage();
        taken
    }

    /// Somebody says `systemctl cancel`: a job leaves the queue, and what has begun of it goes on. Returns its unit.
    pub(crate) fn cancel_job(&mut self, number: u64) -> Option<UnitName> {
        let index = usize::try_from(number.checked_rem(self.jobs.len() as u64)?).ok()?;
        let unit = self.jobs.keys().nth(index)?.clone();
        self.finish_job(&unit, JobResult::Cancelled);
        self.run_queue();
        self.collect_garbage();
        Some(unit)
    }

    /// Somebody says `systemctl daemon-reload`.
    pub(crate) fn reload_by_hand(&mut self) {
        self.reload_units();
        self.run_queue();
    }
}
