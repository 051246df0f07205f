//! The record of the cluster's identity.
//!
//! Owns its key and its shape, and what can be read of it. It reads and writes nothing.

use muster_common::cluster_id::ClusterId;
use serde::{Deserialize, Serialize};

use super::RegistryError;
use super::records::decode;
use crate::store::KeyValue;

/// The key below the prefix.
pub(super) const IDENTITY: &str = "cluster";

/// `cluster`, for ever.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct IdentityRecord {
    pub(super) schema: u32,
    pub(super) id: ClusterId,
}

/// The identity in a listing that has the record besides; `None` where there is none that can be read.
pub(super) fn find_identity(prefix: &str, records: &[KeyValue]) -> Option<ClusterId> {
    let is_identity = |record: &&KeyValue| record.key.strip_prefix(prefix) == Some(IDENTITY);
    identity_of(records.iter().find(is_identity)?).ok()
}

/// The problem with the record; `None` when there is none, or when the key is another's.
pub(super) fn record_problem(key: &str, value: &[u8]) -> Option<String> {
    if key != IDENTITY {
        return None;
    }
    decode::<IdentityRecord>(value).err()
}

/// The identity that a record of it says.
pub(super) fn identity_of(found: &KeyValue) -> Result<ClusterId, RegistryError> {
    let record = decode::<IdentityRecord>(&found.value);
    let unreadable = |problem| RegistryError::Unreadable { key: IDENTITY.to_owned(), problem };
    record.map(|record| record.id).map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::records::{SCHEMA, encode};
    use super::*;

    #[test]
    fn the_record_is_written_as_its_fixture_has_it() {
        let id = ClusterId::from_number(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/v1/cluster.json");
        let bytes = encode(&IdentityRecord { schema: SCHEMA, id });
        if std::env::var_os("MUSTER_WRITE_FIXTURES").is_some() {
            std::fs::write(&path, &bytes).unwrap();
        }
        let fixture = std::fs::read(&path).unwrap();
        assert_eq!(fixture, bytes);
        assert_eq!(record_problem(IDENTITY, &fixture), None);
        assert!(record_problem(IDENTITY, b"{}").is_some());
        assert_eq!(record_problem("leader", b"{}"), None);
    }
}
