//! What a machine that reboots softly leaves running.
//!
//! Owns which of the units to be stopped are not: those that ask for it, and that may run twice for a moment. One that may not is stopped as
//! with any other reboot, for the others may start it before this machine is back.

use std::collections::BTreeSet;

use muster_common::unit::{UnitName, survives_soft_reboot};

use super::io::StopPlan;
use super::model::Node;
use crate::machine::memory::NodeMemory;

impl Node {
    /// The units of a plan that a soft-reboot leaves running, by their own files.
    pub fn surviving_units(&self, memory: &NodeMemory<'_>, plan: &StopPlan) -> BTreeSet<UnitName> {
        let survives = |unit: &&UnitName| {
            let file = memory.owned.get(*unit).map(|entry| entry.owned.file);
            let cached = file.and_then(|file| self.cached_file(file));
            cached.is_some_and(|cached| survives_soft_reboot(&cached.file))
        };
        plan.others.iter().filter(survives).cloned().collect()
    }
}
