//! Locks that nobody can poison.
//!
//! Owns what becomes of a mutex whose holder has panicked: what it guards is used as it was left. The daemon aborts on a panic,
//! so only tests ever see one.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex, a poisoned one too.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
