//! Runner: a machine takes what it can run. One that is missing for a moment, because it restarts, is no reason for a unit to
//! leave.

use muster_common::machine::{Machine, RunnerDemand, RunnerKind};
use muster_common::refusal::MachineReason;

use super::contract::MachineFilter;
use crate::schedule::index::{Index, MachineDemand};
use crate::schedule::table::{Bits, MachineKey, UnitKey};

pub(crate) struct Runner;

impl MachineFilter for Runner {
    fn keep_eligible(&self, index: &Index, demand: &MachineDemand, eligible: &mut Bits) {
        let having = index.runners.get(&demand.runner);
        eligible.intersect_with(&having.map(|keys| index.positions_of(keys)).unwrap_or_default());
    }

    fn may_stay(&self, _index: &Index, _unit: UnitKey, _machine: MachineKey) -> bool {
        true
    }

    fn explain_refusal(
        &self,
        index: &Index,
        unit: UnitKey,
        machine: MachineKey,
    ) -> Option<MachineReason> {
        let row = &index.units[unit];
        let demand = row.runner_demand();
        let record = index.machines[machine].record.as_ref();
        if record.is_some_and(|record| record.met_demands().contains(&demand)) {
            return None;
        }
        let choice = record.map_or(RunnerKind::Docker, Machine::default_container_runner);
        let runner = demand.resolve_kind(choice);
        let why = row.requirements().and_then(|asked| asked.podman_reason.as_deref());
        let others = [RunnerKind::Docker, RunnerKind::Podman].into_iter();
        let has_runner = |kind: &RunnerKind| record.is_some_and(|of| of.runners.contains(kind));
        // What a file asks for, or needs, no other runner has.
        let instead = others
            .filter(|_| demand == RunnerDemand::MachineChoice)
            .find(|kind| *kind != runner && has_runner(kind));
        Some(MachineReason::NoRunner { runner, why: why.map(str::to_owned), instead })
    }
}
