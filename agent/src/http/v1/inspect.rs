//! Status and journal of a unit, wherever it runs.
//!
//! Owns the asking, here or of another machine's daemon, and its time limits. Which machine is asked and what may be shown is
//! [`muster_engine::cluster::whereabouts`]'s to decide.

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use futures::StreamExt as _;
use http::{HeaderMap, StatusCode};
use muster_common::api::v1::UnitStatus;
use muster_common::machine::{Machine, MachineId};
use muster_common::unit::UnitName;
use muster_engine::cluster::lists;
use muster_engine::cluster::whereabouts::{self, NoMachine, NotOurs};

use super::elsewhere;
use super::log::{self, Bounds};
use crate::http::app::App;
use crate::http::error::{ApiError, json};
use crate::http::extract::{Name, Params};
use crate::inspect::{InspectError, Invocation, JournalQuery, LineCount, OutputMode};
use crate::net::quota::Caller;
use crate::runner::docker::OutputError;
use crate::stdx::errors::error_chain;

/// The time a failure waits for its log lines; without them it is told all the same. They take tens of milliseconds, but on a
/// machine that is busy enough for a unit to fail they take longer.
const LOG_TIMEOUT: Duration = Duration::from_secs(5);

/// The time systemctl may take for a status; one that hangs is not to keep others waiting for ever. As long as another
/// daemon waits for ours, see `peer`.
const STATUS_TIMEOUT: Duration = Duration::from_secs(20);

/// Lines of a journal when none are asked for: fleetctl's default.
pub(super) const DEFAULT_LINES: LineCount = LineCount::Last(10);

pub(super) async fn show_status(
    State(app): State<App>,
    Name(name): Name,
    caller: Caller,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    params.allow_only(&["machine"])?;
    let machine = machine_to_ask(&app, &name, &params, None).await?;
    if machine.id != app.machine {
        return elsewhere::remote_status(&app, &machine, &headers, &name).await;
    }
    check_ours(&app, &name).await?;
    let _turn = app.wait_for_ticket(&app.client_quotas().processes, caller).await?;
    let looked = muster_runtime::timeout(STATUS_TIMEOUT, app.inspector.status(&name)).await;
    let (output, code) = looked.map_err(|_| {
        let seconds = STATUS_TIMEOUT.as_secs();
        let message = format!("systemctl did not tell the status of {name} within {seconds} s");
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message)
    })??;
    let status = UnitStatus { machine: machine.id, output, code };
    Ok(json(StatusCode::OK, &status))
}

pub(super) async fn show_journal(
    State(app): State<App>,
    Name(name): Name,
    caller: Caller,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    params.allow_only(&["machine", "lines", "follow", "output", "invocation"])?;
    let journal = JournalQuery {
        lines: params.parse("lines", "a number or all")?.unwrap_or(DEFAULT_LINES),
        follow: params.parse("follow", "true or false")?.unwrap_or(false),
        mode: params
            .parse("output", &format!("one of {}", OutputMode::all_modes()))?
            .unwrap_or_default(),
        start: params.parse("invocation", "the id of a start, 32 hexadecimal digits")?,
    };
    let machine = machine_to_ask(&app, &name, &params, None).await?;
    if machine.id != app.machine {
        // Whoever follows holds a connection to the other machine.
        let held = app.take_ticket(&app.client_quotas().streams, caller)?;
        let log = elsewhere::remote_journal(&app, &machine, &headers, &name, journal).await?;
        return Ok(log::text_answer(log, held));
    }
    check_ours(&app, &name).await?;
    let quotas = app.client_quotas();
    let held = if journal.follow {
        app.take_ticket(&quotas.followers, caller)?
    } else {
        app.wait_for_ticket(&quotas.processes, caller).await?
    };
    let log = app.inspector.read_journal(&name, journal).await?;
    let log = if journal.follow { log } else { log::bounded_log(log, Bounds::own_log()) };
    // A daemon that stops does not wait for those who follow.
    let log = log.take_until(app.shutdown.clone().cancelled_owned()).boxed();
    Ok(log::text_answer(log, held))
}

