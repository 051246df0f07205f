//! What becomes of the units on a machine that is drained.
//!
//! Owns the account, for people and for those who wait: each unit with where it goes, or why it cannot. It never decides:
//! it tells what the next plans would do as things stand, were there room for all to move at once.

use std::collections::BTreeMap;

use muster_common::cordon::{AtDeadline, Cordon, CordonHolder, Drain, Hold};
use muster_common::drain::DrainStatus;
use muster_common::machine::MachineId;
use muster_common::refusal::{MachineReason, Refusal, UnitReason};
use muster_common::snapshot::Change;
use muster_common::unit::UnitName;

use crate::machine::arrival::Arrival;

use super::index::UnitSpec;
use super::moves::DrainVerdict;
use super::pass::PlanPass;
use super::scheduler::Scheduler;
use super::table::{MachineKey, UnitKey};

impl Scheduler {
    /// The lot of each unit that a machine has or is giving up. Of a machine that is not drained: that they stay. No
    /// trace is left.
    pub fn drain_status(&mut self, machine: &MachineId) -> BTreeMap<UnitName, DrainStatus> {
        let Some(machine) = self.index.machine_keys.get(machine).copied() else {
            return BTreeMap::new();
        };
        self.rehearse_pass(|pass, agenda| {
            pass.moves_left = usize::MAX;
            pass.consider_units(agenda);
            let row = &pass.index.machines[machine];
            let units: Vec<UnitKey> = row.units.union(&row.reporting).copied().collect();
            let statuses = units.into_iter().filter_map(|unit| {
                Some((pass.index.units[unit].name.clone(), pass.unit_status(unit, machine)?))
            });
            statuses.collect()
        })
    }

    /// The lot that each unit would have were the machine drained now. No trace is left.
    pub fn rehearse_drain(&self, machine: &MachineId) -> BTreeMap<UnitName, DrainStatus> {
        let mut rehearsal = self.clone();
        let drain = Drain { began: 0, deadline: None, then: AtDeadline::GiveUp, ended: None };
        let hold = Hold { drain: Some(drain), ..Hold::default() };
        let known = self.index.machine_keys.get(machine);
        let known = known.and_then(|key| self.index.machines[*key].cordon.clone());
        let mut cordon: Cordon = known.unwrap_or_default();
        cordon.holds.insert(CordonHolder::Person, hold);
        rehearsal.apply(&Change::Cordon(machine.clone(), Some(cordon)));
        rehearsal.drain_status(machine)
    }
}

impl PlanPass<'_> {
    /// The lot of a job that was begun on a machine: it ends there. One that has ended keeps nobody waiting.
    fn job_status(&self, unit: UnitKey, machine: MachineKey) -> Option<DrainStatus> {
        if !self.index.draining.contains(&machine) && !self.index.is_forced(machine) {
            return Some(DrainStatus::Stays);
        }
        let row = &self.index.units[unit];
        let placement = &row.place_on(machine)?.placement;
        let report = row.report_of(machine);
        match report.map(|report| report.arrival_at(placement, placement.desired)) {
            Some(Arrival::Here | Arrival::Failed(_)) => None,
            _ if self.index.is_forced(machine) => Some(DrainStatus::Stopping),
            _ => Some(DrainStatus::Queued { to: None, stops_first: false }),
        }
    }

    /// The lot of a unit on a machine; `None` when the machine only says that it knows of it.
    fn unit_status(&self, unit: UnitKey, machine: MachineKey) -> Option<DrainStatus> {
        let row = &self.index.units[unit];
        let placed = row.place_on(machine).is_some();
        let stuck =
            |reason| Some(DrainStatus::Stuck { refusal: Refusal::from_unit_reason(reason) });
        let draining = self.index.draining.contains(&machine);
        if !placed {
            return Some(DrainStatus::Stopping);
        }
        if row.unreadable_records > 0 {
            let problem = self.index.unreadable_problem(unit);
            return if draining {
                stuck(UnitReason::FileUnreadable { problem })
            } else {
                Some(DrainStatus::Stays)
            };
        }
        if !row.is_wanted() {
            return Some(DrainStatus::Stopping);
        }
        if row.is_global() {
            return Some(DrainStatus::Global);
        }
        if self.index.begun_job(unit) == Some(machine) {
            return self.job_status(unit, machine);
        }
        if self.index.is_forced(machine) && row.spec_ok().is_some() {
            return Some(DrainStatus::Stopping);
        }
        if !draining {
            return Some(DrainStatus::Stays);
        }
        if let UnitSpec::Unusable(problem) = &row.spec {
            return stuck(UnitReason::FileUnreadable { problem: problem.clone() });
        }
        let goes_by = |text: &str, key: MachineKey| self.index.machines[key].id.goes_by(text);
        if let Some(text) = row.requirements().and_then(|r| r.machine_id.as_deref())
            && goes_by(text, machine)
            && !self.index.order.iter().any(|other| {
                *other != machine && self.index.is_live(*other) && goes_by(text, *other)
            })
        {
            return Some(DrainStatus::Pinned);
        }
        let name = |key: MachineKey| self.index.machines[key].id.clone();
        match self.verdicts.get(&(unit, machine)) {
            Some(DrainVerdict::Goes { to, stops_first }) => {
                Some(DrainStatus::Queued { to: Some(name(*to)), stops_first: *stops_first })
            }
            Some(DrainVerdict::Moving(to)) => Some(DrainStatus::Moving { to: name(*to) }),
            Some(DrainVerdict::Stopping) => Some(DrainStatus::Stopping),
            Some(DrainVerdict::Waits) => Some(DrainStatus::Queued { to: None, stops_first: false }),
            Some(DrainVerdict::Stuck) | None => {
                let refusal = self.index.explain_leaving(unit, machine);
                // A machine that is about to stop an earlier copy takes the unit after that.
                if refusal.machines.iter().any(|m| m.reason == MachineReason::NotGone) {
                    return Some(DrainStatus::Queued { to: None, stops_first: false });
                }
                Some(DrainStatus::Stuck { refusal })
            }
        }
    }
}
