//! Who may read what the daemon keeps: nobody but root, where it is not meant for others.
//!
//! Owns the mask of files that are made, the directories that are the daemon's own, and the look at files that others make
//! for it. Unit files, placements and ledgers may hold secrets, and so may whatever was copied from them.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::{Mutex, OnceLock};

use rustix::fs::Mode;
use rustix::process::umask;

use crate::stdx::sync::lock;

/// The bits of a mode that are others'.
const OTHERS: u32 = 0o077;

/// A directory of our own.
pub(crate) const DIRECTORY: u32 = 0o700;

/// A file of our own.
pub(crate) const PRIVATE_FILE: u32 = 0o600;

/// The mode of directories that are meant for others: unit files, which systemd says to everybody over D-Bus, and the directory of the API's socket,
/// whose own mode says who may use it.
const PUBLIC_DIRECTORY: u32 = 0o755;

/// See [`PUBLIC_DIRECTORY`].
pub const PUBLIC_FILE: u32 = 0o644;

/// The mask that the daemon was started with.
static INHERITED: OnceLock<Mode> = OnceLock::new();

/// One at a time changes the mask of the process.
static CHANGING: Mutex<()> = Mutex::new(());

/// From now on what is made is for root alone, unless its maker says otherwise. Call it once, before any thread is there.
pub fn restrict_umask() {
    let inherited = umask(Mode::from_raw_mode(OTHERS));
    // Only the first mask is the one that was inherited.
    let _ = INHERITED.set(inherited);
}

/// Starts something with the mask that the daemon was started with: the administrator's commands may upgrade packages, whose
/// files are not to be root's alone. For that moment other threads make files with that mask too; ours lie in
/// directories that are closed.
pub fn with_inherited_umask<T>(start: impl FnOnce() -> T) -> T {
    let Some(inherited) = INHERITED.get() else { return start() };
    let _turn = lock(&CHANGING);
    umask(*inherited);
    let started = start();
    umask(Mode::from_raw_mode(OTHERS));
    started
}

/// Makes a directory of ours, for root alone. One that was made before, by an older version, is closed, and so are the files
/// right in it.
pub fn private_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(DIRECTORY).create(path)?;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        // Not through a link: what it leads to is somebody else's.
        let found = entry.metadata()?;
        if found.is_file() && found.mode() & OTHERS != 0 {
            restrict_mode(&entry.path(), PRIVATE_FILE)?;
        }
    }
    if fs::metadata(path)?.mode() & OTHERS != 0 {
        restrict_mode(path, DIRECTORY)?;
    }
    Ok(())
}

/// The same for a directory that somebody else may have chosen: where it holds what is none of ours it stays as it is, with
/// a warning.
pub fn state_directory(path: &Path, ours: &[&str]) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(DIRECTORY).create(path)?;
    let mode = fs::metadata(path)?.mode();
    if mode & OTHERS == 0 {
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        if !ours.iter().any(|ours| name.starts_with(ours)) {
            let (path, mode) = (path.display(), format!("{:04o}", mode & 0o7777));
            tracing::warn!(%path, mode, other = &*name, "the state directory is open to others and holds what is none of Muster's; give Muster one of its own, with mode 0700");
            return Ok(());
        }
    }
    private_directory(path)
}

/// Makes a directory that others may pass through and look into, whatever the mask. One that is there stays as it is.
pub fn public_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(path)?;
    fs::set_permissions(path, Permissions::from_mode(PUBLIC_DIRECTORY))
}

fn restrict_mode(path: &Path, mode: u32) -> io::Result<()> {
    let was = format!("{:04o}", fs::symlink_metadata(path)?.mode() & 0o7777);
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    let now = format!("{mode:04o}");
    tracing::info!(path = %path.display(), was, now, "was open to others and is closed");
    Ok(())
}

/// The problem with the mode of a file that the daemon believes: others may write it. `None`: nothing, or there is no such
/// file.
pub fn writable_by_others(key: &str, path: &Path) -> Option<String> {
    let found = fs::metadata(path).ok()?;
    let shown = path.display();
    if found.mode() & 0o002 != 0 || (found.mode() & 0o020 != 0 && found.gid() != 0) {
        let mode = found.mode() & 0o7777;
        return Some(format!(
            "{key} {shown} has mode {mode:04o}, so that others may write it; chmod go-w {shown}"
        ));
    }
    foreign_owner(key, path, found.uid())
}

/// The problem with the mode of a file that holds a secret: others may read or write it. `None` as above.
pub fn open_to_others(key: &str, path: &Path) -> Option<String> {
    let found = fs::metadata(path).ok()?;
    let shown = path.display();
    let right = if found.is_dir() { DIRECTORY } else { PRIVATE_FILE };
    let group = if found.gid() == 0 { 0o030 } else { 0o070 };
    if found.mode() & (0o007 | group) != 0 {
        let mode = found.mode() & 0o7777;
        return Some(format!(
            "{key} {shown} has mode {mode:04o}, so that others may use the secret in it; chmod {right:04o} {shown}"
        ));
    }
    foreign_owner(key, path, found.uid())
}

fn foreign_owner(key: &str, path: &Path, owner: u32) -> Option<String> {
    let shown = path.display();
    let ours = owner == 0 || owner == rustix::process::geteuid().as_raw();
    (!ours).then(|| format!("{key} {shown} belongs to user {owner}; chown root {shown}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    fn file(path: &Path, mode: u32) {
        fs::write(path, "x").unwrap();
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_directory_of_ours_is_closed_with_what_is_in_it() {
        let above = tempfile::tempdir().unwrap();
        let ours = above.path().join("a/b");
        private_directory(&ours).unwrap();
        assert_eq!(mode(&ours), 0o700);
        fs::set_permissions(&ours, Permissions::from_mode(0o755)).unwrap();
        file(&ours.join("placements.json"), 0o644);
        private_directory(&ours).unwrap();
        assert_eq!((mode(&ours), mode(&ours.join("placements.json"))), (0o700, 0o600));
    }

    #[test]
    fn a_directory_with_other_things_is_left_as_it_is() {
        let shared = tempfile::tempdir().unwrap();
        fs::set_permissions(shared.path(), Permissions::from_mode(0o755)).unwrap();
        file(&shared.path().join("placements.json"), 0o644);
        file(&shared.path().join("somebody's"), 0o644);
        state_directory(shared.path(), &["placements.json"]).unwrap();
        assert_eq!(mode(shared.path()), 0o755);
        fs::remove_file(shared.path().join("somebody's")).unwrap();
        state_directory(shared.path(), &["placements.json"]).unwrap();
        assert_eq!(mode(shared.path()), 0o700);
    }

    #[test]
    fn what_others_may_do_is_said_with_the_way_out() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        for (mode, writes, reads) in [
            (0o600, false, false),
            (0o400, false, false),
            (0o604, false, true),
            (0o644, false, true),
            (0o602, true, true),
            (0o666, true, true),
        ] {
            file(&path, mode);
            let warning = writable_by_others("the configuration", &path);
            assert_eq!(warning.is_some(), writes, "{mode:o} {warning:?}");
            let warning = open_to_others("etcd.password_file", &path);
            assert_eq!(warning.is_some(), reads, "{mode:o} {warning:?}");
            if let Some(warning) = warning {
                assert!(
                    warning.contains(&format!("{mode:04o}")) && warning.contains("chmod 0600 "),
                    "{warning}"
                );
            }
        }
        assert_eq!(open_to_others("x", &directory.path().join("missing")), None);
    }
}