/// The last log lines of a start that failed, from its machine; none if they cannot be had in time. Without the id of the
/// start, the unit's last ones.
pub(super) async fn last_lines(
    app: &App,
    name: &UnitName,
    machine: &Machine,
    start: Option<Invocation>,
    lines: u32,
) -> Vec<String> {
    let fetched = async {
        if machine.id == app.machine {
            // One that is refused here goes by the name of a unit that is not ours.
            if app.health.owns_unit(name) == Some(false) {
                return Ok(Vec::new());
            }
            let turn = app.wait_for_ticket(&app.client_quotas().processes, Caller::Local);
            let _turn = turn.await.map_err(|error| error.message)?;
            return app.inspector.last_lines(name, start, lines).await.map_err(|e| error_chain(&e));
        }
        let lines_there = elsewhere::remote_last_lines(app, machine, name, start, lines).await;
        lines_there.map_err(|error| error.message)
    };
    match muster_runtime::timeout(LOG_TIMEOUT, fetched).await {
        Ok(Ok(lines)) => lines,
        Ok(Err(problem)) => {
            tracing::debug!(unit = %name, problem, "no log lines of a failed unit");
            Vec::new()
        }
        Err(_) => Vec::new(),
    }
}

/// Checks that a unit on this machine is Muster's; the error says whose it is.
pub(super) async fn check_ours(app: &App, name: &UnitName) -> Result<(), ApiError> {
    let owns = app.health.owns_unit(name);
    if owns == Some(true) {
        return Ok(());
    }
    let reader = app.view.fresh_reader().await?;
    Ok(reader.read(|snapshot| whereabouts::check_ours(snapshot, name, &app.machine, owns))?)
}

/// The machine that a request is for: the one it names, else the preferred one, else one that has the unit.
pub(super) async fn machine_to_ask(
    app: &App,
    name: &UnitName,
    params: &Params,
    prefer: Option<&MachineId>,
) -> Result<Machine, ApiError> {
    let named: Option<MachineId> = params.parse("machine", "a machine id")?;
    if named.as_ref() == Some(&app.machine) {
        // No need of the store: the unit is looked at where we stand.
        return Ok(lists::machine_by_id(&app.machine));
    }
    let reader = app.view.fresh_reader().await?;
    reader.read(|snapshot| {
        let id = whereabouts::machine_to_ask(snapshot, name, &app.machine, named.as_ref(), prefer)?;
        Ok(lists::machine_with_metadata(snapshot, &id))
    })
}

impl From<NoMachine> for ApiError {
    fn from(problem: NoMachine) -> Self {
        let message = problem.to_string();
        match problem {
            NoMachine::NotRegistered(_) | NoMachine::NoUnit(_) => Self::not_found(message),
            NoMachine::Nowhere { .. } => Self::in_conflict(message),
        }
    }
}

impl From<NotOurs> for ApiError {
    fn from(problem: NotOurs) -> Self {
        let message = problem.to_string();
        match problem {
            NotOurs::Refused { .. } | NotOurs::NotHere(_) => Self::in_conflict(message),
            NotOurs::Unknown(_) => Self::not_found(message),
        }
    }
}

impl From<InspectError> for ApiError {
    fn from(error: InspectError) -> Self {
        let status = match &error {
            InspectError::Output(OutputError::Unknown(_) | OutputError::NoContainer(_)) => {
                StatusCode::NOT_FOUND
            }
            InspectError::Output(OutputError::NotKept { .. }) => StatusCode::CONFLICT,
            InspectError::Output(_) => StatusCode::SERVICE_UNAVAILABLE,
            InspectError::Mode { .. } => StatusCode::BAD_REQUEST,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error_chain(&error))
    }
}
