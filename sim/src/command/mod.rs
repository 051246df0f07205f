//! The command line of the simulator.
//!
//! Owns what is run for how long, and what is printed of it: each failing seed at once, so that it can be run again.

use std::num::NonZeroUsize;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Parser;
use muster_common::probe;

use crate::coverage::Coverage;
use crate::keep::{KeptRun, keep_run};
use crate::moment::Micros;
use crate::plan::Plan;
use crate::planted::{PLANTED, PlantedFault};
use crate::run::{RunOutcome, run_plan};
use crate::shrink::shrink_plan;
use crate::story::tell_story;

/// Run the daemons' own loops in a world that fails by a seed, and look for what must never happen.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask sim", bin_name = "cargo xtask sim")]
pub struct SimArguments {
    /// Run this many seeds.
    #[arg(long, value_name = "N", conflicts_with_all = ["minutes", "seed", "keep", "planted"])]
    seeds: Option<u64>,
    /// Run new seeds for this long.
    #[arg(long, value_name = "N", conflicts_with_all = ["seed", "keep", "planted"])]
    minutes: Option<u64>,
    /// Run one seed, and tell its story if it fails.
    #[arg(long, value_name = "SEED", conflicts_with_all = ["keep", "planted"])]
    seed: Option<u64>,
    /// With `--seed`: print every event.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Shrink a failing seed and keep it in sim/seeds, where a test runs it for ever.
    #[arg(long, value_name = "SEED")]
    keep: Option<u64>,
    /// Plant faults in the product, one after the other or only this one, and see whether they are found.
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "")]
    planted: Option<String>,
    /// With `--seed` or `--keep`: plant this fault.
    #[arg(long, value_name = "NAME")]
    with: Option<String>,
    /// The first seed of `--seeds` and `--planted`.
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    first: u64,
    /// Seeds that are run at a time.
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Print how often each fault, request and marked branch came.
    #[arg(long)]
    coverage: bool,
}

/// Does as the command line says.
pub fn run_command(arguments: &SimArguments) -> ExitCode {
    // A daemon that panics is a finding, and is told as one.
    std::panic::set_hook(Box::new(|_| {}));
    let with = match arguments.with.as_deref().map(find_planted).transpose() {
        Ok(with) => with,
        Err(code) => return code,
    };
    if let Some(seed) = arguments.seed {
        return run_seed(seed, arguments.trace, with);
    }
    if let Some(seed) = arguments.keep {
        return keep_seed(seed, with);
    }
    if let Some(name) = &arguments.planted {
        return run_planted(name, arguments.first);
    }
    run_seeds(arguments, with)
}

fn find_planted(name: &str) -> Result<&'static PlantedFault, ExitCode> {
    PLANTED.iter().find(|fault| fault.name == name).ok_or_else(|| {
        eprintln!("error: no planted fault is named {name}");
        ExitCode::from(2)
    })
}

