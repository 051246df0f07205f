//! When the records of reboots are read again by whoever shows them live.
//!
//! Owns the pauses between two readings: after a change, and after one that failed. Times are of one monotonic clock.

use std::time::Duration;

/// Pause between two readings of all records, so that a roll through a thousand hosts, each of which publishes every
/// phase, is read a few times a second and not a thousand times.
const BETWEEN_READINGS: Duration = Duration::from_millis(200);

/// Pause before a reading that failed is tried again.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// When to read next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadSchedule {
    next: Option<Duration>,
    /// No reading begins before.
    earliest: Duration,
}

impl ReadSchedule {
    /// Notes that something was written, or may have been.
    pub fn on_changed(&mut self) {
        self.next = self.next.or(Some(self.earliest));
    }

    /// Notes that a reading has ended, well or not.
    pub fn on_read(&mut self, ok: bool, now: Duration) {
        self.next = (!ok).then_some(now + AFTER_FAILURE);
        self.earliest = now + BETWEEN_READINGS;
    }

    /// The time of the next reading; `None`: nothing has changed since the last.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn changes_that_follow_each_other_closely_are_read_once() {
        let mut schedule = ReadSchedule::default();
        assert_eq!(schedule.next_deadline(), None);
        schedule.on_changed();
        assert_eq!(schedule.next_deadline(), Some(at(0)), "the first is read at once");
        schedule.on_read(true, at(1000));
        assert_eq!(schedule.next_deadline(), None);
        schedule.on_changed();
        schedule.on_changed();
        assert_eq!(schedule.next_deadline(), Some(at(1200)));
    }

    #[test]
    fn a_reading_that_failed_is_tried_again_without_a_change() {
        let mut schedule = ReadSchedule::default();
        schedule.on_changed();
        schedule.on_read(false, at(1000));
        assert_eq!(schedule.next_deadline(), Some(at(2000)));
        schedule.on_changed();
        assert_eq!(schedule.next_deadline(), Some(at(2000)), "no sooner for a change");
    }
}
