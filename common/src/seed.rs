//! Chance that can be replayed.
//!
//! Owns how one number becomes all the numbers that ids and jitter are made of. Where that number comes from is the business of
//! whoever starts: a process draws it once from its system, a test or a simulator names it. It reads no randomness itself.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number from which sequences of numbers follow. The same seed gives the same sequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Seed(pub u64);

/// Numbers that look drawn at random, each from the one before. They are no secret: whoever knows the seed knows them all.
#[derive(Debug)]
pub struct RandomSequence {
    state: AtomicU64,
}

/// The step between the states of a sequence: 2^64 divided by the golden ratio, made odd, so that every state is passed once
/// before the first comes again (the generator `SplitMix64`).
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Seed {
    /// The seed for one purpose: two purposes have sequences that have nothing to do with each other.
    #[must_use]
    pub fn for_purpose(self, purpose: &str) -> Self {
        let hashed = purpose.bytes().fold(self.0, |state, byte| mix_bits(state ^ u64::from(byte)));
        Self(mix_bits(hashed))
    }

    /// The sequence of this seed, from its beginning.
    pub fn random_sequence(self) -> RandomSequence {
        RandomSequence { state: AtomicU64::new(self.0) }
    }
}

impl RandomSequence {
    /// The next number. Threads may share a sequence; then none of them gets a number that another got.
    pub fn next(&self) -> u64 {
        mix_bits(self.state.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP))
    }
}

/// Spreads a change of any bit over all bits.
fn mix_bits(state: u64) -> u64 {
    let state = (state.wrapping_add(STEP) ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_again_and_another_gives_others() {
        let numbers = |seed: Seed| {
            let sequence = seed.random_sequence();
            (0..1000).map(|_| sequence.next()).collect::<Vec<_>>()
        };
        assert_eq!(numbers(Seed(7)), numbers(Seed(7)));
        let all: BTreeSet<u64> =
            [0, 1, 7, u64::MAX].into_iter().flat_map(|n| numbers(Seed(n))).collect();
        assert_eq!(all.len(), 4000, "a number came twice");
    }

    #[test]
    fn purposes_have_sequences_of_their_own() {
        let seed = Seed(1);
        assert_eq!(seed.for_purpose("leases"), seed.for_purpose("leases"));
        let seeds: BTreeSet<u64> =
            ["", "a", "b", "ab", "ba", "leases"].map(|purpose| seed.for_purpose(purpose).0).into();
        assert_eq!(seeds.len(), 6);
    }

    #[test]
    fn each_bit_is_set_about_half_of_the_time() {
        let sequence = Seed(3).random_sequence();
        let mut set = [0_u32; 64];
        for _ in 0..4096 {
            let number = sequence.next();
            for (bit, count) in set.iter_mut().enumerate() {
                *count += u32::from(number >> bit & 1 == 1);
            }
        }
        assert!(set.iter().all(|count| (1843..2253).contains(count)), "{set:?}");
    }
}
