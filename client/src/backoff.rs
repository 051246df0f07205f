//! Pauses between attempts.
//!
//! Owns how they grow and how they are scattered. Pure: it reads no clock, and its chance is a seed.

use std::time::Duration;

/// First pause: long enough not to spin, short enough not to be noticed while a daemon restarts.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);

/// Longest pause: a person who watches does not notice it, and a hundred clients that wait for one daemon are no load.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Pauses that double from a tenth of a second to two seconds, each scattered between half of it and the whole, so that
/// clients that lost the same daemon do not come back in step.
#[derive(Debug, Clone)]
pub struct Backoff {
    /// The next pause before it is scattered.
    next: Duration,
    random: u64,
}

impl Backoff {
    /// Creates the pauses of one client; another `seed` scatters them otherwise.
    pub fn new(seed: u64) -> Self {
        Self { next: SHORTEST_PAUSE, random: seed }
    }

    /// Returns how long to wait before the next attempt.
    pub fn next_pause(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(LONGEST_PAUSE);
        let half = whole / 2;
        let span = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX);
        let pause = half + Duration::from_nanos(self.next_random() % span.max(1));
        // Never longer than was promised, and never none at all.
        debug_assert!(
            (SHORTEST_PAUSE / 2..=LONGEST_PAUSE).contains(&pause),
            "{pause:?} of {whole:?}"
        );
        pause
    }

    /// Begins with the shortest pause again.
    pub fn reset(&mut self) {
        self.next = SHORTEST_PAUSE;
    }

    /// `SplitMix64` (Steele, Lea, Flood 2014): enough to scatter, and nothing else is asked of it.
    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses(seed: u64, count: usize) -> Vec<Duration> {
        let mut backoff = Backoff::new(seed);
        std::iter::repeat_with(|| backoff.next_pause()).take(count).collect()
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_are_scattered_below_it() {
        for seed in 0..200 {
            let mut whole = SHORTEST_PAUSE;
            for pause in pauses(seed, 12) {
                assert!(pause >= whole / 2 && pause <= whole, "{pause:?} of {whole:?}");
                whole = (whole * 2).min(LONGEST_PAUSE);
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_pauses_and_another_gives_others() {
        assert_eq!(pauses(1, 8), pauses(1, 8));
        assert_ne!(pauses(1, 8), pauses(2, 8));
    }

    #[test]
    fn it_begins_anew_when_it_is_reset() {
        let mut backoff = Backoff::new(3);
        while backoff.next_pause() < LONGEST_PAUSE / 2 {}
        backoff.reset();
        assert!(backoff.next_pause() <= SHORTEST_PAUSE);
    }
}
