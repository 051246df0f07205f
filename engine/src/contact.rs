//! The time for which a daemon knows that the store was there.
//!
//! Owns what follows from a daemon's own keepalives for the leases of others: every machine sends them as often as this one, so an
//! outage in which another machine's lease could end is one that this daemon would have noticed, too. It reads no clock: all times
//! are those of one clock that only goes forward. Which losses are acted on is [`crate::leader::freeze`]'s decision.
//!
//! With a lease of length L, each is prolonged every third of it. An outage of the store, or of the way to it, that ends
//! somebody's lease lasts for at least two thirds of L: so much is left of every lease when it begins. A daemon whose answered
//! keepalives follow each other more closely than that has been there through no such outage, and nor has anybody else.

use std::time::Duration;

use muster_common::probe::is_planted;

/// Unbroken contact with the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreContact {
    since: Duration,
    last: Duration,
    lease: Duration,
}

impl StoreContact {
    /// Contact that begins with an answer at this time, under a lease of this length: what was before is not known. So begins
    /// a daemon, and one that was paused, cut off, or without its lease.
    pub fn begin(now: Duration, lease: Duration) -> Self {
        Self { since: now, last: now, lease }
    }

    /// The contact after another keepalive, sent and answered at these times. It begins anew when an outage in which a lease could
    /// end may have lain between.
    #[must_use]
    pub fn extend_contact(self, sent: Duration, answered: Duration) -> Self {
        debug_assert!(sent <= answered, "answered before it was sent");
        if self.is_unbroken(answered) {
            // The store was there at some time between the two; the earlier one is the safe side.
            Self { last: sent.max(self.last), ..self }
        } else {
            Self::begin(answered, self.lease)
        }
    }

    /// True if no outage in which a lease could end may have begun since the last keepalive.
    pub fn is_unbroken(&self, now: Duration) -> bool {
        now.saturating_sub(self.last) < self.longest_harmless_outage()
            || is_planted("contact-never-broken")
    }

    /// When it began.
    pub fn began_at(&self) -> Duration {
        self.since
    }

    /// The time from which on whoever is well has prolonged its lease again. Who loses it later loses it while the store is there.
    pub fn settled_from(&self) -> Duration {
        self.since.saturating_add(self.longest_harmless_outage())
    }

    /// An outage shorter than this ends nobody's lease.
    fn longest_harmless_outage(&self) -> Duration {
        self.lease * 2 / 3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(6);

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn keepalives_in_time_keep_it_whole_and_one_that_is_late_begins_it_anew() {
        let contact = StoreContact::begin(seconds(1.0), LEASE);
        let contact = contact
            .extend_contact(seconds(3.0), seconds(3.1))
            .extend_contact(seconds(5.0), seconds(6.9));
        assert_eq!(contact.began_at(), seconds(1.0));
        assert!(contact.is_unbroken(seconds(8.9)) && !contact.is_unbroken(seconds(9.0)));
        // Sent in time, and answered so late that nobody knows about the time between.
        let contact = contact.extend_contact(seconds(8.0), seconds(9.0));
        assert_eq!(contact.began_at(), seconds(9.0));
        assert_eq!(contact.settled_from(), seconds(13.0));
    }

    #[test]
    fn no_outage_that_can_end_a_lease_passes_unnoticed() {
        let third = LEASE / 3;
        for offset in (0..2000).step_by(50).map(Duration::from_millis) {
            for outage in (0..9000).step_by(100).map(Duration::from_millis) {
                // Ours is prolonged at 10 s and every third from there. The store is away from `begins` to `ends`.
                let begins = seconds(10.0) + offset;
                let ends = begins + outage;
                let mut contact = StoreContact::begin(Duration::ZERO, LEASE);
                for sent in [0, 2, 4, 6, 8, 10].map(Duration::from_secs) {
                    contact = contact.extend_contact(sent, sent);
                }
                // It is tried again and again, and the first try behind the outage is answered.
                let mut sent = seconds(12.0);
                while sent < ends && sent >= begins {
                    sent += Duration::from_millis(500);
                }
                let contact = contact.extend_contact(sent, sent);
                // Somebody else's lease was prolonged up to a third before it began.
                if outage + third >= LEASE {
                    assert_eq!(contact.began_at(), sent, "{offset:?} {outage:?}");
                }
            }
        }
    }
}
