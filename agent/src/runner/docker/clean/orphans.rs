//! Containers of ours whose unit has no file on this machine.
//!
//! Owns what becomes of them. One that does not run is a leftover, of a reboot most likely: whatever file there was is
//! gone, and so is whoever would have removed it. One that runs is left alone until the cluster says of its unit that it
//! is to stop: a lost file is no reason to end it.

use std::collections::BTreeSet;
use std::sync::Arc;

use muster_common::unit::UnitName;

use crate::runner::docker::api::containers::remove_container;
use crate::runner::docker::api::list::{ListedContainer, list_containers};
use crate::runner::docker::client::EngineError;
use crate::runner::docker::context::DockerContext;

/// Removes, in the background, what does not run and is nobody's any more. `known` are units that are looked after or
/// about to be; the others would have a file of theirs.
pub(crate) fn remove_leftovers(
    context: Arc<DockerContext>,
    listed: &[ListedContainer],
    known: &BTreeSet<UnitName>,
) {
    let has_file =
        |unit: &UnitName| context.world.disk.look_at(&context.files.join(unit.as_str())).is_some();
    let forgotten = |unit: &UnitName| !known.contains(unit) && !has_file(unit);
    let stray =
        |container: &&ListedContainer| !container.runs && container.unit().is_some_and(forgotten);
    let leftovers: Vec<ListedContainer> = listed.iter().filter(stray).cloned().collect();
    if leftovers.is_empty() {
        return;
    }
    muster_runtime::spawn(async move {
        for ListedContainer { id, owner, .. } in leftovers {
            match remove_container(&context, &id).await {
                Ok(()) => tracing::info!(container = id, ?owner, "removed a container left behind"),
                Err(error) => {
                    tracing::warn!(container = id, %error, "cannot remove a container left behind");
                }
            }
        }
    });
}

/// Stops what runs of a unit, as its container says that it is to be stopped.
pub(crate) async fn stop(context: &DockerContext, unit: &UnitName) -> Result<(), EngineError> {
    for container in list_containers(context, Some(unit)).await?.into_iter().filter(|c| c.runs) {
        tracing::info!(%unit, container = container.id, "stopping a container whose file is gone");
        match context.engine.api_client().stop_container(&container.id).await {
            Err(error) if !error.is_absent() => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Removes whatever there is of a unit.
pub(crate) async fn remove(context: &DockerContext, unit: &UnitName) -> Result<(), EngineError> {
    for container in list_containers(context, Some(unit)).await? {
        remove_container(context, &container.id).await?;
    }
    Ok(())
}
