//! The process of a node: its clock, its timers and its tasks.
//!
//! Owns which task goes on next. It never waits, and never moves its own clock: the node does both.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::time::Instant;

use super::queue::{ReadyQueue, TaskWaker};
use super::timers::{TimerKey, Timers};

/// The work of a task.
pub(super) type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The process that the tasks of a node belong to.
pub(super) struct Process {
    /// The moment at which the node's clock shows zero.
    origin: Instant,
    clock: Cell<Duration>,
    timers: RefCell<Timers>,
    tasks: RefCell<Tasks>,
    ready: Arc<ReadyQueue>,
}

#[derive(Default)]
struct Tasks {
    /// By number; a task that runs just now is out of its place.
    slots: Vec<Option<Slot>>,
    free: Vec<usize>,
    alive: usize,
}

struct Slot {
    work: Option<Work>,
    waker: Arc<TaskWaker>,
}

impl Process {
    /// A process without tasks, whose clock shows this time.
    pub(super) fn new(clock: Duration) -> Self {
        Self {
            origin: Instant::now(),
            clock: Cell::new(clock),
            timers: RefCell::default(),
            tasks: RefCell::default(),
            ready: Arc::default(),
        }
    }

    /// The time that the clock shows.
    pub(super) fn clock_time(&self) -> Duration {
        self.clock.get()
    }

    /// Moves the clock forward; it never goes back.
    pub(super) fn advance_clock(&self, clock: Duration) {
        self.clock.set(self.clock.get().max(clock));
    }

    /// The time at which it wants to run again; the present one if a task can go on now.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        if !self.ready.is_empty() {
            return Some(self.clock.get());
        }
        self.timers.borrow().next_deadline()
    }

    /// The number of tasks that have not ended.
    pub(super) fn count_tasks(&self) -> usize {
        self.tasks.borrow().alive
    }

    /// Drops all tasks and timers. What is dropped may want to take timers back, and may begin tasks, which end as well.
    pub(super) fn drop_tasks(&self) {
        loop {
            let tasks = self.tasks.take();
            if tasks.slots.is_empty() {
                break;
            }
            drop(tasks);
        }
        self.timers.borrow_mut().clear();
        self.ready.clear();
    }

    pub(super) fn now(&self) -> Instant {
        self.origin + self.clock.get()
    }

    pub(super) fn add_task(&self, work: Work) {
        let mut tasks = self.tasks.borrow_mut();
        let task = tasks.free.pop().unwrap_or(tasks.slots.len());
        let waker = TaskWaker::new(task, &self.ready);
        let slot = Some(Slot { work: Some(work), waker: Arc::clone(&waker) });
        match tasks.slots.get_mut(task) {
            Some(place) => *place = slot,
            None => tasks.slots.push(slot),
        }
        tasks.alive += 1;
        drop(tasks);
        Waker::from(waker).wake();
    }

    pub(super) fn set_timer(&self, at: Instant, key: &mut Option<TimerKey>, waker: &Waker) {
        let at = at.saturating_duration_since(self.origin);
        self.timers.borrow_mut().set(at, key, waker);
    }

    pub(super) fn remove_timer(&self, key: TimerKey) {
        self.timers.borrow_mut().remove(key);
    }

    /// The next task that can go on: what was woken first, and the timers that are due once nothing is.
    pub(super) fn next_ready(&self) -> Option<usize> {
        loop {
            if let Some(task) = self.ready.pop() {
                return Some(task);
            }
            let due = self.timers.borrow_mut().pop_due(self.clock.get())?;
            due.wake();
        }
    }

    /// Polls a task once.
    pub(super) fn run_task(&self, task: usize) {
        let taken = {
            let mut tasks = self.tasks.borrow_mut();
            let slot = tasks.slots.get_mut(task).and_then(Option::as_mut);
            slot.and_then(|slot| Some((slot.work.take()?, Arc::clone(&slot.waker))))
        };
        // A task that has ended may have been woken before.
        let Some((mut work, waker)) = taken else { return };
        waker.mark_running();
        let done = work.as_mut().poll(&mut Context::from_waker(&Waker::from(waker))).is_ready();
        let mut tasks = self.tasks.borrow_mut();
        if !done {
            if let Some(slot) = tasks.slots.get_mut(task).and_then(Option::as_mut) {
                slot.work = Some(work);
            }
            return;
        }
        if let Some(place) = tasks.slots.get_mut(task) {
            *place = None;
            tasks.free.push(task);
            tasks.alive = tasks.alive.saturating_sub(1);
        }
        drop(tasks);
        // What it held may want to take timers back, or to begin tasks.
        drop(work);
    }
}
