//! Points in the code that a simulator knows by name.
//!
//! Owns two questions that cost nothing in a program: whether a fault is planted here on purpose ([`is_planted`]), and how often
//! a branch was reached ([`reached`]). Without the feature `probes`, which only the simulator switches on, the first is a constant
//! `false` and the second does nothing. What is planted and counted belongs to the thread: a run of a simulation is one.
//!
//! A planted fault is a guard or a rule that is left out: the simulator has to notice. Its name is written once in the code, and
//! once in the simulator's table (`sim/src/planted`), which a test compares. The same holds for the names of branches.

/// True if the fault of this name is planted: the rule that stands here is left out. Never in a program.
#[cfg(not(feature = "probes"))]
#[inline]
#[must_use]
pub const fn is_planted(_fault: &str) -> bool {
    false
}

/// Counts that a branch was reached which seldom is. Nothing in a program.
#[cfg(not(feature = "probes"))]
#[inline]
pub const fn reached(_branch: &str) {}

#[cfg(feature = "probes")]
pub use switched_on::{is_planted, plant_fault, reached, take_planted_hits, take_reached};

#[cfg(feature = "probes")]
mod switched_on {
    use std::cell::{Cell, RefCell};
    use std::collections::BTreeMap;

    thread_local! {
        static PLANTED: Cell<Option<&'static str>> = const { Cell::new(None) };
        static HITS: Cell<u64> = const { Cell::new(0) };
        static REACHED: RefCell<BTreeMap<&'static str, u64>> = const { RefCell::new(BTreeMap::new()) };
    }

    /// Plants the fault of this name on this thread, in the place of any other; with `None` nothing is planted.
    pub fn plant_fault(fault: Option<&'static str>) {
        PLANTED.set(fault);
        HITS.set(0);
    }

    /// True if the fault of this name is planted on this thread: the rule that stands here is left out.
    #[must_use]
    pub fn is_planted(fault: &str) -> bool {
        let planted = PLANTED.get() == Some(fault);
        if planted {
            HITS.set(HITS.get() + 1);
        }
        planted
    }

    /// The number of times that the planted fault was passed since it was planted or since this was called.
    pub fn take_planted_hits() -> u64 {
        HITS.take()
    }

    /// Counts that a branch was reached which seldom is.
    pub fn reached(branch: &'static str) {
        REACHED.with_borrow_mut(|counts| *counts.entry(branch).or_default() += 1);
    }

    /// The number of times that each branch was reached on this thread since this was called last; those that were not are missing.
    pub fn take_reached() -> BTreeMap<&'static str, u64> {
        REACHED.take()
    }
}

#[cfg(all(test, feature = "probes"))]
mod tests {
    use super::*;

    #[test]
    fn one_fault_is_planted_at_a_time_and_branches_are_counted() {
        assert!(!is_planted("a"));
        plant_fault(Some("a"));
        assert!(is_planted("a") && is_planted("a") && !is_planted("b"));
        assert_eq!(take_planted_hits(), 2);
        plant_fault(None);
        assert!(!is_planted("a"));
        reached("rare");
        reached("rare");
        assert_eq!(take_reached().into_iter().collect::<Vec<_>>(), [("rare", 2)]);
        assert!(take_reached().is_empty());
    }
}
