//! The timers of a node.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::task::Waker;
use std::time::Duration;

thread_local! {
    static NEXT: Cell<u64> = const { Cell::new(0) };
}

/// Names a timer: when it is due, then the order in which timers were set on this thread. No two nodes of a thread share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TimerKey {
    at: Duration,
    number: u64,
}

/// Whom to wake when.
#[derive(Debug, Default)]
pub(super) struct Timers(BTreeMap<TimerKey, Waker>);

impl Timers {
    /// Sets a timer, or says anew whom one wakes.
    pub(super) fn set(&mut self, at: Duration, key: &mut Option<TimerKey>, waker: &Waker) {
        let key = key.get_or_insert_with(|| {
            let number = NEXT.get();
            NEXT.set(number + 1);
            TimerKey { at, number }
        });
        match self.0.get_mut(key) {
            Some(known) => known.clone_from(waker),
            None => {
                self.0.insert(*key, waker.clone());
            }
        }
    }

    pub(super) fn remove(&mut self, key: TimerKey) {
        self.0.remove(&key);
    }

    /// The time of the next one.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.0.first_key_value().map(|(key, _)| key.at)
    }

    /// Takes out the next one that is due.
    pub(super) fn pop_due(&mut self, now: Duration) -> Option<Waker> {
        let first = self.0.first_entry()?;
        (first.key().at <= now).then(|| first.remove())
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
