//! Status and journal of a unit, wherever it runs.
//!
//! Owns the choice of the machine to ask: the one that is named, else the one that has the unit, this one first.

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use muster_common::api::v1::UnitStatus;
use muster_common::machine::{Machine, MachineId};
use muster_common::snapshot::{Snapshot, homes};
use muster_common::unit::UnitName;
use std::time::Duration;

use crate::http::App;
use crate::http::error::{ApiError, chain, json};
use crate::http::extract::{Name, Params};
use crate::inspect::{InspectError, Journal, Lines, Mode};
use crate::lists;
use crate::peer::{self, PeerError};
use crate::runner::docker::OutputError;

/// How long a failure waits for its log lines; without them it is told all the same.
const LOG_PATIENCE: Duration = Duration::from_secs(3);

/// Lines of a journal when none are asked for: fleetctl's default.
const DEFAULT_LINES: Lines = Lines::Last(10);

pub(super) async fn status(
    State(app): State<App>,
    Name(name): Name,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    params.only(&["machine"])?;
    let machine = whom_to_ask(&app, &name, &params).await?;
    if machine.id != app.machine {
        let path = format!("/v1/units/{}/status?machine={}", escape(&name), machine.id);
        return pass_on(&machine, &headers, &path).await;
    }
    let (output, code) = app.inspector.status(&name).await?;
    let status = UnitStatus { machine: machine.id, output, code };
    Ok(json(StatusCode::OK, &status))
}

pub(super) async fn journal(
    State(app): State<App>,
    Name(name): Name,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    params.only(&["machine", "lines", "follow", "output"])?;
    let journal = Journal {
        lines: params.parse("lines", "a number or all")?.unwrap_or(DEFAULT_LINES),
        follow: params.parse("follow", "true or false")?.unwrap_or(false),
        mode: params.parse("output", &format!("one of {}", Mode::all()))?.unwrap_or_default(),
    };
    let machine = whom_to_ask(&app, &name, &params).await?;
    if machine.id != app.machine {
        let Journal { lines, follow, mode } = journal;
        let path = format!(
            "/v1/units/{}/journal?machine={}&lines={lines}&follow={follow}&output={mode}",
            escape(&name),
            machine.id,
        );
        return pass_on(&machine, &headers, &path).await;
    }
    let stream = app.inspector.journal(&name, journal).await?;
    // A daemon that stops does not wait for those who follow.
    let shutdown = app.shutdown.clone();
    let stream = futures::StreamExt::take_until(stream, shutdown.cancelled_owned());
    let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    Ok((headers, Body::from_stream(stream)).into_response())
}

/// A failed unit's last log lines, from its machine; none if they cannot be had in time.
pub(super) async fn last_lines(
    app: &App,
    name: &UnitName,
    machine: &Machine,
    lines: u32,
) -> Vec<String> {
    let fetched = async {
        if machine.id == app.machine {
            return app.inspector.last_lines(name, lines).await.map_err(|e| chain(&e));
        }
        let path = format!(
            "/v1/units/{}/journal?machine={}&lines={lines}&output={}",
            escape(name),
            machine.id,
            Mode::cat(),
        );
        let answer = peer::get(machine, &path).await.map_err(|e| chain(&e))?;
        if answer.status() != StatusCode::OK {
            return Err(format!("it answered {}", answer.status()));
        }
        let body = answer.into_body().collect().await.map_err(|e| chain(&e))?.to_bytes();
        Ok(String::from_utf8_lossy(&body).lines().map(str::to_owned).collect())
    };
    match tokio::time::timeout(LOG_PATIENCE, fetched).await {
        Ok(Ok(lines)) => lines,
        Ok(Err(problem)) => {
            tracing::debug!(unit = %name, problem, "no log lines of a failed unit");
            Vec::new()
        }
        Err(_) => Vec::new(),
    }
}

async fn whom_to_ask(app: &App, name: &UnitName, params: &Params) -> Result<Machine, ApiError> {
    let named: Option<MachineId> = params.parse("machine", "a machine id")?;
    if let Some(id) = &named
        && *id == app.machine
    {
        // No need of the store: the unit is looked at where we stand.
        return Ok(lists::machine(&Snapshot::default(), id));
    }
    let reader = app.view.fresh().await?;
    reader.read(|snapshot| {
        let id = match named {
            Some(id) if snapshot.machines.contains_key(&id) => id,
            Some(id) => {
                return Err(ApiError::not_found(format!("machine {id} is not registered now")));
            }
            None => machine_of(snapshot, name, &app.machine)?,
        };
        Ok(lists::machine(snapshot, &id))
    })
}

fn machine_of(
    snapshot: &Snapshot,
    name: &UnitName,
    own: &MachineId,
) -> Result<MachineId, ApiError> {
    let placed = snapshot.places.get(name).into_iter().flat_map(homes).map(|(id, _)| id);
    let reported = snapshot.states.get(name).into_iter().flatten().map(|(id, _)| id);
    let mut machines: Vec<&MachineId> = placed.chain(reported).collect();
    machines.sort_by_key(|id| *id != own);
    if let Some(id) = machines.first() {
        return Ok((*id).clone());
    }
    match snapshot.units.get(name) {
        Some(unit) => Err(ApiError::conflict(format!(
            "unit {name} is on no machine; it is wanted {}",
            unit.desired
        ))),
        None => Err(ApiError::not_found(format!("unit {name} does not exist"))),
    }
}

async fn pass_on(machine: &Machine, headers: &HeaderMap, path: &str) -> Result<Response, ApiError> {
    if headers.contains_key(peer::FORWARDED) {
        return Err(ApiError::bad_gateway(format!(
            "machine {} registered an address at which another machine answers",
            machine.id
        )));
    }
    let answer = peer::get(machine, path).await?;
    let (parts, body) = answer.into_parts();
    let mut response = Response::new(Body::new(body));
    *response.status_mut() = parts.status;
    if let Some(kind) = parts.headers.get(header::CONTENT_TYPE) {
        response.headers_mut().insert(header::CONTENT_TYPE, kind.clone());
    }
    Ok(response)
}

/// A unit name in a path: of the characters it may have, the backslash is the one a path may not.
fn escape(name: &UnitName) -> String {
    name.as_str().replace('\\', "%5C")
}

impl From<PeerError> for ApiError {
    fn from(error: PeerError) -> Self {
        Self::bad_gateway(chain(&error))
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
        Self::new(status, chain(&error))
    }
}
