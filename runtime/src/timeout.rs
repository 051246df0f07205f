//! Limits of time on anything that is waited for.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::instant::Instant;
use crate::sleep::{Sleep, sleep_until};

/// Waits for work, a time at most, counted from now. Work that is ready counts as in time however late it is.
pub fn timeout<F: Future>(limit: Duration, work: F) -> Timeout<F> {
    timeout_at(Instant::now() + limit, work)
}

/// Waits for work until a moment at most.
pub fn timeout_at<F: Future>(end: Instant, work: F) -> Timeout<F> {
    Timeout { work: Box::pin(work), end: sleep_until(end) }
}

/// A wait with a limit.
#[must_use = "nothing waits before it is polled"]
pub struct Timeout<F> {
    // On the heap, so that no unsafe projection is needed; a wait costs more than that anyway.
    work: Pin<Box<F>>,
    end: Sleep,
}

/// The limit was reached before the work was done. The work is dropped with the wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time allowed is over")
    }
}

impl std::error::Error for Elapsed {}

impl<F> fmt::Debug for Timeout<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeout").field("end", &self.end).finish_non_exhaustive()
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(output) = self.work.as_mut().poll(task) {
            return Poll::Ready(Ok(output));
        }
        Pin::new(&mut self.end).poll(task).map(|()| Err(Elapsed))
    }
}
