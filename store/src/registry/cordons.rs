//! Cordons and drains: one record for each machine, shared by all who hold it.

use muster_common::cordon::{Cordon, CordonHolder, Drain, Hold};
use muster_common::machine::MachineId;

use super::guarded::RecordChange;
use super::keys::Key;
use super::records::{CordonRecord, decode, encode};
use super::{Leadership, Registry, RegistryError};
use crate::store::{CommitOutcome, Guard, KeyValue, Op};

/// The attempts at a record that others change.
const ATTEMPTS: usize = 10;

impl Registry {
    /// Cordons a machine, registered or not, on a holder's behalf, and drains it if the hold says so. One who holds it
    /// already keeps the time since when, and the drain unless another is ordered.
    pub async fn cordon_machine(
        &self,
        machine: &MachineId,
        holder: &CordonHolder,
        hold: Hold,
    ) -> Result<Cordon, RegistryError> {
        let cordon = self
            .change_cordon(machine, |cordon| {
                let mut hold = hold.clone();
                if let Some(before) = cordon.holds.get(holder) {
                    hold.since = before.since;
                    hold.drain = hold.drain.or_else(|| before.drain.clone());
                }
                cordon.holds.insert(holder.clone(), hold);
            })
            .await?;
        Ok(cordon.unwrap_or_default())
    }

    /// Takes a holder's cordon back, and its drain with it. Returns what others still hold.
    pub async fn uncordon_machine(
        &self,
        machine: &MachineId,
        holder: &CordonHolder,
    ) -> Result<Option<Cordon>, RegistryError> {
        self.change_cordon(machine, |cordon| {
            cordon.holds.remove(holder);
        })
        .await
    }

    /// Takes everyone's cordon of a machine back, readable or not.
    pub async fn uncordon_for_all(&self, machine: &MachineId) -> Result<(), RegistryError> {
        let key = self.key(&Key::Cordon(machine.clone()));
        self.replace_records(&[RecordChange { key, value: None }]).await
    }

    /// Calls a holder's drain off; the machine stays cordoned. Returns the cordon, if there is one.
    pub async fn call_off_drain(
        &self,
        machine: &MachineId,
        holder: &CordonHolder,
    ) -> Result<Option<Cordon>, RegistryError> {
        self.change_cordon(machine, |cordon| {
            if let Some(hold) = cordon.holds.get_mut(holder) {
                hold.drain = None;
            }
        })
        .await
    }

    /// The machine's cordon.
    pub async fn cordon_of(&self, machine: &MachineId) -> Result<Option<Cordon>, RegistryError> {
        let key = Key::Cordon(machine.clone());
        self.get(&key).await?.map(|found| read(&key, &found)).transpose()
    }

    /// Notes, as the leader, that drains have come to their deadline. A drain that has been changed or called off
    /// meanwhile is left as it is.
    pub async fn end_drains(
        &self,
        leadership: Leadership,
        machine: &MachineId,
        drains: &[(CordonHolder, Drain)],
    ) -> Result<(), RegistryError> {
        let key = Key::Cordon(machine.clone());
        let Some(found) = self.get(&key).await? else { return Ok(()) };
        let mut cordon = read(&key, &found)?;
        let before = cordon.clone();
        for (holder, drain) in drains {
            let hold = cordon.holds.get_mut(holder);
            if let Some(now) = hold.and_then(|hold| hold.drain.as_mut())
                && now == drain
            {
                now.ended = Some(now.then.end());
            }
        }
        if cordon == before {
            return Ok(());
        }
        let guards = vec![self.leading_guard(leadership), unchanged_guard(&found)];
        let put = put(found.key, &cordon);
        match self.store.commit(guards, vec![put]).await? {
            CommitOutcome::Done { .. } => Ok(()),
            CommitOutcome::Conflict { .. } => {
                Err(RegistryError::Contended { key: key.to_string() })
            }
        }
    }

    /// Changes a cordon by compare-and-swap; one that nobody holds is removed.
    async fn change_cordon(
        &self,
        machine: &MachineId,
        change: impl Fn(&mut Cordon),
    ) -> Result<Option<Cordon>, RegistryError> {
        let below = Key::Cordon(machine.clone());
        let key = self.key(&below);
        for _ in 0..ATTEMPTS {
            let found = self.get(&below).await?;
            let before = found.as_ref().map(|found| read(&below, found)).transpose()?;
            let mut cordon = before.clone().unwrap_or_default();
            change(&mut cordon);
            // What an older version kept in any length must not keep anybody from changing the rest.
            for hold in cordon.holds.values_mut() {
                *hold = std::mem::take(hold).fit_texts();
            }
            if before.as_ref() == Some(&cordon) || (before.is_none() && cordon.holds.is_empty()) {
                return Ok(before);
            }
            let guard = found
                .as_ref()
                .map_or_else(|| Guard::Modified { key: key.clone(), revision: 0 }, unchanged_guard);
            let op = if cordon.holds.is_empty() {
                Op::Delete { key: key.clone() }
            } else {
                put(key.clone(), &cordon)
            };
            if let CommitOutcome::Done { revision } =
                self.store.commit(vec![guard], vec![op]).await?
            {
                return Ok((!cordon.holds.is_empty()).then_some(Cordon { revision, ..cordon }));
            }
        }
        Err(RegistryError::Contended { key: below.to_string() })
    }
}

fn read(key: &Key, found: &KeyValue) -> Result<Cordon, RegistryError> {
    decode::<CordonRecord>(&found.value)
        .map(|record| record.into_cordon(found.mod_revision))
        .map_err(|problem| RegistryError::Unreadable { key: key.to_string(), problem })
}

fn unchanged_guard(found: &KeyValue) -> Guard {
    Guard::Modified { key: found.key.clone(), revision: found.mod_revision }
}

fn put(key: String, cordon: &Cordon) -> Op {
    Op::Put { key, value: encode(&CordonRecord::new(cordon)), lease: None }
}
