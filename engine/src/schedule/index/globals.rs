//! Where global units are that others belong beside.
//!
//! Owns the note. A global unit leads nobody: it is on many machines, and each of its followers goes to one of them by itself. It
//! has its turn before them in every pass, so that they know where it stays, comes and leaves by the plan at hand.

use super::state::Index;
use crate::schedule::table::{Bits, MachineKey, UnitKey};

impl Index {
    /// Notes where a global unit is to be, for those who belong beside it.
    pub(crate) fn note_global_machines(&mut self, unit: UnitKey, machines: Bits) {
        if self.followers.contains_key(&self.units[unit].name) {
            self.units[unit].global_machines = machines;
        }
    }

    /// The machines noted of all global units.
    pub(crate) fn machines_of_globals(&self) -> Vec<(UnitKey, Vec<MachineKey>)> {
        let noted = self.globals.iter().map(|unit| (*unit, &self.units[*unit].global_machines));
        let at = |position: u32| self.order.get(position as usize).copied();
        noted.map(|(unit, machines)| (unit, machines.iter().filter_map(at).collect())).collect()
    }

    /// Machines have new positions.
    pub(crate) fn renumber_global_machines(&mut self, noted: &[(UnitKey, Vec<MachineKey>)]) {
        let Self { units, machines, .. } = self;
        for (unit, on) in noted {
            units[*unit].global_machines = on.iter().map(|key| machines[*key].position).collect();
        }
    }

    /// The notes on all global units, to be put back after a pass that only asked.
    pub(crate) fn saved_global_machines(&self) -> Vec<(UnitKey, Bits)> {
        self.globals.iter().map(|unit| (*unit, self.units[*unit].global_machines.clone())).collect()
    }

    pub(crate) fn restore_global_machines(&mut self, noted: Vec<(UnitKey, Bits)>) {
        for (unit, machines) in noted {
            self.units[unit].global_machines = machines;
        }
    }
}
