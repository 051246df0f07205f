//! Stories of a container whose engine, line, daemon or person does something at one of many moments, and what became of it.

use std::time::Duration;

use muster_common::state::sub;
use muster_sim::containers::{EngineModel, EngineOptions};
use musterd::runner::StartOutcome;

use crate::engine_bench::{EngineBench, container, good, name};

pub(crate) fn not_live() -> EngineOptions {
    EngineOptions { live_restore: false, ..EngineOptions::default() }
}

/// A job that has run for a second is done.
pub(crate) fn job() -> String {
    container("Exec=/sim/run runs=1s\n[Service]\nType=oneshot\n[X-Fleet]\nJob=yes")
}

/// The starts of a job whose daemon has lost its line to the engine at one of many moments; the most there were.
pub(crate) fn starts_over_a_broken_line() -> usize {
    let starts = (0..150).map(|length| {
        let mut bench = EngineBench::with_options(length, EngineOptions::default());
        bench.write("job.container", &job());
        bench.begin_start("job.container");
        let end = bench.now + Duration::from_millis(length * 10);
        while bench.step(end) {}
        bench.engine.set_line(false);
        bench.engine.set_line(true);
        bench.pass(20);
        assert_eq!(bench.active("job.container"), "inactive", "cut after {length}");
        bench.engine.take_starts().len()
    });
    starts.max().unwrap_or_default()
}

/// The starts that a slow engine was asked for after their unit had been told to stop, at one of many moments of a restart.
pub(crate) fn starts_asked_after_stops() -> usize {
    let starts = (0..40).map(|moment| {
        let mut bench = EngineBench::with_options(moment, EngineOptions::default());
        bench.write("a.container", &good());
        bench.start("a.container");
        bench.engine.with_model(|model| model.kill_by_hand(0)).unwrap();
        bench.pass(2);
        bench.engine.take_starts();
        bench.engine.with_model(|model| model.set_slow(1000));
        bench.begin_start("a.container");
        let told = bench.now + Duration::from_millis(moment * 500);
        while bench.step(told) {}
        assert_eq!(bench.stop("a.container"), StartOutcome::Done);
        assert!(!bench.engine.is_running(&name("a.container")), "stopped after {moment}");
        bench.engine.take_starts().iter().filter(|start| start.asked > told).count()
    });
    starts.sum()
}

/// The state of a container that its engine took along, and that somebody cleared away before the daemon saw the engine again.
pub(crate) fn state_after_cleared_away() -> String {
    let mut bench = bench_with_unit();
    bench.engine.set_line(false);
    bench.engine.with_model(|model| model.restart_engine(Duration::from_millis(100)));
    bench.pass(1);
    bench.engine.with_model(|model| model.remove_by_hand(0)).unwrap();
    bench.engine.set_line(true);
    bench.pass(20);
    bench.active("a.container")
}

/// How often a paused container had not heard three seconds later that it is to stop, where a person lets it go on at one of many
/// moments meanwhile.
pub(crate) fn stops_unheard() -> usize {
    let unheard = (0..60).filter(|moment| {
        let mut bench = EngineBench::with_options(*moment, EngineOptions::default());
        bench.write("a.container", &good());
        bench.start("a.container");
        bench.engine.with_model(|model| model.pause_by_hand(0)).unwrap();
        bench.pass(1);
        bench.begin_stop("a.container");
        let end = bench.now + Duration::from_millis(*moment);
        while bench.step(end) {}
        bench.engine.with_model(EngineModel::unpause_all);
        bench.pass(3);
        bench.engine.is_running(&name("a.container"))
    });
    unheard.count()
}

/// A job that is under way.
pub(crate) fn bench_with_job() -> EngineBench {
    let mut bench = EngineBench::with_options(7, not_live());
    bench.write("job.container", &job().replace("runs=1s", "runs=60s"));
    bench.begin_start("job.container");
    bench.pass(5);
    assert!(bench.engine.is_running(&name("job.container")));
    bench
}

/// The starts of a job whose engine was restarted, and took it along.
pub(crate) fn starts_with_engine_restarted() -> usize {
    let mut bench = bench_with_job();
    bench.engine.with_model(|model| model.restart_engine(Duration::from_secs(2)));
    bench.pass(100);
    bench.engine.take_starts().len()
}

/// The starts of a job whose container was removed while there was no daemon.
pub(crate) fn starts_with_container_removed() -> usize {
    let mut bench = bench_with_job();
    bench.engine.with_model(|model| model.remove_by_hand(0)).unwrap();
    bench.restart_daemon();
    // What is to go on is started by whoever knows that it belongs here.
    if bench.see("job.container").observed.sub == sub::INTERRUPTED {
        bench.begin_start("job.container");
    }
    bench.pass(100);
    bench.engine.take_starts().len()
}

