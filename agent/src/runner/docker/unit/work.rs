//! Carrying out what a container's life asks for.
//!
//! Owns trying again when the engine goes away in the middle: each piece of work begins anew once it answers, so it must
//! do no harm when it is done twice. It decides nothing.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use muster_common::probe::is_planted;
use muster_common::unit::UnitName;
use muster_engine::container::unit::{ContainerPlan, InspectedContainer, Prepared, WorkResult};
use muster_engine::container::{StartAttempt, StartVerdict, missing_ability};
use tokio_util::sync::CancellationToken;

use crate::runner::docker::api::containers::{inspect_container, remove_container, send_signal};
use crate::runner::docker::api::engine::Engine;
use crate::runner::docker::api::list::list_containers;
use crate::runner::docker::client::EngineError;
use crate::runner::docker::context::DockerContext;
use crate::runner::docker::make::{conditions, create, images, resources};
use crate::runner::docker::unit::plan::read_anew;

/// Pause before a call is made again whose answer did not come.
const CALL_RETRY: Duration = Duration::from_millis(250);

/// Hears how far a piece of work is.
pub(crate) type ProgressFn = Arc<dyn Fn(String) + Send + Sync>;

/// Looks at its conditions, fetches its image, makes its volumes and networks.
pub(crate) fn prepare_start(
    context: Arc<DockerContext>,
    unit: UnitName,
    plan: ContainerPlan,
    ignore_progress: ProgressFn,
) -> BoxFuture<'static, WorkResult> {
    Box::pin(async move {
        match conditions::check_conditions(&*context.world.host, &plan.spec.conditions).await {
            StartVerdict::Start => {}
            StartVerdict::Skip(reason) => return WorkResult::Unmet(reason),
            StartVerdict::Fail(reason) => return WorkResult::AssertFailed(reason),
            StartVerdict::Unknown(problem) => return WorkResult::Unprepared(problem),
        }
        loop {
            match gather_inputs(&context, &unit, &plan, &ignore_progress).await {
                Ok(prepared) => return WorkResult::Prepared(prepared),
                Err(EngineError::Lost(problem)) => pause_after_loss(&context.engine, problem).await,
                Err(error) => return WorkResult::Unprepared(error.to_string()),
            }
        }
    })
}

async fn gather_inputs(
    context: &DockerContext,
    unit: &UnitName,
    plan: &ContainerPlan,
    ignore_progress: &ProgressFn,
) -> Result<Prepared, EngineError> {
    let plan = read_anew(plan, unit, context).map_err(EngineError::new_refusal)?;
    // Before anything is fetched or made for a container that cannot be.
    let api = context.engine.wait_until_ready().await;
    if let Some(problem) = missing_ability(&plan.spec, &context.engine_abilities(api)) {
        return Err(EngineError::new_refusal(problem));
    }
    let names = resources::ensure_resources(context, &plan.spec).await?;
    let progress = |text: String| ignore_progress(text);
    let image = images::ensure_image(context, &plan.spec, &progress).await?;
    Ok(Prepared { plan, names, image })
}

/// Makes the container in the place of one before it, and starts it, unless that is called off first.
pub(crate) fn start(
    context: Arc<DockerContext>,
    unit: UnitName,
    mut prepared: Prepared,
    (before, called_off): (Option<String>, CancellationToken),
    generation: u64,
) -> BoxFuture<'static, WorkResult> {
    Box::pin(async move {
        let mut anew = true;
        let mut attempt = StartAttempt { before, ..StartAttempt::default() };
        loop {
            context.engine.wait_until_ready().await;
            attempt.began_in = context.engine.sessions_so_far();
            let attempted = (&attempt, &called_off);
            let started = create::start(&context, &unit, &prepared, attempted, generation).await;
            match started {
                Ok((id, since)) => return WorkResult::Started { id, since },
                Err(EngineError::Lost(problem)) => {
                    attempt.note_loss();
                    pause_after_loss(&context.engine, problem).await;
                }
                // Somebody removed its image, or the last container on it took its network along, since they were seen.
                Err(error) if anew && error.is_absent() => {
                    anew = !is_planted("cut-off-fetch-not-repeated");
                    context.images.forget_present();
                    let ignore_progress: ProgressFn = Arc::new(|_| ());
                    match gather_inputs(&context, &unit, &prepared.plan, &ignore_progress).await {
                        Ok(again) => {
                            anew = false;
                            prepared = again;
                        }
                        // Nothing came of it, and it is done once more.
                        Err(EngineError::Lost(problem)) => {
                            pause_after_loss(&context.engine, problem).await;
                        }
                        Err(error) => return WorkResult::NotStarted(error.to_string()),
                    }
                }
                Err(error) => return WorkResult::NotStarted(error.to_string()),
            }
        }
    })
}

/// Sends a signal to a container.
pub(crate) fn signal_container(
    context: Arc<DockerContext>,
    id: String,
    signal: String,
) -> BoxFuture<'static, WorkResult> {
    Box::pin(async move {
        loop {
            context.engine.wait_until_ready().await;
            match send_signal(&context, &id, &signal).await {
                Ok(()) => return WorkResult::Sent,
                Err(EngineError::Lost(problem)) => pause_after_loss(&context.engine, problem).await,
                Err(error) => {
                    tracing::warn!(container = id, signal, %error, "cannot send a signal");
                    return WorkResult::Sent;
                }
            }
        }
    })
}

/// Looks at a container by its id, which is returned. While the engine does not answer nothing is known, and it is waited
/// for.
pub(crate) fn look_at_container(
    context: Arc<DockerContext>,
    id: String,
) -> BoxFuture<'static, (String, Option<InspectedContainer>)> {
    Box::pin(async move {
        let found = ask_until_answered(&context, &id, || inspect_container(&context, &id)).await;
        (id, found)
    })
}

/// Finds the container a unit has, from whatever file of its it was made. `last` is the one it had last, if that is
/// known; should there be others beside, they are removed.
pub(crate) async fn find(
    context: &DockerContext,
    unit: &UnitName,
    last: Option<&str>,
) -> Option<InspectedContainer> {
    let mut listed =
        ask_until_answered(context, unit.as_str(), || list_containers(context, Some(unit))).await;
    listed.sort_by_key(|c| (c.runs, Some(c.id.as_str()) == last, c.created));
    let chosen = listed.pop()?;
    for other in listed {
        tracing::warn!(%unit, container = other.id, "a unit has two containers; one is removed");
        if let Err(error) = remove_container(context, &other.id).await {
            tracing::warn!(%unit, container = other.id, %error, "cannot remove a second container of the unit");
        }
    }
    ask_until_answered(context, unit.as_str(), || inspect_container(context, &chosen.id)).await
}

/// Asks until there is an answer.
async fn ask_until_answered<T, F>(context: &DockerContext, about: &str, ask: impl Fn() -> F) -> T
where
    F: Future<Output = Result<T, EngineError>>,
{
    loop {
        context.engine.wait_until_ready().await;
        match ask().await {
            Ok(answer) => return answer,
            Err(EngineError::Lost(problem)) => pause_after_loss(&context.engine, problem).await,
            Err(error) => {
                // It answers and does not say: no reason to think that anything has ended.
                tracing::warn!(about, %error, "cannot look at a container");
                muster_runtime::sleep(CALL_RETRY * 8).await;
            }
        }
    }
}

async fn pause_after_loss(engine: &Engine, problem: String) {
    tracing::debug!(problem, socket = %engine.socket_path().display(), "a call is made again");
    muster_runtime::sleep(CALL_RETRY).await;
}
