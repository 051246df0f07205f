//! Lines on standard error about requests: each of them with `--debug`, and those whose answer is long in coming.
//!
//! Owns these two lines. It changes nothing about a request.

use std::io::{self, Write as _};
use std::time::Duration;

use muster_client::{Operation, RequestObserver, Route, StatusCode};
use muster_common::text::clean_text;

/// Writes to standard error.
#[derive(Debug)]
pub(crate) struct RequestLog {
    /// True if each answer is printed.
    pub(crate) debug: bool,
}

impl RequestObserver for RequestLog {
    fn on_answer(&self, operation: &Operation, status: StatusCode, elapsed: Duration) {
        if self.debug {
            let _ = writeln!(io::stderr(), "debug: {operation}: {status} after {elapsed:.1?}");
        }
    }

    fn on_waiting(&self, route: &Route, operation: &Operation, waited: Duration) {
        let waited = humantime::format_duration(Duration::from_secs(waited.as_secs().max(1)));
        let _ = writeln!(
            io::stderr(),
            "waiting: {} has not answered {} for {waited}",
            clean_text(&route.to_string()),
            clean_text(&operation.path)
        );
    }
}
