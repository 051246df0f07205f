//! Units on other machines.
//!
//! Owns the passing on of what another machine's daemon answers. That daemon says of itself where it is, and what it
//! sends is its own: neither is believed further than it has to be. The request is one of two, the answer is of the type
//! and the size that belong to it, and nothing of its head gets through but that it was an error.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt};
use http::{HeaderMap, StatusCode};
use http_body_util::Limited;
use muster_client::escape_segment;
use muster_common::api::fleet::ErrorBody;
use muster_common::api::v1::UnitStatus;
use muster_common::machine::Machine;
use muster_common::unit::UnitName;
use serde::de::DeserializeOwned;

use super::log::{self, Bounds};
use crate::http::app::App;
use crate::http::error::{ApiError, json};
use crate::inspect::{Invocation, JournalQuery, LineCount, OutputMode};
use crate::net::peer::{self, PeerError};
use crate::stdx::errors::error_chain;

/// Most bytes of a status: ten lines of the longest that the journal keeps (48 KiB), in the widest form of JSON, and what
/// systemctl says of a unit with a thousand processes.
const STATUS_BYTES: usize = 4 * 1024 * 1024;

/// Most bytes of an error: a refusal with a line for each of a thousand machines.
const ERROR_BYTES: usize = 256 * 1024;

/// Most bytes of the last lines of a failed unit: what fits on a screen, many times.
const LINES_BYTES: usize = 64 * 1024;

/// The time the body of such an answer may take once it has begun: it is there as a whole by then.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The status of a unit there.
pub(super) async fn remote_status(
    app: &App,
    machine: &Machine,
    headers: &HeaderMap,
    name: &UnitName,
) -> Result<Response, ApiError> {
    let path = format!("/v1/units/{}/status?machine={}", escape_segment(name.as_str()), machine.id);
    let answer = ask_daemon(app, machine, headers, &path).await?;
    let status: UnitStatus = read_json(answer.into_body(), STATUS_BYTES)
        .await
        .ok_or_else(|| not_a_daemons(machine, "status"))?;
    // Whose status it is has been asked for, and is not for the answer to say.
    let status = UnitStatus { machine: machine.id.clone(), ..status };
    Ok(json(StatusCode::OK, &status))
}

/// The journal of a unit there, as it comes.
pub(super) async fn remote_journal(
    app: &App,
    machine: &Machine,
    headers: &HeaderMap,
    name: &UnitName,
    journal: JournalQuery,
) -> Result<BoxStream<'static, std::io::Result<Bytes>>, ApiError> {
    let JournalQuery { lines, follow, mode, start } = journal;
    let start = start.map(|start| format!("&invocation={start}")).unwrap_or_default();
    let path = format!(
        "/v1/units/{}/journal?machine={}&lines={lines}&follow={follow}&output={mode}{start}",
        escape_segment(name.as_str()),
        machine.id,
    );
    let answer = ask_daemon(app, machine, headers, &path).await?;
    let pieces = body_pieces(answer);
    // The other daemon has the same bounds; these are for one that has not.
    Ok(if follow { pieces } else { log::bounded_log(pieces, Bounds::other_log()) })
}

/// A unit's journal there, followed: the events of that daemon as they come.
pub(super) async fn remote_followed_journal(
    app: &App,
    machine: &Machine,
    headers: &HeaderMap,
    name: &UnitName,
    query: &str,
) -> Result<BoxStream<'static, std::io::Result<Bytes>>, ApiError> {
    let path = format!(
        "/v1/units/{}/journal/follow?machine={}&{query}",
        escape_segment(name.as_str()),
        machine.id
    );
    let answer = ask_daemon(app, machine, headers, &path).await?;
    Ok(body_pieces(answer))
}

/// The last lines of a unit there, or of one start of it, as plain text.
pub(super) async fn remote_last_lines(
    app: &App,
    machine: &Machine,
    name: &UnitName,
    start: Option<Invocation>,
    lines: u32,
) -> Result<Vec<String>, ApiError> {
    let journal = JournalQuery {
        lines: LineCount::Last(lines),
        follow: false,
        mode: OutputMode::plain_lines(),
        start,
    };
    let nobody = HeaderMap::new();
    let mut pieces = match self::remote_journal(app, machine, &nobody, name, journal).await {
        // A daemon of before does not know starts.
        Err(error) if error.status == StatusCode::BAD_REQUEST && start.is_some() => {
            let journal = JournalQuery { start: None, ..journal };
            self::remote_journal(app, machine, &nobody, name, journal).await?
        }
        pieces => pieces?,
    };
    let mut text = Vec::new();
    while let Some(Ok(piece)) = pieces.next().await {
        let room = LINES_BYTES.saturating_sub(text.len());
        text.extend_from_slice(piece.get(..room).unwrap_or(&piece));
        if text.len() >= LINES_BYTES {
            break;
        }
    }
    let most = usize::try_from(lines).unwrap_or(usize::MAX);
    Ok(String::from_utf8_lossy(&text).lines().take(most).map(str::to_owned).collect())
}

/// The body of an answer, as it comes.
fn body_pieces(answer: Response) -> BoxStream<'static, std::io::Result<Bytes>> {
    TryStreamExt::map_err(answer.into_body().into_data_stream(), std::io::Error::other).boxed()
}

async fn ask_daemon(
    app: &App,
    machine: &Machine,
    headers: &HeaderMap,
    path: &str,
) -> Result<Response, ApiError> {
    if headers.contains_key(peer::FORWARDED) {
        return Err(ApiError::bad_gateway(format!(
            "machine {} registered an address at which another machine answers",
            machine.id
        )));
    }
    let answer = app.peers.ask_daemon(machine, path).await?;
    let status = answer.status();
    if status == StatusCode::OK {
        return Ok(answer);
    }
    let status = if is_passed_on(status) { status } else { StatusCode::BAD_GATEWAY };
    let body: ErrorBody = read_json(answer.into_body(), ERROR_BYTES)
        .await
        .ok_or_else(|| not_a_daemons(machine, "error"))?;
    Err(ApiError::new(status, body.error.message))
}

/// Statuses that mean to our client what they mean to us. That we asked wrongly is nothing to it.
fn is_passed_on(status: StatusCode) -> bool {
    [
        StatusCode::BAD_REQUEST,
        StatusCode::NOT_FOUND,
        StatusCode::CONFLICT,
        StatusCode::INTERNAL_SERVER_ERROR,
        StatusCode::SERVICE_UNAVAILABLE,
    ]
    .contains(&status)
}

/// A whole body of JSON; `None` if it is none, too long or too slow.
pub(super) async fn read_json<T: DeserializeOwned>(body: Body, limit: usize) -> Option<T> {
    let whole = http_body_util::BodyExt::collect(Limited::new(body, limit));
    let whole = muster_runtime::timeout(BODY_TIMEOUT, whole).await.ok()?.ok()?;
    serde_json::from_slice(&whole.to_bytes()).ok()
}

fn not_a_daemons(machine: &Machine, what: &str) -> ApiError {
    ApiError::bad_gateway(format!(
        "what answers for machine {} at {} sent no {what} such as a daemon sends",
        machine.id,
        machine.api.as_deref().unwrap_or_default()
    ))
}

impl From<PeerError> for ApiError {
    fn from(error: PeerError) -> Self {
        Self::bad_gateway(error_chain(&error))
    }
}
