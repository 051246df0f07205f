//! The figures of `examples/plan_speed.rs`, under criterion, for comparing one change with the next.

#![allow(missing_docs, reason = "criterion's macros make public items")]

#[path = "large.rs"]
mod large;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use muster_engine::schedule::{Scheduler, schedule};

fn bench_plans(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("plan");
    group.sample_size(10);
    let small = large::large_cluster(1_000, 10_000, 0);
    group.bench_function("10k/full", |b| b.iter(|| schedule(&small)));
    let still = large::placed_cluster(small);
    group.bench_function("10k/nothing", |b| b.iter(|| schedule(&still)));
    let apart = large::large_cluster(1_000, 10_000, 1);
    group.bench_function("10k/conflicts", |b| b.iter(|| schedule(&apart)));
    let large_ = large::large_cluster(5_000, 100_000, 10);
    group.bench_function("100k/full", |b| b.iter(|| schedule(&large_)));
    let settled = large::placed_cluster(large_);
    let mut scheduler = Scheduler::new(&settled);
    scheduler.plan();
    let change = large::new_unit(&settled, 1);
    group.bench_function("100k/one", |b| {
        b.iter_batched_ref(
            || scheduler.clone(),
            |scheduler| {
                scheduler.apply(&change);
                scheduler.plan()
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

criterion_group!(benches, bench_plans);
criterion_main!(benches);
