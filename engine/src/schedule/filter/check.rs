//! Whether the forms of the filters agree.
//!
//! Owns the comparison; it is for tests, which make clusters by chance. Where nothing is planned, the set of machines, the answer
//! for one machine and the reason have to say the same of every unit and every live machine where the unit is not.

use crate::schedule::index::Index;
use crate::schedule::table::{Bits, MachineKey, UnitKey};

impl Index {
    /// Sentences on each unit and machine for which the filters contradict themselves.
    pub(crate) fn find_filter_contradictions(&mut self) -> Vec<String> {
        let units: Vec<UnitKey> = self.unit_keys.values().copied().collect();
        let machines: Vec<MachineKey> = self.order.clone();
        let mut found = Vec::new();
        for unit in units {
            let Some(class) = self.units[unit].spec_ok().map(|spec| spec.class) else { continue };
            let mut blocked = Bits::default();
            self.add_blocked(unit, &mut blocked);
            for machine in machines.iter().copied() {
                if !self.is_live(machine) || self.is_or_comes_to(unit, machine) {
                    continue;
                }
                let position = self.machines[machine].position;
                let in_set =
                    self.eligible_machines(class).contains(position) && !blocked.contains(position);
                let may_come = self.may_come(unit, machine);
                let reason = self.explain_machine(unit, machine, None);
                if in_set != may_come || in_set != reason.is_none() {
                    let (name, id) = (&self.units[unit].name, &self.machines[machine].id);
                    found.push(format!(
                        "{name} on {id}: set {in_set}, machine {may_come}, reason {reason:?}"
                    ));
                }
            }
        }
        found
    }
}
