//! The calls about one container.
//!
//! Owns what an answer means: a container that is not there is none, one that is being removed is waited for. Whose a container
//! is is for its caller to look at.

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::{
    KillContainerOptionsBuilder, RemoveContainerOptionsBuilder, WaitContainerOptionsBuilder,
};
use futures::StreamExt as _;
use muster_common::container::ContainerStatus;
use muster_engine::container::unit::InspectedContainer;
use muster_engine::container::{FoundContainer, Inspected, Owner, owner_by_labels};

use crate::runner::docker::api::engine::EngineError;
use crate::runner::docker::context::DockerContext;

/// The time for the removal of a container that somebody else has begun.
const REMOVAL_TIMEOUT: Duration = Duration::from_secs(60);

/// Looks at a container, by id or name. `None`: there is none.
pub(crate) async fn inspect_container(
    context: &DockerContext,
    name: &str,
) -> Result<Option<InspectedContainer>, EngineError> {
    match context
        .engine
        .call_client()?
        .inspect_container(name, None)
        .await
        .map_err(EngineError::from)
    {
        Ok(answer) => Ok(Some(read_inspection(answer, &context.cluster))),
        Err(error) if error.is_absent() => Ok(None),
        Err(error) => Err(error),
    }
}

fn read_inspection(answer: ContainerInspectResponse, cluster: &str) -> InspectedContainer {
    let config = answer.config.unwrap_or_default();
    let state = answer.state.unwrap_or_default();
    let status = state.status.map(|status| status.to_string()).unwrap_or_default();
    let health = state.health.and_then(|health| health.status).map(|status| status.to_string());
    let seen = FoundContainer::from_inspected(&Inspected {
        status: ContainerStatus::from(status.as_str()),
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
pub(crate) fn owner_of(labels: Option<HashMap<String, String>>, cluster: &str) -> Owner {
    owner_by_labels(&labels.unwrap_or_default().into_iter().collect(), cluster)
}

/// Removes a container, running or not, and the volumes that are nobody else's, and waits until it is gone. One that is
/// not there is no failure.
pub(crate) async fn remove_container(context: &DockerContext, id: &str) -> Result<(), EngineError> {
    let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
    let removed = context.engine.call_client()?.remove_container(id, Some(options)).await;
    match removed.map_err(EngineError::from) {
        // In conflict: it is being removed already, and has its name and its addresses until that is done.
        Err(error) if error.is_conflict() => wait_until_gone(context, id, &error).await,
        Err(error) if error.is_absent() => Ok(()),
        other => other,
    }
}

/// Waits until a container that is being removed is gone.
async fn wait_until_gone(
    context: &DockerContext,
    id: &str,
    why: &EngineError,
) -> Result<(), EngineError> {
    let client = context.engine.call_client()?;
    let options = WaitContainerOptionsBuilder::new().condition("removed").build();
    // However the wait ends, the look says whether it is gone.
    let mut wait = std::pin::pin!(client.wait_container(id, Some(options)));
    let _ =
        tokio::time::timeout(REMOVAL_TIMEOUT, async { while wait.next().await.is_some() {} }).await;
    match inspect_container(context, id).await? {
        None => Ok(()),
        Some(_) => {
            Err(EngineError::new_refusal(format!("the container before it is still there: {why}")))
        }
    }
}

/// Sends a signal. One that does not run gets none, which is no failure: its end is told otherwise.
pub(crate) async fn send_signal(
    context: &DockerContext,
    id: &str,
    signal: &str,
) -> Result<(), EngineError> {
    let client = context.engine.call_client()?;
    let send = || {
        client.kill_container(id, Some(KillContainerOptionsBuilder::new().signal(signal).build()))
    };
    match send().await.map_err(EngineError::from) {
        Err(error) if error.is_conflict() => {
            // A paused container takes no signals, not even the last one.
            if inspect_container(context, id).await?.is_some_and(|found| found.paused) {
                client.unpause_container(id).await?;
                send().await?;
            }
            Ok(())
        }
        Err(error) if error.is_absent() => Ok(()),
        other => other,
    }
}
