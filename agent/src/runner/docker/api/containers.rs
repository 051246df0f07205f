//! The calls about one container.
//!
//! Owns what an answer means: a container that is not there is none, one that is being removed is waited for. Whose a container
//! is is for its caller to look at.

use std::time::Duration;

use muster_common::container::ContainerStatus;
use muster_common::probe::{is_planted, reached};
use muster_engine::container::unit::InspectedContainer;
use muster_engine::container::{FoundContainer, Inspected, owner_by_labels};

use crate::runner::docker::client::{ContainerDetails, EngineError};
use crate::runner::docker::context::DockerContext;

/// The time for the removal of a container that somebody else has begun.
const REMOVAL_TIMEOUT: Duration = Duration::from_secs(60);
/// Attempts to send a signal to a container that somebody pauses and lets go on meanwhile.
const SIGNAL_ATTEMPTS: u32 = 3;

/// Looks at a container, by id or name. `None`: there is none.
pub(crate) async fn inspect_container(
    context: &DockerContext,
    name: &str,
) -> Result<Option<InspectedContainer>, EngineError> {
    match context.engine.api_client().inspect_container(name).await {
        Ok(answer) => Ok(Some(read_inspection(answer, &context.cluster))),
        Err(error) if error.is_absent() => Ok(None),
        Err(error) => Err(error),
    }
}

fn read_inspection(found: ContainerDetails, cluster: &str) -> InspectedContainer {
    let seen = FoundContainer::from_inspected(&Inspected {
        status: ContainerStatus::from(found.status.as_str()),
        exit_code: found.exit_code.unwrap_or_default(),
        oom: found.oom,
        health: found.health.as_deref(),
    });
    InspectedContainer {
        owner: owner_by_labels(&found.labels, cluster),
        id: found.id,
        seen,
        stop_signal: found.stop_signal,
        fault: found.error,
        paused: found.paused,
    }
}

/// Removes a container, running or not, and the volumes that are nobody else's, and waits until it is gone. One that is
/// not there is no failure.
pub(crate) async fn remove_container(context: &DockerContext, id: &str) -> Result<(), EngineError> {
    match context.engine.api_client().remove_container(id).await {
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
    // However the wait ends, the look says whether it is gone.
    let wait = context.engine.api_client().wait_until_removed(id);
    let _ = muster_runtime::timeout(REMOVAL_TIMEOUT, wait).await;
    match inspect_container(context, id).await? {
        None => Ok(()),
        Some(_) => {
            Err(EngineError::new_refusal(format!("the container before it is still there: {why}")))
        }
    }
}

/// Sends a signal. One that does not run gets none, which is no failure: its end is told otherwise. One that is paused takes no signals, not
/// even the last one, and is let go on first.
pub(crate) async fn send_signal(
    context: &DockerContext,
    id: &str,
    signal: &str,
) -> Result<(), EngineError> {
    let client = context.engine.api_client();
    for _ in 0..SIGNAL_ATTEMPTS {
        match client.kill_container(id, signal).await {
            Err(error) if error.is_conflict() => {}
            Err(error) if error.is_absent() => return Ok(()),
            other => return other,
        }
        let Some(found) = inspect_container(context, id).await? else { return Ok(()) };
        if found.paused {
            // Somebody else may have let it go on since, and then this is refused: the next attempt shows it.
            match client.unpause_container(id).await {
                Err(EngineError::Refused { .. }) if !is_planted("unpause-race-loses-signal") => {
                    reached("unpaused-by-somebody-else");
                }
                outcome => outcome?,
            }
        } else if !matches!(found.seen, FoundContainer::Running(_)) {
            return Ok(());
        }
    }
    Err(EngineError::new_refusal("it is paused again as often as it is let go on"))
}
