//! Timers.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::instant::Instant;
use crate::simulated::context;
use crate::simulated::timers::TimerKey;

/// Waits until a moment.
pub fn sleep_until(at: Instant) -> Sleep {
    if context::is_simulated() {
        return Sleep(Timer::Simulated { at, key: None });
    }
    Sleep(Timer::Tokio(Box::pin(tokio::time::sleep_until(at.into_tokio()))))
}

/// Waits for a time, counted from now.
pub fn sleep(length: Duration) -> Sleep {
    sleep_until(Instant::now() + length)
}

/// A wait for a moment. Dropping it takes the timer back.
#[derive(Debug)]
#[must_use = "nothing waits before it is polled"]
pub struct Sleep(Timer);

#[derive(Debug)]
enum Timer {
    Tokio(Pin<Box<tokio::time::Sleep>>),
    Simulated { at: Instant, key: Option<TimerKey> },
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<()> {
        match &mut self.0 {
            Timer::Tokio(sleep) => sleep.as_mut().poll(task),
            Timer::Simulated { at, key } => {
                if Instant::now() >= *at {
                    return Poll::Ready(());
                }
                context::set_timer(at.into_tokio(), key, task.waker());
                Poll::Pending
            }
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Timer::Simulated { key: Some(key), .. } = self.0 {
            context::remove_timer(key);
        }
    }
}
