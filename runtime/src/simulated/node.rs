//! The node itself.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use super::context::{Work, enter_node};
use super::queue::{ReadyQueue, TaskWaker};
use super::timers::{TimerKey, Timers};
use crate::instant::Instant;

/// Runs of tasks in one moment after which it is clear that they only wake each other.
const RESTLESS: usize = 1_000_000;

/// A process in a simulation. It belongs to one thread.
pub struct Node(Rc<Core>);

/// What the tasks of a node share.
pub(super) struct Core {
    /// The moment at which the node's clock shows zero.
    origin: Instant,
    now: Cell<Duration>,
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

impl Node {
    /// A process without tasks, whose clock shows this time since its machine was switched on.
    pub fn new(now: Duration) -> Self {
        Self(Rc::new(Core {
            origin: tokio::time::Instant::now().into(),
            now: Cell::new(now),
            timers: RefCell::default(),
            tasks: RefCell::default(),
            ready: Arc::default(),
        }))
    }

    /// Begins a task. It runs with the next [`Self::run_at`].
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.0.add_task(Box::pin(work));
    }

    /// Does something as this node: what it makes counts its time by this node's clock.
    pub fn enter<T>(&self, work: impl FnOnce() -> T) -> T {
        enter_node(&self.0, work)
    }

    /// Sets the clock and lets the node run until no task can go on. A clock that is behind stays as it is: it never goes back.
    /// All timers that are due by then are due at once, as for a process that was paused.
    ///
    /// # Panics
    ///
    /// A task panics, or the tasks only wake each other and the moment never ends.
    #[allow(
        clippy::panic,
        reason = "a simulation that cannot go on is a failed test, and a node of it has no other way to say so"
    )]
    pub fn run_at(&self, now: Duration) {
        let core = &self.0;
        core.now.set(core.now.get().max(now));
        self.enter(|| {
            for _ in 0..RESTLESS {
                let Some(task) = core.next_ready() else { return };
                core.run_task(task);
            }
            panic!("the tasks of a node wake each other for ever at {:?}", core.now.get());
        });
    }

    /// The time at which the node wants to run again if nothing comes from outside. The present one if a task can go on now.
    pub fn next_deadline(&self) -> Option<Duration> {
        if !self.0.ready.is_empty() {
            return Some(self.0.now.get());
        }
        self.0.timers.borrow().next_deadline()
    }

    /// The time that the node's clock shows.
    pub fn now(&self) -> Duration {
        self.0.now.get()
    }

    /// The number of tasks that have not ended.
    pub fn count_tasks(&self) -> usize {
        self.0.tasks.borrow().alive
    }

    /// Ends all tasks where they stand, as a kill does: none of them runs again, and whatever they hold is dropped.
    pub fn kill_tasks(&self) {
        self.enter(|| {
            // What is dropped may want to take timers back, and may begin tasks that end as well.
            loop {
                let tasks = self.0.tasks.take();
                if tasks.slots.is_empty() {
                    break;
                }
                drop(tasks);
            }
        });
        self.0.timers.borrow_mut().clear();
        self.0.ready.clear();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill_tasks();
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("now", &self.now())
            .field("tasks", &self.count_tasks())
            .finish_non_exhaustive()
    }
}

impl Core {
    pub(super) fn now(&self) -> Instant {
        self.origin + self.now.get()
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
    fn next_ready(&self) -> Option<usize> {
        loop {
            if let Some(task) = self.ready.pop() {
                return Some(task);
            }
            let due = self.timers.borrow_mut().pop_due(self.now.get())?;
            due.wake();
        }
    }

    fn run_task(&self, task: usize) {
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
