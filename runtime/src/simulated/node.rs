//! The node itself.

use std::fmt;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use super::context::enter_node;
use super::process::Process;

/// Runs of tasks in one moment after which it is clear that they only wake each other.
const RESTLESS: usize = 1_000_000;

/// A process in a simulation. It belongs to one thread.
pub struct Node(Rc<Process>);

impl Node {
    /// A process without tasks, whose clock shows this time since its machine was switched on.
    pub fn new(now: Duration) -> Self {
        Self(Rc::new(Process::new(now)))
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
        let process = &self.0;
        process.advance_clock(now);
        self.enter(|| {
            for _ in 0..RESTLESS {
                let Some(task) = process.next_ready() else { return };
                process.run_task(task);
            }
            panic!("the tasks of a node wake each other for ever at {:?}", process.clock_time());
        });
    }

    /// The time at which the node wants to run again if nothing comes from outside. The present one if a task can go on now.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.0.next_deadline()
    }

    /// The time that the node's clock shows.
    pub fn now(&self) -> Duration {
        self.0.clock_time()
    }

    /// The number of tasks that have not ended.
    pub fn count_tasks(&self) -> usize {
        self.0.count_tasks()
    }

    /// Ends all tasks where they stand, as a kill does: none of them runs again, and whatever they hold is dropped.
    pub fn kill_tasks(&self) {
        self.enter(|| self.0.drop_tasks());
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
