//! The time for which a certificate counts.
//!
//! Owns how long that is, from when on a certificate is renewed, and what a certificate is at a moment. Times are Unix seconds by the
//! clock of whoever looks. It reads no clock.

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// The time by which a certificate is older than it is: the clocks of two hosts may differ by as much, and the newer certificate counts
/// all the same.
const BACKDATED: u64 = HOUR;

/// The life of a host's certificate: whoever steals one without its key has nothing, and with its key has no longer than this once the
/// host's record has another. Twenty days are left when it is first renewed, so that a holiday without a server is no outage.
const HOST_LIFE: u64 = 30 * DAY;

/// The life of an authority: it is exchanged by a person's command, not by a deadline, and ten years outlive most clusters.
const AUTHORITY_LIFE: u64 = 3650 * DAY;

/// A certificate is renewed once this part of its life is over: a third, day 10 of 30.
const RENEWED_AFTER: u64 = 3;

/// From the first to the last second at which a certificate counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The first.
    pub not_before: u64,
    /// The last.
    pub not_after: u64,
}

/// A certificate as it is at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateAge {
    /// It does not count yet: this clock is behind that of whoever issued it.
    NotYetValid,
    /// It counts, and nothing is to be done.
    Fresh,
    /// It counts, and it is time to have it renewed.
    RenewalDue,
    /// It is over; whoever has its key may ask for the next one and for nothing else.
    Expired,
}

impl Validity {
    /// That of a host's certificate issued now.
    pub fn of_host(now: u64) -> Self {
        Self::beginning_at(now, HOST_LIFE)
    }

    /// That of an authority made now.
    pub fn of_authority(now: u64) -> Self {
        Self::beginning_at(now, AUTHORITY_LIFE)
    }

    /// That of a certificate which is issued now and lives for so many seconds.
    pub fn beginning_at(now: u64, life: u64) -> Self {
        Self { not_before: now.saturating_sub(BACKDATED), not_after: now.saturating_add(life) }
    }

    /// The same, and over no later than another: nothing outlives its issuer.
    #[must_use]
    pub fn limited_to(self, issuer: Self) -> Self {
        Self { not_after: self.not_after.min(issuer.not_after), ..self }
    }

    /// The moment from which on it is renewed.
    pub fn renewed_from(&self) -> u64 {
        let issued = self.not_before.saturating_add(BACKDATED).min(self.not_after);
        issued.saturating_add(self.not_after.saturating_sub(issued) / RENEWED_AFTER)
    }

    /// The state of a certificate of this life at a moment.
    pub fn age_at(&self, now: u64) -> CertificateAge {
        if now < self.not_before {
            CertificateAge::NotYetValid
        } else if now > self.not_after {
            CertificateAge::Expired
        } else if now >= self.renewed_from() {
            CertificateAge::RenewalDue
        } else {
            CertificateAge::Fresh
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    #[test]
    fn a_certificate_lives_for_thirty_days_and_is_renewed_from_the_tenth_on() {
        let validity = Validity::of_host(NOW);
        for (at, age) in [
            (NOW - HOUR - 1, CertificateAge::NotYetValid),
            (NOW - HOUR, CertificateAge::Fresh),
            (NOW, CertificateAge::Fresh),
            (NOW + 10 * DAY - 1, CertificateAge::Fresh),
            (NOW + 10 * DAY, CertificateAge::RenewalDue),
            (NOW + 30 * DAY, CertificateAge::RenewalDue),
            (NOW + 30 * DAY + 1, CertificateAge::Expired),
            (NOW + 365 * DAY, CertificateAge::Expired),
        ] {
            assert_eq!(validity.age_at(at), age, "{at}");
        }
    }

    #[test]
    fn nothing_outlives_its_issuer() {
        let authority = Validity::beginning_at(NOW, 5 * DAY);
        let host = Validity::of_host(NOW).limited_to(authority);
        assert_eq!(host.not_after, authority.not_after);
        assert_eq!(host.renewed_from(), NOW + 5 * DAY / 3);
    }

    proptest! {
        #[test]
        fn ages_follow_each_other_once_at_any_clock(now in any::<u64>(), life in any::<u64>(), at in any::<u64>()) {
            let validity = Validity::beginning_at(now, life);
            let rank = |age| match age {
                CertificateAge::NotYetValid => 0,
                CertificateAge::Fresh => 1,
                CertificateAge::RenewalDue => 2,
                CertificateAge::Expired => 3,
            };
            prop_assert!(rank(validity.age_at(at)) <= rank(validity.age_at(at.saturating_add(1))));
            // Where clocks agree, what was issued now counts now.
            prop_assert!(validity.not_before <= now && now <= validity.not_after);
        }
    }
}
