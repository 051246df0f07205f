//! The one thread that writes to the database file: it takes what has queued up, has it written with one fsync, and answered.
//!
//! Owns when. It sleeps until there is something to do.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::writer::{Request, Writer};

/// Most requests written with one fsync; bounds how long the first of them waits.
const MAX_BATCH: usize = 256;

/// The time until the disk is tried again for what must be written sooner or later: the end of a lease.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The time between two looks at a watcher that is behind.
const CATCH_UP_INTERVAL: Duration = Duration::from_millis(50);

/// Runs until the last sender of requests is gone.
pub(super) fn run(mut writer: Writer, requests: &Receiver<Request>) {
    let mut retry_at = None;
    loop {
        let first = match until_next(&writer, retry_at) {
            None => requests.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(wait) => requests.recv_timeout(wait),
        };
        let mut batch = match first {
            Ok(request) => vec![request],
            Err(RecvTimeoutError::Timeout) => Vec::new(),
            Err(RecvTimeoutError::Disconnected) => return,
        };
        batch.extend(requests.try_iter().take(MAX_BATCH));
        retry_at = writer.carry_out(batch).err().map(|_| Instant::now() + RETRY_AFTER);
    }
}

/// The time for which nothing needs to be done; `None`: until a request comes.
fn until_next(writer: &Writer, retry_at: Option<Instant>) -> Option<Duration> {
    let (end, is_behind) = writer.until_next_end();
    let retry = retry_at.map(|at| at.saturating_duration_since(Instant::now()));
    end.into_iter().chain(retry).chain(is_behind.then_some(CATCH_UP_INTERVAL)).min()
}
