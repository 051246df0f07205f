//! Pauses between attempts at a record that others want too.
//!
//! Owns how the pauses grow, how they are spread, and when there is no time for another attempt. The seed is an argument: who
//! contends has another one each.

use std::time::Duration;

/// First pause after a conflict or an answer the store did not give: about one commit of etcd.
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// Longest pause: long enough for forty daemons that want the same record to find a gap, short for a person who waits.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// Pauses of one call, each twice as long as the one before, and spread up to twice their length.
#[derive(Debug, Clone)]
pub struct RetrySchedule {
    deadline: Duration,
    pause: Duration,
    seed: u64,
}

impl RetrySchedule {
    /// A schedule of a call that has to answer by `deadline`, on the caller's clock.
    pub fn new(deadline: Duration, seed: u64) -> Self {
        Self { deadline, pause: FIRST_PAUSE, seed }
    }

    /// The pause before the next attempt; `None`: it would begin after the deadline.
    pub fn next_pause(&mut self, now: Duration) -> Option<Duration> {
        let pause = self.pause + self.pause.mul_f64(self.next_fraction());
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        debug_assert!(pause <= LONGEST_PAUSE * 2, "a person waits: {pause:?}");
        (now + pause < self.deadline).then_some(pause)
    }

    /// A number from 0 up to 1, by `SplitMix64` (Steele, Lea, Flood: Fast splittable pseudorandom number generators).
    fn next_fraction(&mut self) -> f64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        // The 32 high bits: a float holds them without loss.
        f64::from(u32::try_from(mixed >> 32).unwrap_or(u32::MAX)) / (f64::from(u32::MAX) + 1.0)
    }
}

/// A seed for one of the calls of somebody: those who contend have other names, and so other pauses. FNV-1a (Fowler, Noll, Vo).
pub fn seed_of(who: &str, call: u64) -> u64 {
    let bytes = who.bytes().chain(call.to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses(seed: u64, deadline: u64) -> Vec<Duration> {
        let mut schedule = RetrySchedule::new(Duration::from_millis(deadline), seed);
        let mut now = Duration::ZERO;
        let next = || {
            let pause = schedule.next_pause(now)?;
            now += pause;
            Some(pause)
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_are_spread_by_the_seed() {
        let all = pauses(7, 60_000);
        for (n, pause) in all.iter().enumerate() {
            let least =
                (FIRST_PAUSE * 2_u32.pow(u32::try_from(n.min(10)).unwrap())).min(LONGEST_PAUSE);
            assert!(*pause >= least && *pause < least * 2, "pause {n}: {pause:?}");
        }
        assert_eq!(all, pauses(7, 60_000), "the same seed, the same pauses");
        assert_ne!(all, pauses(8, 60_000));
    }

    #[test]
    fn whoever_contends_pauses_otherwise() {
        let all: std::collections::BTreeSet<u64> = (0..40)
            .flat_map(|n| [seed_of(&format!("m{n}"), 0), seed_of(&format!("m{n}"), 1)])
            .collect();
        assert_eq!(all.len(), 80);
    }

    #[test]
    fn no_attempt_begins_after_the_deadline() {
        for seed in 0..50 {
            let all: Duration = pauses(seed, 1000).iter().sum();
            assert!(all < Duration::from_secs(1), "{all:?}");
        }
        assert_eq!(pauses(1, 5), []);
    }
}
