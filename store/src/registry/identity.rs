//! The identity of the cluster: one record, `cluster`, written once and never changed.
//!
//! Owns the record and who makes it: the first daemon that is asked to, where there is none. It never decides whether a store is
//! ours: a daemon compares the identity with the one it remembers, and only one that remembers none makes one.

use std::sync::PoisonError;

use muster_common::cluster_id::ClusterId;

use super::identity_record::{IDENTITY, IdentityRecord, identity_of};
use super::records::{SCHEMA, encode};
use super::{Registry, RegistryError};
use crate::store::{Guard, KeyValue, Op, Range};

/// How often the record is tried while others write or remove it.
const ATTEMPTS: usize = 5;

impl Registry {
    /// The identity of the cluster in the store, read linearizably; `None` where none was ever given: the store is empty, or of a
    /// release that gave none.
    ///
    /// # Errors
    ///
    /// The store does not answer, or the record cannot be read.
    pub async fn cluster_identity(&self) -> Result<Option<ClusterId>, RegistryError> {
        let Some(found) = self.read_identity().await? else { return Ok(None) };
        let cluster = identity_of(&found)?;
        self.gate.note_identity(cluster, found);
        Ok(Some(cluster))
    }

    /// Names the cluster that this daemon's machine belongs to. It holds for all clones.
    pub fn set_own_cluster(&self, cluster: ClusterId) {
        *self.own_cluster.lock().unwrap_or_else(PoisonError::into_inner) = Some(cluster);
    }

    /// True if the store holds the cluster that was named last, by what is read linearizably now; and where none was named, for then nobody
    /// can tell.
    ///
    /// # Errors
    ///
    /// The store does not answer, or the record cannot be read.
    pub async fn holds_own_cluster(&self) -> Result<bool, RegistryError> {
        let own = *self.own_cluster.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(own) = own else { return Ok(true) };
        Ok(self.cluster_identity().await? == Some(own))
    }

    /// The identity of the cluster in the store, which gets one if it has none. Of several who call this at once all get the same
    /// answer. It is for a daemon that remembers no identity, and for a person who says that this store is to be the cluster's:
    /// whoever remembers one and calls this makes an emptied store look like a new cluster.
    ///
    /// # Errors
    ///
    /// The store does not answer, or the record cannot be read.
    pub async fn establish_cluster_identity(&self) -> Result<ClusterId, RegistryError> {
        for _ in 0..ATTEMPTS {
            if let Some(found) = self.cluster_identity().await? {
                return Ok(found);
            }
            let key = format!("{}{IDENTITY}", self.prefix);
            let record = IdentityRecord { schema: SCHEMA, id: self.proposed_identity };
            // Pinned, and the value is like no other: a write that is not answered is known again.
            let guard = Guard::Modified { key: key.clone(), revision: 0 };
            let put = Op::Put { key, value: encode(&record), lease: None };
            // It is read again, to the byte, since that is what writes go by from then on.
            self.store.commit(vec![guard], vec![put]).await?;
        }
        Err(RegistryError::Contended { key: IDENTITY.to_owned() })
    }

    async fn read_identity(&self) -> Result<Option<KeyValue>, RegistryError> {
        let range = Range::Key(format!("{}{IDENTITY}", self.prefix));
        Ok(self.store.read(range).await?.entries.pop())
    }
}