/// A container that runs, of an engine without live-restore.
pub(crate) fn bench_with_unit() -> EngineBench {
    let mut bench = EngineBench::with_options(7, not_live());
    bench.write("a.container", &good());
    assert_eq!(bench.start_at("a.container", 3), StartOutcome::Done);
    bench
}

/// The state of a container whose engine was restarted together with the daemon, and the starts that nobody asked for.
pub(crate) fn state_after_both_restarted() -> (String, usize) {
    let mut bench = bench_with_unit();
    bench.engine.take_starts();
    bench.engine.with_model(|model| model.restart_engine(Duration::from_secs(2)));
    bench.restart_daemon();
    bench.see("a.container");
    bench.pass(10);
    (bench.see("a.container").observed.sub, bench.engine.take_starts().len())
}

/// The states of a container whose engine is restarted at one of many moments of its start.
pub(crate) fn states_after_restarts_in_starts() -> Vec<String> {
    let states = (0..80).map(|length| {
        let mut bench = EngineBench::with_options(length, not_live());
        bench.write("a.container", &good());
        bench.begin_start("a.container");
        let end = bench.now + Duration::from_millis(length * 10);
        while bench.step(end) {}
        bench.engine.with_model(|model| model.restart_engine(Duration::from_millis(100)));
        bench.pass(20);
        bench.active("a.container")
    });
    states.filter(|state| state != "active").collect()
}

/// The states of a container whose image somebody has removed, and whose engine goes a second time at one of many moments of the start
/// that follows its first going.
pub(crate) fn states_after_restarts_in_fetches() -> Vec<String> {
    let states = (0..60).map(|length| {
        let mut bench = bench_with_unit();
        bench.engine.with_model(EngineModel::prune_images);
        bench.engine.with_model(|model| model.restart_engine(Duration::from_millis(100)));
        let end = bench.now + Duration::from_millis(length * 100);
        while bench.step(end) {}
        bench.engine.with_model(|model| model.restart_engine(Duration::from_millis(100)));
        bench.pass(40);
        bench.active("a.container")
    });
    states.filter(|state| state != "active").collect()
}

/// The state of a container after a soft-reboot, before anybody has said that it is to run.
pub(crate) fn state_after_soft_reboot() -> String {
    let mut bench = EngineBench::new();
    bench.write("a.container", &good());
    bench.start("a.container");
    bench.restart_userspace();
    bench.active("a.container")
}

/// The same of one that was started before its daemon was told in which userspace it is.
pub(crate) fn state_after_untold_userspace() -> String {
    let mut bench = EngineBench::new();
    bench.restart_daemon_untold();
    bench.write("a.container", &good());
    bench.start("a.container");
    bench.tell_userspace();
    bench.restart_userspace();
    bench.active("a.container")
}

/// The state of a unit whose start the engine refused, once somebody has started its container of before by hand.
pub(crate) fn state_after_refused_start() -> String {
    let mut bench = bench_with_unit();
    bench.engine.with_model(|model| model.kill_by_hand(0)).unwrap();
    bench.pass(2);
    bench.engine.with_model(|model| model.set_failing(1000));
    assert!(matches!(bench.start_at("a.container", 4), StartOutcome::Failed { .. }));
    bench.engine.with_model(|model| model.set_failing(0));
    bench.engine.with_model(|model| model.start_by_hand(0)).unwrap();
    bench.pass(2);
    bench.active("a.container")
}

/// A machine whose engine has refused a start, and to take away what that had made.
pub(crate) fn bench_with_remains() -> EngineBench {
    for seed in 0..100 {
        let mut bench = EngineBench::with_options(seed, not_live());
        bench.write("a.container", &good());
        bench.engine.with_model(|model| model.set_failing(500));
        let is_refused = matches!(bench.start("a.container"), StartOutcome::Failed { .. });
        bench.engine.with_model(|model| model.set_failing(0));
        if is_refused && bench.engine.has_container("systemd-a") {
            return bench;
        }
    }
    panic!("no such engine")
}

/// The state of a unit of which a person starts what a refused start has left behind.
pub(crate) fn state_after_remains_started() -> String {
    let mut bench = bench_with_remains();
    bench.engine.with_model(|model| model.start_by_hand(0)).unwrap();
    bench.pass(2);
    bench.active("a.container")
}

/// True if what a refused start has left behind runs on after its unit was removed, since a person has started it unseen.
pub(crate) fn remains_outlive_unit() -> bool {
    let mut bench = bench_with_remains();
    bench.engine.with_model(|model| model.set_losing_events(true));
    bench.engine.with_model(|model| model.start_by_hand(0)).unwrap();
    bench.remove("a.container").unwrap();
    bench.pass(2);
    bench.engine.has_container("systemd-a")
}
