//! Which node runs on this thread.
//!
//! Owns the one thread-local of this crate. It is set for as long as a node runs its tasks, and the functions that loops call
//! look here first.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Waker;

use super::node::Core;
use super::timers::TimerKey;
use crate::instant::Instant;

thread_local! {
    static CURRENT: RefCell<Option<Rc<Core>>> = const { RefCell::new(None) };
}

/// The work of a task.
pub(super) type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// True if a node runs on this thread.
pub(crate) fn is_simulated() -> bool {
    CURRENT.with_borrow(Option::is_some)
}

/// The node's present moment.
pub(crate) fn now() -> Option<Instant> {
    CURRENT.with_borrow(|core| core.as_ref().map(|core| core.now()))
}

/// Begins a task on the node.
pub(crate) fn spawn_task(work: Work) {
    CURRENT.with_borrow(|core| {
        if let Some(core) = core {
            core.add_task(work);
        }
    });
}

/// Wakes a task at a moment; `key` says which timer that is, and is filled in with the first call.
pub(crate) fn set_timer(at: Instant, key: &mut Option<TimerKey>, waker: &Waker) {
    CURRENT.with_borrow(|core| {
        if let Some(core) = core {
            core.set_timer(at, key, waker);
        }
    });
}

/// Takes a timer back. Nothing happens outside a node: then the node is gone, or its timer wakes nobody.
pub(crate) fn remove_timer(key: TimerKey) {
    CURRENT.with_borrow(|core| {
        if let Some(core) = core {
            core.remove_timer(key);
        }
    });
}

/// Does something as a node.
pub(super) fn enter_node<T>(core: &Rc<Core>, work: impl FnOnce() -> T) -> T {
    let _restored = Restored(CURRENT.replace(Some(Rc::clone(core))));
    work()
}

/// Puts back who ran before, even when the work panics.
struct Restored(Option<Rc<Core>>);

impl Drop for Restored {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}
