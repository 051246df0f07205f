//! Following a daemon's events until what is waited for has happened.
//!
//! Owns the stream: what to do when it breaks off, when the time is up, and Ctrl-C. What an event means is the
//! [`Course`]'s to know.

use std::time::{Duration, Instant};

use tokio::signal::unix::Signal;

use crate::client::{Client, ClientError, Pieces};
use crate::error::Error;
use crate::output::console::Console;
use crate::sse::Decoder;

/// Pause before a broken wait is taken up again: long enough not to spin, short enough not to be noticed while a daemon
/// restarts.
pub(crate) const PAUSE: Duration = Duration::from_millis(100);

/// How long a stream must have stood to count as a daemon's that works, though it sent nothing.
const STEADY: Duration = Duration::from_secs(1);

/// How long a stream may be silent. A daemon sends a sign of life every ten seconds; one whose machine has gone down says
/// nothing at all.
const SILENCE: Duration = Duration::from_secs(35);

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
    loop {
        let ended = match events(client, console, course, &mut heard).await {
            Ok(()) if course.is_over() => return Ok(()),
            Ok(()) => Error::WaitEnded,
            Err(Error::Client(error)) if error.is_passing() => Error::Client(error),
            Err(error) => return Err(error),
        };
        if course.patience(client).is_some_and(|patience| heard.elapsed() >= patience) {
            return Err(ended);
        }
        console.progress("lost the daemon; asking again".to_owned());
        tokio::time::sleep(PAUSE).await;
    }
}

/// Follows one stream of events until it ends.
async fn events<C: Course>(
    client: &Client,
    console: &mut Console,
    course: &mut C,
    heard: &mut Instant,
) -> Result<(), Error> {
    let mut pieces = course.open(client).await?;
    let opened = Instant::now();
    console.progress(course.summary());
    let mut decoder = Decoder::default();
    loop {
        let Ok(piece) = tokio::time::timeout(SILENCE, pieces.next()).await else { return Ok(()) };
        // Silence is no trouble while the stream stands, so the clock starts at its end; but a stream that ends as
        // soon as it has begun is no sign of life.
        if matches!(piece, Ok(Some(_))) || opened.elapsed() >= STEADY {
            *heard = Instant::now();
        }
        let Some(piece) = piece? else { return Ok(()) };
        for data in decoder.push(&piece)? {
            course.take(console, &data)?;
        }
        if course.is_over() {
            return Ok(());
        }
        console.progress(course.summary());
    }
}