fn run_seed(seed: u64, traces: bool, with: Option<&PlantedFault>) -> ExitCode {
    probe::plant_fault(with.map(|fault| fault.name));
    let plan = Plan::for_seed(seed);
    let outcome = run_plan(&plan, true);
    if traces {
        for (at, line) in outcome.trace.lines() {
            println!("{at} {line}");
        }
    }
    println!("{}", summary_line(seed, &plan, &outcome));
    let Some(violation) = outcome.violations.first() else { return ExitCode::SUCCESS };
    let (small, runs) = shrink_plan(&plan, violation.word);
    println!("shrunk in {runs} runs:\n{}", tell_story(&small, &run_plan(&small, true)));
    ExitCode::FAILURE
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

fn keep_seed(seed: u64, with: Option<&PlantedFault>) -> ExitCode {
    probe::plant_fault(with.map(|fault| fault.name));
    let plan = Plan::for_seed(seed);
    let outcome = run_plan(&plan, false);
    let Some(violation) = outcome.violations.first() else {
        eprintln!("error: seed {seed} shows nothing");
        return ExitCode::FAILURE;
    };
    let (small, _) = shrink_plan(&plan, violation.word);
    let run = KeptRun {
        shows: violation.text.clone(),
        word: violation.word.to_owned(),
        planted: with.map(|fault| fault.name.to_owned()),
        plan: small,
    };
    let name = format!("{}-{seed}", with.map_or(violation.word, |fault| fault.name));
    match keep_run(Path::new("sim/seeds"), &name, &run) {
        Ok(path) => {
            println!("kept as {}", path.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: cannot keep it: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run_planted(name: &str, first: u64) -> ExitCode {
    let mut missed = 0;
    for fault in PLANTED.iter().filter(|fault| name.is_empty() || fault.name == name) {
        let mut hits = 0;
        let found = (first..first + fault.budget).find_map(|seed| {
            let plan = Plan::for_seed(seed);
            probe::plant_fault(Some(fault.name));
            let outcome = run_plan(&plan, false);
            hits += outcome.planted_hits;
            let violation = outcome.violations.into_iter().next()?;
            // A seed that fails without it as well shows nothing of it.
            probe::plant_fault(None);
            run_plan(&plan, false).violations.is_empty().then_some((seed, violation))
        });
        probe::plant_fault(None);
        if let Some((seed, violation)) = found {
            println!("{}: seed {seed}, {}: {}", fault.name, violation.word, violation.text);
            continue;
        }
        missed += 1;
        println!(
            "{}: NOT FOUND in {} seeds ({hits} times passed); it leaves out {}",
            fault.name, fault.budget, fault.leaves_out
        );
    }
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The sums over many runs.
#[derive(Debug, Default)]
struct Sums {
    coverage: Coverage,
    runs: u64,
    failed: u64,
    lasted: Micros,
    node_seconds: f64,
    events: u64,
}

fn run_seeds(arguments: &SimArguments, with: Option<&PlantedFault>) -> ExitCode {
    let began = Instant::now();
    let until = arguments.minutes.map(|minutes| began + Duration::from_secs(60 * minutes));
    let count = arguments.seeds.unwrap_or(if until.is_some() { u64::MAX } else { 100 });
    // New seeds each time, where it is a time that was asked for.
    let first = if until.is_some() { seed_of_today() } else { arguments.first };
    println!("seeds from {first} on");
    let next = AtomicU64::new(0);
    let over = AtomicBool::new(false);
    let sums = Mutex::new(Sums::default());
    let jobs = arguments.jobs.map_or(1, NonZeroUsize::get);
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                probe::plant_fault(with.map(|fault| fault.name));
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let late = until.is_some_and(|until| Instant::now() >= until);
                    if index >= count || late || over.load(Ordering::Relaxed) {
                        return;
                    }
                    add_run(&sums, first.wrapping_add(index));
                }
            });
        }
    });
    let sums = sums.into_inner().unwrap_or_else(PoisonError::into_inner);
    print_sums(&sums, began.elapsed(), arguments.coverage);
    if sums.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn add_run(sums: &Mutex<Sums>, seed: u64) {
    let plan = Plan::for_seed(seed);
    let outcome = run_plan(&plan, false);
    let mut sums = sums.lock().unwrap_or_else(PoisonError::into_inner);
    sums.runs += 1;
    sums.lasted += outcome.lasted;
    #[allow(clippy::cast_precision_loss, reason = "a figure for people")]
    let machines = plan.count_machines() as f64;
    sums.node_seconds += outcome.lasted.as_secs_f64() * machines;
    sums.events += outcome.trace.count_events();
    sums.coverage.add_run(&outcome.coverage);
    if let Some(violation) = outcome.violations.first() {
        sums.failed += 1;
        println!("seed {seed}: {} {}: {}", violation.at, violation.word, violation.text);
    }
}

fn print_sums(sums: &Sums, took: Duration, coverage: bool) {
    let seconds = took.as_secs_f64().max(0.001);
    println!(
        "{} seeds, {} failed; {} faults, {:.4} node-years, {} events in {seconds:.1} s: {:.0} times real time",
        sums.runs,
        sums.failed,
        sums.coverage.count_faults(),
        sums.node_seconds / 31_557_600.0,
        sums.events,
        sums.lasted.as_secs_f64() / seconds,
    );
    if coverage {
        print!("{}", sums.coverage.describe());
    }
}

/// A first seed that no earlier run had: the seconds of the clock, far apart.
fn seed_of_today() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(1, |since| since.as_secs()).wrapping_mul(1_000_000)
}
