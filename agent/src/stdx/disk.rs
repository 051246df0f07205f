//! A disk, as far as the daemon's own records need one.
//!
//! Owns the seam under what the daemon remembers: the operations of a file system one by one, so that a simulator can lose
//! whatever was not synced, and the disk of this host. How a file is replaced is `files`' business.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, DirBuilder, File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A disk with directories and files. Every operation is over when it returns, and may block for as long as the disk takes.
pub trait Disk: fmt::Debug + Send + Sync + 'static {
    /// The whole of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// The thing under a path, where a link is a thing of its own; `None` if nothing is there.
    fn look_at(&self, path: &Path) -> Option<DiskEntry>;

    /// The names of what lies in a directory, in no order.
    fn list(&self, directory: &Path) -> io::Result<Vec<OsString>>;

    /// Writes a file, in the place of one that may be there, with a mode such as 0o600 whatever the process's mask is.
    /// A power cut may lose it, or leave half of it, until [`Self::sync_file`] has returned.
    fn write(&self, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()>;

    /// Puts what a file holds where a power cut does not reach it. Its name may be lost all the same; see
    /// [`Self::sync_directory`].
    fn sync_file(&self, path: &Path) -> io::Result<()>;

    /// Gives a file another name, of one that may be there. A power cut may leave either name, never half of a file, until
    /// [`Self::sync_directory`] has returned.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. A power cut may bring it back until [`Self::sync_directory`] has returned.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Puts the names in a directory where a power cut does not reach them.
    fn sync_directory(&self, directory: &Path) -> io::Result<()>;

    /// Makes a directory, with those above it, with a mode such as 0o700. One that is there stays as it is.
    fn make_directory(&self, path: &Path, mode: u32) -> io::Result<()>;

    /// Does work that may block for long, a sync for example, out of the way of whoever asks. The work says itself when it is
    /// done. A disk that never blocks does it at once.
    fn run_apart(&self, work: Box<dyn FnOnce() + Send>) {
        work();
    }
}

/// The thing under a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskEntry {
    /// A file.
    File(FileStamp),
    /// A link, to this path.
    Link(PathBuf),
    /// A directory, and when names in it last changed, if that is known.
    Directory(Option<SystemTime>),
    /// Anything else.
    Other,
}

/// Tells one content of a file from the next without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStamp {
    /// The number of the file on its disk.
    pub inode: u64,
    /// Its length in bytes.
    pub size: u64,
    /// The time of its last change: seconds since the Unix epoch.
    pub seconds: i64,
    /// And nanoseconds.
    pub nanoseconds: i64,
}

impl From<&Metadata> for FileStamp {
    fn from(m: &Metadata) -> Self {
        Self { inode: m.ino(), size: m.size(), seconds: m.mtime(), nanoseconds: m.mtime_nsec() }
    }
}

/// The disk of this host.
#[derive(Debug, Clone, Copy, Default)]
pub struct HostDisk;

impl Disk for HostDisk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn look_at(&self, path: &Path) -> Option<DiskEntry> {
        let found = fs::symlink_metadata(path).ok()?;
        let kind = found.file_type();
        Some(if kind.is_file() {
            DiskEntry::File(FileStamp::from(&found))
        } else if kind.is_dir() {
            DiskEntry::Directory(found.modified().ok())
        } else {
            fs::read_link(path).map_or(DiskEntry::Other, DiskEntry::Link)
        })
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        fs::read_dir(directory)?.map(|entry| entry.map(|entry| entry.file_name())).collect()
    }

    fn write(&self, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
        fs::write(path, bytes)?;
        fs::set_permissions(path, Permissions::from_mode(mode))
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }

    fn make_directory(&self, path: &Path, mode: u32) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(mode).create(path)
    }

    fn run_apart(&self, work: Box<dyn FnOnce() + Send>) {
        tokio::task::spawn_blocking(work);
    }
}
