//! The end of a machine that is gone for good.
//!
//! Owns which records are about one machine: its placements, its cordon, its metadata, how far it was with its reboot and who asked for
//! one, and its place among the members. Each is removed as it was found, and only while the machine is not registered.

use muster_common::machine::MachineId;
use muster_common::probe::is_planted;

use super::keys::{self, Key};
use super::packing::{self, CommitPiece, PackingError};
use super::reboots::RebootKey;
use super::{Registry, RegistryError};
use crate::store::{Guard, KeyValue, Op, Range};

/// The outcome for the records of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForgetOutcome {
    /// It is registered: it is not gone.
    Registered,
    /// So many records of it are removed; 0: nothing was known of it.
    Forgotten {
        /// The records.
        records: usize,
    },
}

impl Registry {
    /// Removes all that is known of a machine that is not registered. Units that were placed there are free to go elsewhere, those that
    /// keep data on it, too.
    ///
    /// # Errors
    ///
    /// The store does not answer; or others kept changing the records, and some may be left.
    pub async fn forget_machine(
        &self,
        machine: &MachineId,
    ) -> Result<ForgetOutcome, RegistryError> {
        if self.get(&Key::Machine(machine.clone())).await?.is_some() {
            return Ok(ForgetOutcome::Registered);
        }
        let mut found = self.list(&keys::places_of(machine)).await?;
        found.extend(self.list(&keys::metadata_of(machine)).await?);
        for key in [
            self.key(&Key::Cordon(machine.clone())),
            self.full_key(&RebootKey::Host(machine.clone())),
            self.full_key(&RebootKey::Request(machine.clone())),
        ] {
            if !is_planted("forgotten-machine-leaves-records") {
                found.extend(self.store.read(Range::Key(key)).await?.entries);
            }
        }
        let pieces: Vec<CommitPiece> = found.iter().map(removal_piece).collect();
        let away = Guard::Modified { key: self.key(&Key::Machine(machine.clone())), revision: 0 };
        match packing::write_pieces(&self.store, Some(&away), &pieces).await {
            Ok(outcomes) if outcomes.iter().all(|outcome| outcome.is_done()) => {}
            Ok(_) => return Err(RegistryError::Contended { key: format!("records of {machine}") }),
            Err(PackingError::Refused) => return Ok(ForgetOutcome::Registered),
            Err(PackingError::Store(error)) => return Err(error.into()),
        }
        let member = self.remove_member(machine).await?;
        Ok(ForgetOutcome::Forgotten { records: found.len() + usize::from(member) })
    }
}

fn removal_piece(found: &KeyValue) -> CommitPiece {
    CommitPiece {
        guards: vec![Guard::Modified { key: found.key.clone(), revision: found.mod_revision }],
        ops: vec![Op::Delete { key: found.key.clone() }],
    }
}
