//! Making, starting and removing one container.
//!
//! Owns the order of calls. A container is replaced only if it is this unit's; whatever else has its name is left alone
//! and is the reason the start fails.

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::{ContainerCreateBody, ContainerInspectResponse, NetworkConnectRequest};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, KillContainerOptionsBuilder, RemoveContainerOptionsBuilder,
    WaitContainerOptionsBuilder,
};
use futures::StreamExt as _;
use muster_common::unit::UnitName;
use muster_engine::container::{
    Creation, Identity, Inspected, Owner, Seen, lacking, logging, owner, translate,
};

use muster_engine::container::unit::{InspectedContainer, Prepared};

use super::engine::EngineError;
use super::machine::DockerContext;
use super::resources::body;
use super::{differs, late};

/// How long the removal of a container may take that somebody else has begun.
const REMOVAL: Duration = Duration::from_secs(60);

/// Looks at a container, by id or name. `None`: there is none.
pub(super) async fn look(
    context: &DockerContext,
    name: &str,
) -> Result<Option<InspectedContainer>, EngineError> {
    match context.engine.call()?.inspect_container(name, None).await.map_err(EngineError::from) {
        Ok(answer) => Ok(Some(found(answer, &context.cluster))),
        Err(error) if error.is_absent() => Ok(None),
        Err(error) => Err(error),
    }
}

fn found(answer: ContainerInspectResponse, cluster: &str) -> InspectedContainer {
    let config = answer.config.unwrap_or_default();
    let state = answer.state.unwrap_or_default();
    let status = state.status.map(|status| status.to_string()).unwrap_or_default();
    let health = state.health.and_then(|health| health.status).map(|status| status.to_string());
    let seen = Seen::of(Inspected {
        status: &status,
        exit_code: state.exit_code.unwrap_or_default(),
        oom: state.oom_killed.unwrap_or_default(),
        health: health.as_deref(),
    });
    InspectedContainer {
        id: answer.id.unwrap_or_default(),
        owner: owner_of(config.labels, cluster),
        seen,
        stop_signal: config.stop_signal.filter(|signal| !signal.is_empty()),
        fault: state.error.unwrap_or_default(),
        paused: state.paused.unwrap_or_default(),
    }
}

/// Whose something with these labels is.
pub(super) fn owner_of(labels: Option<HashMap<String, String>>, cluster: &str) -> Owner {
    owner(&labels.unwrap_or_default().into_iter().collect(), cluster)
}

/// Makes a container and starts it, in the place of one before it. Returns its id.
pub(super) async fn start(
    context: &DockerContext,
    unit: &UnitName,
    prepared: &Prepared,
    before: Option<&str>,
    generation: u64,
) -> Result<String, EngineError> {
    let api = context.engine.ready().await;
    let identity = Identity {
        unit: unit.clone(),
        file: prepared.plan.file,
        generation,
        cluster: context.cluster.clone(),
    };
    let abilities = context.abilities(api);
    // It may be another engine than the one everything was prepared on.
    if let Some(problem) = lacking(&prepared.plan.spec, &abilities) {
        return Err(EngineError::refused(problem));
    }
    let mut creation = translate(&prepared.plan.spec, &identity, &prepared.names)
        .map_err(|error| EngineError::refused(error.to_string()))?;
    if creation.loses_addresses() {
        creation.join_at_once();
    }
    if let Some(slice) = &creation.body.host_config.cgroup_parent
        && let Some(problem) = no_slice(slice, &context.cgroups())
    {
        return Err(EngineError::refused(problem));
    }
    if let Some(image) = &prepared.image {
        creation.body.image.clone_from(image);
    }
    let said = creation.body.host_config.log_config.take();
    creation.body.host_config.log_config = logging(said, &context.logging());
    differs::check_image(context, &prepared.plan.spec, &creation).await?;
    late::complete(context, unit, &mut creation, &abilities).await?;
    // One that we made and that has ended is gone before its name is taken again.
    if let Some(before) = before {
        replace(context, unit, before).await?;
    }
    let id = match make(context, &creation).await {
        Err(error) if error.is_taken() => {
            replace(context, unit, &creation.name).await?;
            make(context, &creation).await?
        }
        other => other?,
    };
    match furnish_and_run(context, &mut creation, id).await {
        Ok(id) => Ok(id),
        Err(error @ EngineError::Lost(_)) => Err(error),
        Err(error) => {
            // What could not be started is of no use, and holds its name and its addresses.
            if let Err(error) = replace(context, unit, &creation.name).await {
                tracing::warn!(%unit, %error, "cannot remove a container that did not start");
            }
            Err(error)
        }
    }
}

/// Why a container cannot be put into a slice by an engine whose control groups are kept so.
fn no_slice(slice: &str, cgroups: &str) -> Option<String> {
    (cgroups != "systemd").then(|| {
        format!(
            "Slice={slice}: this machine's container engine keeps its control groups by {cgroups} and knows no slices; start it with native.cgroupdriver=systemd"
        )
    })
}

