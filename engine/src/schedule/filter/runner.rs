//! Runner: a machine takes what it can run. One that is missing for a moment, because it restarts, is no reason for a unit to
//! leave.

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
        let runner = index.units[unit].runner_kind();
        let record = index.machines[machine].record.as_ref();
        let has = record.is_some_and(|record| record.runners.contains(&runner));
        (!has).then_some(MachineReason::NoRunner { runner })
    }
}
