//! The records of identity as they are stored: `pki/state`, `pki/ca/<n>`, `host/<machine>` and `join/<id>`.
//!
//! Owns their keys and their JSON, and what can be read of them. None lives under a lease: who belongs to a cluster does not end with its
//! absence. They are no part of a snapshot, since no placement rests on them; one that cannot be read is listed there all the same. It reads
//! and writes nothing.

use muster_common::pki::{
    AuthorityRecord, AuthorityState, HostRecord, JoinRecord, PkiKey, PkiRecord,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::records::{SCHEMA, decode, encode};

/// The beginnings of their keys. What follows the first is a kind of its own each.
const PKI: &str = "pki/";
const AUTHORITIES: &str = "pki/ca/";
const STATE: &str = "pki/state";
pub(super) const HOSTS: &str = "host/";
pub(super) const TOKENS: &str = "join/";

/// A record with the schema that its writer knew.
#[derive(Debug, Serialize, Deserialize)]
struct Versioned<R> {
    schema: u32,
    #[serde(flatten)]
    record: R,
}

/// The key below the prefix.
pub(super) fn key_text(key: &PkiKey) -> String {
    match key {
        PkiKey::State => STATE.to_owned(),
        PkiKey::Authority(number) => format!("{AUTHORITIES}{number}"),
        PkiKey::Host(machine) => format!("{HOSTS}{machine}"),
        PkiKey::Join(id) => format!("{TOKENS}{id}"),
    }
}

/// Reads a key below the prefix; `None`: of another kind, or of a later version's. An error says why it names nothing.
pub(super) fn parse_key(key: &str) -> Option<Result<PkiKey, String>> {
    let said = |error: &dyn std::error::Error| error.to_string();
    if let Some(id) = key.strip_prefix(TOKENS) {
        return Some(id.parse().map(PkiKey::Join).map_err(|error| said(&error)));
    }
    if let Some(machine) = key.strip_prefix(HOSTS) {
        return Some(machine.parse().map(PkiKey::Host).map_err(|error| said(&error)));
    }
    if let Some(number) = key.strip_prefix(AUTHORITIES) {
        return Some(number.parse().map(PkiKey::Authority).map_err(|error| said(&error)));
    }
    (key == STATE).then_some(Ok(PkiKey::State))
}

/// The record as it is written.
pub(super) fn encode_record(record: &PkiRecord) -> bytes::Bytes {
    let schema = SCHEMA;
    match record {
        PkiRecord::State(record) => encode(&Versioned { schema, record }),
        PkiRecord::Authority(_, record) => encode(&Versioned { schema, record }),
        PkiRecord::Host(_, record) => encode(&Versioned { schema, record }),
        PkiRecord::Join(_, record) => encode(&Versioned { schema, record }),
    }
}

/// Reads the content of a record.
pub(super) fn decode_record<R: DeserializeOwned>(value: &[u8]) -> Result<R, String> {
    decode::<Versioned<R>>(value).map(|read| read.record)
}

/// The problem with a record; `None` when there is none, or when the key is another's.
pub(super) fn record_problem(key: &str, value: &[u8]) -> Option<String> {
    if !key.starts_with(PKI) && !key.starts_with(HOSTS) && !key.starts_with(TOKENS) {
        return None;
    }
    match parse_key(key)? {
        Err(problem) => Some(problem),
        Ok(PkiKey::State) => decode_record::<AuthorityState>(value).err(),
        Ok(PkiKey::Authority(_)) => decode_record::<AuthorityRecord>(value).err(),
        Ok(PkiKey::Host(_)) => decode_record::<HostRecord>(value).err(),
        Ok(PkiKey::Join(_)) => decode_record::<JoinRecord>(value).err(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use muster_common::pki::{Digest, HostRole, KeyHash, RotationPhase, SecretHash};

    use super::*;

    fn present() -> [PkiRecord; 4] {
        let key = KeyHash(Digest::of_bytes(b"a key"));
        let certificate =
            "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n".to_owned();
        [
            PkiRecord::State(AuthorityState {
                current: 1,
                next: Some(2),
                phase: RotationPhase::Trust,
                since: 1_800_000_000,
            }),
            PkiRecord::Authority(
                2,
                AuthorityRecord { cross: Some(certificate.clone()), certificate },
            ),
            PkiRecord::Host(
                "6a1f2b3c4d5e6f708192a3b4c5d6e7f8".parse().unwrap(),
                HostRecord {
                    key,
                    role: HostRole::Agent,
                    joined: 1_800_000_000,
                    by: "token abcdez27".parse().unwrap(),
                    bundle: 1,
                    not_after: 1_802_592_000,
                },
            ),
            PkiRecord::Join(
                "abcdez27".parse().unwrap(),
                JoinRecord {
                    secret: SecretHash(Digest::of_bytes(b"a secret")),
                    role: HostRole::Server,
                    expires: 1_800_003_600,
                    uses: 1,
                    replaces: Some("m2".parse().unwrap()),
                    by: "root on n1".parse().unwrap(),
                },
            ),
        ]
    }

    #[test]
    fn the_records_are_written_as_their_fixtures_have_them() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/v1");
        for record in present() {
            let key = key_text(&record.key());
            assert_eq!(parse_key(&key), Some(Ok(record.key())));
            let path = directory.join(format!("{}.json", key.replace('/', "+")));
            let bytes = encode_record(&record);
            if std::env::var_os("MUSTER_WRITE_FIXTURES").is_some() {
                std::fs::write(&path, &bytes).unwrap();
            }
            let fixture = std::fs::read(&path).unwrap();
            assert_eq!(String::from_utf8_lossy(&fixture), String::from_utf8_lossy(&bytes));
            assert_eq!(record_problem(&key, &fixture), None);
            let read = match record.key() {
                PkiKey::State => PkiRecord::State(decode_record(&fixture).unwrap()),
                PkiKey::Authority(number) => {
                    PkiRecord::Authority(number, decode_record(&fixture).unwrap())
                }
                PkiKey::Host(machine) => PkiRecord::Host(machine, decode_record(&fixture).unwrap()),
                PkiKey::Join(id) => PkiRecord::Join(id, decode_record(&fixture).unwrap()),
            };
            assert_eq!(read, record);
            assert!(record_problem(&key, b"{}").is_some(), "{key}");
        }
    }

    #[test]
    fn fields_of_a_later_version_are_passed_over() {
        let later = br#"{"schema":9,"current":3,"phase":"settled","since":5,"colour":"blue"}"#;
        let read: AuthorityState = decode_record(later).unwrap();
        assert_eq!((read.current, read.next, read.phase), (3, None, RotationPhase::Settled));
    }

    #[test]
    fn keys_of_other_kinds_are_left_alone_and_broken_ones_are_named() {
        for foreign in ["pki/colour", "pki/", "hosts/m1", "host", "joins/abcdez27", "leader"] {
            assert_eq!(parse_key(foreign), None, "{foreign}");
            assert_eq!(record_problem(foreign, b"{}"), None);
        }
        for broken in ["pki/ca/x", "host/", "host/a b", "join/ABCDEZ27", "join/x"] {
            assert!(record_problem(broken, b"{}").is_some(), "{broken}");
        }
    }
}
