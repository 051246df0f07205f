//! Rolling reboots, for people: who holds a slot, taking and freeing one by hand, and asking machines to reboot. The
//! contract is [`muster_common::api::reboot`].
//!
//! Owns the answers. Who gets a slot is [`crate::reboot::Lock`]'s to find out, and when a machine reboots is its own
//! daemon's.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use http::StatusCode;
use muster_common::api::fleet::ErrorDetail;
use muster_common::api::reboot::{
    CancelRequest, Cancelled, History, LockRequest, Locked, MaxRequest, MaxSet, RebootEvent,
    RebootRequest, Requested, SlotRefused, UnlockRequest, Unlocked,
};
use muster_common::machine::MachineId;
use muster_common::reboot::{
    Group, HolderId, HolderKind, HostStatus, RebootMethod, Request, SlotOutcome, WaitReason,
};
use muster_engine::reboot::due::is_asked_already;
use muster_engine::wait::reboots::RebootsWait;
use tokio::sync::watch;

use crate::http::app::App;
use crate::http::error::{ApiError, json};
use crate::http::events::{EventSource, stream_events};
use crate::http::extract::{Body, Params};
use crate::net::quota::Caller;
use crate::reboot::{
    AcquireResult, LatestRecords, LockError, ReleaseReport, ReleaseResult, overview,
};
use crate::stdx::errors::error_chain;

/// Events that may wait for a slow client. Each tells all there is, so few are enough.
const BACKLOG: usize = 4;

pub(super) fn reboot_routes() -> Router<App> {
    Router::new()
        .route("/", get(show_reboots))
        .route("/watch", get(watch_reboots))
        .route("/history", get(show_history))
        .route("/lock", post(take_slot))
        .route("/unlock", post(free_slot))
        .route("/max", post(set_slots))
        .route("/request", post(request_reboot))
        .route("/cancel", post(cancel_request))
}

async fn show_reboots(State(app): State<App>, params: Params) -> Result<Response, ApiError> {
    params.allow_only(&["group"])?;
    let group = params.parse("group", "the name of a reboot group")?;
    let records = app.lock.read_records(app.slot_limit).await?;
    let mut status = overview::reboots_overview(&app.machine, &records, group.as_ref())?;
    let reader = app.view.fresh_reader().await?;
    status.group = Some(app.group.clone());
    status.machines = reader.read(|snapshot| snapshot.machines.values().cloned().collect());
    Ok(json(StatusCode::OK, &status))
}

/// Tells how things are, and again whenever that has changed.
async fn watch_reboots(
    State(app): State<App>,
    caller: Caller,
    params: Params,
) -> Result<Response, ApiError> {
    params.allow_only(&["group"])?;
    let group: Option<Group> = params.parse("group", "the name of a reboot group")?;
    let held = app.take_ticket(&app.client_quotas().streams, caller)?;
    // What follows is at least as new as this, which is read now: the client sees what it has just done.
    let first = app.lock.read_records(app.slot_limit).await?;
    let first = overview::reboots_overview(&app.machine, &first, group.as_ref())?;
    let latest = app.lock.follow_records();
    let wait = RebootsWait::new(first);
    let events = RebootEvents { app: app.clone(), group, latest, wait, step: EventStep::First };
    Ok(stream_events(&app, held, BACKLOG, events))
}

/// The events of the reboots, of one group or of all.
struct RebootEvents {
    app: App,
    group: Option<Group>,
    latest: watch::Receiver<LatestRecords>,
    wait: RebootsWait,
    step: EventStep,
}

/// The stage of a stream of reboots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EventStep {
    /// Nothing has been told.
    First,
    /// The present state has yet to be looked at.
    Look,
    /// All that is known has been told.
    Wait,
}

impl EventSource for RebootEvents {
    type Event = RebootEvent;

    async fn next_events(&mut self) -> Option<Vec<RebootEvent>> {
        match std::mem::replace(&mut self.step, EventStep::Wait) {
            EventStep::First => {
                self.step = EventStep::Look;
                return Some(vec![self.wait.first_event()]);
            }
            EventStep::Look => {}
            EventStep::Wait => self.latest.changed().await.ok()?,
        }
        let LatestRecords { records, lost } = self.latest.borrow_and_update().clone();
        let (machine, group) = (&self.app.machine, self.group.as_ref());
        let reboots =
            records.and_then(|records| overview::reboots_overview(machine, &records, group).ok());
        Some(self.wait.update(lost.as_deref(), reboots))
    }
}

async fn show_history(State(app): State<App>, params: Params) -> Result<Response, ApiError> {
    params.allow_only(&["group"])?;
    let group: Group = params.parse("group", "the name of a reboot group")?.unwrap_or_default();
    // That the group exists; one of which nothing was ever freed has no history.
    app.lock.group_status(&group, app.slot_limit).await?;
    let mut entries = app.lock.group_history(&group, app.slot_limit).await?;
    entries.reverse();
    Ok(json(StatusCode::OK, &History { group, entries }))
}

