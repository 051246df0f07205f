//! The engine's list of containers.
//!
//! Owns what is read out of it. It is cheaper than looking at containers one by one, and says whose each is and whether it runs.

use std::collections::HashMap;

use bollard::models::{ContainerSummary, ContainerSummaryStateEnum};
use bollard::query_parameters::ListContainersOptionsBuilder;
use muster_common::unit::UnitName;
use muster_engine::container::{LABEL_CLUSTER, LABEL_UNIT, Owner};

use crate::runner::docker::api::containers::owner_of;
use crate::runner::docker::api::engine::EngineError;
use crate::runner::docker::context::DockerContext;

/// A container in the list.
#[derive(Debug, Clone)]
pub(crate) struct ListedContainer {
    pub(crate) id: String,
    pub(crate) owner: Owner,
    pub(crate) runs: bool,
    pub(crate) names: Vec<String>,
    /// When it was made, in seconds since the Unix epoch.
    pub(crate) created: u64,
}

impl ListedContainer {
    /// One as the engine has it.
    fn from_summary(summary: ContainerSummary, cluster: &str) -> Option<Self> {
        use ContainerSummaryStateEnum as State;
        let runs =
            matches!(summary.state, Some(State::RUNNING | State::PAUSED | State::RESTARTING));
        // The engine puts a slash before each name.
        let bare = |name: String| name.strip_prefix('/').map(str::to_owned).unwrap_or(name);
        Some(Self {
            id: summary.id?,
            owner: owner_of(summary.labels, cluster),
            runs,
            names: summary.names.unwrap_or_default().into_iter().map(bare).collect(),
            created: summary.created.and_then(|at| u64::try_from(at).ok()).unwrap_or_default(),
        })
    }

    /// The unit it is, where it is one of this cluster's.
    pub(crate) fn unit(&self) -> Option<&UnitName> {
        match &self.owner {
            Owner::Ours(identity) => Some(&identity.unit),
            _ => None,
        }
    }
}

/// Asks for all containers there are, or for all that are this unit's. Fails as every call to the engine.
pub(crate) async fn list_containers(
    context: &DockerContext,
    unit: Option<&UnitName>,
) -> Result<Vec<ListedContainer>, EngineError> {
    let labels = unit.map(|unit| {
        vec![format!("{LABEL_UNIT}={unit}"), format!("{LABEL_CLUSTER}={}", context.cluster)]
    });
    let filters: HashMap<&str, Vec<String>> =
        labels.into_iter().map(|labels| ("label", labels)).collect();
    let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
    let listed = context.engine.call_client()?.list_containers(Some(options)).await?;
    let of = |summary| ListedContainer::from_summary(summary, &context.cluster);
    let ours = |listed: &ListedContainer| unit.is_none_or(|unit| listed.unit() == Some(unit));
    Ok(listed.into_iter().filter_map(of).filter(ours).collect())
}
