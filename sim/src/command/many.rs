//! Many seeds, one after the other.
//!
//! Owns how many are run, what is said while they are, and the summary. A failing seed is printed as soon as it has failed, and the
//! story of the first one is told in the end.

use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use muster_common::probe;

use super::figures::{count_things, group_digits, shown_time};
use super::found::Found;
use crate::coverage::Coverage;
use crate::invariants::Violation;
use crate::moment::Micros;
use crate::plan::Plan;
use crate::planted::PlantedFault;
use crate::run::run_plan;
use crate::shrink::shrink_plan;
use crate::story::tell_story;

/// The pause between two words on how far it is: often enough for a person who wonders, rare enough for a log.
const PROGRESS: Duration = Duration::from_secs(10);
const PROGRESS_OF_LOGS: Duration = Duration::from_secs(60);
/// The failing seeds that the summary names.
const NAMED_SEEDS: usize = 50;
/// Seeds fewer than this leave out much by chance, and what never came says nothing.
const ENOUGH_FOR_COVERAGE: u64 = 100;
/// Seconds in a year.
const YEAR: f64 = 31_557_600.0;

/// The amount of seeds to be run.
#[derive(Debug, Clone, Copy)]
pub(super) enum Amount {
    /// So many.
    Seeds(u64),
    /// As many as are run in this time.
    Time(Duration),
}

/// The seeds to be run.
pub(super) struct ManySeeds {
    pub(super) amount: Amount,
    /// The first one; where none is named, 1, or one drawn from the time where it is a time that was asked for.
    pub(super) first: Option<u64>,
    pub(super) with: Option<&'static PlantedFault>,
    pub(super) jobs: usize,
}

/// The part of a run's outcome that the sums are made of.
struct RunReport {
    seed: u64,
    lasted: Micros,
    machines: usize,
    events: u64,
    coverage: Coverage,
    violation: Option<Violation>,
}

/// The sums over many runs.
#[derive(Debug, Default)]
struct Sums {
    coverage: Coverage,
    runs: u64,
    lasted: Micros,
    node_seconds: f64,
    events: u64,
    failing: Vec<(u64, Violation)>,
}

/// Runs them, and prints what comes of it.
pub(super) fn run_seeds(run: &ManySeeds, coverage: bool) -> Found {
    let began = Instant::now();
    let first = run.first.unwrap_or_else(|| match run.amount {
        Amount::Seeds(_) => 1,
        Amount::Time(_) => seed_of_now(),
    });
    println!("seeds from {first} on, {} at a time", run.jobs);
    let (count, until) = match run.amount {
        Amount::Seeds(count) => (count, None),
        Amount::Time(time) => (u64::MAX, Some(began + time)),
    };
    let next = AtomicU64::new(0);
    let mut sums = Sums::default();
    std::thread::scope(|scope| {
        let (reports, taken) = mpsc::channel();
        for _ in 0..run.jobs {
            let (reports, next) = (reports.clone(), &next);
            scope.spawn(move || {
                probe::plant_fault(run.with.map(|fault| fault.name));
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count || until.is_some_and(|until| Instant::now() >= until) {
                        return;
                    }
                    if reports.send(run_one(first.wrapping_add(index))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(reports);
        sums.take_reports(&taken, began, run.amount);
    });
    sums.print_summary(began.elapsed(), coverage);
    sums.tell_first(run.with);
    Found::from(!sums.failing.is_empty())
}

fn run_one(seed: u64) -> RunReport {
    let plan = Plan::for_seed(seed);
    let mut outcome = run_plan(&plan, false);
    RunReport {
        seed,
        lasted: outcome.lasted,
        machines: plan.count_machines(),
        events: outcome.trace.count_events(),
        violation: (!outcome.violations.is_empty()).then(|| outcome.violations.swap_remove(0)),
        coverage: outcome.coverage,
    }
}

impl Sums {
    /// Takes all reports, and says now and then how far it is.
    fn take_reports(&mut self, taken: &mpsc::Receiver<RunReport>, began: Instant, amount: Amount) {
        let to_person = std::io::stderr().is_terminal();
        let interval = if to_person { PROGRESS } else { PROGRESS_OF_LOGS };
        let mut said = Instant::now();
        loop {
            match taken.recv_timeout(interval.saturating_sub(said.elapsed())) {
                Ok(report) => self.add_report(report),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            }
            if said.elapsed() >= interval {
                said = Instant::now();
                eprintln!("  {}", self.describe_progress(began.elapsed(), amount));
            }
        }
    }

    fn add_report(&mut self, report: RunReport) {
        self.runs += 1;
        self.lasted += report.lasted;
        #[allow(clippy::cast_precision_loss, reason = "a figure for people")]
        let machines = report.machines as f64;
        self.node_seconds += report.lasted.as_secs_f64() * machines;
        self.events += report.events;
        self.coverage.add_run(&report.coverage);
        if let Some(violation) = report.violation {
            println!(
                "seed {}: {} {}: {}",
                report.seed, violation.at, violation.word, violation.text
            );
            self.failing.push((report.seed, violation));
        }
    }

    fn describe_progress(&self, elapsed: Duration, amount: Amount) -> String {
        let left = match amount {
            Amount::Seeds(count) => {
                format!("{} to go", count_things(count.saturating_sub(self.runs), "seed"))
            }
            Amount::Time(time) => format!("{} to go", shown_time(time.saturating_sub(elapsed))),
        };
        let failed = self.failing.len();
        format!(
            "{}, {failed} failed, {}, {:.3} node-years; {left}",
            count_things(self.runs, "seed"),
            count_things(self.coverage.count_faults(), "fault"),
            self.node_seconds / YEAR
        )
    }

    fn print_summary(&mut self, took: Duration, coverage: bool) {
        self.failing.sort_by_key(|(seed, _)| *seed);
        let seconds = took.as_secs_f64().max(0.001);
        println!(
            "{}, {} failed; {}, {}, {:.4} node-years, {} in {}: {:.0} times real time",
            count_things(self.runs, "seed"),
            self.failing.len(),
            count_things(self.coverage.count_faults(), "fault"),
            count_things(self.coverage.count_requests(), "request"),
            self.node_seconds / YEAR,
            count_things(self.events, "event"),
            shown_time(took),
            self.lasted.as_secs_f64() / seconds,
        );
        if coverage {
            print!("{}", self.coverage.describe());
        } else if self.runs >= ENOUGH_FOR_COVERAGE {
            print!("{}", self.coverage.describe_missing());
        }
        if !self.failing.is_empty() {
            let named = self.failing.iter().take(NAMED_SEEDS).map(|(seed, _)| seed.to_string());
            let more = self.failing.len().saturating_sub(NAMED_SEEDS);
            let more = if more > 0 {
                format!(" and {} more", group_digits(more as u64))
            } else {
                String::new()
            };
            println!("failing seeds: {}{more}", named.collect::<Vec<_>>().join(" "));
        }
    }

    /// Tells the story of the first failing seed.
    fn tell_first(&self, with: Option<&'static PlantedFault>) {
        let Some((seed, violation)) = self.failing.first() else { return };
        probe::plant_fault(with.map(|fault| fault.name));
        let (small, _) = shrink_plan(&Plan::for_seed(*seed), violation.word);
        println!("\n{}", tell_story(&small, &run_plan(&small, true)));
    }
}

/// A first seed that no earlier run had: the seconds of the clock, far apart.
fn seed_of_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(1, |since| since.as_secs()).wrapping_mul(1_000_000)
}
