//! The time of day, as people read it.
//!
//! Owns the seam of the wall clock: a simulator gives each machine one of its own, which drifts and jumps. Nothing waits by
//! this clock; what waits has the monotonic one of its runtime.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// A wall clock. Cheap to clone.
#[derive(Clone)]
pub struct Wall(Arc<dyn Fn() -> u64 + Send + Sync>);

impl Wall {
    /// A clock that shows the seconds since the Unix epoch that a function returns.
    pub fn new(seconds: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(seconds))
    }

    /// Seconds since the Unix epoch; 0 before it.
    pub fn unix_seconds(&self) -> u64 {
        (self.0)()
    }
}

impl Default for Wall {
    /// The clock of this host.
    fn default() -> Self {
        Self::new(unix_seconds)
    }
}

impl fmt::Debug for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Wall").field(&self.unix_seconds()).finish()
    }
}

/// Seconds since the Unix epoch by the clock of this host; 0 before it.
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
