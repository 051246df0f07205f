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
use muster_client::{Client, ClientError, Decoder, escape};
use muster_common::api::journal::JournalEvent;
use muster_common::errors::error_chain;
use muster_common::machine::{Machine, MachineId};
use muster_common::unit::UnitName;
use tokio::time::Instant;

use super::exit_code;
use super::show::path;
use crate::cli::JournalArgs;
use crate::error::Error;
use crate::follow::PAUSE;
use crate::machines::find;
use crate::output::console::Console;
use crate::output::table;
use crate::pattern;

/// Longest pause before a broken stream is taken up again.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Whose entries are for a program to read, which would not understand half of one.
const BINARY: &str = "export";

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
    let words = pattern::expand(client, given, verb, |unit| !unit.name.is_template()).await?;
    let names = pattern::names_of(&words)?;
    let machine = match &args.machine {
        Some(given) => Some(find(client, given).await?),
        None => None,
    };
    if args.follow {
        return follow_all(client, console, args, names, machine).await;
    }
    let several = names.len() > 1;
    let mut all = true;
    for name in &names {
        if several {
            console.note(format_args!("the journal of {name}"));
        }
        match print(client, console, args, name, machine.as_ref()).await {
            // One that is on no machine does not keep the others from being shown.
            Err(Error::Client(error @ ClientError::Refused { .. })) if several => {
                console.error(error);
                all = false;
            }
            printed => printed?,
        }
    }
    Ok(exit_code(all))
}

/// Prints one journal as it comes.
async fn print(
    client: &Client,
    console: &Console,
    args: &JournalArgs,
    name: &UnitName,
    machine: Option<&MachineId>,
) -> Result<(), Error> {
    let mode = escape(args.output.as_deref().unwrap_or("short"));
    let mut query = format!("?lines={}&follow=false&output={mode}", args.lines);
    if let Some(machine) = machine {
        query.push_str("&machine=");
        query.push_str(machine.as_str());
    }
    let mut pieces = client.get_pieces(&path(name, &format!("/journal{query}"))).await?;
    let mut journal = console.foreign();
    while let Some(piece) = pieces.next().await? {
        journal.piece(&piece)?;
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
        return Err(Follower::new(client, console, args, name.clone(), pinned).run().await);
    }
    let mut following: Vec<Following<'_>> = Vec::with_capacity(names.len());
    for name in names {
        let mut follower = Follower::new(client, console, args, name, pinned.clone());
        following.push(Box::pin(async move { follower.run().await }));
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
        console.error(error_chain(&error));
    }
    Ok(ExitCode::FAILURE)
}

/// One journal that is followed.
struct Follower<'a> {
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
    /// How far each machine's journal has been shown.
    cursors: BTreeMap<MachineId, String>,
    /// Entries for a program of which the rest has not come yet.
    kept: Vec<u8>,
    /// What was said last of why nothing comes.
    told: Option<String>,
}

/// How a stream ended.
#[derive(Debug)]
enum End {
    /// Without a word.
    Cut(Option<ClientError>),
    /// On a machine whose journal has been shown before, from a place of its own.
    Again,
    /// The unit has left the machine.
    Left,
    /// It is on one again.
    Placed,
    /// It is no more.
    Destroyed,
}

