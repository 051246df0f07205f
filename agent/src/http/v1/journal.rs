//! Following a unit's journal, wherever the unit goes; the contract is [`muster_common::api::journal`].
//!
//! Owns whose journal is read, and when there is nothing more to come from there. A stream is of one machine: when the
//! unit leaves it the stream ends, with a word, and who follows asks again.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use http::HeaderMap;
use muster_common::api::journal::JournalEvent;
use muster_common::machine::MachineId;
use muster_common::snapshot::Snapshot;
use muster_common::text::quoted;
use muster_common::unit::UnitName;
use muster_engine::cluster::lists;
use tokio::sync::mpsc;

use super::inspect::{DEFAULT_LINES, is_ours, machine_of, whom_to_ask};
use super::wait::stream;
use super::{elsewhere, log};
use crate::http::App;
use crate::http::error::ApiError;
use crate::http::extract::{Name, Params};
use crate::inspect::{Lines, Mode, Piece, Start, is_place};
use crate::net::quota::{Caller, Ticket};
use crate::view::Reader;

/// Pieces that may wait for a slow client before nothing more is read for it.
const BACKLOG: usize = 16;

/// How long after a unit is gone its last lines are in the journal.
const SETTLES: Duration = Duration::from_millis(200);

const PARAMETERS: &[&str] = &["machine", "prefer", "wait", "output", "cursor", "ago", "lines"];

/// How a unit stands with a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It has it, or is giving it up.
    Here,
    /// It has it no more.
    Left,
    /// Nor does the cluster.
    Destroyed,
}

pub(super) async fn follow(
    State(app): State<App>,
    Name(name): Name,
    caller: Caller,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    params.only(PARAMETERS)?;
    let mode: Mode =
        params.parse("output", &format!("one of {}", Mode::all()))?.unwrap_or_default();
    let lines: Lines = params.parse("lines", "a number or all")?.unwrap_or(DEFAULT_LINES);
    let ago: Option<u64> = params.parse("ago", "a number of milliseconds")?;
    let prefer: Option<MachineId> = params.parse("prefer", "a machine id")?;
    if let Some(strange) = params.get("cursor").filter(|cursor| !is_place(cursor)) {
        return Err(ApiError::bad_request(format!(
            "cursor={}: expected the place in a journal that came with its lines",
            quoted(strange)
        )));
    }
    let waits = params.parse("wait", "true or false")?.unwrap_or(false);
    if waits && params.get("machine").is_none() {
        let reader = app.view.fresh().await?;
        if reader.read(|snapshot| is_nowhere(snapshot, &name)) {
            let held = app.take(&app.quotas().streams, caller)?;
            return Ok(nowhere(app, reader, name, held).into_response());
        }
    }
    let machine = whom_to_ask(&app, &name, &params, prefer.as_ref()).await?;
    // A place in one machine's journal is none in another's.
    let of_this_machine = params.get("machine").is_some() || prefer.as_ref() == Some(&machine.id);
    let start = match (params.get("cursor").filter(|_| of_this_machine), ago) {
        (Some(cursor), _) => Start::Cursor(cursor.to_owned()),
        (None, Some(ago)) => Start::Ago(Duration::from_millis(ago)),
        (None, None) => Start::Lines(lines),
    };
    if machine.id != app.machine {
        let (key, value) = match &start {
            Start::Cursor(cursor) => ("cursor", escape(cursor)),
            Start::Ago(ago) => ("ago", ago.as_millis().to_string()),
            Start::Lines(lines) => ("lines", lines.to_string()),
        };
        let query = format!("output={mode}&{key}={value}");
        // Whoever follows holds a connection to the other machine.
        let held = app.take(&app.quotas().streams, caller)?;
        let log = elsewhere::followed(&app, &machine, &headers, &name, &query).await?;
        return Ok(log::events(log, held));
    }
    // Who takes a journal up may have missed that the unit has left, and what it logged until then.
    let taken_up = !matches!(start, Start::Lines(_));
    if !taken_up || app.health.had_unit_lately(&name) != Some(true) {
        is_ours(&app, &name).await?;
    }
    let held = app.take(&app.quotas().followers, caller)?;
    let pieces = app.inspector.follow(&name, mode, start.clone(), true).await?;
    // A store that is away keeps nobody from reading what is here; what becomes of the unit is then not told.
    let reader = app.view.fresh().await.ok();
    let (events, received) = mpsc::channel(BACKLOG);
    let machine = match &reader {
        Some(reader) => reader.read(|snapshot| lists::machine_with_metadata(snapshot, &machine.id)),
        None => machine,
    };
    tokio::spawn(async move {
        if events.send(JournalEvent::From { machine: machine.clone() }).await.is_ok() {
            let leaving = leaving(reader, &name, &machine.id);
            let told = tell(&app, pieces, mode, leaving, &events, start).await;
            if let Some((last, start)) = told {
                rest(&app, &name, mode, start, &events).await;
                let _ = events.send(last).await;
            }
        }
    });
    Ok(stream(received, held).into_response())
}

