//! Reading a file of the machine's that a unit's file names.
//!
//! Owns what the daemon, which is root, reads in a unit's stead: a file proper, of a size that a call to an engine can carry. Never
//! one that tells of the daemon itself, its environment and its credentials: whoever writes a unit is not handed those by the way.
//! No error of its quotes what a file holds.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, PROC_SUPER_MAGIC, fstatfs};

/// Longest file taken. A program's arguments and its environment have two megabytes together on Linux; a secret, a filter of
/// system calls or a file of variables with one of its own is a slip.
const LONGEST: u64 = 1 << 20;

/// Reads a file without waiting for anybody: a pipe or a device is no file.
pub(crate) async fn read(path: &Path) -> io::Result<String> {
    let path = path.to_owned();
    let read = tokio::task::spawn_blocking(move || read_now(&path)).await;
    read.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// The same, on the caller's thread.
pub(crate) fn read_now(path: &Path) -> io::Result<String> {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    read_here(path, credentials.as_deref())
}

fn read_here(path: &Path, credentials: Option<&Path>) -> io::Result<String> {
    let refused = |problem: &str| Err(io::Error::other(problem.to_owned()));
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().try_into().unwrap_or_default())
        .open(path)?;
    if !file.metadata()?.is_file() {
        return refused("it is a directory, a device or a pipe, and no file");
    }
    if fstatfs(&file)?.f_type == PROC_SUPER_MAGIC {
        return refused("it tells of processes, the daemon's own among them, and is not passed on");
    }
    if credentials.is_some_and(|own| path.canonicalize().is_ok_and(|path| path.starts_with(own))) {
        return refused("it is one of the daemon's credentials, which are not passed on");
    }
    let mut text = String::new();
    file.take(LONGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LONGEST {
        return refused("it is longer than a megabyte");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(path: &Path, credentials: Option<&Path>) -> String {
        read_here(path, credentials).unwrap_err().to_string()
    }

    #[test]
    fn a_file_is_read_whoever_names_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.env");
        std::fs::write(&path, "A=1\n").unwrap();
        assert_eq!(read_here(&path, Some(Path::new("/run/credentials"))).unwrap(), "A=1\n");
        assert_eq!(
            read_here(&directory.path().join("b"), None).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }

    #[test]
    fn what_tells_of_the_daemon_is_not_passed_on() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink("/proc/self/environ", &link).unwrap();
        for path in [Path::new("/proc/self/environ"), &link, Path::new("/proc/1/cmdline")] {
            let problem = problem(path, None);
            assert!(problem.starts_with("it tells of processes"), "{problem}");
        }
        let own = directory.path().canonicalize().unwrap();
        std::fs::write(own.join("password"), "hunter2").unwrap();
        let problem = problem(&own.join("password"), Some(&own));
        assert!(problem.starts_with("it is one of the daemon's credentials"), "{problem}");
    }

    #[test]
    fn what_never_ends_is_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, mode).unwrap();
        for path in [Path::new("/dev/zero"), &pipe, directory.path()] {
            assert!(problem(path, None).starts_with("it is a directory"), "{}", path.display());
        }
        let long = directory.path().join("long");
        std::fs::write(&long, vec![b'a'; 2 << 20]).unwrap();
        assert_eq!(problem(&long, None), "it is longer than a megabyte");
    }
}
