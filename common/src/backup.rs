//! A cluster's records as a file that `musterctl export` writes and `musterctl import` reads.
//!
//! Owns its form and its version. It holds what people have said and nothing that the cluster finds out by itself:
//! machines register, placements are decided, states are reported. Who holds a slot is left out too, since it is about reboots
//! under way.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::api::reboot::Slots;
use crate::machine::MachineId;
use crate::reboot::Group;
use crate::state::DesiredState;
use crate::unit::{FileHash, UnitName};

/// The version that is written, and the highest that is read.
pub const VERSION: u32 = 1;

/// The records. Fields that a later version adds within the same number are ignored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// Of this form.
    pub version: u32,
    /// Texts of unit files by their hash; instances of a template share one.
    #[serde(default)]
    pub files: BTreeMap<FileHash, String>,
    /// The units by name.
    #[serde(default)]
    pub units: Vec<BackupUnit>,
    /// The groups of hosts that share slots for reboots.
    #[serde(default)]
    pub groups: Vec<GroupMax>,
    /// Machines that a person keeps from taking anything new.
    #[serde(default)]
    pub cordons: Vec<CordonedMachine>,
}

/// A unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupUnit {
    /// Its name.
    pub name: UnitName,
    /// Its file, one of [`Backup::files`].
    pub file: FileHash,
    /// The state that is wanted of it.
    pub desired: DesiredState,
}

/// A group of hosts that share slots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupMax {
    /// The group.
    pub name: Group,
    /// The number of its slots.
    pub max: Slots,
}

/// A machine under a person's cordon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CordonedMachine {
    /// The machine.
    pub machine: MachineId,
    /// Who, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// A file that is no backup this version can read.
#[derive(Debug, thiserror::Error)]
pub enum InvalidBackup {
    /// It is something else.
    #[error("it is not what `musterctl export` writes")]
    Content(#[source] serde_json::Error),
    /// It is of a later version.
    #[error("it is of version {0}, and this musterctl reads versions up to {VERSION}")]
    Version(u32),
    /// A text is not the one it is filed under: somebody has changed one of them, or the disk has.
    #[error("the text filed under {0} is another one")]
    Changed(FileHash),
    /// A unit's file is not there.
    #[error("it has no file of {0}")]
    Missing(UnitName),
}

impl Backup {
    /// Reads a file and checks that all it holds fits together.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong with it.
    pub fn read(bytes: &[u8]) -> Result<Self, InvalidBackup> {
        #[derive(Deserialize)]
        struct Only {
            version: u32,
        }
        let only: Only = serde_json::from_slice(bytes).map_err(InvalidBackup::Content)?;
        if only.version == 0 || only.version > VERSION {
            return Err(InvalidBackup::Version(only.version));
        }
        let backup: Self = serde_json::from_slice(bytes).map_err(InvalidBackup::Content)?;
        if let Some((hash, _)) =
            backup.files.iter().find(|(hash, text)| FileHash::of_text(text) != **hash)
        {
            return Err(InvalidBackup::Changed(*hash));
        }
        if let Some(unit) = backup.units.iter().find(|unit| !backup.files.contains_key(&unit.file))
        {
            return Err(InvalidBackup::Missing(unit.name.clone()));
        }
        Ok(backup)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[Service]\nExecStart=/bin/true\n";

    fn backup() -> Backup {
        let file = FileHash::of_text(TEXT);
        let name = "a.service".parse().unwrap();
        Backup {
            version: VERSION,
            files: BTreeMap::from([(file, TEXT.to_owned())]),
            units: vec![BackupUnit { name, file, desired: DesiredState::Launched }],
            groups: vec![GroupMax { name: Group::default(), max: 2.try_into().unwrap() }],
            cordons: vec![CordonedMachine {
                machine: "m1".parse().unwrap(),
                by: "root".to_owned(),
                reason: String::new(),
            }],
        }
    }

    fn read(value: &serde_json::Value) -> Result<Backup, String> {
        Backup::read(value.to_string().as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = serde_json::to_vec(&backup()).unwrap();
        assert_eq!(Backup::read(&bytes).unwrap(), backup());
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let mut value = serde_json::to_value(backup()).unwrap();
        value["later"] = "ignored".into();
        assert_eq!(read(&value), Ok(backup()));
        value["version"] = 2.into();
        assert_eq!(
            read(&value).unwrap_err(),
            "it is of version 2, and this musterctl reads versions up to 1"
        );
        let mut value = serde_json::to_value(backup()).unwrap();
        value["files"][FileHash::of_text(TEXT).to_string()] = "[Service]\n".into();
        assert!(read(&value).unwrap_err().ends_with("is another one"));
        let mut value = serde_json::to_value(backup()).unwrap();
        value["files"] = serde_json::json!({});
        assert_eq!(read(&value).unwrap_err(), "it has no file of a.service");
        assert_eq!(
            read(&serde_json::json!({"units": []})).unwrap_err(),
            "it is not what `musterctl export` writes"
        );
    }
}
