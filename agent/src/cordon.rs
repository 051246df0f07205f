//! Cordons and drains, for those who ask for them: the API on a person's behalf, and the reboot role.
//!
//! Owns the one way to order them. It keeps nothing away and moves nothing itself: an order is a record, and the engine decides what it
//! means. A holder ([`CordonHolder`]) takes back only what it ordered itself.

use muster_common::cordon::{AtDeadline, Cordon, CordonHolder, Drain, Hold};
use muster_common::machine::MachineId;
use muster_store::{Registry, RegistryError};

use crate::stdx::clock::Wall;

/// The cordons and drains of a cluster. Cheap to clone.
#[derive(Clone)]
pub struct Cordons {
    registry: Registry,
    wall: Wall,
}

/// An order to cordon or drain: who gives it, and why; for people but for the holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CordonOrder {
    /// On whose behalf.
    pub holder: CordonHolder,
    /// Who, for people.
    pub by: String,
    /// Why, for people.
    pub reason: String,
}

/// The reason a cordon could not be ordered or taken back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CordonError {
    /// The record could not be written or read.
    #[error(transparent)]
    Store(#[from] RegistryError),
}

impl Cordons {
    /// Those of the cluster that a registry knows, dated by a clock.
    pub fn new(registry: Registry, wall: Wall) -> Self {
        Self { registry, wall }
    }

    /// Keeps a machine from taking anything new. It holds for the machine's absence and beyond, until the same holder
    /// uncordons it.
    pub async fn cordon_machine(
        &self,
        machine: &MachineId,
        order: CordonOrder,
    ) -> Result<Cordon, CordonError> {
        let CordonOrder { holder, by, reason } = order;
        let hold = Hold { by, reason, since: self.wall.unix_seconds(), drain: None };
        Ok(self.registry.cordon_machine(machine, &holder, hold).await?)
    }

    /// Cordons a machine and has its units move elsewhere. `deadline` is in seconds; see [`Drain`]. An order given before
    /// by the same holder is replaced, with its deadline.
    pub async fn drain_machine(
        &self,
        machine: &MachineId,
        order: CordonOrder,
        deadline: Option<u64>,
        then: AtDeadline,
    ) -> Result<Cordon, CordonError> {
        let CordonOrder { holder, by, reason } = order;
        let since = self.wall.unix_seconds();
        let drain = Some(Drain { began: since, deadline, then, ended: None });
        let hold = Hold { by, reason, since, drain };
        Ok(self.registry.cordon_machine(machine, &holder, hold).await?)
    }

    /// Takes a holder's cordon back, and its drain. Returns what others still hold.
    pub async fn uncordon_machine(
        &self,
        machine: &MachineId,
        holder: &CordonHolder,
    ) -> Result<Option<Cordon>, CordonError> {
        Ok(self.registry.uncordon_machine(machine, holder).await?)
    }

    /// Takes everyone's cordon back.
    pub async fn uncordon_for_all(&self, machine: &MachineId) -> Result<(), CordonError> {
        Ok(self.registry.uncordon_for_all(machine).await?)
    }
}
