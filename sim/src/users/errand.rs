//! One user's business.

use std::time::Duration;

use super::notes::Notes;
use crate::api_line::ApiLine;
use crate::plan::users::Manner;

/// The pause before a user asks again.
pub(super) const AGAIN: Duration = Duration::from_secs(1);
/// Attempts of a user who insists: for longer than a daemon is away once nothing goes wrong any more.
pub(super) const ATTEMPTS: usize = 60;

/// One user's business: a request and what comes of it.
#[derive(Clone)]
pub(super) struct Errand {
    /// The number of the request.
    pub(super) number: usize,
    /// The line to daemons.
    pub(super) line: ApiLine,
    /// Where it is noted what the user is told.
    pub(super) notes: Notes,
    /// The number of machines.
    pub(super) machines: usize,
    /// The machine whose daemon is asked first.
    pub(super) to: usize,
    /// The way in which the user goes about it.
    pub(super) manner: Manner,
}

impl Errand {
    /// The machine whose daemon is asked at an attempt.
    pub(super) fn machine_at(&self, attempt: usize) -> usize {
        (self.to + attempt) % self.machines.max(1)
    }

    /// The time for which its user waits for an answer at an attempt: whoever hung up once is more patient then.
    pub(super) fn patience_at(&self, attempt: usize) -> Duration {
        let patience = if attempt == 0 { self.manner.patience } else { Manner::default().patience };
        patience.to_duration()
    }
}
