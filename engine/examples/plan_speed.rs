//! Measures how fast decisions are made, and prints one line of JSON a figure: seconds, median, least and most.
//!
//! `cargo run --release -p muster-engine --example plan_speed [RUNS]`

#![allow(
    clippy::disallowed_methods,
    reason = "measuring needs a clock; the engine itself has none"
)]

#[path = "../benches/large.rs"]
mod large;

use std::hint::black_box;
use std::io::Write as _;
use std::time::{Duration, Instant};

use muster_engine::schedule::{Scheduler, schedule};

fn main() {
    let runs = std::env::args().nth(1).and_then(|runs| runs.parse().ok()).unwrap_or(15);
    let small = large::large_cluster(1_000, 10_000, 0);
    measure_runs("full plan, 1,000 machines, 10,000 units", runs, || time_of(|| schedule(&small)));
    let still = large::placed_cluster(small);
    measure_runs("a pass that changes nothing, 1,000 machines, 10,000 units", runs, || {
        time_of(|| schedule(&still))
    });
    let apart = large::large_cluster(1_000, 10_000, 1);
    measure_runs(
        "every unit in conflict with its own template, 1,000 machines, 10,000 units",
        runs,
        || time_of(|| schedule(&apart)),
    );
    let large_ = large::large_cluster(5_000, 100_000, 10);
    measure_runs("full plan, 5,000 machines, 100,000 units, conflicts on a tenth", runs, || {
        time_of(|| schedule(&large_))
    });
    let settled = large::placed_cluster(large_);
    let mut scheduler = Scheduler::new(&settled);
    scheduler.plan();
    let mut number = 0;
    measure_runs("one unit more, 5,000 machines, 100,000 units", runs.max(100), || {
        number += 1;
        let change = large::new_unit(&settled, number);
        let (taken, plan) = time_once(|| {
            scheduler.apply(&change);
            scheduler.plan()
        });
        for change in large::plan_changes(&plan) {
            scheduler.apply(&change);
        }
        scheduler.plan();
        taken
    });
    let lost: Vec<_> = settled.machines.values().take(40).cloned().collect();
    let mut lost = lost.into_iter();
    measure_runs("one machine lost, 5,000 machines, 100,000 units", 20, || {
        let Some(machine) = lost.next() else { return Duration::ZERO };
        let change = muster_common::snapshot::Change::Machine(machine.id, None);
        let (taken, plan) = time_once(|| {
            scheduler.apply(&change);
            scheduler.plan()
        });
        for change in large::plan_changes(&plan) {
            scheduler.apply(&change);
        }
        scheduler.plan();
        taken
    });
}

fn time_of<T>(decide: impl FnOnce() -> T) -> Duration {
    time_once(decide).0
}

fn time_once<T>(decide: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let decided = black_box(decide());
    (start.elapsed(), decided)
}

fn measure_runs(what: &str, runs: usize, mut run: impl FnMut() -> Duration) {
    run();
    let mut taken: Vec<f64> = (0..runs.max(1)).map(|_| run().as_secs_f64()).collect();
    taken.sort_by(f64::total_cmp);
    let at = |index: usize| taken.get(index).copied().unwrap_or_default();
    let (median, least, most) = (at(taken.len() / 2), at(0), at(taken.len() - 1));
    let _ = writeln!(
        std::io::stdout(),
        "{{\"what\":\"{what}\",\"runs\":{runs},\"median_s\":{median:.6},\"min_s\":{least:.6},\"max_s\":{most:.6}}}"
    );
}
