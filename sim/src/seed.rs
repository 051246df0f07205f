//! Chance, drawn from the seed of a run and from nothing else.
//!
//! Owns how much of it there is: each use has a sequence of its own, so that one that draws more often does not change the
//! others, and a plan from which faults are taken away meets the same chance.

use muster_common::seed::{RandomSequence, Seed};

use crate::moment::Micros;

/// A sequence of numbers of one purpose.
#[derive(Debug)]
pub(crate) struct Chance(RandomSequence);

impl Chance {
    /// The chance of this purpose.
    pub(crate) fn for_purpose(seed: Seed, purpose: &str) -> Self {
        Self(seed.for_purpose(purpose).random_sequence())
    }

    /// A number below a bound; 0 where there is none.
    pub(crate) fn number_below(&self, bound: u64) -> u64 {
        self.0.next().checked_rem(bound).unwrap_or(0)
    }

    /// A number from the first to the last.
    pub(crate) fn number_within(&self, first: u64, last: u64) -> u64 {
        first + self.number_below(last.saturating_sub(first) + 1)
    }

    /// A length of time from the shortest to the longest.
    pub(crate) fn time_within(&self, shortest: Micros, longest: Micros) -> Micros {
        Micros(self.number_within(shortest.0, longest.0))
    }

    /// True this often of a thousand times.
    pub(crate) fn happens_by_chance(&self, per_mille: u64) -> bool {
        self.number_below(1000) < per_mille
    }

    /// One of these; there has to be one.
    pub(crate) fn pick_one<T: Copy>(&self, first: T, others: &[T]) -> T {
        let index = usize::try_from(self.number_below(others.len() as u64 + 1)).unwrap_or(0);
        index.checked_sub(1).and_then(|index| others.get(index)).copied().unwrap_or(first)
    }

    /// An index below a length; 0 where there is none.
    pub(crate) fn pick_index(&self, length: usize) -> usize {
        usize::try_from(self.number_below(length as u64)).unwrap_or(0)
    }
}
