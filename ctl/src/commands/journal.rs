//! `journal`: what a unit has logged, and, with `--follow`, what it logs, wherever it goes.
//!
//! Owns the going on: after a broken stream from the place where it broke, after a move on the other machine, with a word on
//! standard error each time. What was logged is the daemons' to say.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::process::ExitCode;
use std::task::Poll;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use muster_client::{
    ApiRequest, Client, ClientError, Followed, Follower, Limits, ResumableRequest, escape_segment,
};
use muster_common::api::journal::JournalEvent;
use muster_common::errors::error_chain;
use muster_common::machine::{Machine, MachineId};
use muster_common::unit::UnitName;
use tokio::time::Instant;

use super::show::unit_path;
use crate::cli::JournalArgs;
use crate::error::Error;
use crate::exit_code::exit_code;
use crate::follow;
use crate::machines::find_machine;
use crate::output::console::Console;
use crate::output::table;
use crate::unit_words;

/// Longest silence of a journal that is not followed. A daemon cuts one off after five minutes, and says so; one
/// whose machine has gone down says nothing at all.
const SILENCE_LIMIT: Duration = Duration::from_secs(330);

/// The output mode whose entries are for a program to read, which would not understand half of one.
const EXPORT_MODE: &str = "export";

/// Most bytes of such entries that are kept until the rest is there. What is cut off in a piece that is longer, such as all of a
/// long journal, is shown again from its beginning.
const MOST_KEPT: usize = 64 * 1024 * 1024;

/// Prints the journals of units: one after the other, or, if they are followed, line by line as they come.
pub(crate) async fn run(
    client: &Client,
    console: &Console,
    args: &JournalArgs,
) -> Result<ExitCode, Error> {
    let given = std::slice::from_ref(&args.unit);
    let verb = "have a journal";
    let words =
        unit_words::expand_words(client, given, verb, |unit| !unit.name.is_template()).await?;
    let names = unit_words::names_of(&words)?;
    let machine = match &args.machine {
        Some(given) => Some(find_machine(client, given).await?),
        None => None,
    };
    if args.follow {
        return follow_all(client, console, args, names, machine).await;
    }
    let several = names.len() > 1;
    let mut all = true;
    for name in &names {
        if several {
            console.print_note(format_args!("the journal of {name}"));
        }
        match print_journal(client, console, args, name, machine.as_ref()).await {
            // One that is on no machine does not keep the others from being shown.
            Err(Error::Client(error @ ClientError::Refused { .. })) if several => {
                console.print_error(error);
                all = false;
            }
            printed => printed?,
        }
    }
    Ok(exit_code(all))
}

/// Prints one journal as it comes.
async fn print_journal(
    client: &Client,
    console: &Console,
    args: &JournalArgs,
    name: &UnitName,
    machine: Option<&MachineId>,
) -> Result<(), Error> {
    let mode = escape_segment(args.output.as_deref().unwrap_or("short"));
    let mut query = format!("?lines={}&follow=false&output={mode}", args.lines);
    if let Some(machine) = machine {
        query.push_str("&machine=");
        query.push_str(machine.as_str());
    }
    let request = ApiRequest::get(unit_path(name, &format!("/journal{query}")));
    let mut body = client.open(&request).await?;
    let mut journal = console.foreign_stream();
    while let Some(piece) = body.next_piece_within(SILENCE_LIMIT).await? {
        journal.write_piece(&piece)?;
    }
    Ok(journal.end()?)
}

/// One of several journals that are followed.
type Following<'a> = Pin<Box<dyn Future<Output = Error> + 'a>>;

