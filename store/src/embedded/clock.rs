//! The time by which leases of the embedded store end.
//!
//! It is handed in, so that whoever tests what hangs on leases decides when one ends. What waits for the disk or for
//! readers goes by the real time.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// Tells the time by which leases end. It never goes back.
#[derive(Clone)]
pub struct LeaseClock(Arc<dyn Fn() -> Instant + Send + Sync>);

impl LeaseClock {
    /// A clock that is read by calling `now`, from any thread. One that is set forward while the store has nothing to do
    /// is looked at with the next request.
    pub fn new(now: impl Fn() -> Instant + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The time it is.
    pub(super) fn now(&self) -> Instant {
        (self.0)()
    }
}

impl Default for LeaseClock {
    /// The machine's own, which does not stand still unless the machine does.
    fn default() -> Self {
        Self::new(Instant::now)
    }
}

impl fmt::Debug for LeaseClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaseClock").finish_non_exhaustive()
    }
}
