//! The node that runs on this thread.
//!
//! Owns the one thread-local of this crate. It is set for as long as a node runs its tasks, and the functions that loops call
//! look here first.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::Waker;

use tokio::time::Instant;

use super::process::{Process, Work};
use super::timers::TimerKey;

thread_local! {
    static CURRENT: RefCell<Option<Rc<Process>>> = const { RefCell::new(None) };
}

/// True if a node runs on this thread.
pub(crate) fn is_simulated() -> bool {
    CURRENT.with_borrow(Option::is_some)
}

/// The node's present moment.
pub(crate) fn now() -> Option<Instant> {
    CURRENT.with_borrow(|process| process.as_ref().map(|process| process.now()))
}

/// Begins a task on the node.
pub(crate) fn spawn_task(work: Work) {
    CURRENT.with_borrow(|process| {
        if let Some(process) = process {
            process.add_task(work);
        }
    });
}

/// Wakes a task at a moment; `key` says which timer that is, and is filled in with the first call.
pub(crate) fn set_timer(at: Instant, key: &mut Option<TimerKey>, waker: &Waker) {
    CURRENT.with_borrow(|process| {
        if let Some(process) = process {
            process.set_timer(at, key, waker);
        }
    });
}

/// Takes a timer back. Nothing happens outside a node: then the node is gone, or its timer wakes nobody.
pub(crate) fn remove_timer(key: TimerKey) {
    CURRENT.with_borrow(|process| {
        if let Some(process) = process {
            process.remove_timer(key);
        }
    });
}

/// Does something as a node.
pub(super) fn enter_node<T>(process: &Rc<Process>, work: impl FnOnce() -> T) -> T {
    let _restored = Restored(CURRENT.replace(Some(Rc::clone(process))));
    work()
}

/// Puts back who ran before, even when the work panics.
struct Restored(Option<Rc<Process>>);

impl Drop for Restored {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}
