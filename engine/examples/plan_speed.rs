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
    let small = large::cluster(1_000, 10_000, 0);
    measure("full plan, 1,000 machines, 10,000 units", runs, || timed(|| schedule(&small)));
    let still = large::placed(small);
    measure("a pass that changes nothing, 1,000 machines, 10,000 units", runs, || {
        timed(|| schedule(&still))
    });
    let apart = large::cluster(1_000, 10_000, 1);
    measure(
        "every unit in conflict with its own template, 1,000 machines, 10,000 units",
        runs,
        || timed(|| schedule(&apart)),
    );
    let large_ = large::cluster(5_000, 100_000, 10);
    measure("full plan, 5,000 machines, 100,000 units, conflicts on a tenth", runs, || {
        timed(|| schedule(&large_))
    });
    let settled = large::placed(large_);
    let mut scheduler = Scheduler::new(&settled);
    scheduler.plan();
    let mut number = 0;
    measure("one unit more, 5,000 machines, 100,000 units", runs.max(100), || {
        number += 1;
        let change = large::newcomer(&settled, number);
        let (taken, plan) = once(|| {
            scheduler.apply(&change);
            scheduler.plan()
        });
        for change in large::changes(&plan) {
            scheduler.apply(&change);
        }
        scheduler.plan();
        taken
    });
    let lost: Vec<_> = settled.machines.values().take(40).cloned().collect();
    let mut lost = lost.into_iter();
    measure("one machine lost, 5,000 machines, 100,000 units", 20, || {
        let Some(machine) = lost.next() else { return Duration::ZERO };
        let change = muster_common::snapshot::Change::Machine(machine.id, None);
        let (taken, plan) = once(|| {
            scheduler.apply(&change);
            scheduler.plan()
        });
        for change in large::changes(&plan) {
            scheduler.apply(&change);
        }
        scheduler.plan();
        taken
    });
}

fn timed<T>(decide: impl FnOnce() -> T) -> Duration {
    once(decide).0
}

fn once<T>(decide: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let decided = black_box(decide());
    (start.elapsed(), decided)
}

fn measure(what: &str, runs: usize, mut run: impl FnMut() -> Duration) {
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
