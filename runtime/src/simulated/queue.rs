//! Which tasks can go on, in the order in which they were woken.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Wake;

/// A queue of task numbers that any waker can add to.
#[derive(Debug, Default)]
pub(super) struct ReadyQueue(Mutex<VecDeque<usize>>);

impl ReadyQueue {
    pub(super) fn push(&self, task: usize) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(task);
    }

    pub(super) fn pop(&self) -> Option<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    pub(super) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Wakes one task: puts it into the queue, once until it has run.
#[derive(Debug)]
pub(super) struct TaskWaker {
    task: usize,
    queued: AtomicBool,
    queue: Arc<ReadyQueue>,
}

impl TaskWaker {
    pub(super) fn new(task: usize, queue: &Arc<ReadyQueue>) -> Arc<Self> {
        Arc::new(Self { task, queued: AtomicBool::new(false), queue: Arc::clone(queue) })
    }

    /// The task runs now: whoever wakes it from here on means another run.
    pub(super) fn mark_running(&self) {
        self.queued.store(false, Ordering::Relaxed);
    }
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.queue.push(self.task);
        }
    }
}
