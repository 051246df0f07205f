//! One seed, or what was kept of earlier ones.

use std::path::{Path, PathBuf};

use muster_common::probe;

use super::figures::count_things;
use super::found::Found;
use crate::keep::{KeptRun, KeptVerdict, check_kept_run, keep_run, kept_runs};
use crate::plan::Plan;
use crate::planted::PlantedFault;
use crate::run::{RunOutcome, run_plan};
use crate::shrink::shrink_plan;
use crate::story::tell_story;

/// The directory of the kept plans, in the checkout.
pub(super) fn seeds_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds")
}

/// Runs a seed, and tells its story if it fails.
pub(super) fn run_seed(seed: u64, traces: bool, with: Option<&PlantedFault>) -> Found {
    probe::plant_fault(with.map(|fault| fault.name));
    let plan = Plan::for_seed(seed);
    let outcome = run_plan(&plan, traces);
    if traces {
        for (at, line) in outcome.trace.lines() {
            println!("{at} {line}");
        }
    }
    println!("{}", summary_line(seed, &plan, &outcome));
    let Some(violation) = outcome.violations.first() else { return Found::Nothing };
    let (small, runs) = shrink_plan(&plan, violation.word);
    println!("{} {}: {}", violation.at, violation.word, violation.text);
    println!(
        "made smaller in {}\n\n{}",
        count_things(runs, "run"),
        tell_story(&small, &run_plan(&small, true))
    );
    Found::Something
}

fn summary_line(seed: u64, plan: &Plan, outcome: &RunOutcome) -> String {
    format!(
        "seed {seed}: {} machines, {} faults, {} requests, {} s, {} events, hash {:016x}",
        plan.count_machines(),
        plan.count_faults(),
        plan.count_requests(),
        outcome.lasted,
        outcome.trace.count_events(),
        outcome.trace.hash()
    )
}

/// Shrinks a failing seed and keeps its plan.
pub(super) fn keep_seed(seed: u64, with: Option<&PlantedFault>) -> Found {
    probe::plant_fault(with.map(|fault| fault.name));
    let plan = Plan::for_seed(seed);
    let outcome = run_plan(&plan, false);
    let Some(violation) = outcome.violations.first() else {
        eprintln!("error: seed {seed} shows nothing");
        return Found::Something;
    };
    let (small, _) = shrink_plan(&plan, violation.word);
    // The same in a word, and most likely about somebody else.
    let shown = run_plan(&small, false).violations.into_iter().next();
    let shown = shown.unwrap_or_else(|| violation.clone());
    let run = KeptRun {
        seed,
        shows: shown.text,
        word: shown.word.to_owned(),
        planted: with.map(|fault| fault.name.to_owned()),
        plan: small,
    };
    let name = format!("{}-{seed}", with.map_or(violation.word, |fault| fault.name));
    match keep_run(&seeds_directory(), &name, &run) {
        Ok(path) => {
            println!("kept as {}", path.display());
            if with.is_none() {
                println!("a test fails from now on, until what it shows is mended");
            }
            Found::Nothing
        }
        Err(error) => {
            eprintln!("error: {error}");
            Found::Something
        }
    }
}

/// Runs all kept plans, and tells the story of each that fails.
pub(super) fn run_kept() -> Found {
    let runs = match kept_runs(&seeds_directory()) {
        Ok(runs) => runs,
        Err(error) => {
            eprintln!("error: {error}");
            return Found::Something;
        }
    };
    let mut failed = 0;
    for (name, run) in &runs {
        match check_kept_run(run) {
            KeptVerdict::Well => println!("{name}: well"),
            KeptVerdict::ShowsNothing => {
                println!("{name}: well, but with its fault planted as well; keep another seed");
            }
            KeptVerdict::Fails(violation) => {
                failed += 1;
                println!("{name}: {} {}: {}", violation.at, violation.word, violation.text);
                println!("\n{}", tell_story(&run.plan, &run_plan(&run.plan, true)));
            }
        }
    }
    println!("{}, {failed} failed", count_things(runs.len() as u64, "kept run"));
    Found::from(failed > 0)
}
