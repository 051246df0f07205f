//! Putting a file in its place, whole or not at all.
//!
//! Owns the one way in which the daemon replaces a file, with the two promises there are, and the name that a file has until
//! it is complete. That name is made of a number and never of the file's own: a unit's name may be as long as a file's name
//! can be, and with a dot before it it may be another unit's.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use muster_common::probe::is_planted;

use crate::stdx::disk::Disk;

/// Mode of a file that is the daemon's alone.
const PRIVATE_FILE: u32 = 0o600;

/// Tells files apart that are written at the same time. The next daemon begins anew, and writes over what this one has
/// left.
static WRITES: AtomicU64 = AtomicU64::new(0);

/// The end that a replaced file outlives once the call has returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// The daemon, however it ends; not the host's. For what lies in `/run`, and for what can be made again.
    OutlivesDaemon,
    /// A power cut too: the file is synced before it gets its name, and its directory afterwards.
    OutlivesPowerCut,
}

/// Writes a file that is the daemon's alone, in the place of one that may be there. Whoever reads it, after a power cut too,
/// finds the whole of the old one or the whole of the new one.
pub(crate) fn replace_file(
    disk: &dyn Disk,
    path: &Path,
    bytes: &[u8],
    durability: Durability,
) -> io::Result<()> {
    replace_file_with_mode(disk, path, bytes, durability, PRIVATE_FILE)
}

/// The same for a file with another mode.
pub(crate) fn replace_file_with_mode(
    disk: &dyn Disk,
    path: &Path,
    bytes: &[u8],
    durability: Durability,
    mode: u32,
) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let number = WRITES.fetch_add(1, Ordering::Relaxed);
    // No unit's type is `new`: whoever looks for units, systemd too, passes it over.
    let temporary = match path.file_name().and_then(|name| name.to_str()) {
        Some(name) if is_planted("temporary-file-named-after-unit") => format!(".{name}"),
        _ => format!(".muster-{number}.new"),
    };
    let temporary = directory.join(temporary);
    let durable = durability == Durability::OutlivesPowerCut;
    let written = disk
        .write(&temporary, bytes, mode)
        .and_then(|()| if durable { disk.sync_file(&temporary) } else { Ok(()) })
        .and_then(|()| disk.rename(&temporary, path));
    if written.is_err() {
        let _ = disk.remove(&temporary);
    }
    written?;
    if durable && !is_planted("directory-not-synced") {
        disk.sync_directory(directory)
    } else {
        Ok(())
    }
}

/// Removes a file; one that is not there is no failure.
pub(crate) fn remove_file(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match disk.remove(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Reads a file; `None` when there is none.
pub(crate) fn read_file(disk: &dyn Disk, path: &Path) -> io::Result<Option<Vec<u8>>> {
    match disk.read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The text of a file; `None` when there is none, or none that is text.
pub(crate) fn read_text(disk: &dyn Disk, path: &Path) -> Option<String> {
    String::from_utf8(disk.read(path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::stdx::disk::HostDisk;

    const BOTH: [Durability; 2] = [Durability::OutlivesDaemon, Durability::OutlivesPowerCut];

    #[test]
    fn any_name_that_a_file_may_have_can_be_written_and_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x".repeat(255));
        for (text, durability) in ["first", "second"].into_iter().zip(BOTH) {
            replace_file(&HostDisk, &path, text.as_bytes(), durability).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, PRIVATE_FILE);
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_put_in_its_place_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let taken = directory.path().join("taken");
        fs::create_dir(&taken).unwrap();
        for durability in BOTH {
            assert!(replace_file(&HostDisk, &taken, b"text", durability).is_err());
            let long = directory.path().join("x".repeat(256));
            assert!(replace_file(&HostDisk, &long, b"text", durability).is_err());
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