async fn make(context: &DockerContext, creation: &Creation) -> Result<String, EngineError> {
    let options = CreateContainerOptionsBuilder::new().name(&creation.name).build();
    let body: ContainerCreateBody = body(&creation.body)?;
    let made = context.engine.call()?.create_container(Some(options), body).await?;
    for warning in made.warnings {
        tracing::warn!(container = creation.name, warning, "the container engine has a remark");
    }
    Ok(made.id)
}

/// Starts a container that has been made, or one in its place with all that the image has where a tmpfs comes. Returns the id.
async fn furnish_and_run(
    context: &DockerContext,
    creation: &mut Creation,
    made: String,
) -> Result<String, EngineError> {
    let more = differs::tmpfs_directories(context, &made, creation).await?;
    if more.is_empty() {
        return run(context, &made, creation).await.map(|()| made);
    }
    creation.body.host_config.tmpfs.extend(more);
    remove(context, &made).await?;
    let id = make(context, creation).await?;
    run(context, &id, creation).await.map(|()| id)
}

async fn run(context: &DockerContext, id: &str, creation: &Creation) -> Result<(), EngineError> {
    let client = context.engine.call()?;
    for (network, endpoint) in &creation.networks {
        let request = NetworkConnectRequest {
            container: id.to_owned(),
            endpoint_config: Some(body(endpoint)?),
        };
        client.connect_network(network, request).await?;
    }
    Ok(client.start_container(id, None).await?)
}

/// Removes what has the name, if it is this unit's.
async fn replace(context: &DockerContext, unit: &UnitName, name: &str) -> Result<(), EngineError> {
    let Some(found) = look(context, name).await? else { return Ok(()) };
    if let Some(problem) = obstacle(&found.owner, unit, name) {
        return Err(EngineError::refused(problem));
    }
    remove(context, &found.id).await
}

/// Why a unit cannot have a name that a container of this owner has.
fn obstacle(owner: &Owner, unit: &UnitName, name: &str) -> Option<String> {
    match owner {
        Owner::Ours(identity) if identity.unit == *unit => None,
        Owner::Ours(identity) => Some(format!(
            "the container {name} is {}'s; give one of them another ContainerName=",
            identity.unit
        )),
        Owner::OtherCluster(_) | Owner::Foreign => strange(owner, name),
    }
}

/// What is to be said of a container that is not this cluster's, where a unit's would have its name.
pub(super) fn strange(owner: &Owner, name: &str) -> Option<String> {
    match owner {
        Owner::Ours(_) => None,
        Owner::OtherCluster(cluster) => Some(format!(
            "the container {name} is another cluster's, {cluster}; give one of them another ContainerName="
        )),
        Owner::Foreign => Some(format!(
            "this machine has a container {name} of its own, which Muster does not touch; rename one of them"
        )),
    }
}

/// Removes a container, running or not, and the volumes that are nobody else's, and waits until it is gone. One that is
/// not there is no failure.
pub(super) async fn remove(context: &DockerContext, id: &str) -> Result<(), EngineError> {
    let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
    let removed = context.engine.call()?.remove_container(id, Some(options)).await;
    match removed.map_err(EngineError::from) {
        // In conflict: it is being removed already, and has its name and its addresses until that is done.
        Err(error) if error.is_conflict() => gone(context, id, &error).await,
        Err(error) if error.is_absent() => Ok(()),
        other => other,
    }
}

/// Waits until a container that is being removed is gone.
async fn gone(context: &DockerContext, id: &str, why: &EngineError) -> Result<(), EngineError> {
    let client = context.engine.call()?;
    let options = WaitContainerOptionsBuilder::new().condition("removed").build();
    // However the wait ends, the look says whether it is gone.
    let mut wait = std::pin::pin!(client.wait_container(id, Some(options)));
    let _ = tokio::time::timeout(REMOVAL, async { while wait.next().await.is_some() {} }).await;
    match look(context, id).await? {
        None => Ok(()),
        Some(_) => {
            Err(EngineError::refused(format!("the container before it is still there: {why}")))
        }
    }
}

/// Sends a signal. One that does not run gets none, which is no failure: its end is told otherwise.
pub(super) async fn signal(
    context: &DockerContext,
    id: &str,
    signal: &str,
) -> Result<(), EngineError> {
    let client = context.engine.call()?;
    let send = || {
        client.kill_container(id, Some(KillContainerOptionsBuilder::new().signal(signal).build()))
    };
    match send().await.map_err(EngineError::from) {
        Err(error) if error.is_conflict() => {
            // A paused container takes no signals, not even the last one.
            if look(context, id).await?.is_some_and(|found| found.paused) {
                client.unpause_container(id).await?;
                send().await?;
            }
            Ok(())
        }
        Err(error) if error.is_absent() => Ok(()),
        other => other,
    }
}
