//! Chance by a seed.

use std::time::{SystemTime, UNIX_EPOCH};

/// Numbers that follow from a seed (`SplitMix64`).
#[derive(Debug)]
pub(super) struct Chance(u64);

/// A seed that nobody has named.
pub(super) fn draw_seed() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Short enough to be typed.
    u64::from(since.subsec_nanos()) ^ (since.as_secs() & 0xffff)
}

impl Chance {
    /// The chance of one round: each has its own, so that a round is the same whatever those before it needed.
    pub(super) fn new(seed: u64, round: u64) -> Self {
        // Each mixed by itself: added up they would make one round's numbers those of the next, one later.
        Self(mix(mix(seed) ^ round))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `end`; 0 for an `end` of 0.
    pub(super) fn number_below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % end).unwrap_or(0)
    }

    /// One of several.
    pub(super) fn pick_one<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        of.get(self.number_below(of.len())).copied()
    }
}

/// A number in which every bit of another counts.
fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_is_the_same_whatever_those_before_it_needed() {
        let drawn = |seed, round| {
            let mut chance = Chance::new(seed, round);
            (0..8).map(|_| chance.number_below(1000)).collect::<Vec<_>>()
        };
        assert_eq!(drawn(7, 3), drawn(7, 3));
        assert_ne!(drawn(7, 3), drawn(7, 4));
        assert_ne!(drawn(7, 3), drawn(8, 3));
    }

    #[test]
    fn no_two_rounds_have_numbers_in_common() {
        let drawn = |round| {
            let mut chance = Chance::new(7, round);
            (0..8).map(|_| chance.next()).collect::<Vec<_>>()
        };
        let mut all: Vec<u64> = (0..100).flat_map(drawn).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 800);
    }
}
