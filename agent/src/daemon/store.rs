//! The store that the configuration names.
//!
//! Owns the choice between etcd and the embedded store, and the directory of the latter.

use std::sync::Arc;

use anyhow::Context as _;
use muster_store::Store;

use crate::config::Config;
use crate::daemon::core::STATE_FILES;
use crate::host::modes;

/// Opens it. etcd need not answer yet.
pub async fn open_store(config: &Config) -> anyhow::Result<Arc<dyn Store>> {
    if let Some(etcd) = &config.etcd {
        let opened = muster_store::open_etcd(etcd.store_options()).await;
        return opened.map_err(|error| etcd.explain_error(error));
    }
    make_state_directory(config)?;
    Ok(muster_store::open_embedded(&config.state_dir)?)
}

/// Checks what can be known to be wrong without starting anything: the files for TLS are looked into, etcd is not asked, and
/// the embedded store is not touched.
pub async fn check_store(config: &Config) -> anyhow::Result<()> {
    if config.etcd.is_some() {
        open_store(config).await?;
    }
    Ok(())
}

/// Makes the directory of what must survive a reboot, for root alone.
pub(super) fn make_state_directory(config: &Config) -> anyhow::Result<()> {
    modes::state_directory(&config.state_dir, &STATE_FILES)
        .with_context(|| format!("cannot make the state directory {}", config.state_dir.display()))
}
