//! What machines report of their units.
//!
//! Owns the publication of a machine's states. Each write of a state is guarded by the revision of the one before, as this registry
//! knows it: a publication that was given up and is carried out late finds another revision and changes nothing, so that no older
//! state takes the place of a newer one. Only the machine itself writes its states; who it is, is proved by its presence.

use std::collections::BTreeMap;

use muster_common::decision::StateUpdate;
use muster_common::lease::Presence;
use muster_common::machine::MachineId;
use muster_common::probe::is_planted;
use muster_common::snapshot::Change;
use muster_common::state::ObservedState;
use muster_common::unit::UnitName;

use super::decode::read;
use super::keys::{self, Key};
use super::packing::{self, CommitPiece, PackingError, PieceOutcome};
use super::published::StateRevisions;
use super::records::{StateRecord, encode};
use super::{Registry, RegistryError};
use crate::store::{Guard, Op, StoreError};

/// How often states are tried whose records were not as they were known to be: once to find that out, and more for an own
/// publication that was given up and comes in between.
const ATTEMPTS: usize = 4;

impl Registry {
    /// Publishes observed states under our lease, many to a commit. A machine that is not registered under this
    /// presence any more, or whose lease is gone, gets [`RegistryError::NotRegistered`].
    pub async fn publish_states(
        &self,
        presence: &Presence,
        states: Vec<StateUpdate>,
    ) -> Result<(), RegistryError> {
        // After a failure nothing is known, and the next publication looks.
        let mut known = self.published.take_known(presence);
        let mut states = states;
        for _ in 0..ATTEMPTS {
            // What is taken back and was not there, as far as is known, may be back: with a backup that was put in the store's place.
            let is_known = |known: &StateRevisions, update: &StateUpdate| {
                update.state.is_some() || known.revisions.contains_key(&update.unit)
            };
            let known = known.take().filter(|known| states.iter().all(|one| is_known(known, one)));
            let mut revisions = match known {
                Some(known) => known.revisions,
                None => self.state_revisions(&presence.machine).await?,
            };
            states = self.publish_on(presence, &mut revisions, states).await?;
            if states.is_empty() {
                let (machine, lease) = (presence.machine.clone(), presence.lease.id);
                self.published.put(StateRevisions { machine, lease, revisions });
                return Ok(());
            }
        }
        Err(RegistryError::Contended { key: keys::states_of(&presence.machine) })
    }

    /// Publishes states on top of those of these revisions. Gives back those whose records were not as they were known.
    async fn publish_on(
        &self,
        presence: &Presence,
        revisions: &mut BTreeMap<UnitName, u64>,
        states: Vec<StateUpdate>,
    ) -> Result<Vec<StateUpdate>, RegistryError> {
        let is_there = |update: &StateUpdate| revisions.contains_key(&update.unit);
        let (pieces, states): (Vec<CommitPiece>, Vec<StateUpdate>) = states
            .into_iter()
            // What is not there need not be withdrawn.
            .filter(|update| update.state.is_some() || is_there(update))
            .map(|update| {
                let revision = revisions.get(&update.unit).copied().unwrap_or(0);
                (self.state_piece(presence, &update, revision), update)
            })
            .unzip();
        let guard = self.registered_guard(presence);
        let guard = Some(&guard).filter(|_| !is_planted("published-without-registration"));
        let outcomes = match packing::write_pieces(&self.store, guard, &pieces).await {
            Ok(outcomes) => outcomes,
            Err(PackingError::Refused | PackingError::Store(StoreError::LeaseGone { .. })) => {
                return Err(RegistryError::NotRegistered { machine: presence.machine.clone() });
            }
            Err(PackingError::Store(error)) => return Err(error.into()),
        };
        let mut left = Vec::new();
        for (update, outcome) in states.into_iter().zip(outcomes) {
            match (outcome, &update.state) {
                (PieceOutcome::Done { revision }, Some(_)) => {
                    revisions.insert(update.unit, revision);
                }
                (PieceOutcome::Done { .. }, None) => {
                    revisions.remove(&update.unit);
                }
                (PieceOutcome::Conflict, _) => left.push(update),
            }
        }
        Ok(left)
    }

    fn state_piece(&self, presence: &Presence, update: &StateUpdate, revision: u64) -> CommitPiece {
        let key = self.key(&Key::State(presence.machine.clone(), update.unit.clone()));
        let mut guards = vec![Guard::Modified { key: key.clone(), revision }];
        if is_planted("publication-without-revision") {
            guards.clear();
        }
        let op = match &update.state {
            Some(state) => Op::Put {
                key,
                value: encode(&StateRecord::new(state.clone())),
                lease: Some(presence.lease.id),
            },
            None => Op::Delete { key },
        };
        CommitPiece { guards, ops: vec![op] }
    }

    /// The revisions of a machine's states, readable or not.
    async fn state_revisions(
        &self,
        machine: &MachineId,
    ) -> Result<BTreeMap<UnitName, u64>, StoreError> {
        let records = self.list(&keys::states_of(machine)).await?;
        let revisions = records.into_iter().filter_map(|record| match self.parse(&record)? {
            Key::State(_, unit) => Some((unit, record.mod_revision)),
            _ => None,
        });
        Ok(revisions.collect())
    }

    /// The states published for a machine, as the store has them; unreadable ones are left out.
    pub async fn states_of(
        &self,
        machine: &MachineId,
    ) -> Result<BTreeMap<UnitName, ObservedState>, RegistryError> {
        let records = self.list(&keys::states_of(machine)).await?;
        let states =
            records.into_iter().filter_map(|record| match read(self.parse(&record)?, &record) {
                Ok(Change::State(_, unit, Some(state))) => Some((unit, state)),
                _ => None,
            });
        Ok(states.collect())
    }
}
