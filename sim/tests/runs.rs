//! Runs of the simulator: the same seed gives the same run, and kept runs end as they should.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a run that cannot be made is a failure")]

use std::path::Path;

use muster_sim::{KeptVerdict, Micros, Plan, check_kept_run, kept_runs, run_plan};

#[test]
fn the_same_seed_gives_the_same_run_to_the_last_event() {
    // A long run shows no more of this than a short one, and hours of it.
    let is_short = |plan: &Plan| plan.calm_begins() < Micros::from_secs(600);
    for plan in (1000..1016).map(Plan::for_seed).filter(is_short) {
        let seed = plan.run_seed();
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
fn kept_runs_end_well() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    let runs = kept_runs(&seeds).unwrap_or_else(|error| panic!("{error}"));
    for (name, run) in runs {
        if let KeptVerdict::Fails(violation) = check_kept_run(&run) {
            panic!("{name}, which showed once: {}: now {violation:?}", run.shows);
        }
    }
}
