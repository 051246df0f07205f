//! Tasks that end with whoever began them.

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;

use crate::task::{Task, TaskLost, spawn};

/// Tasks that are waited for together. Dropping the set ends those that have not ended.
#[derive(Debug)]
pub struct TaskSet<T>(FuturesUnordered<Task<T>>);

impl<T> Default for TaskSet<T> {
    fn default() -> Self {
        Self(FuturesUnordered::new())
    }
}

impl<T: Send + 'static> TaskSet<T> {
    /// A set without tasks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins work beside the caller, as [`spawn`] does, that ends with the set at the latest.
    pub fn spawn(&mut self, work: impl Future<Output = T> + Send + 'static) {
        self.0.push(spawn(work));
    }

    /// Waits until a task has ended; `None` when there is none left. Cancel-safe.
    pub async fn join_next(&mut self) -> Option<Result<T, TaskLost>> {
        self.0.next().await
    }
}

impl<T> Drop for TaskSet<T> {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}
