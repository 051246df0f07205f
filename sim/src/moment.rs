//! Moments of the world and lengths of time, in microseconds.
//!
//! Owns the one unit in which the world counts. What a machine believes the time to be is [`super::clock`]'s.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Microseconds: since the world began, or between two moments of it.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Micros(pub u64);

impl Micros {
    /// The beginning of the world, and no time at all.
    pub const ZERO: Self = Self(0);

    /// Whole seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds * 1_000_000)
    }

    /// Whole milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis * 1000)
    }

    /// The same as the standard library has it.
    pub const fn to_duration(self) -> Duration {
        Duration::from_micros(self.0)
    }

    /// Seconds, for rates.
    #[allow(clippy::cast_precision_loss, reason = "a figure for people")]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

impl From<Duration> for Micros {
    /// Rounded up, so that what is due at a moment is due when the world is there.
    fn from(duration: Duration) -> Self {
        let micros = duration.as_nanos().div_ceil(1000);
        Self(u64::try_from(micros).unwrap_or(u64::MAX))
    }
}

impl Add for Micros {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Micros {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Micros {
    type Output = Self;

    /// Nothing is before the beginning.
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}
