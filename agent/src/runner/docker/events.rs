//! The events that the runner sends the converge loop.
//!
//! Owns the queue. Nothing here waits: an event that finds it full is dropped, and a relist makes up for it.

use std::sync::Mutex;

use tokio::sync::mpsc;

use crate::runner::RunnerEvent;
use crate::stdx::sync::lock;

/// Events that wait for the converge loop.
const QUEUE: usize = 4096;

/// The sender's end.
#[derive(Debug)]
pub(crate) struct EventQueue {
    events: mpsc::Sender<RunnerEvent>,
    missed: Mutex<bool>,
}

impl EventQueue {
    /// A queue, and where it ends.
    pub(crate) fn new() -> (Self, mpsc::Receiver<RunnerEvent>) {
        let (events, receiver) = mpsc::channel(QUEUE);
        (Self { events, missed: Mutex::new(false) }, receiver)
    }

    /// Tells it.
    pub(crate) fn send_event(&self, event: RunnerEvent) {
        let mut missed = lock(&self.missed);
        if *missed {
            *missed = self.events.try_send(RunnerEvent::Relist).is_err();
        }
        if self.events.try_send(event).is_err() {
            *missed = true;
        }
    }
}