impl<'a> Follower<'a> {
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
            mode: escape(args.output.as_deref().unwrap_or("short")),
            lines: &args.lines,
            pinned,
            begun: Instant::now(),
            at: None,
            cursors: BTreeMap::new(),
            kept: Vec::new(),
            told: None,
        }
    }

    /// Follows until it cannot go on; why.
    async fn run(&mut self) -> Error {
        let mut pause = PAUSE;
        // A machine whose stream was cut off is asked first: it may have more to say, though the unit has left it.
        let mut ask_there = false;
        loop {
            let before = self.cursors.clone();
            let end = match self.stream(ask_there).await {
                Ok(end) => end,
                Err(Error::Client(error)) if self.at.is_some() => {
                    match self.after(error, ask_there) {
                        Ok(end) => end,
                        Err(error) => return error,
                    }
                }
                Err(error) => return error,
            };
            if self.cursors != before {
                pause = PAUSE;
            }
            match end {
                End::Destroyed => return Error::Destroyed(self.name.clone()),
                End::Left => {
                    if let (Some(_), Some(at)) = (&self.pinned, &self.at) {
                        let machine = at.id.short().to_owned();
                        return Error::Left { unit: self.name.clone(), machine };
                    }
                    ask_there = false;
                }
                End::Placed | End::Again => ask_there = false,
                End::Cut(why) => {
                    self.lost(why.as_ref());
                    // Now there, now wherever it is.
                    ask_there = !ask_there;
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// What an answer that is an error means in the middle of following.
    fn after(&self, error: ClientError, ask_there: bool) -> Result<End, Error> {
        match &error {
            ClientError::Refused { status: StatusCode::NOT_FOUND, .. }
                if !ask_there && self.pinned.is_none() =>
            {
                Ok(End::Destroyed)
            }
            // The machine is away, or its daemon has never heard of the unit.
            ClientError::Refused { status, .. } if ask_there || status.is_server_error() => {
                Ok(End::Cut(Some(error)))
            }
            ClientError::Refused { .. } if self.pinned.is_some() => Ok(End::Cut(Some(error))),
            error if error.is_passing() => Ok(End::Cut(None)),
            _ => Err(error.into()),
        }
    }

    fn query(&self, ask_there: bool) -> String {
        let last = self.at.as_ref().map(|machine| &machine.id);
        let whom = match (&self.pinned, last) {
            (Some(id), _) => format!("&machine={id}"),
            (None, Some(id)) if ask_there => format!("&machine={id}"),
            (None, Some(id)) => format!("&prefer={id}&wait=true"),
            (None, None) => String::new(),
        };
        let cursor = last.and_then(|id| self.cursors.get(id));
        let cursor = cursor.map(|place| format!("&cursor={}", escape(place))).unwrap_or_default();
        let since = match last {
            // All that the unit has logged elsewhere since this began, by whatever clock that machine has.
            Some(_) => format!("&ago={}", self.begun.elapsed().as_millis()),
            None => format!("&lines={}", self.lines),
        };
        format!("?output={}{whom}{cursor}{since}", self.mode)
    }

    /// Follows one stream until it ends.
    async fn stream(&mut self, ask_there: bool) -> Result<End, Error> {
        let query = self.query(ask_there);
        let mut pieces =
            self.client.get_pieces(&path(&self.name, &format!("/journal/follow{query}"))).await?;
        let mut decoder = Decoder::default();
        loop {
            let piece = tokio::time::timeout(self.client.silence(), pieces.next()).await;
            let Ok(piece) = piece else { return Ok(End::Cut(Some(self.client.fell_silent()))) };
            let piece = match piece {
                Ok(Some(piece)) => piece,
                Ok(None) => return Ok(End::Cut(None)),
                Err(error) => return Ok(End::Cut(Some(error))),
            };
            for data in decoder.push(&piece)? {
                // A later daemon may have events that this client does not know; they are not for it.
                let Ok(event) = serde_json::from_str(&data) else { continue };
                if let Some(end) = self.take(event)? {
                    return Ok(end);
                }
            }
        }
    }

    /// Takes an event; how the stream ends, if it does.
    fn take(&mut self, event: JournalEvent) -> Result<Option<End>, Error> {
        match event {
            JournalEvent::From { machine } => {
                // It comes once more, whole.
                self.kept.clear();
                let before = self.at.replace(machine.clone());
                let other = before.as_ref().filter(|before| before.id != machine.id);
                if other.is_some() && self.cursors.contains_key(&machine.id) {
                    return Ok(Some(End::Again));
                }
                let (name, now) = (&self.name, shown(&machine));
                match other {
                    Some(before) => self.console.note(format_args!(
                        "{name} has moved from {} to {now}; its journal goes on there",
                        shown(before)
                    )),
                    None if self.told.is_some() => {
                        self.console.note(format_args!("the journal of {name} on {now} goes on"));
                    }
                    None => {}
                }
                self.told = None;
            }
            JournalEvent::Lines { text, base64, cursor } => {
                let bytes = base64.and_then(|base64| STANDARD.decode(base64).ok());
                self.show(bytes.unwrap_or_else(|| text.into_bytes()), cursor.is_some())?;
                if let (Some(at), Some(cursor)) = (&self.at, cursor) {
                    self.cursors.insert(at.id.clone(), cursor);
                }
            }
            JournalEvent::Nowhere { desired } => {
                let name = &self.name;
                self.say(format!(
                    "{name} is on no machine; it is wanted {desired}, and waited for"
                ));
            }
            JournalEvent::Placed => return Ok(Some(End::Placed)),
            JournalEvent::Left => return Ok(Some(End::Left)),
            JournalEvent::Destroyed => return Ok(Some(End::Destroyed)),
            _ => {}
        }
        Ok(None)
    }

    /// Shows what was logged. What is for a program is shown when it is `whole`.
    fn show(&mut self, bytes: Vec<u8>, whole: bool) -> Result<(), Error> {
        let mut bytes = bytes;
        if self.mode == BINARY {
            self.kept.append(&mut bytes);
            if !whole && self.kept.len() < MOST_KEPT {
                return Ok(());
            }
            bytes = std::mem::take(&mut self.kept);
        }
        let mut journal = self.console.foreign();
        journal.piece(&bytes)?;
        Ok(journal.end()?)
    }

    /// Says once that a stream was lost.
    fn lost(&mut self, why: Option<&ClientError>) {
        if self.told.is_some() {
            return;
        }
        let on = self.at.as_ref().map(|at| format!(" on {}", shown(at))).unwrap_or_default();
        let why = why.map(|error| format!(": {}", error_chain(error))).unwrap_or_default();
        self.say(format!("the journal of {}{on} broke off{why}; asking again", self.name));
    }

    fn say(&mut self, text: String) {
        if self.told.as_ref() != Some(&text) {
            self.console.note(&text);
            self.told = Some(text);
        }
    }
}

fn shown(machine: &Machine) -> String {
    table::machine(&machine.id, &machine.address, false)
}
