//! Ready: a machine that is cordoned takes nothing new, and keeps what it has, unless its drain has ended by force. One that goes down
//! takes nothing new either, and keeps what it has until that has ended there.

use muster_common::probe::is_planted;
use muster_common::refusal::MachineReason;

use super::contract::MachineFilter;
use crate::schedule::index::{Index, MachineDemand};
use crate::schedule::table::{Bits, MachineKey, UnitKey};

pub(crate) struct Ready;

impl MachineFilter for Ready {
    fn keep_eligible(&self, index: &Index, _demand: &MachineDemand, eligible: &mut Bits) {
        let leaving = index.leaving.iter().filter(|_| !is_planted("leaving-host-takes-units"));
        let cordoned = index.cordoned.iter().filter(|_| !is_planted("cordon-overlooked"));
        for machine in cordoned.chain(leaving) {
            eligible.remove(index.machines[*machine].position);
        }
    }

    fn may_stay(&self, index: &Index, unit: UnitKey, machine: MachineKey) -> bool {
        index.units[unit].is_global()
            || !(index.is_forced(machine) || index.is_released(unit, machine))
    }

    fn explain_refusal(
        &self,
        index: &Index,
        _unit: UnitKey,
        machine: MachineKey,
    ) -> Option<MachineReason> {
        if index.leaving.contains(&machine) && !is_planted("leaving-host-takes-units") {
            return Some(MachineReason::Cordoned { why: "because it goes down".to_owned() });
        }
        if !index.cordoned.contains(&machine) {
            return None;
        }
        let cordon = index.machines[machine].cordon.as_ref();
        let why = cordon
            .map_or_else(|| "by a record that cannot be read".to_owned(), ToString::to_string);
        Some(MachineReason::Cordoned { why })
    }
}
