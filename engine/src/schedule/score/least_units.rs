//! Fewest units, then machine id.
//!
//! Owns how many units each machine has. Every placement counts, global or not: what a machine carries is what it
//! runs. Machines of equal load share one set, ordered by id, so that the best of those a unit may go to is found
//! without looking at each machine.

use crate::schedule::table::Bits;

/// Live machines by load; a machine is named by its position in the order of ids.
#[derive(Debug, Clone, Default)]
pub(crate) struct LeastUnits {
    by_load: Vec<Bits>,
}

impl LeastUnits {
    pub(crate) fn insert(&mut self, load: u32, position: u32) {
        let load = load as usize;
        if load >= self.by_load.len() {
            self.by_load.resize(load + 1, Bits::default());
        }
        if let Some(set) = self.by_load.get_mut(load) {
            set.insert(position);
        }
    }

    pub(crate) fn remove(&mut self, load: u32, position: u32) {
        if let Some(set) = self.by_load.get_mut(load as usize) {
            // A machine that is ranked twice would be filled beyond its turn.
            debug_assert!(set.contains(position), "the machine is not ranked there");
            set.remove(position);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.by_load.clear();
    }

    /// Each machine as its load and its position.
    pub(crate) fn ranked_machines(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        let loads = (0u32..).zip(&self.by_load);
        loads.flat_map(|(load, set)| set.iter().map(move |position| (load, position)))
    }

    /// The best machine among those eligible and not blocked.
    pub(crate) fn best_of(&self, eligible: &Bits, blocked: &Bits) -> Option<u32> {
        for set in &self.by_load {
            let words = set.as_words().iter().zip(eligible.as_words()).zip(0u32..);
            let mut blocked = blocked.as_words().iter();
            for ((have, may), index) in words {
                let free = have & may & !blocked.next().copied().unwrap_or(0);
                if free != 0 {
                    return Some(index * 64 + free.trailing_zeros());
                }
            }
        }
        None
    }
}
