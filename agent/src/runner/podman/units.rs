//! Where the files lie that Podman runs, and what their services are called.
//!
//! Owns a directory for each unit, `/run/muster/quadlet/UNIT/`, with the unit's file in it under its own name: that is what the generator
//! is shown, so that it sees nothing but this unit and what it names, and what the service names as its `SourcePath=`, by which it is
//! told from other services. A unit that was written for its own sake is told from one that was only brought, because another names it, by
//! a mark beside the file. It reads of a file what its service is called, and which others it names.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use muster_common::unit::{FileHash, UnitFile, UnitName, quadlet_service};

use super::made::mark_of;
use crate::host::modes::{DIRECTORY, PRIVATE_FILE};
use crate::stdx::disk::HostDisk;
use crate::stdx::files::{Durability, replace_file_with_mode};

/// The mark of a unit that is here because others name it. The generator reads nothing of that name.
const BROUGHT: &str = ".brought";

/// The drop-in that marks what a unit makes. Its labels are the last ones, so that no empty `Label=` takes them back.
const MARK: &str = "zz-muster.conf";

/// The units of this machine that are Podman's.
#[derive(Debug, Clone)]
pub struct PodmanUnits {
    directory: PathBuf,
    /// The cluster that stands in the marks of what these units make; none where they make nothing.
    cluster: Option<Arc<str>>,
}

impl PodmanUnits {
    /// Those whose files lie below this directory.
    pub fn in_directory(directory: PathBuf) -> Self {
        Self { directory, cluster: None }
    }

    /// The same, and what they make has this cluster's mark.
    pub(super) fn with_marks_of(self, cluster: &str) -> Self {
        Self { cluster: Some(cluster.into()), ..self }
    }

    /// True if a unit's file lies here for the unit's own sake.
    pub fn has_file(&self, unit: &UnitName) -> bool {
        self.is_shown(unit) && !self.brought_mark(unit).exists()
    }

    /// True if a unit's file lies here, for whoever's sake.
    pub(super) fn is_shown(&self, unit: &UnitName) -> bool {
        unit.unit_type().is_quadlet() && self.source_path(unit).is_file()
    }

    /// The service of a unit whose file lies here for its own sake.
    pub fn service_of(&self, unit: &UnitName) -> Option<UnitName> {
        self.has_file(unit).then(|| self.expected_service(unit)).flatten()
    }

    /// The service that is made of a unit's file, or would be if it said nothing else.
    pub(super) fn expected_service(&self, unit: &UnitName) -> Option<UnitName> {
        match self.read_file(unit) {
            Some(file) => quadlet_service(unit, &file),
            None => unit.quadlet_service(),
        }
    }

    /// Every unit whose file lies here, for whoever's sake.
    pub(super) fn list_units(&self) -> Vec<UnitName> {
        let Ok(entries) = fs::read_dir(&self.directory) else { return Vec::new() };
        let named = |entry: fs::DirEntry| -> Option<UnitName> {
            entry.file_name().to_str()?.parse().ok().filter(|unit| self.is_shown(unit))
        };
        let mut units: Vec<UnitName> = entries.filter_map(|entry| named(entry.ok()?)).collect();
        units.sort();
        units
    }

