//! The container engines of a run's machines.
//!
//! Owns which machines have one and how it is set up. Which units they run is [`super::container_units`]'s.

use std::collections::BTreeSet;

use muster_common::unit::UnitName;
use serde::{Deserialize, Serialize};

use crate::containers::EngineOptions;

/// The image that containers are made of.
pub(super) const IMAGE: &str = "registry.example/sim:1";

/// The engines of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EngineShape {
    /// By machine: the engine, where it has one.
    pub(crate) machines: Vec<Option<EngineSetup>>,
    /// Calls of a thousand that take seconds.
    pub(crate) slow_per_mille: u64,
    /// Calls of a thousand that fail.
    pub(crate) failing_per_mille: u64,
}

/// The engine of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EngineSetup {
    /// True if its containers go on while it is away.
    pub(crate) live_restore: bool,
    /// True if the image is there from the beginning.
    pub(crate) has_image: bool,
}

impl EngineShape {
    /// The machines that have an engine.
    pub(crate) fn list_machines(&self) -> impl Iterator<Item = usize> {
        let machines = self.machines.iter().enumerate();
        machines.filter(|(_, engine)| engine.is_some()).map(|(number, _)| number)
    }

    /// The options of a machine's engine; `None` where it has none.
    pub(crate) fn options_of(&self, machine: usize) -> Option<EngineOptions> {
        let EngineSetup { live_restore, has_image } = self.machines.get(machine).copied()??;
        let images = if has_image { BTreeSet::from([IMAGE.to_owned()]) } else { BTreeSet::new() };
        let (slow_per_mille, failing_per_mille) = (self.slow_per_mille, self.failing_per_mille);
        Some(EngineOptions { live_restore, slow_per_mille, failing_per_mille, images })
    }
}

/// True if a unit is a container.
pub(crate) fn is_container(unit: &UnitName) -> bool {
    unit.unit_type().is_quadlet()
}
