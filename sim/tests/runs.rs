//! Runs of the simulator: the same seed gives the same run, and kept runs end as they should.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a run that cannot be made is a failure")]

use std::path::Path;

use muster_common::probe;
use muster_sim::{PLANTED, Plan, kept_runs, run_plan};

#[test]
fn the_same_seed_gives_the_same_run_to_the_last_event() {
    for seed in 1000..1020 {
        let plan = Plan::for_seed(seed);
        let (first, second) = (run_plan(&plan, false), run_plan(&plan, false));
        assert_eq!(first.trace.hash(), second.trace.hash(), "seed {seed}");
        assert_eq!(first.trace.count_events(), second.trace.count_events(), "seed {seed}");
    }
}

#[test]
fn seeds_give_runs_of_their_own() {
    let hash = |seed| run_plan(&Plan::for_seed(seed), false).trace.hash();
    assert_ne!(hash(1), hash(2));
}

#[test]
fn kept_runs_end_as_they_should() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    for (name, run) in kept_runs(&seeds).unwrap() {
        probe::plant_fault(None);
        let outcome = run_plan(&run.plan, false);
        assert_eq!(outcome.violations, [], "{name}, which showed once: {}", run.shows);
        let Some(planted) = &run.planted else { continue };
        let fault = PLANTED.iter().find(|fault| fault.name == planted);
        let fault = fault.unwrap_or_else(|| panic!("{name}: no planted fault is named {planted}"));
        probe::plant_fault(Some(fault.name));
        let outcome = run_plan(&run.plan, false);
        probe::plant_fault(None);
        let words: Vec<&str> = outcome.violations.iter().map(|found| found.word).collect();
        assert!(
            words.contains(&run.word.as_str()),
            "{name}: {words:?} in the place of {}",
            run.word
        );
    }
}
