//! The files of the units that others here name, volumes and networks above all, as the cluster last had them.
//!
//! Owns a copy of each on this machine, so that a container starts while the store is away, and so that it is known what
//! to do about a volume whose unit is no more. The cluster's word always comes first.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use muster_common::unit::{UnitFile, UnitName};
use muster_store::Registry;

use crate::stdx::disk::Disk;
use crate::stdx::errors::error_chain;
use crate::stdx::files::{Durability, replace_file};

/// The time for an answer of the store before the copies have to do.
const STORE_TIMEOUT: Duration = Duration::from_secs(5);

/// The files of units that others name, and that may be placed nowhere: volumes and networks above all.
#[async_trait]
pub trait Sources: Send + Sync + 'static {
    /// The file of each of these units that the cluster knows, or an instance's template's.
    ///
    /// # Errors
    ///
    /// The reason why it is not known, for the user.
    async fn fetch_files(
        &self,
        units: &[UnitName],
    ) -> Result<BTreeMap<UnitName, Arc<UnitFile>>, String>;
}

#[async_trait]
impl Sources for Registry {
    async fn fetch_files(
        &self,
        units: &[UnitName],
    ) -> Result<BTreeMap<UnitName, Arc<UnitFile>>, String> {
        self.files_of(units).await.map_err(|error| error_chain(&error))
    }
}

/// The files that containers name, by unit.
pub(crate) type Files = BTreeMap<UnitName, Arc<UnitFile>>;

/// The copies, and whoever knows better.
pub(crate) struct UnitFileCopies {
    cluster: Arc<dyn Sources>,
    disk: Arc<dyn Disk>,
    directory: PathBuf,
}

impl UnitFileCopies {
    pub(crate) fn new(cluster: Arc<dyn Sources>, disk: Arc<dyn Disk>, directory: PathBuf) -> Self {
        Self { cluster, disk, directory }
    }

    pub(crate) fn directory_path(&self) -> &PathBuf {
        &self.directory
    }

    /// The files of these units; those that the cluster does not know are left out.
    pub(crate) async fn files_of(&self, units: &[UnitName]) -> Result<Files, String> {
        match self.fetch_from_cluster(units).await {
            Ok(found) => {
                for (unit, file) in &found {
                    self.keep_copy(unit, file);
                }
                Ok(found)
            }
            Err(problem) => {
                let kept: Files = units
                    .iter()
                    .filter_map(|unit| Some((unit.clone(), self.load(unit)?)))
                    .collect();
                if kept.len() < units.len() {
                    return Err(problem);
                }
                tracing::info!(
                    problem,
                    "units that others name are made from this machine's copies"
                );
                Ok(kept)
            }
        }
    }

    /// The same of the cluster only.
    pub(crate) async fn fetch_from_cluster(&self, units: &[UnitName]) -> Result<Files, String> {
        let asked = muster_runtime::timeout(STORE_TIMEOUT, self.cluster.fetch_files(units)).await;
        asked.unwrap_or_else(|_| Err("the store does not answer".to_owned()))
    }

    /// Every copy there is.
    pub(crate) fn load_all(&self) -> Files {
        let Ok(names) = self.disk.list(&self.directory) else { return Files::new() };
        let unit = |name: OsString| -> Option<UnitName> { name.to_str()?.parse().ok() };
        names
            .into_iter()
            .filter_map(unit)
            .filter_map(|unit| Some((unit.clone(), self.load(&unit)?)))
            .collect()
    }

    /// The copy of one.
    pub(crate) fn load(&self, unit: &UnitName) -> Option<Arc<UnitFile>> {
        let bytes = self.disk.read(&self.directory.join(unit.as_str())).ok()?;
        std::str::from_utf8(&bytes).ok()?.parse().ok().map(Arc::new)
    }

    /// Keeps a copy, whole or not at all.
    pub(crate) fn keep_copy(&self, unit: &UnitName, file: &UnitFile) {
        if self.load(unit).is_some_and(|kept| kept.text() == file.text()) {
            return;
        }
        let path = self.directory.join(unit.as_str());
        let text = file.text().as_bytes();
        if let Err(error) = replace_file(&*self.disk, &path, text, Durability::OutlivesDaemon) {
            tracing::warn!(%unit, %error, "cannot keep a copy of its file");
        }
    }

    /// Forgets one.
    pub(crate) fn forget_copy(&self, unit: &UnitName) {
        let _ = self.disk.remove(&self.directory.join(unit.as_str()));
    }
}
