//! The clock of a machine.
//!
//! Owns what a machine believes the time to be: since its boot, suspend included, with an error in the rate; and the time of day,
//! which may jump. It maps both ways, so that the world knows when a machine's deadline is.

use std::time::Duration;

use crate::moment::Micros;

/// Seconds since the Unix epoch when the world begins. Any number does that is neither small nor far away.
const WALL_AT_BEGINNING: i64 = 1_800_000_000;

/// A million: errors of clocks are counted in parts of it.
const MILLION: i128 = 1_000_000;

/// A machine's clock.
#[derive(Debug, Clone)]
pub(crate) struct MachineClock {
    /// The moment of the world at which it showed zero.
    booted: Micros,
    /// Millionths by which it is too fast.
    drift: i64,
    /// Seconds by which the time of day is ahead.
    wall_ahead: i64,
}

impl MachineClock {
    /// A clock that shows zero at a moment.
    pub(crate) fn started_at(booted: Micros, drift: i64) -> Self {
        Self { booted, drift, wall_ahead: 0 }
    }

    /// It begins anew with a boot. The time of day goes on.
    pub(crate) fn restart(&mut self, now: Micros) {
        self.booted = now;
    }

    /// Sets the time of day forward, or back.
    pub(crate) fn jump_wall(&mut self, seconds: i64) {
        self.wall_ahead = self.wall_ahead.saturating_add(seconds);
    }

    /// The time since the boot that it shows at a moment.
    pub(crate) fn shown_at(&self, now: Micros) -> Duration {
        let passed = i128::from((now - self.booted).0);
        let shown = passed + passed * i128::from(self.drift) / MILLION;
        Duration::from_micros(u64::try_from(shown).unwrap_or(0))
    }

    /// The first moment at which it shows a time at least.
    pub(crate) fn moment_of(&self, shown: Duration) -> Micros {
        let wanted = i128::from(Micros::from(shown).0);
        let passed = wanted * MILLION / (MILLION + i128::from(self.drift));
        let mut moment = self.booted + Micros(u64::try_from(passed).unwrap_or(u64::MAX));
        // Divisions round down; a deadline is met when it is over.
        while self.shown_at(moment) < shown {
            moment += Micros(1);
        }
        moment
    }

    /// The time of day it shows, in seconds since the Unix epoch.
    pub(crate) fn wall_at(&self, now: Micros) -> u64 {
        let seconds = i64::try_from(now.0 / 1_000_000).unwrap_or(i64::MAX);
        let wall = WALL_AT_BEGINNING.saturating_add(seconds).saturating_add(self.wall_ahead);
        u64::try_from(wall).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_met_at_the_first_moment_that_shows_it() {
        for drift in [-2000, -1, 0, 1, 300, 2000] {
            let clock = MachineClock::started_at(Micros(777), drift);
            for wanted in [0, 1, 999, 1_000_000, 86_399_999_999] {
                let wanted = Duration::from_micros(wanted);
                let moment = clock.moment_of(wanted);
                assert!(clock.shown_at(moment) >= wanted, "{drift} {wanted:?}");
                let before = moment - Micros(1);
                assert!(
                    moment.0 <= 777 || clock.shown_at(before) < wanted,
                    "{drift} {wanted:?}: too late"
                );
            }
        }
    }

    #[test]
    fn the_time_of_day_jumps_and_nothing_else_does() {
        let mut clock = MachineClock::started_at(Micros::ZERO, 0);
        let (shown, wall) = (clock.shown_at(Micros(5)), clock.wall_at(Micros(5)));
        clock.jump_wall(-315_000_000);
        assert_eq!(clock.shown_at(Micros(5)), shown);
        assert_eq!(clock.wall_at(Micros(5)), wall - 315_000_000);
    }
}
