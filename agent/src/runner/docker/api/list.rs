//! The engine's list of containers.
//!
//! Owns what is read out of it. It is cheaper than looking at containers one by one, and says whose each is and whether it runs.

use muster_common::unit::UnitName;
use muster_engine::container::{LABEL_CLUSTER, LABEL_UNIT, Owner, owner_by_labels};

use crate::runner::docker::client::{ContainerEntry, EngineError};
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
    fn from_entry(entry: ContainerEntry, cluster: &str) -> Self {
        let ContainerEntry { id, labels, names, runs, created } = entry;
        Self { id, owner: owner_by_labels(&labels, cluster), runs, names, created }
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
    let labels = match unit {
        Some(unit) => {
            vec![format!("{LABEL_UNIT}={unit}"), format!("{LABEL_CLUSTER}={}", context.cluster)]
        }
        None => Vec::new(),
    };
    let listed = context.engine.api_client().list_containers(&labels).await?;
    let of = |entry| ListedContainer::from_entry(entry, &context.cluster);
    let ours = |listed: &ListedContainer| unit.is_none_or(|unit| listed.unit() == Some(unit));
    Ok(listed.into_iter().map(of).filter(ours).collect())
}
