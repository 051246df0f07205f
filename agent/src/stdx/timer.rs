//! Waits that may be for ever.
//!
//! Owns the timer of a loop that has nothing to wait for at times: an arm of a `select!` with no deadline never comes.

use std::time::Duration;

use muster_runtime::Instant;

/// Waits until `at`; without one for ever.
pub(crate) async fn sleep_until_opt(at: Option<Instant>) {
    match at {
        Some(at) => muster_runtime::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Waits for `length`; without one for ever.
pub(crate) async fn sleep_for_opt(length: Option<Duration>) {
    sleep_until_opt(length.map(|length| Instant::now() + length)).await;
}
