//! Following a unit's journal, wherever the unit goes; the contract is [`muster_common::api::journal`].
//!
//! Owns the taking up of a journal and its passing on. A stream is of one machine: when the unit leaves it the stream ends, with a
//! word, and who follows asks again. Whose journal is read and when a unit has left is the engine's to decide
//! ([`muster_engine::cluster::whereabouts`], [`muster_engine::wait::journal`]).

use std::fmt::Write as _;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use http::HeaderMap;
use muster_common::api::journal::JournalEvent;
use muster_common::machine::{Machine, MachineId};
use muster_common::text::quote_text;
use muster_common::unit::UnitName;
use muster_engine::cluster::lists;
use muster_engine::cluster::whereabouts::is_nowhere;
use muster_engine::wait::journal::{DepartureWait, PlacementWait};

use super::inspect::{DEFAULT_LINES, check_ours, machine_to_ask};
use super::{elsewhere, log};
use crate::http::app::App;
use crate::http::error::ApiError;
use crate::http::events::{ClusterEvents, EventSource, stream_events};
use crate::http::extract::{Name, Params};
use crate::inspect::{JournalPiece, JournalStart, LineCount, OutputMode, is_place};
use crate::net::quota::Caller;

/// Pieces that may wait for a slow client before nothing more is read for it.
const BACKLOG: usize = 16;

/// The time after which the last lines of a unit that is gone are in the journal.
const JOURNAL_LAG: Duration = Duration::from_millis(200);

const PARAMETERS: &[&str] = &["machine", "prefer", "wait", "output", "cursor", "ago", "lines"];

pub(super) async fn follow_journal(
    State(app): State<App>,
    Name(name): Name,
    caller: Caller,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    params.allow_only(PARAMETERS)?;
    let mode: OutputMode =
        params.parse("output", &format!("one of {}", OutputMode::all_modes()))?.unwrap_or_default();
    let lines: LineCount = params.parse("lines", "a number or all")?.unwrap_or(DEFAULT_LINES);
    let ago: Option<u64> = params.parse("ago", "a number of milliseconds")?;
    let prefer: Option<MachineId> = params.parse("prefer", "a machine id")?;
    if let Some(strange) = params.get("cursor").filter(|cursor| !is_place(cursor)) {
        return Err(ApiError::bad_request(format!(
            "cursor={}: expected the place in a journal that came with its lines",
            quote_text(strange)
        )));
    }
    let waits = params.parse("wait", "true or false")?.unwrap_or(false);
    if waits && params.get("machine").is_none() {
        let reader = app.view.fresh_reader().await?;
        if reader.read(|snapshot| is_nowhere(snapshot, &name)) {
            let held = app.take_ticket(&app.client_quotas().streams, caller)?;
            let placement = ClusterEvents::new(reader, PlacementWait::new(name));
            return Ok(stream_events(&app, held, BACKLOG, placement));
        }
    }
    let machine = machine_to_ask(&app, &name, &params, prefer.as_ref()).await?;
    // A place in one machine's journal is none in another's.
    let of_this_machine = params.get("machine").is_some() || prefer.as_ref() == Some(&machine.id);
    let start = match (params.get("cursor").filter(|_| of_this_machine), ago) {
        (Some(cursor), _) => JournalStart::Cursor(cursor.to_owned()),
        (None, Some(ago)) => JournalStart::Ago(Duration::from_millis(ago)),
        (None, None) => JournalStart::Lines(lines),
    };
    if machine.id != app.machine {
        let query = format!("output={mode}&{}", start_query(&start));
        // Whoever follows holds a connection to the other machine.
        let held = app.take_ticket(&app.client_quotas().streams, caller)?;
        let log =
            elsewhere::remote_followed_journal(&app, &machine, &headers, &name, &query).await?;
        return Ok(log::event_answer(log, held));
    }
    follow_here(&app, name, caller, mode, start).await
}

/// Follows a journal of this machine.
async fn follow_here(
    app: &App,
    name: UnitName,
    caller: Caller,
    mode: OutputMode,
    start: JournalStart,
) -> Result<Response, ApiError> {
    // Who takes a journal up may have missed that the unit has left, and what it logged until then.
    let taken_up = !matches!(start, JournalStart::Lines(_));
    if !taken_up || app.health.had_unit_lately(&name) != Some(true) {
        check_ours(app, &name).await?;
    }
    let held = app.take_ticket(&app.client_quotas().followers, caller)?;
    let pieces = app.inspector.follow_journal(&name, mode, start.clone(), true).await?;
    // A store that is away keeps nobody from reading what is here; what becomes of the unit is then not told.
    let reader = app.view.fresh_reader().await.ok();
    let machine = reader.as_ref().map_or_else(
        || lists::machine_by_id(&app.machine),
        |reader| reader.read(|snapshot| lists::machine_with_metadata(snapshot, &app.machine)),
    );
    let departure = reader.map(|reader| {
        ClusterEvents::new(reader, DepartureWait::new(name.clone(), machine.id.clone()))
    });
    let step = JournalStep::Begin(machine);
    let app = app.clone();
    let events =
        JournalEvents { app: app.clone(), name, mode, place: start, pieces, departure, step };
    Ok(stream_events(&app, held, BACKLOG, events))
}

