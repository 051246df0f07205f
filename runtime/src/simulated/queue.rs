//! Which tasks can go on, and in which order.
//!
//! Tasks that one task wakes while it runs go on in the order of their numbers, after those that were woken before. The order in
//! which it woke them is not kept, for it may be chance: a watch wakes those who wait for it in an order that tokio draws.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Wake;

/// A queue of task numbers that any waker can add to.
#[derive(Debug, Default)]
pub(super) struct ReadyQueue(Mutex<Ready>);

#[derive(Debug, Default)]
struct Ready {
    in_order: VecDeque<usize>,
    /// Woken since the last task was taken out.
    woken: BTreeSet<usize>,
}

impl ReadyQueue {
    pub(super) fn push(&self, task: usize) {
        self.lock().woken.insert(task);
    }

    pub(super) fn pop(&self) -> Option<usize> {
        let mut ready = self.lock();
        let woken = std::mem::take(&mut ready.woken);
        ready.in_order.extend(woken);
        ready.in_order.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        let ready = self.lock();
        ready.in_order.is_empty() && ready.woken.is_empty()
    }

    pub(super) fn clear(&self) {
        *self.lock() = Ready::default();
    }

    fn lock(&self) -> MutexGuard<'_, Ready> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
