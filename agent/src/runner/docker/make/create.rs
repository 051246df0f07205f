//! Making, starting and removing one container.
//!
//! Owns the order of calls. A container is replaced only if it is this unit's; whatever else has its name is left alone
//! and is the reason the start fails.

use muster_common::probe::is_planted;
use muster_common::unit::UnitName;
use muster_engine::container::{
    Creation, EngineSessions, Identity, Owner, StartAttempt, choose_log_config, missing_ability,
    translate,
};

use muster_engine::container::unit::Prepared;
use tokio_util::sync::CancellationToken;

use crate::runner::docker::api::containers::{inspect_container, remove_container};
use crate::runner::docker::client::EngineError;
use crate::runner::docker::context::DockerContext;
use crate::runner::docker::make::{host_inputs, image_differences};

/// Makes a container and starts it, in the place of one before it. Returns its id, and the sessions with the engine since which it may
/// have run. Where an earlier attempt was not answered and has started one, that is the one.
pub(crate) async fn start(
    context: &DockerContext,
    unit: &UnitName,
    prepared: &Prepared,
    (attempt, called_off): (&StartAttempt, &CancellationToken),
    generation: u64,
) -> Result<(String, EngineSessions), EngineError> {
    let api = context.engine.wait_until_ready().await;
    let identity = Identity {
        unit: unit.clone(),
        file: prepared.plan.file,
        generation,
        cluster: context.cluster.clone(),
    };
    let abilities = context.engine_abilities(api);
    // It may be another engine than the one everything was prepared on.
    if let Some(problem) = missing_ability(&prepared.plan.spec, &abilities) {
        return Err(EngineError::new_refusal(problem));
    }
    let mut creation = translate(&prepared.plan.spec, &identity, &prepared.names)
        .map_err(|error| EngineError::new_refusal(error.to_string()))?;
    if attempt.lost_in.is_some()
        && let Some(found) = inspect_container(context, &creation.name).await?
        && attempt.has_started(&found, &identity)
    {
        return Ok((found.id, attempt.earliest_session()));
    }
    go_on_unless(called_off)?;
    if creation.loses_addresses() {
        creation.join_at_once();
    }
    if let Some(slice) = &creation.body.host_config.cgroup_parent
        && let Some(problem) = no_slice(slice, &context.cgroup_driver())
    {
        return Err(EngineError::new_refusal(problem));
    }
    if let Some(image) = &prepared.image {
        creation.body.image.clone_from(image);
    }
    let given = creation.body.host_config.log_config.take();
    creation.body.host_config.log_config = choose_log_config(given, &context.logging_setup());
    image_differences::check_image(context, &prepared.plan.spec, &creation).await?;
    host_inputs::complete_creation(context, unit, &mut creation, &abilities).await?;
    // One that we made and that has ended is gone before its name is taken again.
    if let Some(before) = &attempt.before {
        remove_if_own(context, unit, before).await?;
        go_on_unless(called_off)?;
    }
    let id = match create_container(context, &creation).await {
        Err(error) if error.is_taken() => {
            remove_if_own(context, unit, &creation.name).await?;
            create_container(context, &creation).await?
        }
        other => other?,
    };
    match furnish_and_run(context, &mut creation, id, called_off).await {
        Ok(id) => Ok((id, attempt.began_in)),
        Err(error @ EngineError::Lost(_)) => Err(error),
        Err(error) => {
            // What could not be started is of no use, and holds its name and its addresses.
            if let Err(error) = remove_if_own(context, unit, &creation.name).await {
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

async fn create_container(
    context: &DockerContext,
    creation: &Creation,
) -> Result<String, EngineError> {
    let made = context.engine.api_client().create_container(&creation.name, &creation.body).await?;
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
    called_off: &CancellationToken,
) -> Result<String, EngineError> {
    let more = image_differences::tmpfs_directories(context, &made, creation).await?;
    if more.is_empty() {
        return run(context, &made, creation, called_off).await.map(|()| made);
    }
    creation.body.host_config.tmpfs.extend(more);
    remove_container(context, &made).await?;
    let id = create_container(context, creation).await?;
    run(context, &id, creation, called_off).await.map(|()| id)
}

async fn run(
    context: &DockerContext,
    id: &str,
    creation: &Creation,
    called_off: &CancellationToken,
) -> Result<(), EngineError> {
    let client = context.engine.api_client();
    for (network, endpoint) in &creation.networks {
        client.connect_network(network, id, endpoint).await?;
    }
    go_on_unless(called_off)?;
    client.start_container(id).await
}

/// What was called off is not started, however long its engine took for all that comes before: it may run elsewhere by now.
fn go_on_unless(called_off: &CancellationToken) -> Result<(), EngineError> {
    if called_off.is_cancelled() && !is_planted("called-off-start-goes-on") {
        return Err(EngineError::new_refusal("it was stopped before it was started".to_owned()));
    }
    Ok(())
}

/// Removes what has the name, if it is this unit's.
async fn remove_if_own(
    context: &DockerContext,
    unit: &UnitName,
    name: &str,
) -> Result<(), EngineError> {
    let Some(found) = inspect_container(context, name).await? else { return Ok(()) };
    if let Some(problem) = name_obstacle(&found.owner, unit, name) {
        return Err(EngineError::new_refusal(problem));
    }
    remove_container(context, &found.id).await
}

/// Why a unit cannot have a name that a container of this owner has.
fn name_obstacle(owner: &Owner, unit: &UnitName, name: &str) -> Option<String> {
    match owner {
        Owner::Ours(identity) if identity.unit == *unit => None,
        Owner::Ours(identity) => Some(format!(
            "the container {name} is {}'s; give one of them another ContainerName=",
            identity.unit
        )),
        Owner::OtherCluster(_) | Owner::Foreign => foreign_name_problem(owner, name),
    }
}

/// The problem, for the user, with a container that is not this cluster's where a unit's would have its name; `None` for one
/// that is.
pub(crate) fn foreign_name_problem(owner: &Owner, name: &str) -> Option<String> {
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
