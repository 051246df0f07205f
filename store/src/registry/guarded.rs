//! Records that are replaced whatever they say.
//!
//! Owns the way in which that is written: guarded by what was read, and read again when somebody was quicker. So a write that was
//! given up and is carried out late finds another revision than it was made for, and changes nothing that came after it.

use bytes::Bytes;
use muster_common::probe::is_planted;

use super::{Registry, RegistryError};
use crate::store::{CommitOutcome, Guard, Op, Range};

/// The attempts at records that others change.
const ATTEMPTS: usize = 10;

/// A record, and what it is to be.
#[derive(Debug, Clone)]
pub(super) struct RecordChange {
    /// Its whole key.
    pub(super) key: String,
    /// Its value; `None`: it is to be gone.
    pub(super) value: Option<Bytes>,
}

impl Registry {
    /// Makes records what they are to be, all or nothing, and under no lease. Those that are to be gone and are not there are left out.
    pub(super) async fn replace_records(
        &self,
        changes: &[RecordChange],
    ) -> Result<(), RegistryError> {
        for _ in 0..ATTEMPTS {
            let mut guards = Vec::with_capacity(changes.len());
            let mut ops = Vec::with_capacity(changes.len());
            for change in changes {
                let key = change.key.clone();
                let found = self.store.read(Range::Key(key.clone())).await?.entries.pop();
                let op = match (&change.value, &found) {
                    (Some(value), _) => {
                        Op::Put { key: key.clone(), value: value.clone(), lease: None }
                    }
                    (None, Some(_)) => Op::Delete { key: key.clone() },
                    (None, None) => continue,
                };
                ops.push(op);
                guards.push(Guard::Modified {
                    key,
                    revision: found.map_or(0, |found| found.mod_revision),
                });
            }
            if ops.is_empty() {
                return Ok(());
            }
            if is_planted("record-replaced-unguarded") {
                guards.clear();
            }
            if let CommitOutcome::Done { .. } = self.store.commit(guards, ops).await? {
                return Ok(());
            }
        }
        let key = changes.first().map(|change| change.key.as_str()).unwrap_or_default();
        let key = key.strip_prefix(&*self.prefix).unwrap_or(key).to_owned();
        Err(RegistryError::Contended { key })
    }
}
