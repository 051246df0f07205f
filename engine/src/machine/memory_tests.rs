//! What is known of runs by their names: of a restart whose end nobody has heard, and of a unit whose name the host has come to use.

use muster_common::probe::plant_fault;

use super::*;

/// The generation for which the run `a`, which is to give way at 3, has done so.
fn restart_of_a(run: &str, is_between_runs: bool) -> Option<u64> {
    let replaced = ReplacedRun { run: "a".to_owned(), restart: Some(3) };
    replaced.find_restart(run, is_between_runs)
}

#[test]
fn a_restart_has_come_about_once_the_run_before_is_over() {
    assert_eq!(restart_of_a("a", false), None, "it has not been heard");
    assert_eq!(restart_of_a("b", false), Some(3));
    assert_eq!(restart_of_a("", false), None, "nobody says which run it is in");
    let unasked = ReplacedRun { run: "a".to_owned(), restart: None };
    assert_eq!(unasked.find_restart("b", false), None);
}

fn a_restart_whose_next_run_is_being_begun_has_come_about() {
    assert_eq!(restart_of_a("", true), Some(3));
}

/// Asserts that a rule is noticed when it is left out.
fn fails_without(planted: &'static str, test: fn()) {
    test();
    plant_fault(Some(planted));
    let passed = std::panic::catch_unwind(test);
    plant_fault(None);
    assert!(passed.is_err(), "{planted} makes no difference here");
}

#[test]
fn a_restart_that_is_under_way_is_not_made_once_more() {
    fails_without(
        "restart-under-way-repeated",
        a_restart_whose_next_run_is_being_begun_has_come_about,
    );
}

fn a_run_of_ours_is_known_by_its_name() {
    let fresh = OwnedUnit::new(FileHash::of_text(""));
    let started = OwnedUnit { run: Some("a".to_owned()), ..fresh.clone() };
    assert!(started.is_own_run("a"));
    assert!(!started.is_own_run("b"), "the host has started its own since");
    assert!(!started.is_own_run("") && !fresh.is_own_run("") && !fresh.is_own_run("a"));
    assert!(!started.after_boot().is_own_run("a"));
}

#[test]
fn what_runs_of_ours_is_known_though_the_host_has_the_name() {
    fails_without("own-run-taken-for-the-hosts", a_run_of_ours_is_known_by_its_name);
}
