//! Volumes and networks that go.
//!
//! Owns the two occasions. A network with `NetworkDeleteOnStop=` goes when the last container that names it has stopped; a
//! volume or network with `DeleteOnDestroy=` goes once the cluster knows its unit no more, from every machine that made
//! one, also from one that was away meanwhile. Everything else is kept. Only what has our mark is touched, and the
//! engine refuses what is in use.

use std::sync::Arc;

use muster_common::container::{ContainerSpec, Quadlet, read};
use muster_common::unit::{UnitFile, UnitName, UnitType};
use muster_engine::container::{LABEL_CLUSTER, LABEL_UNIT, Owner, owner_by_labels};

use crate::runner::docker::client::{EngineError, MarkedResource};
use crate::runner::docker::context::DockerContext;

/// Removes what is marked to go with its unit, where the unit is gone. Not knowing whether it is removes nothing.
pub(crate) async fn of_the_destroyed(context: &DockerContext) {
    let copies = context.copies.load_all();
    let units: Vec<UnitName> = copies.keys().cloned().collect();
    if units.is_empty() {
        return;
    }
    let known = match context.copies.fetch_from_cluster(&units).await {
        Ok(known) => known,
        Err(problem) => {
            tracing::debug!(problem, "whether volumes are to go is not known");
            return;
        }
    };
    for (unit, copy) in copies {
        if let Some(file) = known.get(&unit) {
            context.copies.keep_copy(&unit, file);
            continue;
        }
        let goes = match read(&unit, &copy, &context.host) {
            Ok((Quadlet::Volume(spec), _)) => spec.delete_on_destroy,
            Ok((Quadlet::Network(spec), _)) => spec.delete_on_destroy,
            _ => false,
        };
        match if goes { remove(context, &unit).await } else { Ok(()) } {
            Ok(()) => context.copies.forget_copy(&unit),
            Err(error) => tracing::debug!(%unit, %error, "cannot remove what a unit made yet"),
        }
    }
}

/// Removes the networks that are to go with the last container that names them.
pub(crate) fn after_stop(context: &Arc<DockerContext>, spec: &ContainerSpec) {
    let goes = |file: &UnitFile, unit: &UnitName| match read(unit, file, &context.host) {
        Ok((Quadlet::Network(spec), _)) => spec.delete_on_stop,
        _ => false,
    };
    let networks: Vec<UnitName> = spec
        .referenced_units()
        .into_iter()
        .filter(|unit| unit.unit_type() == UnitType::Network)
        .filter(|unit| context.copies.load(unit).is_some_and(|file| goes(&file, unit)))
        .cloned()
        .collect();
    if networks.is_empty() {
        return;
    }
    let context = Arc::clone(context);
    muster_runtime::spawn(async move {
        for unit in networks {
            if let Err(error) = remove(&context, &unit).await {
                tracing::debug!(%unit, %error, "a network stays");
            }
        }
    });
}

/// Removes what a unit made, by its mark.
async fn remove(context: &DockerContext, unit: &UnitName) -> Result<(), EngineError> {
    let client = context.engine.api_client();
    let labels = [format!("{LABEL_UNIT}={unit}"), format!("{LABEL_CLUSTER}={}", context.cluster)];
    // Podman takes several labels for "one of these": what is deleted is decided by its own labels.
    let made = |found: &MarkedResource| matches!(owner_by_labels(&found.labels, &context.cluster), Owner::Ours(of) if of.unit == *unit);
    let _one = context.creation_lock.lock().await;
    if unit.unit_type() == UnitType::Volume {
        for volume in client.list_volumes(&labels).await?.into_iter().filter(made) {
            client.remove_volume(&volume.name).await?;
            tracing::info!(volume = volume.name, %unit, "removed a volume");
        }
    } else {
        for network in client.list_networks(&labels).await?.into_iter().filter(made) {
            client.remove_network(&network.id).await?;
            tracing::info!(network = network.name, %unit, "removed a network");
        }
    }
    Ok(())
}