/// Follows all journals at once. A unit whose journal ends does not end those of others.
async fn follow_all(
    client: &Client,
    console: &Console,
    args: &JournalArgs,
    names: Vec<UnitName>,
    pinned: Option<MachineId>,
) -> Result<ExitCode, Error> {
    if let [name] = names.as_slice() {
        return Err(JournalFollower::new(client, console, args, name.clone(), pinned)
            .follow_journal()
            .await);
    }
    let mut following: Vec<Following<'_>> = Vec::with_capacity(names.len());
    for name in names {
        let mut follower = JournalFollower::new(client, console, args, name, pinned.clone());
        following.push(Box::pin(async move { follower.follow_journal().await }));
    }
    while !following.is_empty() {
        let ended = poll_fn(|context| {
            let ready = following.iter_mut().enumerate().find_map(|(index, one)| {
                match one.as_mut().poll(context) {
                    Poll::Ready(error) => Some((index, error)),
                    Poll::Pending => None,
                }
            });
            ready.map_or(Poll::Pending, Poll::Ready)
        });
        let (index, error) = ended.await;
        drop(following.swap_remove(index));
        if matches!(error, Error::Output(_)) {
            return Err(error);
        }
        console.print_error(error_chain(&error));
    }
    Ok(ExitCode::FAILURE)
}

/// One journal that is followed.
struct JournalFollower<'a> {
    client: &'a Client,
    console: &'a Console,
    name: UnitName,
    mode: String,
    lines: &'a str,
    /// The one machine whose journal is wanted.
    pinned: Option<MachineId>,
    begun: Instant,
    /// The machine it was followed on last.
    at: Option<Machine>,
    /// True if that machine is asked again, before the unit is looked for: one whose stream was cut off may have more to
    /// say, though the unit has left it.
    ask_there: bool,
    /// The place up to which each machine's journal has been shown.
    cursors: BTreeMap<MachineId, String>,
    /// Entries for a program of which the rest has not come yet.
    kept: Vec<u8>,
    /// The last note on why nothing comes.
    shown_trouble: Option<String>,
}

impl ResumableRequest for JournalFollower<'_> {
    fn resume_request(&self) -> Result<ApiRequest, ClientError> {
        let query = self.follow_query();
        Ok(ApiRequest::get(unit_path(&self.name, &format!("/journal/follow{query}"))))
    }

    /// Whoever follows a journal waits for machines to come back, for as long as that takes.
    fn give_up_after(&self, _: &Limits) -> Option<Duration> {
        None
    }
}

/// The end of a stream.
#[derive(Debug)]
enum StreamEnd {
    /// Without a word.
    Cut(Option<ClientError>),
    /// On a machine whose journal has been shown before, from a place of its own.
    ShownBefore,
    /// The unit has left the machine.
    Left,
    /// It is on one again.
    Placed,
    /// It is no more.
    Destroyed,
}

impl<'a> JournalFollower<'a> {
    fn new(
        client: &'a Client,
        console: &'a Console,
        args: &'a JournalArgs,
        name: UnitName,
        pinned: Option<MachineId>,
    ) -> Self {
        Self {
            client,
            console,
            name,
            mode: escape_segment(args.output.as_deref().unwrap_or("short")),
            lines: &args.lines,
            pinned,
            begun: Instant::now(),
            at: None,
            ask_there: false,
            cursors: BTreeMap::new(),
            kept: Vec::new(),
            shown_trouble: None,
        }
    }

    /// Follows until it cannot go on; returns why.
    async fn follow_journal(&mut self) -> Error {
        let mut follower = Follower::new(self.client.clone(), follow::new_backoff());
        loop {
            let end = match follower.next_step(self).await {
                Ok(Followed::Opened) => continue,
                Ok(Followed::Events(events)) => match self.handle_events(&mut follower, &events) {
                    Ok(Some(end)) => end,
                    Ok(None) => continue,
                    Err(error) => return error,
                },
                Ok(Followed::Lost { cause, was_open: true, .. }) => match cause {
                    ClientError::StreamEnded { .. } => StreamEnd::Cut(None),
                    cause => StreamEnd::Cut(Some(cause)),
                },
                Ok(Followed::Lost { cause, .. }) | Err(cause) => match self.on_not_opened(cause) {
                    Ok(end) => end,
                    Err(error) => return error,
                },
            };
            match end {
                StreamEnd::Destroyed => return Error::Destroyed(self.name.clone()),
                StreamEnd::Left => {
                    if let (Some(_), Some(at)) = (&self.pinned, &self.at) {
                        let machine = at.id.short_id().to_owned();
                        return Error::Left { unit: self.name.clone(), machine };
                    }
                    self.ask_there = false;
                    follower.reopen_now();
                }
                StreamEnd::Placed | StreamEnd::ShownBefore => {
                    self.ask_there = false;
                    follower.reopen_now();
                }
                StreamEnd::Cut(why) => {
                    self.tell_lost(why.as_ref());
                    // Now there, now wherever it is.
                    self.ask_there = !self.ask_there;
                }
            }
        }
    }

