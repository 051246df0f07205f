//! `MachineID=`: the machine that goes by that id, or by its beginning.

use muster_common::machine::MachineId;
use muster_common::refusal::MachineReason;

use super::contract::MachineFilter;
use crate::schedule::index::{Index, MachineDemand};
use crate::schedule::table::{Bits, MachineKey, UnitKey};

pub(crate) struct NamedMachine;

impl MachineFilter for NamedMachine {
    fn keep_eligible(&self, index: &Index, demand: &MachineDemand, eligible: &mut Bits) {
        let Some(id) = &demand.machine_id else { return };
        // Ids with a common beginning stand together.
        let from = id.parse::<MachineId>().ok();
        let named = from.iter().flat_map(|from| index.machine_keys.range(from.clone()..));
        let named = named.take_while(|(known, _)| known.as_str().starts_with(id.as_str()));
        let named = named.filter(|(known, _)| known.goes_by(id)).map(|(_, key)| key);
        eligible.intersect_with(&index.positions_of(named));
    }

    fn may_stay(&self, index: &Index, unit: UnitKey, machine: MachineKey) -> bool {
        let named = index.demand_of(unit).and_then(|demand| demand.machine_id.as_deref());
        named.is_none_or(|id| index.machines[machine].id.goes_by(id))
    }

    fn explain_refusal(
        &self,
        index: &Index,
        unit: UnitKey,
        machine: MachineKey,
    ) -> Option<MachineReason> {
        (!self.may_stay(index, unit, machine)).then_some(MachineReason::OtherMachineId)
    }
}
