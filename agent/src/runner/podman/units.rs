//! Where the files of container units lie that Podman runs, and what their services are called.
//!
//! Owns a directory for each unit, `/run/muster/quadlet/UNIT/`, with the unit's file in it under its own name: that is what the generator
//! is shown, so that it sees nothing but this unit, and what the service names as its `SourcePath=`, by which it is told from
//! other services. It never looks at what a file says.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use muster_common::unit::{FileHash, UnitName};

use crate::host::modes::{DIRECTORY, PRIVATE_FILE};
use crate::stdx::disk::HostDisk;
use crate::stdx::files::{Durability, replace_file_with_mode};

/// The container units of this machine that are Podman's.
#[derive(Debug, Clone)]
pub struct PodmanUnits {
    directory: PathBuf,
}

impl PodmanUnits {
    /// Those whose files lie below this directory.
    pub fn in_directory(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// True if a unit's file lies here.
    pub fn has_file(&self, unit: &UnitName) -> bool {
        unit.unit_type().is_quadlet() && self.source_path(unit).is_file()
    }

    /// The service of a unit whose file lies here.
    pub fn service_of(&self, unit: &UnitName) -> Option<UnitName> {
        unit.quadlet_service().filter(|_| self.has_file(unit))
    }

    /// Where the generator is shown a unit's file.
    pub(super) fn unit_directory(&self, unit: &UnitName) -> PathBuf {
        self.directory.join(unit.as_str())
    }

    /// Where a unit's file is.
    pub(super) fn source_path(&self, unit: &UnitName) -> PathBuf {
        self.unit_directory(unit).join(unit.as_str())
    }

    /// The hash of a unit's file.
    pub(super) fn file_hash(&self, unit: &UnitName) -> Option<FileHash> {
        let bytes = fs::read(self.source_path(unit)).ok()?;
        Some(FileHash::of_text(&String::from_utf8_lossy(&bytes)))
    }

    /// The text of a unit's file.
    pub(super) fn read_text(&self, unit: &UnitName) -> io::Result<String> {
        fs::read_to_string(self.source_path(unit))
    }

    /// Puts a unit's file here.
    pub(super) fn write_file(&self, unit: &UnitName, text: &str) -> io::Result<()> {
        let directory = self.unit_directory(unit);
        fs::DirBuilder::new().recursive(true).mode(DIRECTORY).create(&directory)?;
        let path = self.source_path(unit);
        replace_file_with_mode(
            &HostDisk,
            &path,
            text.as_bytes(),
            Durability::OutlivesDaemon,
            PRIVATE_FILE,
        )
    }

    /// Takes a unit's file away, with whatever lies beside it.
    pub(super) fn remove_file(&self, unit: &UnitName) -> io::Result<()> {
        match fs::remove_dir_all(self.unit_directory(unit)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// True if a service was made from this unit's file: its text names that as its source.
    pub(super) fn is_made_from(&self, service: &str, unit: &UnitName) -> bool {
        let source = self.source_path(unit);
        let named = |line: &str| line.strip_prefix("SourcePath=").map(Path::new) == Some(&source);
        service.lines().any(named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_told_by_the_file_it_was_made_from() {
        let directory = tempfile::tempdir().unwrap();
        let units = PodmanUnits::in_directory(directory.path().to_owned());
        let (unit, other): (UnitName, UnitName) =
            ("a@1.container".parse().unwrap(), "b.container".parse().unwrap());
        assert_eq!(units.service_of(&unit), None);
        units.write_file(&unit, "[Container]\n").unwrap();
        assert_eq!(units.service_of(&unit), Some("a@1.service".parse().unwrap()));
        assert_eq!(units.file_hash(&unit), Some(FileHash::of_text("[Container]\n")));

        let service = format!("[Unit]\nSourcePath={}\n", units.source_path(&unit).display());
        assert!(units.is_made_from(&service, &unit));
        assert!(!units.is_made_from(&service, &other));
        assert!(!units.is_made_from("[Service]\nExecStart=/bin/true\n", &unit));

        units.remove_file(&unit).unwrap();
        units.remove_file(&unit).unwrap();
        assert!(!units.has_file(&unit));
    }
}
