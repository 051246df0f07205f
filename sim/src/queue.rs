//! What is to happen when.
//!
//! Owns the order of events: by their moment, and within one by the order in which they were put in. It does not know what they
//! are.

use std::collections::BTreeMap;

use crate::moment::Micros;

/// Events that are still to come.
#[derive(Debug)]
pub(crate) struct Queue<E> {
    events: BTreeMap<(Micros, u64), E>,
    next: u64,
}

impl<E> Queue<E> {
    /// Nothing is to come.
    pub(crate) fn new() -> Self {
        Self { events: BTreeMap::new(), next: 0 }
    }

    /// Adds an event, after all of its moment.
    pub(crate) fn push(&mut self, at: Micros, event: E) {
        self.events.insert((at, self.next), event);
        self.next += 1;
    }

    /// The moment of the next event.
    pub(crate) fn next_at(&self) -> Option<Micros> {
        self.events.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes the next event out.
    pub(crate) fn pop(&mut self) -> Option<(Micros, E)> {
        self.events.pop_first().map(|((at, _), event)| (at, event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_their_moment_and_then_in_order() {
        let mut queue = Queue::new();
        for (at, event) in [(2, 'c'), (1, 'a'), (2, 'd'), (1, 'b')] {
            queue.push(Micros(at), event);
        }
        assert_eq!(queue.next_at(), Some(Micros(1)));
        let order: String = std::iter::from_fn(|| queue.pop()).map(|(_, event)| event).collect();
        assert_eq!(order, "abcd");
    }
}
