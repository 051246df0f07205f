//! The machine around a container engine, as far as the runner looks at it itself.
//!
//! Owns the seam between the runner and what a unit's file may ask of its machine: facts, conditions, files of others, secrets,
//! and the clock that a container's life goes by. The runner's own files are [`crate::stdx::disk`]'s affair.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use muster_common::container::{Condition, HostFacts, Sensitive};
use muster_common::machine::MachineId;
use muster_engine::container::ConditionAnswer;

/// Tells one archive at a path from the next.
pub type ArchiveStamp = (u64, u64, i64, i64);

/// The machine around a container engine.
#[async_trait]
pub trait ContainerHost: fmt::Debug + Send + Sync + 'static {
    /// The facts that unit files may ask about this machine.
    fn read_facts(&self, machine: &MachineId) -> HostFacts;

    /// The time since it booted, which goes on while it sleeps and over a restart of the daemon.
    fn since_boot(&self) -> Duration;

    /// True where it runs the journal.
    fn has_journal(&self) -> bool;

    /// The daemon's environment, as far as it is UTF-8: what is not no call to an engine can carry.
    fn environment_variables(&self) -> BTreeMap<String, Sensitive>;

    /// True if anything is at a path.
    fn has_path(&self, path: &Path) -> bool;

    /// The verdict of the machine's systemd on a condition.
    async fn check_condition(&self, condition: &Condition) -> ConditionAnswer;

    /// The text of a file that a unit's file names, read in the unit's stead. Never one that tells of the daemon itself.
    fn read_for_unit(&self, path: &Path) -> io::Result<String>;

    /// The same, out of the way of whoever asks.
    async fn read_for_unit_apart(&self, path: &Path) -> io::Result<String>;

    /// The whole of a file that the daemon's configuration names.
    async fn read_whole(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Tells an archive from the next at its path; `None` when there is none.
    fn archive_stamp(&self, path: &Path) -> Option<ArchiveStamp>;

    /// Lays the file of a secret anew. Nobody can read it before it is whose it is to be.
    async fn lay_secret(
        &self,
        path: &Path,
        value: &Sensitive,
        access: SecretAccess,
    ) -> io::Result<()>;

    /// Removes what was laid in a directory, and the directory.
    fn clear_secrets(&self, directory: &Path);
}

/// Who may read the file of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecretAccess {
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its mode.
    pub mode: u32,
}
