//! Steps that lead nowhere.
//!
//! Owns the count of what happens within a second of the world, by whom, so that a daemon that asks and is answered for ever is a
//! finding, and the run comes to its end.

use crate::moment::Micros;

/// Steps of one daemon, or of the world itself, within one second of the world. A thousand units started at once take a few thousand.
const STEPS_IN_A_SECOND: u64 = 50_000;

/// The count of steps.
#[derive(Debug)]
pub(crate) struct StepGuard {
    second: u64,
    /// By node; the last one is the world.
    counts: Vec<u64>,
}

impl StepGuard {
    /// The guard of a world with so many nodes.
    pub(crate) fn new(nodes: usize) -> Self {
        Self { second: 0, counts: vec![0; nodes + 1] }
    }

    /// Counts a step of a node, or of the world. True if there were too many by now: it gets nowhere.
    pub(crate) fn count_step(&mut self, now: Micros, node: Option<usize>) -> bool {
        let second = now.0 / 1_000_000;
        if second != self.second {
            self.second = second;
            self.counts.fill(0);
        }
        let last = self.counts.len().saturating_sub(1);
        let Some(count) = self.counts.get_mut(node.unwrap_or(last).min(last)) else { return false };
        *count += 1;
        *count > STEPS_IN_A_SECOND
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_gets_nowhere_is_noticed_and_nobody_else() {
        let mut guard = StepGuard::new(2);
        let at = Micros::from_secs(7);
        for _ in 0..STEPS_IN_A_SECOND {
            assert!(!guard.count_step(at, Some(0)));
            assert!(!guard.count_step(at, None));
        }
        assert!(guard.count_step(at, Some(0)));
        assert!(!guard.count_step(at, Some(1)));
        assert!(!guard.count_step(Micros::from_secs(8), Some(0)));
    }
}
