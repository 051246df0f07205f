//! Waiting for conditions: the one place of the lab and its tests that lets time pass.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How often a condition is looked at. Short beside what is waited for, long beside what a look costs (a few
/// milliseconds), so that waiting does not take the processor from what it waits for.
const INTERVAL: Duration = Duration::from_millis(50);

/// Looks at a condition until it holds; says how long that took.
///
/// The condition tells what is missing instead of a bare "no", and that is what the error repeats when the limit passes.
pub fn wait_until<E: std::fmt::Display>(
    what: &str,
    limit: Duration,
    condition: impl FnMut() -> Result<(), E>,
) -> Result<Duration> {
    wait_closely(what, limit, INTERVAL, condition)
}

/// [`wait_until`] with an interval of the caller's, for measurements.
pub fn wait_closely<E: std::fmt::Display>(
    what: &str,
    limit: Duration,
    interval: Duration,
    mut condition: impl FnMut() -> Result<(), E>,
) -> Result<Duration> {
    let begin = Instant::now();
    loop {
        match condition() {
            Ok(()) => return Ok(begin.elapsed()),
            Err(missing) if begin.elapsed() > limit => {
                bail!("waited {:.1} s for {what}: {missing}", begin.elapsed().as_secs_f64())
            }
            Err(_) => std::thread::sleep(interval),
        }
    }
}