    fn brought_mark(&self, unit: &UnitName) -> PathBuf {
        self.unit_directory(unit).join(BROUGHT)
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

    /// A unit's file, where there is one that can be read.
    pub(super) fn read_file(&self, unit: &UnitName) -> Option<UnitFile> {
        self.read_text(unit).ok()?.parse().ok()
    }

    /// Puts a unit's file here, for its own sake.
    pub(super) fn write_file(&self, unit: &UnitName, text: &str) -> io::Result<()> {
        self.put_file(unit, text)?;
        match fs::remove_file(self.brought_mark(unit)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Puts a unit's file here because another names it. One that is here for its own sake stays as it is.
    pub(super) fn bring_file(&self, unit: &UnitName, text: &str) -> io::Result<()> {
        if self.has_file(unit) {
            return Ok(());
        }
        self.keep_for_others(unit)?;
        self.put_file(unit, text)
    }

    /// Has a unit be here only because others name it.
    pub(super) fn keep_for_others(&self, unit: &UnitName) -> io::Result<()> {
        self.make_directory(unit)?;
        fs::write(self.brought_mark(unit), "")
    }

    fn make_directory(&self, unit: &UnitName) -> io::Result<()> {
        let directory = self.unit_directory(unit);
        fs::DirBuilder::new().recursive(true).mode(DIRECTORY).create(directory)
    }

    fn put_file(&self, unit: &UnitName, text: &str) -> io::Result<()> {
        self.make_directory(unit)?;
        self.put_mark(unit)?;
        put_whole(&self.source_path(unit), text)
    }

    /// Has the generator mark what the unit makes: it reads drop-ins beside the file.
    fn put_mark(&self, unit: &UnitName) -> io::Result<()> {
        let mark = self.cluster.as_deref().and_then(|cluster| mark_of(unit, cluster));
        let Some(mark) = mark else { return Ok(()) };
        let folder = self.unit_directory(unit).join(format!("{unit}.d"));
        fs::DirBuilder::new().recursive(true).mode(DIRECTORY).create(&folder)?;
        put_whole(&folder.join(MARK), &mark)
    }

    /// Takes a unit's file away, with whatever lies beside it.
    pub(super) fn remove_file(&self, unit: &UnitName) -> io::Result<()> {
        match fs::remove_dir_all(self.unit_directory(unit)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The unit of ours that a service was made from, by the file that its text names as its source.
    pub(super) fn source_unit(&self, service: &str) -> Option<UnitName> {
        let source = service.lines().find_map(|line| line.strip_prefix("SourcePath="))?;
        let path = Path::new(source).strip_prefix(&self.directory).ok()?;
        path.components().next()?.as_os_str().to_str()?.parse().ok()
    }

    /// True if a service was made from this unit's file: its text names that as its source.
    pub(super) fn is_made_from(&self, service: &str, unit: &UnitName) -> bool {
        let source = self.source_path(unit);
        let named = |line: &str| line.strip_prefix("SourcePath=").map(Path::new) == Some(&source);
        service.lines().any(named)
    }
}

/// Writes a file, whole or not at all.
fn put_whole(path: &Path, text: &str) -> io::Result<()> {
    let durability = Durability::OutlivesDaemon;
    replace_file_with_mode(&HostDisk, path, text.as_bytes(), durability, PRIVATE_FILE)
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
        assert_eq!(units.source_unit(&service), Some(unit.clone()));
        assert_eq!(units.source_unit("[Unit]\nSourcePath=/etc/a\n"), None);
        assert!(!units.is_made_from("[Service]\nExecStart=/bin/true\n", &unit));

        units.remove_file(&unit).unwrap();
        units.remove_file(&unit).unwrap();
        assert!(!units.has_file(&unit));
    }

    #[test]
    fn what_is_brought_is_told_from_what_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let units = PodmanUnits::in_directory(directory.path().to_owned());
        let volume: UnitName = "d.volume".parse().unwrap();
        units.bring_file(&volume, "[Volume]\n").unwrap();
        assert!(units.is_shown(&volume) && !units.has_file(&volume));
        assert_eq!(units.service_of(&volume), None);
        assert_eq!(units.expected_service(&volume), Some("d-volume.service".parse().unwrap()));

        units.write_file(&volume, "[Volume]\nServiceName=data\n").unwrap();
        units.bring_file(&volume, "[Volume]\n").unwrap();
        assert_eq!(units.service_of(&volume), Some("data.service".parse().unwrap()));
        assert_eq!(units.list_units(), ["d.volume".parse().unwrap()]);

        units.keep_for_others(&volume).unwrap();
        assert!(units.is_shown(&volume) && !units.has_file(&volume));
    }

    #[test]
    fn what_volumes_make_is_marked_beside_their_files() {
        let directory = tempfile::tempdir().unwrap();
        let units = PodmanUnits::in_directory(directory.path().to_owned()).with_marks_of("/here");
        let volume: UnitName = "d.volume".parse().unwrap();
        units.bring_file(&volume, "[Volume]\n").unwrap();
        let mark = units.unit_directory(&volume).join("d.volume.d/zz-muster.conf");
        assert!(fs::read_to_string(mark).unwrap().contains("muster.cluster=/here"));
        assert_eq!(units.read_text(&volume).unwrap(), "[Volume]\n");
        units.write_file(&"a.container".parse().unwrap(), "[Container]\n").unwrap();
        assert_eq!(fs::read_dir(directory.path().join("a.container")).unwrap().count(), 1);
        units.remove_file(&volume).unwrap();
        assert!(!units.is_shown(&volume));
    }
}