/// The events of one machine's journal: where they are from, its lines, and, when the unit has left, what it logged until then and that
/// it has.
struct JournalEvents {
    app: App,
    name: UnitName,
    mode: OutputMode,
    /// The place behind the last lines, from which the rest is read when the unit has left.
    place: JournalStart,
    pieces: BoxStream<'static, std::io::Result<JournalPiece>>,
    /// The unit's leaving; absent where the cluster cannot be read.
    departure: Option<ClusterEvents<DepartureWait>>,
    step: JournalStep,
}

/// The stage of such a stream.
enum JournalStep {
    /// The client has yet to be told whose journal it is.
    Begin(Machine),
    /// Lines are passed on as they come.
    Follow,
    /// The unit has left: there may be lines left, and then this is the last event.
    Rest(JournalEvent),
    /// All is told.
    Over,
}

impl EventSource for JournalEvents {
    type Event = JournalEvent;

    async fn next_events(&mut self) -> Option<Vec<JournalEvent>> {
        match std::mem::replace(&mut self.step, JournalStep::Follow) {
            JournalStep::Begin(machine) => Some(vec![JournalEvent::From { machine }]),
            JournalStep::Follow => self.next_lines().await,
            JournalStep::Rest(last) => Some(vec![self.next_rest(last).await]),
            JournalStep::Over => None,
        }
    }
}

impl JournalEvents {
    /// The next lines; none when the unit has left, `None` when the journal ends or cannot be read.
    async fn next_lines(&mut self) -> Option<Vec<JournalEvent>> {
        // Both arms are cancel-safe: a piece that is being read stays in the stream, and a wait keeps what it has not told.
        tokio::select! {
            biased;
            piece = self.pieces.next() => match piece {
                Some(Ok(piece)) => {
                    if let Some(cursor) = &piece.cursor {
                        self.place = JournalStart::Cursor(cursor.clone());
                    }
                    Some(vec![lines_event(piece, self.mode)])
                }
                Some(Err(error)) => {
                    tracing::warn!(%error, "a journal cannot be followed");
                    None
                }
                None => None,
            },
            last = next_departure(&mut self.departure) => {
                self.step = JournalStep::Rest(last);
                self.open_rest().await;
                Some(Vec::new())
            }
        }
    }

    /// Begins to read what the unit, which has left, has logged behind the last place.
    async fn open_rest(&mut self) {
        // systemd says that a unit is down before the journal has written what it logged of that.
        muster_runtime::sleep(JOURNAL_LAG).await;
        let rest = self
            .app
            .inspector
            .follow_journal(&self.name, self.mode, self.place.clone(), false)
            .await;
        // A container that is gone has taken its lines along.
        self.pieces = rest.unwrap_or_else(|_| futures::stream::empty().boxed());
    }

    /// The next lines of a unit that has left, or the last event behind them.
    async fn next_rest(&mut self, last: JournalEvent) -> JournalEvent {
        if let Some(Ok(piece)) = self.pieces.next().await {
            self.step = JournalStep::Rest(last);
            return lines_event(piece, self.mode);
        }
        self.step = JournalStep::Over;
        last
    }
}

/// The event that says that the unit has left. Without a wait for it, it never comes.
async fn next_departure(departure: &mut Option<ClusterEvents<DepartureWait>>) -> JournalEvent {
    if let Some(departure) = departure
        && let Some(last) =
            departure.next_updates().await.and_then(|events| events.into_iter().next())
    {
        return last;
    }
    std::future::pending().await
}

/// Lines as an event, unharmed where the mode may print what is no text.
fn lines_event(piece: JournalPiece, mode: OutputMode) -> JournalEvent {
    let JournalPiece { bytes, cursor } = piece;
    let (text, base64) = match String::from_utf8(bytes) {
        Ok(text) => (text, None),
        Err(error) if mode.is_binary() => {
            (String::new(), Some(STANDARD.encode(error.into_bytes())))
        }
        Err(error) => (String::from_utf8_lossy(error.as_bytes()).into_owned(), None),
    };
    JournalEvent::Lines { text, base64, cursor }
}

/// The place to begin at, as a query for another daemon.
fn start_query(start: &JournalStart) -> String {
    match start {
        JournalStart::Cursor(cursor) => format!("cursor={}", escape_query(cursor)),
        JournalStart::Ago(ago) => format!("ago={}", ago.as_millis()),
        JournalStart::Lines(lines) => format!("lines={lines}"),
    }
}

/// A place in a journal as part of a query: whatever could mean something there is written in hexadecimal.
fn escape_query(text: &str) -> String {
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
