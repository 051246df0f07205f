//! Following a daemon's events until what is waited for has happened.
//!
//! Owns the stream: what to do when it breaks off or falls silent, when the time is up, and Ctrl-C; and that a wait without
//! news says what it waits for. What an event means is the [`Course`]'s to know.

mod reminder;

use std::time::Duration;

use muster_client::{Client, ClientError, Decoder, Pieces};
use tokio::signal::unix::Signal;
use tokio::time::Instant;

use crate::error::Error;
use crate::output::console::Console;

pub(crate) use reminder::Awaited;
use reminder::Reminder;

/// Pause before a broken wait is taken up again: long enough not to spin, short enough not to be noticed while a daemon
/// restarts.
pub(crate) const PAUSE: Duration = Duration::from_millis(100);

/// How long a stream must have stood to count as a daemon's that works, though it sent nothing.
const STEADY: Duration = Duration::from_secs(1);

/// Something that is waited for, and what has been said about it.
pub(crate) trait Course {
    /// Asks for the events.
    async fn open(&self, client: &Client) -> Result<Pieces, ClientError>;

    /// Takes an event.
    fn take(&mut self, console: &mut Console, data: &str) -> Result<(), Error>;

    /// Whether there is nothing left to wait for.
    fn is_over(&self) -> bool;

    /// How far it is, in a few words.
    fn summary(&self) -> String;

    /// What is still waited for, where it is and what it lacks, for whoever wonders why nothing happens.
    fn awaited(&self) -> Vec<Awaited>;

    /// How long a daemon that went away is given to come back; `None` is for ever. It may just be restarted, and the wait
    /// can be taken up where it was.
    fn patience(&self, client: &Client) -> Option<Duration> {
        Some(client.timeout())
    }
}

/// How following ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The course is over.
    Over,
    /// The time is up.
    TimeUp,
    /// Ctrl-C.
    Interrupted,
}

/// Follows the daemon's events until the course is over, `limit` has passed or Ctrl-C comes.
pub(crate) async fn follow<C: Course>(
    client: &Client,
    console: &mut Console,
    course: &mut C,
    limit: Option<Duration>,
    interrupts: &mut Signal,
) -> Result<Ended, Error> {
    let time_up = async {
        match limit {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    // The other two futures are dropped when one is ready: events not yet read are of no interest then.
    let ended = tokio::select! {
        followed = streams(client, console, course) => followed.map(|()| Ended::Over),
        () = time_up => Ok(Ended::TimeUp),
        _ = interrupts.recv() => Ok(Ended::Interrupted),
    };
    console.end_progress();
    ended
}

/// Follows one stream after the other.
async fn streams<C: Course>(
    client: &Client,
    console: &mut Console,
    course: &mut C,
) -> Result<(), Error> {
    let mut heard = Instant::now();
    let mut reminder = Reminder::new(client.notice(), heard);
    while !course.is_over() {
        let ended = match events(client, console, course, &mut heard, &mut reminder).await {
            Ok(()) if course.is_over() => return Ok(()),
            Ok(()) => Error::WaitEnded,
            Err(Error::Client(error)) if error.is_passing() => Error::Client(error),
            Err(error) => return Err(error),
        };
        if course.patience(client).is_some_and(|patience| heard.elapsed() >= patience) {
            return Err(ended);
        }
        if reminder.is_due(Instant::now()) {
            reminder.away(console, &course.awaited(), &ended);
        }
        console.progress("lost the daemon; asking again".to_owned());
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Follows one stream of events until it ends.
async fn events<C: Course>(
    client: &Client,
    console: &mut Console,
    course: &mut C,
    heard: &mut Instant,
    reminder: &mut Reminder,
) -> Result<(), Error> {
    let mut pieces = course.open(client).await?;
    let opened = Instant::now();
    let mut silent_at = opened + client.silence();
    console.progress(course.summary());
    let mut decoder = Decoder::default();
    loop {
        // Both are cancel safe: a piece is only taken out when it is returned.
        let piece = tokio::select! {
            piece = tokio::time::timeout_at(silent_at, pieces.next()) => piece,
            () = reminder.due() => {
                reminder.tell(client, console, &course.awaited()).await;
                continue;
            }
        };
        let Ok(piece) = piece else { return Err(client.fell_silent().into()) };
        // Silence is no trouble while the stream stands, so the clock starts at its end; but a stream that ends as
        // soon as it has begun is no sign of life.
        if matches!(piece, Ok(Some(_))) || opened.elapsed() >= STEADY {
            *heard = Instant::now();
            silent_at = *heard + client.silence();
        }
        let Some(piece) = piece? else { return Ok(()) };
        for data in decoder.push(&piece)? {
            let before = console.told();
            course.take(console, &data)?;
            // A terminal shows how far it is; elsewhere only what is said is seen, and a start that moves from state to state, or
            // fetches an image, says nothing.
            if console.shows_progress() || console.told() != before {
                reminder.news(Instant::now());
            }
        }
        if course.is_over() {
            return Ok(());
        }
        console.progress(course.summary());
    }
}

#[cfg(test)]
#[path = "follow_tests.rs"]
pub(crate) mod tests;
