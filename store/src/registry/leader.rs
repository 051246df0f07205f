//! Leadership: one record under the leader's lease, whose `create_revision` guards all the leader writes.

use std::collections::BTreeSet;

use muster_common::machine::MachineId;
use muster_common::probe::is_planted;
use muster_common::snapshot::Leader;

use super::keys::Key;
use super::records::{LeaderRecord, decode, encode};
use super::{CommitError, Leadership, Presence, Registry, RegistryError};
use crate::store::{CommitOutcome, Guard, KeyValue, Op, StoreError};

/// Attempts at a record that others change meanwhile.
const ATTEMPTS: usize = 5;

impl Registry {
    /// Tries to become leader: `None` when someone else is. One who leads already is told so again.
    ///
    /// A leader record that lives under no lease is nobody's (no daemon writes one) and would bar everyone for ever:
    /// it is removed. So is one under our own lease that nobody can read: we would be told that we lead, and see at once that we do not.
    pub async fn campaign_for_leadership(
        &self,
        presence: &Presence,
    ) -> Result<Option<Leadership>, RegistryError> {
        let lease = Some(presence.lease.id);
        let record = Leader { machine: presence.machine.clone(), held: BTreeSet::new() };
        let put = Op::Put {
            key: self.key(&Key::Leader),
            value: encode(&LeaderRecord::new(&record)),
            lease,
        };
        for _ in 0..ATTEMPTS {
            if let Some(found) = self.get(&Key::Leader).await? {
                // Our lease is ours alone, so a record under it is ours.
                let ours = found.lease == lease;
                let unreadable = decode::<LeaderRecord>(&found.value).is_err()
                    && !is_planted("own-unreadable-record-kept");
                if found.lease.is_none() || (ours && unreadable) {
                    self.remove_leader(&found).await?;
                    continue;
                }
                return Ok(ours.then_some(Leadership { created: found.create_revision }));
            }
            let vacant = Guard::Modified { key: self.key(&Key::Leader), revision: 0 };
            let mut guards = vec![vacant, self.registered_guard(presence)];
            if is_planted("campaign-unguarded") {
                guards.remove(0);
            }
            match self.store.commit(guards, vec![put.clone()]).await {
                Ok(CommitOutcome::Done { revision }) => {
                    return Ok(Some(Leadership { created: revision }));
                }
                Ok(CommitOutcome::Conflict { .. }) => {
                    let machine = Key::Machine(presence.machine.clone());
                    let registration = self.get(&machine).await?;
                    if registration.is_none_or(|r| r.create_revision != presence.created) {
                        return Err(not_registered(presence));
                    }
                }
                Err(StoreError::LeaseGone { .. }) => return Err(not_registered(presence)),
                Err(error) => return Err(error.into()),
            }
        }
        Err(RegistryError::Contended { key: Key::Leader.to_string() })
    }

    /// Records the machines whose units stay where they are (see `Leader::held`), guarded by our leadership and by the leader record
    /// being as it is found now. A write that is carried out late meets a later one and changes nothing: one of nobody would look as
    /// if a person had ended the freeze that has begun since. Returns the revision.
    ///
    /// # Errors
    ///
    /// [`CommitError::Fenced`]: the record was changed at this very moment; it is to be seen first.
    pub async fn write_held_machines(
        &self,
        leadership: Leadership,
        presence: &Presence,
        held: BTreeSet<MachineId>,
    ) -> Result<u64, CommitError> {
        let record = Leader { machine: presence.machine.clone(), held };
        let put = Op::Put {
            key: self.key(&Key::Leader),
            value: encode(&LeaderRecord::new(&record)),
            lease: Some(presence.lease.id),
        };
        let leading = self.leading_guard(leadership);
        let found = self.get(&Key::Leader).await?;
        let ours = found.filter(|found| found.create_revision == leadership.created);
        let guards = match ours {
            _ if is_planted("held-written-unguarded") => Vec::new(),
            _ if is_planted("held-written-late") => vec![leading.clone()],
            Some(found) => {
                vec![Guard::Modified { key: found.key, revision: found.mod_revision }]
            }
            None => return Err(CommitError::Deposed),
        };
        match self.store.commit(guards, vec![put]).await {
            Ok(CommitOutcome::Done { revision }) => Ok(revision),
            Ok(CommitOutcome::Conflict { .. }) if self.guard_still_holds(&leading).await? => {
                Err(CommitError::Fenced)
            }
            Ok(CommitOutcome::Conflict { .. }) | Err(StoreError::LeaseGone { .. }) => {
                Err(CommitError::Deposed)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Empties `Leader::held` on a person's behalf, keeping the leader and its lease; the leader sees it and goes on.
    pub async fn clear_held_machines(&self) -> Result<(), RegistryError> {
        for _ in 0..ATTEMPTS {
            let Some(found) = self.get(&Key::Leader).await? else { return Ok(()) };
            let mut leader = decode::<LeaderRecord>(&found.value)
                .map_err(|problem| RegistryError::Unreadable {
                    key: Key::Leader.to_string(),
                    problem,
                })?
                .into_leader();
            if leader.held.is_empty() {
                return Ok(());
            }
            leader.held.clear();
            let guard = Guard::Modified { key: found.key.clone(), revision: found.mod_revision };
            let put = Op::Put {
                key: found.key,
                value: encode(&LeaderRecord::new(&leader)),
                lease: found.lease,
            };
            match self.store.commit(vec![guard], vec![put]).await {
                Ok(CommitOutcome::Done { .. }) => return Ok(()),
                // The leader wrote it, or is gone: look again.
                Ok(CommitOutcome::Conflict { .. }) | Err(StoreError::LeaseGone { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(RegistryError::Contended { key: Key::Leader.to_string() })
    }

    /// Leads no more, if we do: somebody else may, while our lease goes on.
    pub async fn resign_leadership(&self, presence: &Presence) -> Result<(), RegistryError> {
        let found = self.get(&Key::Leader).await?;
        if let Some(ours) = found.filter(|found| found.lease == Some(presence.lease.id)) {
            self.remove_leader(&ours).await?;
        }
        Ok(())
    }

    async fn remove_leader(&self, found: &KeyValue) -> Result<(), StoreError> {
        let guard = Guard::Modified { key: found.key.clone(), revision: found.mod_revision };
        // On a conflict someone else has changed or removed it, which is as good.
        self.store.commit(vec![guard], vec![Op::Delete { key: found.key.clone() }]).await?;
        Ok(())
    }

    /// Holds while this leadership lasts.
    pub(super) fn leading_guard(&self, leadership: Leadership) -> Guard {
        Guard::Created { key: self.key(&Key::Leader), revision: leadership.created }
    }
}

fn not_registered(presence: &Presence) -> RegistryError {
    RegistryError::NotRegistered { machine: presence.machine.clone() }
}
