//! The records of who belongs to the cluster: its authority, its hosts, the tokens by which others join.
//!
//! Owns their reading, and the one way in which they are written: a change that somebody decided, whole or not at all, guarded by the
//! revisions that the decision rests on. It never decides who may join.

use std::collections::BTreeMap;

use muster_common::machine::MachineId;
use muster_common::pki::{
    AuthorityNumber, AuthorityRecord, AuthorityState, HostRecord, JoinRecord, PkiChange, PkiKey,
    StoredPki, TokenId,
};
use serde::de::DeserializeOwned;

use super::pki_records::{HOSTS, TOKENS, decode_record, encode_record, key_text, parse_key};
use super::{Registry, RegistryError};
use crate::store::{CommitOutcome, Guard, KeyValue, Op, Range};

impl Registry {
    /// The state of the cluster's authorities; `None` where it has none.
    pub async fn authority_state(
        &self,
    ) -> Result<Option<StoredPki<AuthorityState>>, RegistryError> {
        self.read_pki(&PkiKey::State).await
    }

    /// One authority.
    pub async fn authority_record(
        &self,
        number: AuthorityNumber,
    ) -> Result<Option<StoredPki<AuthorityRecord>>, RegistryError> {
        self.read_pki(&PkiKey::Authority(number)).await
    }

    /// One host.
    pub async fn host_record(
        &self,
        machine: &MachineId,
    ) -> Result<Option<StoredPki<HostRecord>>, RegistryError> {
        self.read_pki(&PkiKey::Host(machine.clone())).await
    }

    /// One token.
    pub async fn join_record(
        &self,
        id: TokenId,
    ) -> Result<Option<StoredPki<JoinRecord>>, RegistryError> {
        self.read_pki(&PkiKey::Join(id)).await
    }

    /// All tokens that can be read: one that cannot keeps nobody from making another.
    pub async fn join_records(
        &self,
    ) -> Result<BTreeMap<TokenId, StoredPki<JoinRecord>>, RegistryError> {
        self.list_pki(TOKENS, |key| if let PkiKey::Join(id) = key { Some(id) } else { None }).await
    }

    /// All hosts that can be read.
    pub async fn host_records(
        &self,
    ) -> Result<BTreeMap<MachineId, StoredPki<HostRecord>>, RegistryError> {
        let machine = |key| if let PkiKey::Host(machine) = key { Some(machine) } else { None };
        self.list_pki(HOSTS, machine).await
    }

    async fn list_pki<K: Ord, R: DeserializeOwned>(
        &self,
        below: &str,
        name: impl Fn(PkiKey) -> Option<K>,
    ) -> Result<BTreeMap<K, StoredPki<R>>, RegistryError> {
        let mut records = BTreeMap::new();
        for found in self.list(below).await? {
            let key = found.key.strip_prefix(&*self.prefix).unwrap_or(&found.key);
            let Some(name) = parse_key(key).and_then(Result::ok).and_then(&name) else { continue };
            if let Ok(record) = decode_record(&found.value) {
                records.insert(name, StoredPki { record, revision: found.mod_revision });
            }
        }
        Ok(records)
    }

    /// Carries a change out if every record is as it was when it was decided; a conflict is to be decided anew.
    pub async fn commit_pki(&self, change: &PkiChange) -> Result<CommitOutcome, RegistryError> {
        let key = |key: &PkiKey| format!("{}{}", self.prefix, key_text(key));
        let guards = change
            .guards
            .iter()
            .map(|(guarded, revision)| Guard::Modified { key: key(guarded), revision: *revision });
        let writes = change.writes.iter().map(|record| Op::Put {
            key: key(&record.key()),
            value: encode_record(record),
            lease: None,
        });
        let removals = change.removals.iter().map(|removed| Op::Delete { key: key(removed) });
        Ok(self.store.commit(guards.collect(), writes.chain(removals).collect()).await?)
    }

    async fn read_pki<R: DeserializeOwned>(
        &self,
        key: &PkiKey,
    ) -> Result<Option<StoredPki<R>>, RegistryError> {
        let below = key_text(key);
        let range = Range::Key(format!("{}{below}", self.prefix));
        let found = self.store.read(range).await?.entries.pop();
        found.map(|found| decode_stored(below, &found)).transpose()
    }
}

fn decode_stored<R: DeserializeOwned>(
    key: String,
    found: &KeyValue,
) -> Result<StoredPki<R>, RegistryError> {
    let record = decode_record(&found.value)
        .map_err(|problem| RegistryError::Unreadable { key, problem })?;
    Ok(StoredPki { record, revision: found.mod_revision })
}
