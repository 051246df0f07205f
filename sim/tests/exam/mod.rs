//! The exam of a rule: it holds, and it does not once it is left out.

#![allow(dead_code, reason = "each test uses some of it")]

use muster_common::probe::plant_fault;
use muster_sim::find_fault;

/// Asserts that something holds, and that it does not once this rule is left out.
pub(crate) fn holds_unless(planted: &'static str, mut holds: impl FnMut() -> bool) {
    assert!(find_fault(planted).is_some(), "{planted} is not in the table");
    plant_fault(None);
    assert!(holds(), "it does not hold");
    plant_fault(Some(planted));
    let held = holds();
    plant_fault(None);
    assert!(!held, "{planted} makes no difference here");
}

/// Asserts that a test passes, and that it does not once this rule is left out.
pub(crate) fn fails_without(planted: &'static str, test: fn()) {
    holds_unless(planted, || std::panic::catch_unwind(test).is_ok());
}
