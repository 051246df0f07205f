//! The table of planted faults: by what each is found.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Instant;

use muster_common::probe;

use super::figures::{count_things, shown_time};
use super::found::Found;
use super::single::seeds_directory;
use crate::invariants::Violation;
use crate::keep::{KeptRun, kept_runs};
use crate::plan::Plan;
use crate::planted::PlantedFault;
use crate::run::run_plan;

/// By what a planted fault was found.
enum Finding {
    /// A kept run of this name.
    Kept(String, Violation),
    /// A seed, which is the so-manieth that was tried.
    Seed(u64, u64, Violation),
    /// A test of this name, which the suite runs, after so many seeds in vain.
    Test(&'static str, u64),
    /// Nothing, though the rule was left out this often.
    Hole(u64),
}

/// Plants each fault, looks for a run that notices, and prints the table.
pub(super) fn run_planted(faults: &[&'static PlantedFault], first: u64, jobs: usize) -> Found {
    let kept = match kept_runs(&seeds_directory()) {
        Ok(kept) => kept,
        Err(error) => {
            eprintln!("error: {error}");
            return Found::Something;
        }
    };
    let began = Instant::now();
    let search = Search { first, kept, healthy: Mutex::default() };
    let next = AtomicUsize::new(0);
    let mut holes = 0;
    println!("{} planted, seeds from {first} on", count_things(faults.len() as u64, "fault"));
    std::thread::scope(|scope| {
        let (rows, taken) = mpsc::channel();
        for _ in 0..jobs.min(faults.len()) {
            let (rows, next, search) = (rows.clone(), &next, &search);
            scope.spawn(move || {
                while let Some(fault) = faults.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if rows.send((*fault, search.find_fault(fault))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(rows);
        for (fault, finding) in taken {
            holes += usize::from(matches!(finding, Finding::Hole(_)));
            println!("{}", describe_row(fault, &finding));
        }
    });
    println!(
        "{} of {} found, {holes} not, in {}",
        faults.len() - holes,
        count_things(faults.len() as u64, "fault"),
        shown_time(began.elapsed())
    );
    Found::from(holes > 0)
}

fn describe_row(fault: &PlantedFault, finding: &Finding) -> String {
    let name = fault.name;
    match finding {
        Finding::Kept(run, violation) => {
            format!("{name}: kept run {run}: {}: {}", violation.word, violation.text)
        }
        Finding::Seed(seed, tried, violation) => format!(
            "{name}: seed {seed}, {tried} of {}: {}: {}",
            fault.budget, violation.word, violation.text
        ),
        Finding::Test(test, 0) => format!("{name}: test {test}"),
        Finding::Test(test, tried) => {
            format!("{name}: test {test}, and none of {}", count_things(*tried, "seed"))
        }
        Finding::Hole(hits) => format!(
            "{name}: HOLE: not found in {}, though passed {hits} times; it leaves out {}",
            count_things(fault.budget, "seed"),
            fault.leaves_out
        ),
    }
}

struct Search {
    first: u64,
    kept: Vec<(String, KeptRun)>,
    /// By seed: whether it ends well with nothing planted. One that does not shows nothing of a planted fault.
    healthy: Mutex<BTreeMap<u64, bool>>,
}

impl Search {
    fn find_fault(&self, fault: &'static PlantedFault) -> Finding {
        let mut hits = 0;
        let mut run_with = |plan: &Plan| {
            probe::plant_fault(Some(fault.name));
            let outcome = run_plan(plan, false);
            probe::plant_fault(None);
            hits += outcome.planted_hits;
            outcome.violations.into_iter().next()
        };
        for (name, run) in self.kept.iter().filter(|(_, run)| run.is_kept_for(fault.name)) {
            if let Some(violation) = run_with(&run.plan) {
                return Finding::Kept(name.clone(), violation);
            }
        }
        for tried in 0..fault.budget {
            let seed = self.first.wrapping_add(tried);
            let violation = run_with(&Plan::for_seed(seed));
            if let Some(violation) = violation.filter(|_| self.is_healthy(seed)) {
                return Finding::Seed(seed, tried + 1, violation);
            }
        }
        fault.test.map_or(Finding::Hole(hits), |test| Finding::Test(test, fault.budget))
    }

    fn is_healthy(&self, seed: u64) -> bool {
        let known = self.healthy.lock().unwrap_or_else(PoisonError::into_inner).get(&seed).copied();
        known.unwrap_or_else(|| {
            let well = run_plan(&Plan::for_seed(seed), false).violations.is_empty();
            self.healthy.lock().unwrap_or_else(PoisonError::into_inner).insert(seed, well);
            well
        })
    }
}