    /// Returns what it means in the middle of following that there is no stream.
    fn on_not_opened(&self, error: ClientError) -> Result<StreamEnd, Error> {
        if self.at.is_none() {
            return Err(error.into());
        }
        match &error {
            ClientError::Refused { status: StatusCode::NOT_FOUND, .. }
                if !self.ask_there && self.pinned.is_none() =>
            {
                Ok(StreamEnd::Destroyed)
            }
            // The machine is away, or its daemon has never heard of the unit.
            ClientError::Refused { status, .. } if self.ask_there || status.is_server_error() => {
                Ok(StreamEnd::Cut(Some(error)))
            }
            ClientError::Refused { .. } if self.pinned.is_some() => Ok(StreamEnd::Cut(Some(error))),
            error if error.is_transient() => Ok(StreamEnd::Cut(None)),
            _ => Err(error.into()),
        }
    }

    fn follow_query(&self) -> String {
        let last = self.at.as_ref().map(|machine| &machine.id);
        let whom = match (&self.pinned, last) {
            (Some(id), _) => format!("&machine={id}"),
            (None, Some(id)) if self.ask_there => format!("&machine={id}"),
            (None, Some(id)) => format!("&prefer={id}&wait=true"),
            (None, None) => String::new(),
        };
        let cursor = last.and_then(|id| self.cursors.get(id));
        let cursor =
            cursor.map(|place| format!("&cursor={}", escape_segment(place))).unwrap_or_default();
        let since = match last {
            // All that the unit has logged elsewhere since this began, by whatever clock that machine has.
            Some(_) => format!("&ago={}", self.begun.elapsed().as_millis()),
            None => format!("&lines={}", self.lines),
        };
        format!("?output={}{whom}{cursor}{since}", self.mode)
    }

    /// Takes events; returns how the stream ends, if it does.
    fn handle_events(
        &mut self,
        follower: &mut Follower,
        events: &[String],
    ) -> Result<Option<StreamEnd>, Error> {
        for data in events {
            // A later daemon may have events that this client does not know; they are not for it.
            let Ok(event) = serde_json::from_str(data) else { continue };
            // A place that was reached is worth asking again for what comes after it.
            if matches!(event, JournalEvent::Lines { cursor: Some(_), .. }) {
                follower.reset_backoff();
            }
            let end = self.handle_event(event)?;
            if end.is_some() {
                return Ok(end);
            }
        }
        Ok(None)
    }

    /// Takes an event; returns how the stream ends, if it does.
    fn handle_event(&mut self, event: JournalEvent) -> Result<Option<StreamEnd>, Error> {
        match event {
            JournalEvent::From { machine } => {
                // It comes once more, whole.
                self.kept.clear();
                let before = self.at.replace(machine.clone());
                let other = before.as_ref().filter(|before| before.id != machine.id);
                if other.is_some() && self.cursors.contains_key(&machine.id) {
                    return Ok(Some(StreamEnd::ShownBefore));
                }
                let (name, now) = (&self.name, machine_name(&machine));
                match other {
                    Some(before) => self.console.print_note(format_args!(
                        "{name} has moved from {} to {now}; its journal goes on there",
                        machine_name(before)
                    )),
                    None if self.shown_trouble.is_some() => {
                        self.console
                            .print_note(format_args!("the journal of {name} on {now} goes on"));
                    }
                    None => {}
                }
                self.shown_trouble = None;
            }
            JournalEvent::Lines { text, base64, cursor } => {
                let bytes = base64.and_then(|base64| STANDARD.decode(base64).ok());
                self.print_lines(bytes.unwrap_or_else(|| text.into_bytes()), cursor.is_some())?;
                if let (Some(at), Some(cursor)) = (&self.at, cursor) {
                    self.cursors.insert(at.id.clone(), cursor);
                }
            }
            JournalEvent::Nowhere { desired } => {
                let name = &self.name;
                self.print_once(format!(
                    "{name} is on no machine; it is wanted {desired}, and waited for"
                ));
            }
            JournalEvent::Placed => return Ok(Some(StreamEnd::Placed)),
            JournalEvent::Left => return Ok(Some(StreamEnd::Left)),
            JournalEvent::Destroyed => return Ok(Some(StreamEnd::Destroyed)),
            _ => {}
        }
        Ok(None)
    }

