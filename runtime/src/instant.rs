//! A moment of the monotonic clock.

use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

use crate::simulated::context;

/// A moment of the monotonic clock of the machine, or of the simulated node, that it was taken on. Moments of two nodes cannot be
/// compared: each has a clock of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(tokio::time::Instant);

impl Instant {
    /// The present moment.
    pub fn now() -> Self {
        Self(context::now().unwrap_or_else(tokio::time::Instant::now))
    }

    /// The time since this moment; zero if it is still to come.
    pub fn elapsed(&self) -> Duration {
        Self::now().saturating_duration_since(*self)
    }

    /// The time from an earlier moment to this one; zero if it is not earlier.
    pub fn saturating_duration_since(&self, earlier: Self) -> Duration {
        self.0.saturating_duration_since(earlier.0)
    }

    /// The same as [`Self::saturating_duration_since`].
    pub fn duration_since(&self, earlier: Self) -> Duration {
        self.saturating_duration_since(earlier)
    }

    /// The same moment, as tokio's own timers take it. It means nothing on a simulated node.
    pub fn into_tokio(self) -> tokio::time::Instant {
        self.0
    }
}

impl From<tokio::time::Instant> for Instant {
    fn from(at: tokio::time::Instant) -> Self {
        Self(at)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, length: Duration) -> Self {
        Self(self.0 + length)
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, length: Duration) {
        self.0 += length;
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, length: Duration) -> Self {
        Self(self.0 - length)
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.saturating_duration_since(earlier)
    }
}
