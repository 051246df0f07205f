//! A look at the units of this machine as a whole: the ledger, the runner, and the copy of the placements on disk.
//!
//! Owns the asking. It changes nothing and draws no conclusions: those are drawn where a whole cluster is looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use muster_common::api::inspect::{KnownPlacement, OwnedReport, RunReport};
use muster_common::unit::UnitName;
use muster_engine::machine::cluster::RememberedCluster;
use muster_runtime::timeout;

use super::cluster_memory::ClusterMemory;
use super::last_known;
use crate::runner::Runner;
use crate::stdx::disk::Disk;
use crate::telemetry::sight::{SeenUnits, UnitSight};

/// The time that the runner may take: a bus that is busy answers within moments, and one that hangs is a finding.
const RUNNER_LIMIT: Duration = Duration::from_secs(2);

/// The places where a machine's units are to be seen. Cheap to clone.
#[derive(Clone)]
pub struct MachineSight {
    /// The runner of its units.
    pub runner: Arc<dyn Runner>,
    /// The disk of its records.
    pub disk: Arc<dyn Disk>,
    /// File of the last known placements.
    pub placements: PathBuf,
    /// The memory of the cluster that its units are of.
    pub cluster: ClusterMemory,
    /// This boot of it, as in its registration.
    pub boot: String,
}

impl fmt::Debug for MachineSight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MachineSight").field("boot", &self.boot).finish_non_exhaustive()
    }
}

#[async_trait]
impl UnitSight for MachineSight {
    async fn see_units(&self, owned: BTreeMap<UnitName, OwnedReport>) -> SeenUnits {
        let last_known = last_known::load(&*self.disk, &self.placements).map(|known| {
            let places = known.known.places.into_iter().map(|(unit, placement)| {
                let (file, desired) = (placement.file, placement.desired);
                (unit, KnownPlacement { file, desired, generation: placement.generation })
            });
            places.collect::<BTreeMap<_, _>>()
        });
        let placed = last_known.iter().flat_map(BTreeMap::keys);
        let units: BTreeSet<UnitName> = owned.keys().chain(placed).cloned().collect();
        let (runs, unseen) = match timeout(RUNNER_LIMIT, self.runner.observe_units(&units)).await {
            Ok(Ok(seen)) => (seen, None),
            Ok(Err(error)) => (BTreeMap::new(), Some(error.to_string())),
            Err(_) => (BTreeMap::new(), Some("the runner does not answer in time".to_owned())),
        };
        let runs = runs.into_iter().map(|(unit, seen)| {
            let (observed, since) = (seen.observed, seen.since);
            let (file, foreign) = (observed.file, observed.foreign);
            (unit, RunReport { active: observed.active, file, foreign, since })
        });
        let cluster = match self.cluster.read_memory() {
            RememberedCluster::Known(cluster) | RememberedCluster::Seen(cluster) => Some(cluster),
            _ => None,
        };
        let (boot, runs) = (self.boot.clone(), runs.collect());
        SeenUnits { boot, owned, runs, unseen, cluster, last_known }
    }
}
