//! `MachineOf=` a global unit: beside it, wherever it is.
//!
//! Owns where global units are that others belong beside. A global unit leads nobody: it is on many machines, and each
//! of its followers goes to one of them by itself. It has its turn before them in every pass, so that they know where it
//! stays, comes and leaves by the plan at hand.

use crate::schedule::index::Index;
use crate::schedule::table::{Bits, MachineKey, UnitKey};

impl Index {
    /// Whether a unit is one of those that are on every machine that takes them, and can be decided on.
    pub(crate) fn is_ground(&self, unit: UnitKey) -> bool {
        let row = &self.units[unit];
        row.is_wanted() && row.poison == 0 && row.is_global()
    }

    /// The global units that a unit belongs beside.
    pub(crate) fn grounds(&self, unit: UnitKey) -> Vec<UnitKey> {
        self.leaders(unit)
            .filter_map(|name| self.unit_keys.get(name).copied())
            .filter(|leader| self.is_ground(*leader))
            .collect()
    }

    /// Notes where a global unit is to be, for those who belong beside it.
    pub(crate) fn note_ground(&mut self, unit: UnitKey, machines: Bits) {
        if self.followers.contains_key(&self.units[unit].name) {
            self.units[unit].ground = machines;
        }
    }

    /// A global unit that a unit belongs beside and that is not on this machine.
    pub(crate) fn strays(&self, unit: UnitKey, machine: MachineKey) -> Option<UnitKey> {
        let position = self.machines[machine].position;
        let mut grounds = self.grounds(unit).into_iter();
        grounds.find(|leader| !self.units[*leader].ground.contains(position))
    }

    /// What is noted of all global units, by machine.
    pub(crate) fn ground_machines(&self) -> Vec<(UnitKey, Vec<MachineKey>)> {
        let noted = self.globals.iter().map(|unit| (*unit, &self.units[*unit].ground));
        let at = |position: u32| self.order.get(position as usize).copied();
        noted.map(|(unit, ground)| (unit, ground.iter().filter_map(at).collect())).collect()
    }

    /// Machines have new positions.
    pub(crate) fn reposition_grounds(&mut self, noted: &[(UnitKey, Vec<MachineKey>)]) {
        let Self { units, machines, .. } = self;
        for (unit, on) in noted {
            units[*unit].ground = on.iter().map(|key| machines[*key].position).collect();
        }
    }

    /// What is noted of all global units, to be put back after a pass that only asked.
    pub(crate) fn noted_grounds(&self) -> Vec<(UnitKey, Bits)> {
        self.globals.iter().map(|unit| (*unit, self.units[*unit].ground.clone())).collect()
    }

    pub(crate) fn restore_grounds(&mut self, noted: Vec<(UnitKey, Bits)>) {
        for (unit, machines) in noted {
            self.units[unit].ground = machines;
        }
    }
}
