//! Tasks: work that goes on beside its caller.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::future::{AbortHandle, abortable};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::simulated::context;

/// Begins work beside the caller. It goes on when the [`Task`] is dropped.
///
/// # Panics
///
/// Outside a tokio runtime and a simulated node, as tokio's own.
pub fn spawn<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Task<T> {
    if !context::is_simulated() {
        return Task(Handle::Tokio(tokio::spawn(work)));
    }
    let (sender, value) = oneshot::channel();
    let (work, abort) = abortable(work);
    context::spawn_task(Box::pin(async move {
        if let Ok(output) = work.await {
            // Nobody may wait for it.
            let _ = sender.send(output);
        }
    }));
    Task(Handle::Simulated { value, abort })
}

/// The handle of work that goes on beside its caller: waits for what it returns.
#[derive(Debug)]
pub struct Task<T>(Handle<T>);

#[derive(Debug)]
enum Handle<T> {
    Tokio(JoinHandle<T>),
    Simulated { value: oneshot::Receiver<T>, abort: AbortHandle },
}

/// The work ended without a value: it was aborted, or it panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskLost;

impl<T> Task<T> {
    /// Ends the work where it stands, at its next wait.
    pub fn abort(&self) {
        match &self.0 {
            Handle::Tokio(handle) => handle.abort(),
            Handle::Simulated { abort, .. } => abort.abort(),
        }
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, TaskLost>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Handle::Tokio(handle) => Pin::new(handle).poll(task).map_err(|_| TaskLost),
            Handle::Simulated { value, .. } => Pin::new(value).poll(task).map_err(|_| TaskLost),
        }
    }
}

impl fmt::Display for TaskLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the task ended without a value")
    }
}

impl std::error::Error for TaskLost {}
