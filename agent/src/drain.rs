//! Cordons and drains, for those who ask for them: the API on a person's behalf, and the reboot role.
//!
//! Owns the one way to order them and to follow how far they have come. It moves nothing itself: an order is a record, the
//! leader's engine decides what it means for each unit, and any daemon can say what the engine makes of it. A holder
//! ([`Holder`]) takes back only what it ordered itself.

use muster_common::cordon::{AtDeadline, Cordon, Drain, Hold, Holder};
use muster_common::machine::MachineId;
use muster_store::{Registry, RegistryError};

use crate::health::unix_seconds;

/// Cordons and drains of a cluster. Cheap to clone.
#[derive(Clone)]
pub struct Drains {
    registry: Registry,
}

/// Who orders something, and why; for people but for the holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// On whose behalf.
    pub holder: Holder,
    /// Who, for people.
    pub by: String,
    /// Why, for people.
    pub reason: String,
}

/// Why a cordon or a drain could not be ordered or followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DrainError {
    /// The record could not be written or read.
    #[error(transparent)]
    Store(#[from] RegistryError),
}

impl Drains {
    /// Cordons and drains of the cluster that a registry knows.
    pub fn new(registry: Registry) -> Self {
        Self { registry }
    }

    /// Keeps a machine from taking anything new. It holds for the machine's absence and beyond, until the same holder
    /// uncordons it. A holder's drain goes on.
    pub async fn cordon(&self, machine: &MachineId, order: Order) -> Result<Cordon, DrainError> {
        let Order { holder, by, reason } = order;
        let hold = Hold { by, reason, since: unix_seconds(), drain: None };
        Ok(self.registry.cordon(machine, &holder, hold).await?)
    }

    /// Takes a holder's cordon back, and its drain. Returns what others still hold.
    pub async fn uncordon(
        &self,
        machine: &MachineId,
        holder: &Holder,
    ) -> Result<Option<Cordon>, DrainError> {
        Ok(self.registry.uncordon(machine, holder).await?)
    }

    /// Takes everyone's cordon back.
    pub async fn uncordon_for_all(&self, machine: &MachineId) -> Result<(), DrainError> {
        Ok(self.registry.uncordon_for_all(machine).await?)
    }

    /// Cordons a machine and moves its units elsewhere. `deadline` is in seconds; see [`Drain`].
    pub async fn start(
        &self,
        machine: &MachineId,
        order: Order,
        deadline: Option<u64>,
        then: AtDeadline,
    ) -> Result<Cordon, DrainError> {
        let Order { holder, by, reason } = order;
        let now = unix_seconds();
        let drain = Drain { began: now, deadline, then, ended: None };
        let hold = Hold { by, reason, since: now, drain: Some(drain) };
        Ok(self.registry.cordon(machine, &holder, hold).await?)
    }

    /// Calls a holder's drain off: what has not moved stays. The machine stays cordoned.
    pub async fn call_off(
        &self,
        machine: &MachineId,
        holder: &Holder,
    ) -> Result<Option<Cordon>, DrainError> {
        Ok(self.registry.call_off(machine, holder).await?)
    }
}
