//! Keeping the line to the engine, and passing its hints on.
//!
//! Owns the engine's stream of events. What an event says is not believed, only that something may have happened to a
//! unit; after every break each unit looks for itself.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use muster_common::unit::UnitName;
use muster_engine::container::{EngineRun, LABEL_CLUSTER, LABEL_UNIT};
use muster_runtime::Instant;

use crate::runner::RunnerEvent;
use crate::runner::docker::api::engine::Api;
use crate::runner::docker::api::list::list_containers;
use crate::runner::docker::clean::{discard, orphans};
use crate::runner::docker::client::{EngineError, EngineEvent};
use crate::runner::docker::context::DockerContext;
use crate::runner::docker::unit::task::{UnitMessage, Units};
use crate::stdx::sync::lock;

/// Pause between two attempts to reach an engine that does not answer.
const CONNECT_RETRY: Duration = Duration::from_millis(500);

/// Pause between two looks whether something has to go.
const TIDY_INTERVAL: Duration = Duration::from_secs(60);

/// Pause between two questions to an engine whether it is still there. One that hangs does not end its stream of events.
const PING_INTERVAL: Duration = Duration::from_secs(5);
/// So many greetings in a row must go without an answer. Each is waited for as long again.
const MOST_UNANSWERED: u32 = 2;

/// Keeps the line for ever, and what is on the machine tidy.
pub(crate) async fn watch_engine(context: Arc<DockerContext>, units: Units) {
    tokio::join!(keep_line(&context, units), keep_tidy(&context));
}

/// Looks whether something has to go, now and then and when it is told to.
async fn keep_tidy(context: &DockerContext) {
    let mut again = Instant::now();
    loop {
        context.engine.wait_until_ready().await;
        // Both mean the same. A request is first, so that one that came with the tick is answered by this look as well.
        tokio::select! {
            biased;
            () = context.cleanup_request.notified() => {}
            () = muster_runtime::sleep_until(again) => again = Instant::now() + TIDY_INTERVAL,
        }
        discard::of_the_destroyed(context).await;
    }
}

/// Ends when the engine has been silent for too long.
async fn wait_for_silence(context: &DockerContext) -> EngineError {
    let mut unanswered = 0;
    loop {
        muster_runtime::sleep(PING_INTERVAL).await;
        match context.engine.ask_api_version().await {
            Ok(_) => unanswered = 0,
            Err(error) => {
                unanswered += 1;
                if unanswered >= MOST_UNANSWERED {
                    return error;
                }
            }
        }
    }
}

async fn keep_line(context: &Arc<DockerContext>, units: Units) {
    let mut warned = false;
    loop {
        let problem = match context.engine.ask_api_version().await {
            Ok(api) => match follow_events(context, &units, api, &mut warned).await {
                Ok(()) => "it has ended its stream of events".to_owned(),
                Err(error) => error.into_problem(),
            },
            Err(error) => error.into_problem(),
        };
        if context.engine.mark_down(problem.clone()) {
            tracing::warn!(problem, "the container engine does not answer");
            context.events.send_event(RunnerEvent::Lost { problem });
        }
        muster_runtime::sleep(CONNECT_RETRY).await;
    }
}

/// Listens until the stream ends.
async fn follow_events(
    context: &Arc<DockerContext>,
    units: &Units,
    api: Api,
    warned: &mut bool,
) -> Result<(), EngineError> {
    // From a moment ago on: what happens between this call and the first look is not missed.
    let since = context.world.wall.unix_seconds();
    let label = format!("{LABEL_CLUSTER}={}", context.cluster);
    let mut events = context.engine.api_client().follow_events(since, &label);
    // Before anything is made on it.
    learn_setup(context, warned).await;
    if context.engine.mark_up(api) {
        tracing::info!(%api, socket = %context.engine.socket_path().display(), "the container engine answers");
    }
    for handle in lock(units).values() {
        let _ = handle.messages.send(UnitMessage::Hint);
    }
    context.events.send_event(RunnerEvent::Relist);
    match list_containers(context, None).await {
        Ok(listed) => {
            let known = lock(units).keys().cloned().collect();
            orphans::remove_leftovers(Arc::clone(context), &listed, &known);
        }
        Err(error) => tracing::warn!(%error, "cannot list containers"),
    }
    let mut silence = std::pin::pin!(wait_for_silence(context));
    loop {
        // The silence is first, for its clock moves only while it is polled, and events that come without a pause would stop
        // it. It is ready once, and ends the loop.
        let event = tokio::select! {
            biased;
            error = &mut silence => return Err(error),
            event = events.next() => event,
        };
        let Some(event) = event else { break };
        let EngineEvent { action, labels } = event?;
        // Health checks run programs in a container, which changes nothing by itself.
        if action.starts_with("exec_") || matches!(action.as_str(), "create" | "attach" | "top") {
            continue;
        }
        let message = if action == "start" { UnitMessage::StartHint } else { UnitMessage::Hint };
        let named = labels.get(LABEL_UNIT).and_then(|name| name.parse().ok());
        let Some(unit): Option<UnitName> = named else { continue };
        if let Some(handle) = lock(units).get(&unit) {
            let _ = handle.messages.send(message);
        }
    }
    Ok(())
}

/// Learns what the engine does with output, and says once if a restart of it would take the containers along.
async fn learn_setup(context: &DockerContext, warned: &mut bool) {
    let setup = match context.engine.ask_setup().await {
        Ok(setup) => setup,
        Err(error) => {
            tracing::warn!(%error, "the container engine does not say how it is set up");
            context.engine.begin_session(EngineRun::default());
            return;
        }
    };
    let live_restore = setup.live_restore;
    context.engine.begin_session(EngineRun { live_restore, process: setup.process });
    context.note_setup(setup);
    if live_restore == Some(false) && !std::mem::replace(warned, true) {
        tracing::warn!(
            "live-restore is off: when the container engine stops or is upgraded, its containers stop with it; \
             {{\"live-restore\": true}} in /etc/docker/daemon.json keeps them running"
        );
    }
}
