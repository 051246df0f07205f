//! The size of what is measured.

use std::path::PathBuf;
use std::time::Duration;

/// The size of what is measured.
#[derive(Debug)]
pub(crate) struct Scale {
    pub(crate) musterd: PathBuf,
    pub(crate) machines: usize,
    pub(crate) units: usize,
    pub(crate) ttl: Duration,
    pub(crate) repetitions: usize,
}

/// So many in a second.
pub(crate) fn rate(count: usize, within: Duration) -> f64 {
    f64::from(u32::try_from(count).unwrap()) / within.as_secs_f64()
}
