//! The volumes and networks that a container names, made before it.
//!
//! Owns making what is missing. What is there under the name is used as it is, as with Quadlet; nothing is changed, and
//! what goes is for [`super::discard`] to say.

use std::collections::BTreeMap;

use muster_common::container::{ContainerSpec, NetworkSpec, Quadlet, VolumeSpec};
use muster_common::unit::{FileHash, UnitFile, UnitName};
use muster_engine::container::{Identity, StartVerdict, translate_network, translate_volume};

use crate::runner::docker::client::EngineError;
use crate::runner::docker::context::DockerContext;
use crate::runner::docker::make::conditions;
use crate::runner::docker::unit::plan::read_here;

/// Makes what the container names by unit. Returns what each is called in the engine.
pub(crate) async fn ensure_resources(
    context: &DockerContext,
    spec: &ContainerSpec,
) -> Result<BTreeMap<UnitName, String>, EngineError> {
    let units: Vec<UnitName> = spec.referenced_units().into_iter().cloned().collect();
    let mut names = BTreeMap::new();
    if units.is_empty() {
        return Ok(names);
    }
    let files = context.copies.files_of(&units).await.map_err(EngineError::new_refusal)?;
    for unit in units {
        let file = files.get(&unit).ok_or_else(|| {
            EngineError::new_refusal(format!(
                "{unit}, which it names, is not known to the cluster; submit it"
            ))
        })?;
        let name = ensure_one(context, &unit, file).await?;
        names.insert(unit, name);
    }
    Ok(names)
}

async fn ensure_one(
    context: &DockerContext,
    unit: &UnitName,
    file: &UnitFile,
) -> Result<String, EngineError> {
    let refused = |problem: String| EngineError::new_refusal(format!("{unit}: {problem}"));
    let quadlet = read_here(unit, file, context).map_err(refused)?;
    let (name, conditions) = match &quadlet {
        Quadlet::Volume(spec) => (&spec.name, spec.conditions.as_slice()),
        Quadlet::Network(spec) => (&spec.name, spec.conditions.as_slice()),
        // Its own starts are what its conditions are about.
        Quadlet::Container(spec) => (&spec.name, [].as_slice()),
    };
    match conditions::check_conditions(&*context.world.host, conditions).await {
        StartVerdict::Start => {}
        // As with systemd, whoever names it goes on, and finds what there is by that name.
        StartVerdict::Skip(_) => return Ok(name.clone()),
        StartVerdict::Fail(reason) | StartVerdict::Unknown(reason) => return Err(refused(reason)),
    }
    let identity = identity_of(context, unit, file.hash());
    let within = |error| match error {
        EngineError::Refused { status, problem } => {
            EngineError::Refused { status, problem: format!("{unit}: {problem}") }
        }
        lost @ EngineError::Lost(_) => lost,
    };
    match quadlet {
        Quadlet::Volume(spec) => ensure_volume(context, &spec, &identity).await.map_err(within),
        Quadlet::Network(spec) => ensure_network(context, &spec, &identity).await.map_err(within),
        // It shares that container's network, and the engine says so if it does not run.
        Quadlet::Container(spec) => Ok(spec.name),
    }
}

/// Whose a volume or network is. Containers of any generation use it.
fn identity_of(context: &DockerContext, unit: &UnitName, file: FileHash) -> Identity {
    Identity { unit: unit.clone(), file, generation: 0, cluster: context.cluster.clone() }
}

async fn ensure_volume(
    context: &DockerContext,
    spec: &VolumeSpec,
    identity: &Identity,
) -> Result<String, EngineError> {
    let client = context.engine.api_client();
    match client.inspect_volume(&spec.name).await {
        Err(error) if error.is_absent() => {}
        found => return found.map(|()| spec.name.clone()),
    }
    client.create_volume(&translate_volume(spec, identity)).await?;
    tracing::info!(volume = spec.name, unit = %identity.unit, "made a volume");
    Ok(spec.name.clone())
}

async fn ensure_network(
    context: &DockerContext,
    spec: &NetworkSpec,
    identity: &Identity,
) -> Result<String, EngineError> {
    let client = context.engine.api_client();
    let _one = context.creation_lock.lock().await;
    match client.inspect_network(&spec.name).await {
        Err(error) if error.is_absent() => {}
        found => return found.map(|()| spec.name.clone()),
    }
    client.create_network(&translate_network(spec, identity)).await?;
    tracing::info!(network = spec.name, unit = %identity.unit, "made a network");
    Ok(spec.name.clone())
}
