//! The real machine around a container engine.
//!
//! Owns which parts of the daemon look at it: facts, conditions, files, secrets. It chooses nothing.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use muster_common::container::{Condition, HostFacts, Sensitive};
use muster_common::machine::MachineId;
use muster_engine::container::ConditionAnswer;

use crate::runner::docker::host::{ArchiveStamp, ContainerHost, SecretAccess};
use crate::runner::docker::make::{conditions, host_file, secret_files};
use crate::runner::host_facts;

/// This machine.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ThisMachine;

#[async_trait]
impl ContainerHost for ThisMachine {
    fn read_facts(&self, machine: &MachineId) -> HostFacts {
        host_facts::read_host_facts(machine)
    }

    fn since_boot(&self) -> Duration {
        host_facts::now()
    }

    fn has_journal(&self) -> bool {
        host_facts::has_journal()
    }

    fn environment_variables(&self) -> BTreeMap<String, Sensitive> {
        let text = |(name, value): (OsString, OsString)| {
            Some((name.into_string().ok()?, Sensitive::new(value.into_string().ok()?)))
        };
        std::env::vars_os().filter_map(text).collect()
    }

    fn has_path(&self, path: &Path) -> bool {
        path.exists()
    }

    async fn check_condition(&self, condition: &Condition) -> ConditionAnswer {
        conditions::ask_systemd(condition).await
    }

    fn read_for_unit(&self, path: &Path) -> io::Result<String> {
        host_file::read_now(path)
    }

    async fn read_for_unit_apart(&self, path: &Path) -> io::Result<String> {
        host_file::read(path).await
    }

    async fn read_whole(&self, path: &Path) -> io::Result<Vec<u8>> {
        tokio::fs::read(path).await
    }

    fn archive_stamp(&self, path: &Path) -> Option<ArchiveStamp> {
        let found = std::fs::metadata(path).ok()?;
        Some((found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
    }

    async fn lay_secret(
        &self,
        path: &Path,
        value: &Sensitive,
        access: SecretAccess,
    ) -> io::Result<()> {
        secret_files::lay_secret(path, value, access).await
    }

    fn clear_secrets(&self, directory: &Path) {
        let _ = std::fs::remove_dir_all(directory);
    }
}
