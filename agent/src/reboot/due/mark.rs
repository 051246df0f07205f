//! The package manager's mark: a file that says that a reboot is required (Debian, Ubuntu), and one beside it that names the
//! packages.
//!
//! Owns the look at both. A look every few seconds costs less than a watch that has to survive the file, its directory and
//! what is mounted there.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use muster_common::reboot::DueReason;

use super::Found;
use crate::config::DueSource;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(5);

/// Packages named: what is said of them goes into a record and onto a screen.
const NAMED: usize = 20;

pub(super) async fn follow(mark: PathBuf, found: Found) {
    loop {
        match look(&mark).await {
            Ok(reason) => found.say(DueSource::RebootRequired, reason),
            // Not knowing changes nothing.
            Err(error) => {
                tracing::warn!(path = %mark.display(), %error, "cannot look whether a reboot is required");
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn look(mark: &Path) -> io::Result<Option<DueReason>> {
    if !tokio::fs::try_exists(mark).await? {
        return Ok(None);
    }
    let mut beside = OsString::from(mark);
    beside.push(".pkgs");
    let text = tokio::fs::read(&beside).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    // Each update adds its lines: the same package is there more than once.
    let packages: BTreeSet<&str> =
        text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let packages = packages.into_iter().take(NAMED).map(str::to_owned).collect();
    Ok(Some(DueReason::RebootRequired { packages }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_mark_is_read_with_its_packages() {
        let directory = tempfile::tempdir().unwrap();
        let mark = directory.path().join("reboot-required");
        assert_eq!(look(&mark).await.unwrap(), None);
        std::fs::write(&mark, "*** System restart required ***\n").unwrap();
        let reason = DueReason::RebootRequired { packages: vec![] };
        assert_eq!(look(&mark).await.unwrap(), Some(reason));
        let pkgs = directory.path().join("reboot-required.pkgs");
        std::fs::write(pkgs, "linux-image-amd64\nlibc6\nlinux-image-amd64\n").unwrap();
        let packages = vec!["libc6".to_owned(), "linux-image-amd64".to_owned()];
        let reason = DueReason::RebootRequired { packages };
        assert_eq!(look(&mark).await.unwrap(), Some(reason));
    }
}
