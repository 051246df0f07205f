//! The clock of a machine.
//!
//! Owns what a machine believes the time to be: since its boot, with an error in the rate, with the time that it has slept and without
//! it; and the time of day, which may jump. Processes count their time without. It maps both ways, so that the world knows when a
//! machine's deadline is.

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
    /// The time that it has slept until it was last woken.
    slept: Micros,
    /// The same at its boot.
    slept_at_boot: Micros,
    /// The moment at which it went to sleep, while it does.
    asleep_since: Option<Micros>,
}

impl MachineClock {
    /// A clock that shows zero at a moment.
    pub(crate) fn started_at(booted: Micros, drift: i64) -> Self {
        let (slept, slept_at_boot) = (Micros::ZERO, Micros::ZERO);
        Self { booted, drift, wall_ahead: 0, slept, slept_at_boot, asleep_since: None }
    }

    /// It begins anew with a boot. The time of day goes on.
    pub(crate) fn restart(&mut self, now: Micros) {
        self.wake_up(now);
        (self.booted, self.slept_at_boot) = (now, self.slept);
    }

    /// The machine goes to sleep: nothing on it goes on.
    pub(crate) fn fall_asleep(&mut self, now: Micros) {
        self.asleep_since.get_or_insert(now);
    }

    /// It is woken. Gives the time that it slept.
    pub(crate) fn wake_up(&mut self, now: Micros) -> Micros {
        let slept = self.asleep_since.take().map_or(Micros::ZERO, |since| now - since);
        self.slept += slept;
        slept
    }

    /// True while it sleeps.
    pub(crate) fn is_asleep(&self) -> bool {
        self.asleep_since.is_some()
    }

    /// The time since the world began that it was awake, or off.
    pub(crate) fn awake_time(&self, now: Micros) -> Micros {
        self.asleep_since.map_or(now, |since| now.min(since)) - self.slept
    }

    /// The moment at which it has been awake for so long, unless it falls asleep before.
    pub(crate) fn moment_awake(&self, awake: Micros) -> Micros {
        awake + self.slept
    }

    /// The time since the boot, sleep included, that it shows at a moment.
    pub(crate) fn up_at(&self, now: Micros) -> Duration {
        self.with_drift(now - self.booted)
    }

    /// Sets the time of day forward, or back.
    pub(crate) fn jump_wall(&mut self, seconds: i64) {
        self.wall_ahead = self.wall_ahead.saturating_add(seconds);
    }

    /// The time since the boot, sleep excluded, that it shows at a moment: processes count by it.
    pub(crate) fn shown_at(&self, now: Micros) -> Duration {
        self.with_drift(self.awake_time(now) - self.awake_at_boot())
    }

    fn awake_at_boot(&self) -> Micros {
        self.booted - self.slept_at_boot
    }

    fn with_drift(&self, passed: Micros) -> Duration {
        let passed = i128::from(passed.0);
        let shown = passed + passed * i128::from(self.drift) / MILLION;
        Duration::from_micros(u64::try_from(shown).unwrap_or(0))
    }

    /// The first moment at which it shows a time at least, for one that is awake.
    pub(crate) fn moment_of(&self, shown: Duration) -> Micros {
        let wanted = i128::from(Micros::from(shown).0);
        let passed = wanted * MILLION / (MILLION + i128::from(self.drift));
        let passed = Micros(u64::try_from(passed).unwrap_or(u64::MAX));
        let mut moment = self.moment_awake(self.awake_at_boot() + passed);
        // Divisions round down; a deadline is met when it is over.
        while !self.is_asleep() && self.shown_at(moment) < shown {
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
    fn what_sleeps_counts_no_time_and_is_late_afterwards() {
        let mut clock = MachineClock::started_at(Micros::ZERO, 0);
        clock.restart(Micros(100));
        clock.fall_asleep(Micros(150));
        assert_eq!(clock.shown_at(Micros(900)), Duration::from_micros(50));
        clock.wake_up(Micros(900));
        assert_eq!(clock.shown_at(Micros(901)), Duration::from_micros(51));
        assert_eq!(clock.up_at(Micros(901)), Duration::from_micros(801));
        assert_eq!(clock.moment_of(Duration::from_micros(60)), Micros(910));
        clock.restart(Micros(1000));
        assert_eq!(clock.moment_of(Duration::from_micros(5)), Micros(1005));
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
