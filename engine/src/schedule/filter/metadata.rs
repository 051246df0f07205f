//! `MachineMetadata=`: one of the values wanted, for each key.

use std::collections::BTreeSet;

use muster_common::refusal::MachineReason;

use super::contract::MachineFilter;
use crate::schedule::index::{Index, MachineDemand};
use crate::schedule::table::{Bits, MachineKey, UnitKey};

pub(crate) struct Metadata;

impl Metadata {
    /// The first key that the machine does not meet, with the values that would do.
    fn find_unmet(
        index: &Index,
        unit: UnitKey,
        machine: MachineKey,
    ) -> Option<(&String, &BTreeSet<String>)> {
        let has = &index.machines[machine].metadata;
        let meets = |key: &String, values: &BTreeSet<String>| {
            has.get(key).is_some_and(|value| values.contains(value))
        };
        index.demand_of(unit)?.metadata.iter().find(|(key, values)| !meets(key, values))
    }
}

impl MachineFilter for Metadata {
    fn keep_eligible(&self, index: &Index, demand: &MachineDemand, eligible: &mut Bits) {
        for (key, values) in &demand.metadata {
            let mut meets = Bits::default();
            if let Some(known) = index.metadata.get(key) {
                for machines in values.iter().filter_map(|value| known.get(value)) {
                    meets.unite_with(&index.positions_of(machines));
                }
            }
            eligible.intersect_with(&meets);
        }
    }

    fn may_stay(&self, index: &Index, unit: UnitKey, machine: MachineKey) -> bool {
        Self::find_unmet(index, unit, machine).is_none()
    }

    fn explain_refusal(
        &self,
        index: &Index,
        unit: UnitKey,
        machine: MachineKey,
    ) -> Option<MachineReason> {
        let (key, values) = Self::find_unmet(index, unit, machine)?;
        Some(MachineReason::Metadata {
            key: key.clone(),
            wanted: values.iter().cloned().collect(),
            found: index.machines[machine].metadata.get(key).cloned(),
        })
    }
}
