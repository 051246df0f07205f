//! The units of a machine as a whole, for whoever looks at a whole cluster.
//!
//! Owns the shape of such a look and the seam behind which it is made. What is seen is judged elsewhere.

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use muster_common::api::inspect::{KnownPlacement, OwnedReport, RunReport};
use muster_common::cluster_id::ClusterId;
use muster_common::unit::UnitName;

/// The units of a machine at one moment.
#[derive(Debug, Clone, Default)]
pub struct SeenUnits {
    /// This boot of the machine, as in its registration; empty where no units are put on it.
    pub boot: String,
    /// Those of the ledger.
    pub owned: BTreeMap<UnitName, OwnedReport>,
    /// Those of the ledger and of the last known placements, as the runner tells them.
    pub runs: BTreeMap<UnitName, RunReport>,
    /// Why the runner could not be asked.
    pub unseen: Option<String>,
    /// The cluster whose placements were carried out here.
    pub cluster: Option<ClusterId>,
    /// The placements on disk.
    pub last_known: Option<BTreeMap<UnitName, KnownPlacement>>,
}

/// A way to look at a machine's units. It changes nothing.
#[async_trait]
pub trait UnitSight: fmt::Debug + Send + Sync {
    /// Looks at the units of the ledger, which are given, and at those last known to be placed here.
    async fn see_units(&self, owned: BTreeMap<UnitName, OwnedReport>) -> SeenUnits;
}
