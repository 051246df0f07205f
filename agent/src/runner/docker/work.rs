//! Carrying out what a container's life asks for.
//!
//! Owns trying again when the engine goes away in the middle: each piece of work begins anew once it answers, so it must
//! do no harm when it is done twice. It decides nothing.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use muster_common::unit::UnitName;
use muster_engine::container::{Verdict, lacking};

use super::create::{self, Found, Prepared};
use super::engine::{Engine, EngineError};
use super::images;
use super::listed::list;
use super::machine::Machine;
use super::plan::Plan;
use super::{conditions, resources};

/// Pause before a call is made again whose answer did not come.
const AGAIN: Duration = Duration::from_millis(250);

/// How a piece of work came out.
#[derive(Debug)]
pub(super) enum Came {
    /// What the container needs is there.
    Prepared(Prepared),
    /// It is not, for this reason.
    Unprepared(String),
    /// Its conditions do not hold here, which this says.
    Unmet(String),
    /// An assertion of its does not hold here, which this says.
    AssertFailed(String),
    /// The container with this id was started.
    Started(String),
    /// It was not, for this reason.
    NotStarted(String),
    /// A signal was sent, or found nobody.
    Sent,
}

/// Told how far a piece of work is.
pub(super) type Told = Arc<dyn Fn(String) + Send + Sync>;

/// Looks at its conditions, fetches its image, makes its volumes and networks.
pub(super) fn prepare(
    machine: Arc<Machine>,
    unit: UnitName,
    plan: Plan,
    told: Told,
) -> BoxFuture<'static, Came> {
    Box::pin(async move {
        match conditions::verdict(&plan.spec.conditions).await {
            Verdict::Start => {}
            Verdict::Skip(reason) => return Came::Unmet(reason),
            Verdict::Fail(reason) => return Came::AssertFailed(reason),
            Verdict::Unknown(problem) => return Came::Unprepared(problem),
        }
        loop {
            match gather(&machine, &unit, &plan, &told).await {
                Ok(prepared) => return Came::Prepared(prepared),
                Err(EngineError::Lost(problem)) => lost(&machine.engine, problem).await,
                Err(error) => return Came::Unprepared(error.to_string()),
            }
        }
    })
}

async fn gather(
    machine: &Machine,
    unit: &UnitName,
    plan: &Plan,
    told: &Told,
) -> Result<Prepared, EngineError> {
    let plan = plan.anew(unit, &machine.host).map_err(EngineError::refused)?;
    // Before anything is fetched or made for a container that cannot be.
    let api = machine.engine.ready().await;
    if let Some(problem) = lacking(&plan.spec, &machine.abilities(api)) {
        return Err(EngineError::refused(problem));
    }
    let names = resources::ensure(machine, &plan.spec).await?;
    let progress = |text: String| told(text);
    let image = images::ensure(machine, &plan.spec, &progress).await?;
    Ok(Prepared { plan, names, image })
}

/// Makes the container in the place of one before it, and starts it.
pub(super) fn start(
    machine: Arc<Machine>,
    unit: UnitName,
    mut prepared: Prepared,
    before: Option<String>,
    generation: u64,
) -> BoxFuture<'static, Came> {
    Box::pin(async move {
        let mut anew = true;
        loop {
            machine.engine.ready().await;
            let before = before.as_deref();
            let started = create::start(&machine, &unit, &prepared, before, generation).await;
            match started {
                Ok(id) => return Came::Started(id),
                Err(EngineError::Lost(problem)) => lost(&machine.engine, problem).await,
                // Somebody removed its image, or the last container on it took its network along, since they were seen.
                Err(error) if anew && error.is_absent() => {
                    anew = false;
                    machine.images.forget();
                    let told: Told = Arc::new(|_| ());
                    match gather(&machine, &unit, &prepared.plan, &told).await {
                        Ok(again) => prepared = again,
                        Err(EngineError::Lost(problem)) => lost(&machine.engine, problem).await,
                        Err(error) => return Came::NotStarted(error.to_string()),
                    }
                }
                Err(error) => return Came::NotStarted(error.to_string()),
            }
        }
    })
}

/// Sends a signal to a container.
pub(super) fn signal(
    machine: Arc<Machine>,
    id: String,
    signal: String,
) -> BoxFuture<'static, Came> {
    Box::pin(async move {
        loop {
            machine.engine.ready().await;
            match create::signal(&machine, &id, &signal).await {
                Ok(()) => return Came::Sent,
                Err(EngineError::Lost(problem)) => lost(&machine.engine, problem).await,
                Err(error) => {
                    tracing::warn!(container = id, signal, %error, "cannot send a signal");
                    return Came::Sent;
                }
            }
        }
    })
}

/// Looks at a container by its id, which is returned. While the engine does not answer nothing is known, and it is waited
/// for.
pub(super) fn look(
    machine: Arc<Machine>,
    id: String,
) -> BoxFuture<'static, (String, Option<Found>)> {
    Box::pin(async move {
        let found = insist(&machine, &id, || create::look(&machine, &id)).await;
        (id, found)
    })
}

/// Finds the container a unit has, from whatever file of its it was made. `last` is the one it had last, if that is
/// known; should there be others beside, they are removed.
pub(super) async fn find(machine: &Machine, unit: &UnitName, last: Option<&str>) -> Option<Found> {
    let mut listed = insist(machine, unit.as_str(), || list(machine, Some(unit))).await;
    listed.sort_by_key(|c| (c.runs, Some(c.id.as_str()) == last, c.created));
    let chosen = listed.pop()?;
    for other in listed {
        tracing::warn!(%unit, container = other.id, "a unit has two containers; one is removed");
        if let Err(error) = create::remove(machine, &other.id).await {
            tracing::warn!(%unit, container = other.id, %error, "cannot remove it");
        }
    }
    insist(machine, unit.as_str(), || create::look(machine, &chosen.id)).await
}

/// Asks until there is an answer.
async fn insist<T, F>(machine: &Machine, about: &str, ask: impl Fn() -> F) -> T
where
    F: Future<Output = Result<T, EngineError>>,
{
    loop {
        machine.engine.ready().await;
        match ask().await {
            Ok(answer) => return answer,
            Err(EngineError::Lost(problem)) => lost(&machine.engine, problem).await,
            Err(error) => {
                // It answers and does not say: no reason to think that anything has ended.
                tracing::warn!(about, %error, "cannot look at a container");
                tokio::time::sleep(AGAIN * 8).await;
            }
        }
    }
}

async fn lost(engine: &Engine, problem: String) {
    tracing::debug!(problem, socket = %engine.socket().display(), "a call is made again");
    tokio::time::sleep(AGAIN).await;
}
