//! The time by which a follower outlives its last reader.
//!
//! Owns the rule by which a follower that readers share ends: not with its last reader, but a while after, so that a person who
//! types one command after another, and a client that polls, find it warm. It counts nobody itself.

use std::time::Duration;

/// A follower's wait for readers: a state machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lingering {
    linger: Duration,
    idle_since: Option<Duration>,
}

impl Lingering {
    /// A follower that outlives its last reader by this time.
    pub fn new(linger: Duration) -> Self {
        Self { linger, idle_since: None }
    }

    /// Notes how many readers there are now.
    pub fn on_readers(&mut self, count: usize, now: Duration) {
        self.idle_since = if count > 0 { None } else { self.idle_since.or(Some(now)) };
    }

    /// The time at which it ends if nobody comes; `None` while somebody reads.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.idle_since.map(|since| since + self.linger)
    }

    /// True if it ends now, with this many readers: somebody may have come at the last moment.
    pub fn is_over(&self, count: usize, now: Duration) -> bool {
        count == 0 && self.next_deadline().is_some_and(|end| end <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_follower_outlives_its_last_reader_and_no_other() {
        let mut lingering = Lingering::new(at(30));
        assert_eq!(lingering.next_deadline(), None, "nobody has said that nobody reads");
        lingering.on_readers(2, at(1));
        lingering.on_readers(1, at(2));
        assert_eq!(lingering.next_deadline(), None);
        lingering.on_readers(0, at(3));
        // Whatever else it is woken by changes nothing.
        lingering.on_readers(0, at(20));
        assert_eq!(lingering.next_deadline(), Some(at(33)));
        assert!(!lingering.is_over(0, at(32)) && lingering.is_over(0, at(33)));
    }

    #[test]
    fn whoever_comes_at_the_last_moment_finds_it_warm() {
        let mut lingering = Lingering::new(at(30));
        lingering.on_readers(0, at(0));
        assert!(!lingering.is_over(1, at(30)));
        lingering.on_readers(1, at(30));
        lingering.on_readers(0, at(31));
        assert_eq!(lingering.next_deadline(), Some(at(61)), "it counts from the last reader");
    }
}