/// Passes lines on until the unit has left, the journal ends, the client has gone, or the daemon stops. In the first case
/// there is a last event to be told, and there may be lines behind the place that comes with it.
async fn tell(
    app: &App,
    mut pieces: BoxStream<'static, std::io::Result<Piece>>,
    mode: Mode,
    leaving: impl Future<Output = JournalEvent>,
    events: &mpsc::Sender<JournalEvent>,
    mut place: Start,
) -> Option<(JournalEvent, Start)> {
    let mut leaving = std::pin::pin!(leaving);
    loop {
        // All arms are cancel safe: a piece that is being read stays in the stream.
        let event = tokio::select! {
            piece = pieces.next() => match piece {
                Some(Ok(piece)) => {
                    if let Some(cursor) = &piece.cursor {
                        place = Start::Cursor(cursor.clone());
                    }
                    lines(piece, mode)
                }
                Some(Err(error)) => {
                    tracing::warn!(%error, "a journal cannot be followed");
                    return None;
                }
                None => return None,
            },
            last = &mut leaving => return Some((last, place)),
            () = events.closed() => return None,
            () = app.shutdown.cancelled() => return None,
        };
        if events.send(event).await.is_err() {
            return None;
        }
    }
}

/// What was logged as an event, unharmed where the mode may print what is no text.
fn lines(piece: Piece, mode: Mode) -> JournalEvent {
    let Piece { bytes, cursor } = piece;
    let (text, base64) = match String::from_utf8(bytes) {
        Ok(text) => (text, None),
        Err(error) if mode.is_binary() => {
            (String::new(), Some(STANDARD.encode(error.into_bytes())))
        }
        Err(error) => (String::from_utf8_lossy(error.as_bytes()).into_owned(), None),
    };
    JournalEvent::Lines { text, base64, cursor }
}

/// Passes on what a unit that has left has logged behind a place.
async fn rest(
    app: &App,
    name: &UnitName,
    mode: Mode,
    start: Start,
    events: &mpsc::Sender<JournalEvent>,
) {
    // systemd says that a unit is down before the journal has written what it logged of that.
    tokio::time::sleep(SETTLES).await;
    // A container that is gone has taken its lines along.
    let Ok(mut pieces) = app.inspector.follow(name, mode, start, false).await else { return };
    while let Some(Ok(piece)) = pieces.next().await {
        if events.send(lines(piece, mode)).await.is_err() {
            return;
        }
    }
}

/// Comes back when the machine has the unit no more, with what there is to say then.
async fn leaving(reader: Option<Reader>, name: &UnitName, machine: &MachineId) -> JournalEvent {
    let Some(mut reader) = reader else { return std::future::pending().await };
    loop {
        match reader.read(|snapshot| standing(snapshot, name, machine)) {
            Standing::Here => reader.changed().await,
            Standing::Left => return JournalEvent::Left,
            Standing::Destroyed => return JournalEvent::Destroyed,
        }
    }
}

fn standing(snapshot: &Snapshot, name: &UnitName, machine: &MachineId) -> Standing {
    let placed = snapshot.places.get(name).is_some_and(|places| places.contains_key(machine));
    let reported = snapshot.states.get(name).is_some_and(|states| states.contains_key(machine));
    match (placed || reported, snapshot.units.contains_key(name)) {
        (true, _) => Standing::Here,
        (false, true) => Standing::Left,
        (false, false) => Standing::Destroyed,
    }
}

/// Whether a unit that exists is on no machine.
fn is_nowhere(snapshot: &Snapshot, name: &UnitName) -> bool {
    let somewhere = snapshot.places.contains_key(name) || snapshot.states.contains_key(name);
    snapshot.units.contains_key(name) && !somewhere
}

/// Waits for a unit that is on no machine.
fn nowhere(
    app: App,
    mut reader: Reader,
    name: UnitName,
    held: Ticket,
) -> axum::response::sse::Sse<
    impl futures::Stream<Item = Result<axum::response::sse::Event, Infallible>>,
> {
    let (events, received) = mpsc::channel(BACKLOG);
    tokio::spawn(async move {
        let mut told = None;
        loop {
            let desired = reader.read(|snapshot| {
                let unit = snapshot.units.get(&name);
                unit.map(|unit| (unit.desired, is_nowhere(snapshot, &name)))
            });
            let event = match desired {
                None => JournalEvent::Destroyed,
                Some((_, false)) => JournalEvent::Placed,
                Some((desired, true)) => JournalEvent::Nowhere { desired },
            };
            let last = !matches!(event, JournalEvent::Nowhere { .. });
            if told.as_ref() != Some(&event) && events.send(event.clone()).await.is_err() || last {
                return;
            }
            told = Some(event);
            tokio::select! {
                () = reader.changed() => {}
                () = events.closed() => return,
                () = app.shutdown.cancelled() => return,
            }
        }
    });
    stream(received, held)
}

/// A place in a journal as part of a query: whatever could mean something there is written in hexadecimal.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

/// The machine whose journal is read where none is named: the one that is preferred, if it has the unit.
pub(super) fn preferred(
    snapshot: &Snapshot,
    name: &UnitName,
    own: &MachineId,
    prefer: Option<&MachineId>,
) -> Result<MachineId, ApiError> {
    let still = prefer.filter(|id| {
        snapshot.machines.contains_key(*id) && standing(snapshot, name, id) == Standing::Here
    });
    match still {
        Some(id) => Ok(id.clone()),
        None => machine_of(snapshot, name, own),
    }
}
