//! The package manager's mark: a file that says that a reboot is required (Debian, Ubuntu), and one beside it that names the
//! packages.
//!
//! Owns the look at both. A look every few seconds costs less than a watch that has to survive the file, its directory and
//! what is mounted there.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use muster_common::reboot::DueReason;
use muster_engine::reboot::due::reason_of_mark;

use super::reasons::DueReasons;
use crate::config::DueSource;

/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

pub(super) async fn follow_mark(mark: PathBuf, reasons: DueReasons) {
    loop {
        match read_mark(&mark).await {
            Ok(reason) => reasons.set_reason(DueSource::RebootRequired, reason),
            // Not knowing changes nothing.
            Err(error) => {
                tracing::warn!(path = %mark.display(), %error, "cannot look whether a reboot is required");
            }
        }
        muster_runtime::sleep(LOOK_INTERVAL).await;
    }
}

async fn read_mark(mark: &Path) -> io::Result<Option<DueReason>> {
    if !tokio::fs::try_exists(mark).await? {
        return Ok(None);
    }
    let mut beside = OsString::from(mark);
    beside.push(".pkgs");
    let text = tokio::fs::read(&beside).await.unwrap_or_default();
    Ok(Some(reason_of_mark(&String::from_utf8_lossy(&text))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_mark_is_read_with_its_packages() {
        let directory = tempfile::tempdir().unwrap();
        let mark = directory.path().join("reboot-required");
        assert_eq!(read_mark(&mark).await.unwrap(), None);
        std::fs::write(&mark, "*** System restart required ***\n").unwrap();
        let reason = DueReason::RebootRequired { packages: vec![] };
        assert_eq!(read_mark(&mark).await.unwrap(), Some(reason));
        let pkgs = directory.path().join("reboot-required.pkgs");
        std::fs::write(pkgs, "linux-image-amd64\nlibc6\nlinux-image-amd64\n").unwrap();
        let packages = vec!["libc6".to_owned(), "linux-image-amd64".to_owned()];
        let reason = DueReason::RebootRequired { packages };
        assert_eq!(read_mark(&mark).await.unwrap(), Some(reason));
    }
}
