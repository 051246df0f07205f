//! Unit files at our place: `/run/systemd/system`, or a directory of our own for what systemd is not to see.
//!
//! Owns writing and removing them, atomically, and knowing what lies there. It never touches a file that the caller
//! does not name.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use muster_common::unit::{FileHash, UnitName};

use crate::host::modes::{PRIVATE_FILE, PUBLIC_FILE};
use crate::stdx::disk::{Disk, DiskEntry, FileStamp};
use crate::stdx::files::{Durability, remove_file, replace_file_with_mode};

/// The hash of the file at our place, taken once and again only when it has changed.
#[derive(Debug)]
pub(super) struct UnitFiles {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    mode: u32,
    known: BTreeMap<UnitName, (FileStamp, FileHash)>,
}

impl UnitFiles {
    /// For root alone.
    pub(super) fn new(disk: Arc<dyn Disk>, directory: PathBuf) -> Self {
        Self { disk, directory, mode: PRIVATE_FILE, known: BTreeMap::new() }
    }

    /// For systemd's eyes. systemd tells what is in a unit file to everybody who asks over D-Bus, `Environment=` included, and
    /// warns of files that are closed, for that protects nothing. Secrets belong into `LoadCredential=` or an
    /// `EnvironmentFile=` of mode 0600.
    pub(super) fn new_public(disk: Arc<dyn Disk>, directory: PathBuf) -> Self {
        Self { mode: PUBLIC_FILE, ..Self::new(disk, directory) }
    }

    /// Where the files are.
    pub(super) fn unit_directory(&self) -> &Path {
        &self.directory
    }

    /// Where the unit's file is.
    pub(super) fn path(&self, unit: &UnitName) -> PathBuf {
        self.directory.join(unit.as_str())
    }

    /// Writes a file. Returns whether one lay there before.
    pub(super) fn write(&mut self, unit: &UnitName, text: &str) -> io::Result<bool> {
        let existed = self.is_taken(unit);
        // What lies there is read when it is asked for next: between two looks it may be somebody else's.
        self.known.remove(unit);
        let (path, text) = (self.path(unit), text.as_bytes());
        replace_file_with_mode(&*self.disk, &path, text, Durability::OutlivesDaemon, self.mode)?;
        Ok(existed)
    }

    /// Removes a file; one that is not there is no failure, and a link is somebody else's.
    pub(super) fn remove(&mut self, unit: &UnitName) -> io::Result<()> {
        self.known.remove(unit);
        if self.linked_to(unit).is_some() {
            return Ok(());
        }
        remove_file(&*self.disk, &self.path(unit))
    }

    /// The hash of the file that lies there, if one does and it can be read.
    pub(super) fn hash(&mut self, unit: &UnitName) -> Option<FileHash> {
        let path = self.path(unit);
        let Some(DiskEntry::File(stamp)) = self.disk.look_at(&path) else {
            self.known.remove(unit);
            return None;
        };
        if let Some((known, hash)) = self.known.get(unit)
            && *known == stamp
        {
            return Some(*hash);
        }
        // One that is no text is another than ours, whatever it is.
        let hash = FileHash::of_text(&String::from_utf8_lossy(&self.disk.read(&path).ok()?));
        self.known.insert(unit.clone(), (stamp, hash));
        Some(hash)
    }

    /// True if a name is free at our place for a unit to be known by: nothing lies there, or a link to the unit's own file.
    pub(super) fn is_ours(&self, name: &UnitName, unit: &UnitName) -> bool {
        match self.disk.look_at(&self.path(name)) {
            Some(DiskEntry::Link(target)) => {
                target.file_name().is_some_and(|file| file == unit.as_str())
            }
            found => found.is_none(),
        }
    }

    /// Where a link in the unit's place leads: another name of a unit, or one that is masked, and never made by us for a unit of
    /// that name.
    pub(super) fn linked_to(&self, unit: &UnitName) -> Option<PathBuf> {
        match self.disk.look_at(&self.path(unit))? {
            DiskEntry::Link(target) => Some(target),
            _ => None,
        }
    }

    /// True if anything lies there, readable or not.
    pub(super) fn is_taken(&self, unit: &UnitName) -> bool {
        self.disk.look_at(&self.path(unit)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use crate::stdx::disk::HostDisk;

    #[test]
    fn no_name_is_too_long_or_anothers() {
        let directory = tempfile::tempdir().unwrap();
        let mut files = UnitFiles::new(Arc::new(HostDisk), directory.path().to_owned());
        let lengths = [230, 239, 240, 246, 247].map(|n| format!("{}.service", "x".repeat(n)));
        let taken = [".muster-a.service", "a.service", ".a.service"].map(str::to_owned);
        let names = lengths.into_iter().chain(taken);
        let names: Vec<UnitName> = names.map(|name| name.parse().unwrap()).collect();
        for unit in &names {
            assert!(!files.write(unit, unit.as_str()).unwrap());
        }
        for unit in &names {
            assert_eq!(fs::read_to_string(files.path(unit)).unwrap(), unit.as_str());
        }
    }

    #[test]
    fn what_was_written_is_known_and_what_was_changed_by_others_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let mut files = UnitFiles::new_public(Arc::new(HostDisk), directory.path().to_owned());
        let unit: UnitName = "a.service".parse().unwrap();
        assert_eq!(files.hash(&unit), None);

        let hash = FileHash::of_text("[Service]\n");
        assert!(!files.write(&unit, "[Service]\n").unwrap());
        assert_eq!(files.hash(&unit), Some(hash));
        assert!(files.write(&unit, "[Service]\n").unwrap());

        fs::write(files.path(&unit), "[Unit]\nDescription=else\n").unwrap();
        assert_eq!(files.hash(&unit), Some(FileHash::of_text("[Unit]\nDescription=else\n")));
        fs::write(files.path(&unit), b"[Unit]\nDescription=\xff\n").unwrap();
        assert!(files.hash(&unit).is_some_and(|other| other != hash));

        files.remove(&unit).unwrap();
        files.remove(&unit).unwrap();
        assert_eq!(files.hash(&unit), None);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_link_is_no_file_of_ours_and_stays() {
        let directory = tempfile::tempdir().unwrap();
        let mut files = UnitFiles::new_public(Arc::new(HostDisk), directory.path().to_owned());
        let unit: UnitName = "a.service".parse().unwrap();
        std::os::unix::fs::symlink("/dev/null", files.path(&unit)).unwrap();
        assert_eq!(files.hash(&unit), None);
        assert_eq!(files.linked_to(&unit), Some(PathBuf::from("/dev/null")));
        files.remove(&unit).unwrap();
        assert!(files.is_taken(&unit));
    }

    #[test]
    fn systemds_files_are_for_all_and_ours_for_root_alone() {
        let directory = tempfile::tempdir().unwrap();
        let unit: UnitName = "a.service".parse().unwrap();
        let text = "[Unit]\n";
        for (mut files, mode) in [
            (UnitFiles::new(Arc::new(HostDisk), directory.path().to_owned()), 0o600),
            (UnitFiles::new_public(Arc::new(HostDisk), directory.path().to_owned()), 0o644),
        ] {
            files.write(&unit, text).unwrap();
            assert_eq!(fs::metadata(files.path(&unit)).unwrap().mode() & 0o777, mode);
        }
    }
}