    /// Shows what was logged. What is for a program is shown when it is `whole`.
    fn print_lines(&mut self, bytes: Vec<u8>, whole: bool) -> Result<(), Error> {
        let mut bytes = bytes;
        if self.mode == EXPORT_MODE {
            self.kept.append(&mut bytes);
            if !whole && self.kept.len() < MOST_KEPT {
                return Ok(());
            }
            bytes = std::mem::take(&mut self.kept);
        }
        let mut journal = self.console.foreign_stream();
        journal.write_piece(&bytes)?;
        Ok(journal.end()?)
    }

    /// Says once that a stream was lost.
    fn tell_lost(&mut self, why: Option<&ClientError>) {
        if self.shown_trouble.is_some() {
            return;
        }
        let on = self.at.as_ref().map(|at| format!(" on {}", machine_name(at))).unwrap_or_default();
        let why = why.map(|error| format!(": {}", error_chain(error))).unwrap_or_default();
        self.print_once(format!("the journal of {}{on} broke off{why}; asking again", self.name));
    }

    fn print_once(&mut self, text: String) {
        if self.shown_trouble.as_ref() != Some(&text) {
            self.console.print_note(&text);
            self.shown_trouble = Some(text);
        }
    }
}

fn machine_name(machine: &Machine) -> String {
    table::machine_name(&machine.id, &machine.address, false)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::os::unix::net::UnixListener;

    use clap::Parser as _;
    use muster_client::Endpoint;

    use super::*;
    use crate::cli::{Cli, Command};
    use crate::output::console::Format;

    /// Far beyond what anything takes on a busy machine.
    const TEST_LIMIT: Duration = Duration::from_secs(60);

    const BEGUN: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";

    /// A daemon that falls silent after a line of the journal, and says that the unit is gone to whoever goes on from there.
    fn silent_daemon(socket: &std::path::Path) {
        let listener = UnixListener::bind(socket).unwrap();
        let machine =
            serde_json::json!({"event": "from", "machine": {"id": "1".repeat(32), "address": ""}});
        let line = serde_json::json!({"event": "lines", "text": "", "cursor": "c1"});
        std::thread::spawn(move || {
            let mut open = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = String::new();
                BufReader::new(stream.try_clone().unwrap()).read_line(&mut request).unwrap();
                let answer = if request.contains("cursor=c1") {
                    format!("{BEGUN}data: {{\"event\":\"destroyed\"}}\n\n")
                } else {
                    format!("{BEGUN}data: {machine}\n\ndata: {line}\n\n")
                };
                // A client that has gone is no fault.
                let _ = stream.write_all(answer.as_bytes());
                open.push(stream);
            }
        });
    }

    #[tokio::test]
    async fn a_journal_whose_stream_falls_silent_is_taken_up_where_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("s");
        silent_daemon(&socket);
        let limits = Limits::default().with_silence(Duration::from_millis(50));
        let client = Client::new([Endpoint::Unix(socket).into()], limits);
        let console = Console::new(Format::Table);
        let cli = Cli::try_parse_from(["musterctl", "journal", "-f", "web.service"]).unwrap();
        let Command::Journal(args) = cli.command else { panic!("another command") };
        let name = "web.service".parse().unwrap();
        let mut journal = JournalFollower::new(&client, &console, &args, name, None);
        let ended =
            tokio::time::timeout(TEST_LIMIT, journal.follow_journal()).await.expect("it hangs");
        assert!(matches!(ended, Error::Destroyed(_)), "{ended:?}");
    }
}
