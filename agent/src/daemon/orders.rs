//! What a person decides on a machine, because no daemon can: which cluster it belongs to, and that its units are started although
//! they may run elsewhere.
//!
//! Owns what is written for the daemon to find, and what a person is told of the consequences. It starts and stops nothing, and
//! needs neither the store nor a running daemon, which finds the word at its next attempt.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use muster_common::unit::UnitName;
use muster_engine::machine::cluster::RememberedCluster;

use crate::config::{ClusterChoice, Config};
use crate::daemon::store::make_state_directory;
use crate::machine::cluster_memory::ClusterMemory;
use crate::machine::last_known;
use crate::machine::outage_note::OutageNote;
use crate::stdx::disk::{Disk, HostDisk};

/// The ledger of the daemon of this machine.
const LEDGER: &str = "/run/muster/owned";

/// Says that the machine belongs to a cluster from now on. Returns what follows from that.
///
/// # Errors
///
/// The state directory cannot be written.
pub fn adopt_cluster(config: &Config, choice: ClusterChoice) -> anyhow::Result<String> {
    make_state_directory(config)?;
    let (disk, state_dir) = (Arc::new(HostDisk), &config.state_dir);
    let memory = ClusterMemory::new(disk, state_dir, Path::new(LEDGER), &config.prefix);
    let before = match memory.read_memory() {
        RememberedCluster::Known(cluster) | RememberedCluster::Seen(cluster) => {
            format!("cluster {cluster}")
        }
        RememberedCluster::Nothing | RememberedCluster::BeginsAnew => "no cluster".to_owned(),
        RememberedCluster::OlderRelease => "a cluster of an older release".to_owned(),
        RememberedCluster::Unreadable => "a cluster that cannot be read any more".to_owned(),
    };
    memory
        .adopt_cluster(choice.0)
        .with_context(|| format!("cannot write to {}", state_dir.display()))?;
    let now = match choice.0 {
        Some(cluster) => format!("cluster {cluster}"),
        None => "the cluster that its store holds, or to a new one where it holds none".to_owned(),
    };
    Ok(format!(
        "this machine belonged to {before} and belongs to {now} from now on: once musterd finds that store, the units it runs that are \
         not placed here by it are stopped; what it was told to run before stays in {}",
        state_dir.join("placements.1.json").display()
    ))
}

/// Says that the last known placements are to be started while the store does not answer. Returns what follows from that.
///
/// # Errors
///
/// There are none, or the state directory cannot be written.
pub fn start_last_known(config: &Config) -> anyhow::Result<String> {
    make_state_directory(config)?;
    let (disk, state_dir): (Arc<dyn Disk>, _) = (Arc::new(HostDisk), &config.state_dir);
    let path = last_known::path(state_dir);
    let found = last_known::load(&*disk, &path);
    let found = found.with_context(|| format!("there is nothing in {}", path.display()))?;
    OutageNote::new(disk, state_dir, &config.machine_id)
        .order_start()
        .with_context(|| format!("cannot write to {}", state_dir.display()))?;
    let units: Vec<&str> = found.known.places.keys().map(UnitName::as_str).collect();
    Ok(format!(
        "musterd starts these within seconds, unless it hears of the store before: {}; where one of them was moved meanwhile it runs \
         twice until the store is back",
        units.join(", ")
    ))
}
