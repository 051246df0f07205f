//! Putting a file in its place, whole or not at all.
//!
//! Owns the name that a file has until it is complete. It is made of a number and never of the file's own name: a unit's
//! name may be as long as a file's name can be, and with a dot before it it may be another unit's.

use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Tells files apart that are written at the same time. The next daemon begins anew, and writes over what this one has
/// left.
static WRITES: AtomicU64 = AtomicU64::new(0);

/// Writes a file into a directory, in the place of one that may be there, with a mode such as 0o600 whatever the mask is.
/// Returns what the file system says of it.
pub(crate) fn replace_file(
    directory: &Path,
    name: &str,
    bytes: &[u8],
    mode: u32,
) -> io::Result<Metadata> {
    let number = WRITES.fetch_add(1, Ordering::Relaxed);
    // No unit's type is `new`: whoever looks for units, systemd too, passes it over.
    let temporary = directory.join(format!(".muster-{number}.new"));
    let written = fs::write(&temporary, bytes).and_then(|()| {
        fs::set_permissions(&temporary, Permissions::from_mode(mode))?;
        let metadata = fs::metadata(&temporary)?;
        fs::rename(&temporary, directory.join(name))?;
        Ok(metadata)
    });
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_that_a_file_may_have_can_be_written_and_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let longest = "x".repeat(255);
        for text in ["first", "second"] {
            replace_file(directory.path(), &longest, text.as_bytes(), 0o600).unwrap();
            assert_eq!(fs::read_to_string(directory.path().join(&longest)).unwrap(), text);
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_put_in_its_place_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("taken")).unwrap();
        assert!(replace_file(directory.path(), "taken", b"text", 0o600).is_err());
        assert!(replace_file(directory.path(), &"x".repeat(256), b"text", 0o600).is_err());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
