//! Whoever wants to hear how requests go.
//!
//! Owns the seam between this crate, which never prints, and a log or a person's terminal.

use std::fmt;
use std::time::Duration;

use http::StatusCode;

use crate::connect::Route;
use crate::error::Operation;

/// Hears of each request of a client. Both methods are called between two steps of a request and must not block.
pub trait RequestObserver: fmt::Debug + Send + Sync {
    /// The head of an answer, `elapsed` after the request was begun.
    fn on_answer(&self, operation: &Operation, status: StatusCode, elapsed: Duration) {
        let _ = (operation, status, elapsed);
    }

    /// No answer yet, `waited` after the request was begun; called ever more seldom.
    fn on_waiting(&self, route: &Route, operation: &Operation, waited: Duration) {
        let _ = (route, operation, waited);
    }
}
