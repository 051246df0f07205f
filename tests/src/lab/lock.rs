//! Locks between processes of one machine; the kernel lets go of them when their holder ends, however it ends.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};

/// Held until dropped.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for the lock; says `why` first if it has to.
    pub(super) fn acquire(path: &Path, why: &str, say: &dyn Fn(&str)) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("cannot open {}", path.display()))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            say(&format!("waiting: {why}"));
            flock(&file, FlockOperation::LockExclusive)
                .with_context(|| format!("cannot lock {}", path.display()))?;
        }
        Ok(Self { _file: file })
    }
}
