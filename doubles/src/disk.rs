//! A disk in memory that loses in a power cut what was not synced.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use musterd::stdx::disk::{Disk, DiskEntry, FileStamp};

/// Most bytes of a file's name, as on Linux's disks.
const LONGEST_NAME: usize = 255;

/// The disk. Every directory is there. A power cut takes all that was not synced, which is the worst that may happen.
#[derive(Debug, Clone, Default)]
pub struct LossyDisk(Arc<Mutex<Files>>);

/// All that was on a disk at one moment.
#[derive(Debug, Clone)]
pub struct DiskImage(Files);

#[derive(Debug, Clone, Default)]
struct Files {
    /// The names there are, and what a power cut would leave of them.
    names: BTreeMap<PathBuf, usize>,
    kept_names: BTreeMap<PathBuf, usize>,
    /// The files' contents, by number.
    contents: Vec<Content>,
}

#[derive(Debug, Clone)]
struct Content {
    bytes: Vec<u8>,
    /// The number of times it was written.
    written: i64,
    kept: Vec<u8>,
}

impl LossyDisk {
    /// A disk with nothing on it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Removes whatever lies below a directory, synced or not, as a file system in memory does with a boot.
    pub fn clear_below(&self, directory: &Path) {
        let mut files = self.0.lock().unwrap();
        files.names.retain(|path, _| !path.starts_with(directory));
        files.kept_names.retain(|path, _| !path.starts_with(directory));
    }

    /// A copy of all that is on it.
    pub fn take_image(&self) -> DiskImage {
        DiskImage(self.0.lock().unwrap().clone())
    }

    /// Puts a copy in the place of what is on it.
    pub fn put_image(&self, image: DiskImage) {
        *self.0.lock().unwrap() = image.0;
    }

    /// Power fails: what was not synced is gone.
    pub fn cut_power(&self) {
        let mut files = self.0.lock().unwrap();
        files.names = files.kept_names.clone();
        for content in &mut files.contents {
            content.bytes = content.kept.clone();
        }
    }
}

impl Files {
    fn content(&mut self, path: &Path) -> io::Result<&mut Content> {
        let number = *self.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        self.contents.get_mut(number).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk for LossyDisk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.0.lock().unwrap().content(path).map(|content| content.bytes.clone())
    }

    fn look_at(&self, path: &Path) -> Option<DiskEntry> {
        let mut files = self.0.lock().unwrap();
        let Some(number) = files.names.get(path).copied() else {
            let mut below = files.names.range::<Path, _>((Bound::Excluded(path), Bound::Unbounded));
            let is_directory = below.next().is_some_and(|(found, _)| found.starts_with(path));
            return is_directory.then_some(DiskEntry::Directory(None));
        };
        let content = files.contents.get_mut(number)?;
        let (inode, size) = (number as u64, content.bytes.len() as u64);
        let stamp = FileStamp { inode, size, seconds: content.written, nanoseconds: 0 };
        Some(DiskEntry::File(stamp))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        let files = self.0.lock().unwrap();
        // What lies in and below a directory comes right after it.
        let below = files.names.range::<Path, _>((Bound::Excluded(directory), Bound::Unbounded));
        let below = below.map(|(path, _)| path).take_while(|path| path.starts_with(directory));
        let within = below.filter(|path| path.parent() == Some(directory));
        Ok(within.filter_map(|path| path.file_name().map(OsString::from)).collect())
    }

    fn write(&self, path: &Path, bytes: &[u8], _: u32) -> io::Result<()> {
        if path.file_name().is_some_and(|name| name.len() > LONGEST_NAME) {
            return Err(io::ErrorKind::InvalidFilename.into());
        }
        let mut files = self.0.lock().unwrap();
        if let Ok(content) = files.content(path) {
            content.bytes = bytes.to_vec();
            content.written += 1;
            return Ok(());
        }
        let number = files.contents.len();
        files.contents.push(Content { bytes: bytes.to_vec(), written: 0, kept: Vec::new() });
        files.names.insert(path.to_owned(), number);
        Ok(())
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        let mut files = self.0.lock().unwrap();
        let content = files.content(path)?;
        content.kept = content.bytes.clone();
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = self.0.lock().unwrap();
        let number = files.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.names.insert(to.to_owned(), number);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let removed = self.0.lock().unwrap().names.remove(path);
        removed.map(|_| ()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn make_directory(&self, _: &Path, _: u32) -> io::Result<()> {
        Ok(())
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        let mut files = self.0.lock().unwrap();
        let Files { names, kept_names, .. } = &mut *files;
        kept_names.retain(|path, _| path.parent() != Some(directory));
        let within = names.iter().filter(|(path, _)| path.parent() == Some(directory));
        kept_names.extend(within.map(|(path, number)| (path.clone(), *number)));
        Ok(())
    }
}
