//! The names of records below the prefix, both ways.

use std::fmt::Write as _;

use muster_common::machine::MachineId;
use muster_common::unit::{FileHash, UnitName};

/// The thing that a record is about; its `Display` is the key below the prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Key {
    File(FileHash),
    Unit(UnitName),
    Machine(MachineId),
    Metadata(MachineId, String),
    Cordon(MachineId),
    Place(MachineId, UnitName),
    State(MachineId, UnitName),
    Leader,
    Members,
}

pub(super) const FILES: &str = "file/";
pub(super) const UNITS: &str = "unit/";

/// A key that is none of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BadKey {
    /// Of a kind this version does not know: a later version's, left alone.
    Foreign,
    /// Of a kind of ours, but what follows is no name.
    Malformed(String),
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(hash) => write!(f, "{FILES}{hash}"),
            Self::Unit(name) => write!(f, "{UNITS}{name}"),
            Self::Machine(id) => write!(f, "{MACHINES}{id}"),
            Self::Metadata(id, key) => write!(f, "metadata/{id}/{}", escape_name(key)),
            Self::Cordon(id) => write!(f, "cordon/{id}"),
            Self::Place(id, name) => write!(f, "place/{id}/{name}"),
            Self::State(id, name) => write!(f, "state/{id}/{name}"),
            Self::Leader => f.write_str("leader"),
            Self::Members => f.write_str("members"),
        }
    }
}

/// Where the registrations are.
pub(super) const MACHINES: &str = "machine/";

/// Where a machine's placements are.
pub(super) fn places_of(machine: &MachineId) -> String {
    format!("place/{machine}/")
}

/// Where a machine's run-time metadata is.
pub(super) fn metadata_of(machine: &MachineId) -> String {
    format!("metadata/{machine}/")
}

/// Where a machine's states are.
pub(super) fn states_of(machine: &MachineId) -> String {
    format!("state/{machine}/")
}

/// Reads a key below the prefix.
pub(super) fn parse(key: &str) -> Result<Key, BadKey> {
    match key {
        "leader" => return Ok(Key::Leader),
        "members" => return Ok(Key::Members),
        _ => {}
    }
    let Some((kind, rest)) = key.split_once('/') else { return Err(BadKey::Foreign) };
    let pair = || {
        rest.split_once('/')
            .ok_or_else(|| BadKey::Malformed("nothing follows the machine id".to_owned()))
    };
    match kind {
        "file" => Ok(Key::File(rest.parse().map_err(malformed_key)?)),
        "unit" => Ok(Key::Unit(rest.parse().map_err(malformed_key)?)),
        "machine" => Ok(Key::Machine(rest.parse().map_err(malformed_key)?)),
        "metadata" => {
            let (id, name) = pair()?;
            let name = unescape_name(name).ok_or_else(|| {
                BadKey::Malformed(format!("{name:?} is not escaped as it should be"))
            })?;
            Ok(Key::Metadata(id.parse().map_err(malformed_key)?, name))
        }
        "cordon" => Ok(Key::Cordon(rest.parse().map_err(malformed_key)?)),
        "place" | "state" => {
            let (id, name) = pair()?;
            let id = id.parse().map_err(malformed_key)?;
            let name = name.parse().map_err(malformed_key)?;
            Ok(if kind == "place" { Key::Place(id, name) } else { Key::State(id, name) })
        }
        _ => Err(BadKey::Foreign),
    }
}

fn malformed_key(error: impl std::error::Error) -> BadKey {
    BadKey::Malformed(error.to_string())
}

/// Metadata keys are free text: everything but letters, digits, `-`, `_` and `.` becomes `%` and two digits for each
/// byte of its UTF-8 form, as in a URL. The empty key is `%`.
fn escape_name(text: &str) -> String {
    if text.is_empty() {
        return "%".to_owned();
    }
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

/// The inverse of [`escape_name`], and of nothing else: each text has one key.
fn unescape_name(escaped: &str) -> Option<String> {
    if escaped == "%" {
        return Some(String::new());
    }
    let mut bytes = Vec::with_capacity(escaped.len());
    let mut rest = escaped.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    let text = String::from_utf8(bytes).ok()?;
    (escape_name(&text) == escaped).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_metadata_key_survives_the_round_trip(name in any::<String>()) {
            let key = Key::Metadata("m1".parse().unwrap(), name);
            prop_assert_eq!(parse(&key.to_string()), Ok(key));
        }

        #[test]
        fn no_key_makes_the_parser_panic_and_what_it_accepts_it_writes_alike(text in "(file|unit|machine|metadata|cordon|place|state|leader|members|x)?/?[ -~]{0,80}") {
            if let Ok(key) = parse(&text) {
                prop_assert_eq!(key.to_string(), text);
            }
        }
    }

    #[test]
    fn keys_of_later_versions_are_told_from_broken_ones() {
        assert_eq!(parse("colour/default"), Err(BadKey::Foreign));
        assert_eq!(parse("leaders"), Err(BadKey::Foreign));
        assert!(matches!(parse("unit/no type"), Err(BadKey::Malformed(_))));
        assert!(matches!(parse("place/m1"), Err(BadKey::Malformed(_))));
        assert!(matches!(parse("metadata/m1/a%2"), Err(BadKey::Malformed(_))));
        assert!(matches!(parse("metadata/m1/%61"), Err(BadKey::Malformed(_))));
    }
}
