//! The signs of life of a stream that is followed.
//!
//! Owns what counts as a sign of life and since when there was none. Pure: the time comes in.

use std::time::Duration;

use tokio::time::Instant;

/// Time that a stream must have stood to count as a daemon's that works, though it sent nothing.
const STEADY_AFTER: Duration = Duration::from_secs(1);

/// The signs of life of one stream after the other.
#[derive(Debug)]
pub(crate) struct Liveness {
    /// Longest time between two pieces of a stream.
    silence: Duration,
    /// The last sign of life of any stream; before the first one, when following began.
    last_sign: Instant,
    /// Since when the present stream stands.
    opened: Option<Instant>,
}

impl Liveness {
    pub(crate) fn new(silence: Duration, now: Instant) -> Self {
        Self { silence, last_sign: now, opened: None }
    }

    /// A stream stands. That alone is no sign of life: a proxy before a dead daemon lets everybody in.
    pub(crate) fn on_opened(&mut self, now: Instant) {
        debug_assert!(self.opened.is_none(), "one stream is followed at a time");
        self.opened = Some(now);
    }

    /// A piece came.
    pub(crate) fn on_piece(&mut self, now: Instant) {
        self.last_sign = now;
    }

    /// The stream is over; returns whether it stood for a while. Silence is no trouble while the stream stands, so that
    /// one that stood is a sign of life until its end; but one that ends as soon as it has begun is none.
    pub(crate) fn on_ended(&mut self, now: Instant, fell_silent: bool) -> bool {
        let stood =
            self.opened.take().is_some_and(|opened| now.duration_since(opened) >= STEADY_AFTER);
        if stood && !fell_silent {
            self.last_sign = now;
        }
        stood && !fell_silent
    }

    /// Returns the time at which the present stream has been silent for too long.
    pub(crate) fn silent_at(&self) -> Instant {
        self.opened.map_or(self.last_sign, |opened| opened.max(self.last_sign)) + self.silence
    }

    /// Returns how long there has been no sign of life.
    pub(crate) fn quiet_for(&self, now: Instant) -> Duration {
        now.duration_since(self.last_sign)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENCE_LIMIT: Duration = Duration::from_secs(35);

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn a_stream_is_silent_when_neither_its_beginning_nor_a_piece_is_recent() {
        let begun = Instant::now();
        let mut liveness = Liveness::new(SILENCE_LIMIT, begun);
        liveness.on_opened(begun + seconds(10));
        assert_eq!(liveness.silent_at(), begun + seconds(45));
        liveness.on_piece(begun + seconds(20));
        assert_eq!(liveness.silent_at(), begun + seconds(55));
    }

    #[test]
    fn a_stream_that_ends_at_once_is_no_sign_of_life_and_one_that_stood_is() {
        let begun = Instant::now();
        let mut liveness = Liveness::new(SILENCE_LIMIT, begun);
        liveness.on_opened(begun + seconds(5));
        assert!(!liveness.on_ended(begun + seconds(5), false));
        assert_eq!(liveness.quiet_for(begun + seconds(6)), seconds(6));
        liveness.on_opened(begun + seconds(10));
        assert!(liveness.on_ended(begun + seconds(20), false));
        assert_eq!(liveness.quiet_for(begun + seconds(21)), seconds(1));
    }

    #[test]
    fn a_stream_that_fell_silent_was_quiet_all_along() {
        let begun = Instant::now();
        let mut liveness = Liveness::new(SILENCE_LIMIT, begun);
        liveness.on_opened(begun);
        liveness.on_piece(begun + seconds(1));
        assert!(!liveness.on_ended(begun + seconds(36), true));
        assert_eq!(liveness.quiet_for(begun + seconds(36)), seconds(35));
    }
}