async fn take_slot(
    State(app): State<App>,
    Body(request): Body<LockRequest>,
) -> Result<Response, ApiError> {
    let LockRequest { group, id, by } = request;
    let id = id.unwrap_or_else(|| HolderId::from(&app.machine));
    match app.lock.acquire_slot(&group, &id, HolderKind::Person, app.slot_limit).await? {
        AcquireResult::Held { since, anew } => {
            tracing::info!(%group, %id, by = &*by, anew, "a slot was asked for by hand");
            Ok(json(StatusCode::OK, &Locked { group, id, since, anew }))
        }
        AcquireResult::Wait(wait) => {
            tracing::info!(%group, %id, by = &*by, %wait, "a slot was asked for by hand, and there is none");
            Ok(slot_refused(wait))
        }
    }
}

/// 409: there is no slot, and why.
fn slot_refused(wait: WaitReason) -> Response {
    let status = StatusCode::CONFLICT;
    let error = ErrorDetail { code: status.as_u16(), message: wait.to_string() };
    json(status, &SlotRefused { error, wait })
}

async fn free_slot(
    State(app): State<App>,
    Body(request): Body<UnlockRequest>,
) -> Result<Response, ApiError> {
    let UnlockRequest { group, id, by } = request;
    let id = id.unwrap_or_else(|| HolderId::from(&app.machine));
    let ended = ReleaseReport::without_details(SlotOutcome::Unlocked { by: by.into() });
    let freed = match app.lock.release_slot(&group, &id, ended, app.slot_limit).await? {
        ReleaseResult::Freed(holder) => Some(holder),
        ReleaseResult::NotHeld => None,
    };
    Ok(json(StatusCode::OK, &Unlocked { group, id, freed }))
}

async fn set_slots(
    State(app): State<App>,
    Body(request): Body<MaxRequest>,
) -> Result<Response, ApiError> {
    let MaxRequest { group, max, by } = request;
    let new = u32::from(max);
    let old = app.lock.set_max(&group, new, app.slot_limit).await?;
    tracing::info!(%group, old, new, by = &*by, "the number of slots was set");
    Ok(json(StatusCode::OK, &MaxSet { group, old, new }))
}

async fn request_reboot(
    State(app): State<App>,
    Body(request): Body<RebootRequest>,
) -> Result<Response, ApiError> {
    let RebootRequest { id, by, because, method } = request;
    let (id, host) = known_host(&app, id).await?;
    let registry = app.lock.reboot_registry();
    let stands = registry.reboot_request(&id).await?.map(|(request, _)| request);
    if let Some(request) =
        stands.filter(|standing| is_asked_already(standing, method, host.as_ref()))
    {
        return Ok(json(StatusCode::OK, &Requested { id, request, anew: false, host }));
    }
    let (by, because) = (by.into(), because.map(Into::into));
    let request = Request { by, at: app.wall.unix_seconds(), because, method };
    registry.request_reboot(&id, &request).await?;
    let method = request.method.map(RebootMethod::as_str);
    tracing::info!(machine = %id, by = request.by, because = request.because, method, "a reboot was requested");
    Ok(json(StatusCode::OK, &Requested { id, request, anew: true, host }))
}

async fn cancel_request(
    State(app): State<App>,
    Body(request): Body<CancelRequest>,
) -> Result<Response, ApiError> {
    let CancelRequest { id, by } = request;
    let (id, host) = known_host(&app, id).await?;
    let cancelled = app.lock.reboot_registry().withdraw_reboot(&id, None).await?;
    if cancelled {
        tracing::info!(machine = %id, by = &*by, "the request for a reboot was taken back");
    }
    Ok(json(StatusCode::OK, &Cancelled { id, cancelled, host }))
}

/// A machine that is here or of which something is known, and how far it is if it ever said so; its daemon may have the
/// reboot role alone, and then it is no machine that takes units.
async fn known_host(
    app: &App,
    id: Option<MachineId>,
) -> Result<(MachineId, Option<HostStatus>), ApiError> {
    let id = id.unwrap_or_else(|| app.machine.clone());
    let records = app.lock.read_records(app.slot_limit).await?;
    let host = records.hosts.get(&id).cloned();
    let asked = records.requests.contains_key(&id);
    let unreadable = ["host", "request"].map(|kind| format!("reboot-{kind}/{id}"));
    let recorded = records.unreadable.iter().any(|record| unreadable.contains(&record.key));
    if id == app.machine || host.is_some() || asked || recorded {
        return Ok((id, host));
    }
    super::cordons::known_machine(app, id.as_str()).await.map(|id| (id, None))
}

impl From<overview::UnknownGroup> for ApiError {
    fn from(error: overview::UnknownGroup) -> Self {
        Self::not_found(error.to_string())
    }
}

impl From<LockError> for ApiError {
    fn from(error: LockError) -> Self {
        let status = match &error {
            LockError::UnknownGroup { .. } => StatusCode::NOT_FOUND,
            LockError::Unreadable { .. } => StatusCode::INTERNAL_SERVER_ERROR,
            // The store is away, or others kept writing: asking again is safe.
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error_chain(&error))
    }
}
