//! Following a daemon's events until what is waited for has happened.
//!
//! Owns the end of a wait: when the time is up, and Ctrl-C; and that a wait without news says what it waits for. The stream
//! is the client's ([`Follower`]); what an event means is the [`Followable`]'s to know.

mod reminder;

use std::time::Duration;

use muster_client::{Backoff, Client, ClientError, Followed, Follower, ResumableRequest};
use tokio::signal::unix::Signal;
use tokio::time::Instant;

use crate::error::Error;
use crate::output::console::Console;

pub(crate) use reminder::Awaited;
use reminder::Reminder;

/// Something that is waited for, and what has been said about it.
pub(crate) trait Followable: ResumableRequest {
    /// Takes the data of an event.
    fn handle_event(&mut self, console: &mut Console, data: &str) -> Result<(), Error>;

    /// Returns whether there is nothing left to wait for.
    fn is_over(&self) -> bool;

    /// Returns how far it is, in a few words.
    fn progress_line(&self) -> String;

    /// Returns what is still waited for, where it is and what it lacks, for whoever wonders why nothing happens.
    fn list_awaited(&self) -> Vec<Awaited>;
}

/// The end of following.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FollowEnd {
    /// The thing waited for has happened.
    Over,
    /// The time is up.
    TimeUp,
    /// Ctrl-C.
    Interrupted,
}

/// Returns the pauses of this process between attempts to reach a daemon. Its id scatters them: many that were started at
/// once do not come back in step.
pub(crate) fn new_backoff() -> Backoff {
    Backoff::new(std::process::id().into())
}

/// Follows the daemon's events until there is nothing left to wait for, `limit` has passed or Ctrl-C comes.
pub(crate) async fn follow_until_over<F: Followable>(
    client: &Client,
    console: &mut Console,
    followable: &mut F,
    limit: Option<Duration>,
    interrupts: &mut Signal,
) -> Result<FollowEnd, Error> {
    let time_up = async {
        match limit {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    // The other two futures are dropped when one is ready: events not yet read are of no interest then.
    let ended = tokio::select! {
        biased;
        followed = follow_streams(client, console, followable) => followed.map(|()| FollowEnd::Over),
        _ = interrupts.recv() => Ok(FollowEnd::Interrupted),
        () = time_up => Ok(FollowEnd::TimeUp),
    };
    console.end_progress();
    ended
}

/// Follows one stream after the other.
async fn follow_streams<F: Followable>(
    client: &Client,
    console: &mut Console,
    followable: &mut F,
) -> Result<(), Error> {
    let mut follower = Follower::new(client.clone(), new_backoff());
    let mut reminder = Reminder::new(client.notice_after(), Instant::now());
    while !followable.is_over() {
        let is_open = follower.is_open();
        let step = tokio::select! {
            biased;
            step = follower.next_step(followable) => step.map_err(wait_error)?,
            // Before there is a stream the request says for itself that it is long in coming. Cancelling a step loses nothing.
            () = reminder.wait_until_due(), if is_open => {
                reminder.remind_with_machines(client, console, &followable.list_awaited()).await;
                continue;
            }
        };
        match step {
            Followed::Opened => console.show_progress(followable.progress_line()),
            Followed::Events(events) => {
                for data in events {
                    let before = console.count_printed();
                    followable.handle_event(console, &data)?;
                    // A terminal shows how far it is; elsewhere only what is said is seen, and a start that moves from
                    // state to state, or fetches an image, says nothing.
                    if console.shows_progress() || console.count_printed() != before {
                        reminder.on_news(Instant::now());
                    }
                }
                console.show_progress(followable.progress_line());
            }
            Followed::Lost { cause, .. } => {
                if reminder.is_due(Instant::now()) {
                    reminder.remind_without_daemon(
                        console,
                        &followable.list_awaited(),
                        &wait_error(cause),
                    );
                }
                console.show_progress("lost the daemon; asking again".to_owned());
            }
        }
    }
    Ok(())
}

/// The error with which a wait goes no further.
fn wait_error(error: ClientError) -> Error {
    match error {
        ClientError::StreamEnded { .. } => Error::WaitEnded,
        error => error.into(),
    }
}

#[cfg(test)]
#[path = "follow_tests.rs"]
pub(crate) mod tests;
