//! Which unit names the host's own files take.
//!
//! Owns the look into systemd's unit directories (systemd.unit(5), "Unit File Load Path"). It never reads a unit
//! file and never writes anything.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Directories whose files win over ours in `/run/systemd/system`.
const ABOVE: [&str; 7] = [
    "/etc/systemd/system.control",
    "/run/systemd/system.control",
    "/run/systemd/transient",
    "/run/systemd/generator.early",
    "/etc/systemd/system",
    "/etc/systemd/system.attached",
    "/usr/local/etc/systemd/system",
];

/// Directories whose files ours would hide.
const BELOW: [&str; 6] = [
    "/run/systemd/system.attached",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
    "/run/systemd/generator.late",
];

/// A directory changed less than this before it was read may change again within the same tick of its time stamp.
const SETTLED: Duration = Duration::from_secs(2);

/// The names in the host's unit directories. Reads a directory anew only when it has changed.
#[derive(Debug)]
pub(super) struct HostUnits {
    above: Vec<Directory>,
    below: Vec<Directory>,
}

#[derive(Debug)]
struct Directory {
    path: PathBuf,
    read: Option<SystemTime>,
    names: HashSet<String>,
}

impl HostUnits {
    pub(super) fn new() -> Self {
        Self::of(ABOVE.iter().map(PathBuf::from), BELOW.iter().map(PathBuf::from))
    }

    fn of(above: impl Iterator<Item = PathBuf>, below: impl Iterator<Item = PathBuf>) -> Self {
        let directory = |path| Directory { path, read: None, names: HashSet::new() };
        Self { above: above.map(directory).collect(), below: below.map(directory).collect() }
    }

    /// Looks at the directories that have changed.
    pub(super) fn refresh(&mut self) {
        for directory in self.above.iter_mut().chain(&mut self.below) {
            directory.refresh();
        }
    }

    /// Whether a file of the host's wins over ours.
    pub(super) fn overrides(&self, unit: &str) -> bool {
        self.above.iter().any(|d| d.names.contains(unit))
    }

    /// Whether the host has a file of that name at all.
    pub(super) fn has(&self, unit: &str) -> bool {
        self.overrides(unit) || self.below.iter().any(|d| d.names.contains(unit))
    }
}

impl Directory {
    fn refresh(&mut self) {
        let modified = std::fs::metadata(&self.path).and_then(|m| m.modified()).ok();
        if modified.is_some() && modified == self.read {
            return;
        }
        self.names = names(&self.path);
        self.read = modified.filter(|at| at.elapsed().is_ok_and(|age| age > SETTLED));
    }
}

fn names(path: &Path) -> HashSet<String> {
    let Ok(entries) = std::fs::read_dir(path) else { return HashSet::new() };
    entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_above_overrides_and_a_file_below_is_only_there() {
        let (above, below) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(above.path().join("a.service"), "").unwrap();
        std::fs::write(below.path().join("b.service"), "").unwrap();
        let mut host = HostUnits::of(
            [above.path().to_owned(), PathBuf::from("/nonexistent")].into_iter(),
            [below.path().to_owned()].into_iter(),
        );
        host.refresh();
        assert_eq!((host.overrides("a.service"), host.has("a.service")), (true, true));
        assert_eq!((host.overrides("b.service"), host.has("b.service")), (false, true));
        assert_eq!((host.overrides("c.service"), host.has("c.service")), (false, false));

        std::fs::write(above.path().join("c.service"), "").unwrap();
        host.refresh();
        assert!(host.overrides("c.service"), "a directory that has just changed is read again");
    }
}
