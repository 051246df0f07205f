//! The package manager's mark: a file that says that a reboot is required (Debian, Ubuntu), and one beside it that names the
//! packages.
//!
//! Owns the look at both. A look every few seconds costs less than a watch that has to survive the file, its directory and
//! what is mounted there.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use muster_common::reboot::DueReason;
use muster_engine::reboot::due::reason_of_mark;

use super::reasons::DueReasons;
use crate::config::DueSource;
use crate::stdx::disk::Disk;
use crate::stdx::files::read_file;

/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

pub(super) async fn follow_mark(disk: Arc<dyn Disk>, mark: PathBuf, reasons: DueReasons) {
    loop {
        match read_mark(&*disk, &mark) {
            Ok(reason) => reasons.set_reason(DueSource::RebootRequired, reason),
            // Not knowing changes nothing.
            Err(error) => {
                tracing::warn!(path = %mark.display(), %error, "cannot look whether a reboot is required");
            }
        }
        muster_runtime::sleep(LOOK_INTERVAL).await;
    }
}

fn read_mark(disk: &dyn Disk, mark: &Path) -> io::Result<Option<DueReason>> {
    if read_file(disk, mark)?.is_none() {
        return Ok(None);
    }
    let mut beside = OsString::from(mark);
    beside.push(".pkgs");
    let text = disk.read(Path::new(&beside)).unwrap_or_default();
    Ok(Some(reason_of_mark(&String::from_utf8_lossy(&text))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stdx::disk::HostDisk;

    #[test]
    fn the_mark_is_read_with_its_packages() {
        let directory = tempfile::tempdir().unwrap();
        let mark = directory.path().join("reboot-required");
        assert_eq!(read_mark(&HostDisk, &mark).unwrap(), None);
        std::fs::write(&mark, "*** System restart required ***\n").unwrap();
        let reason = DueReason::RebootRequired { packages: vec![] };
        assert_eq!(read_mark(&HostDisk, &mark).unwrap(), Some(reason));
        let pkgs = directory.path().join("reboot-required.pkgs");
        std::fs::write(pkgs, "linux-image-amd64\nlibc6\nlinux-image-amd64\n").unwrap();
        let packages = vec!["libc6".to_owned(), "linux-image-amd64".to_owned()];
        let reason = DueReason::RebootRequired { packages };
        assert_eq!(read_mark(&HostDisk, &mark).unwrap(), Some(reason));
    }
}
