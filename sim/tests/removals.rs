//! What a removal and a replacement guarantee: nothing of the old file can be started any more, by whatever refers to the unit. And what
//! runs of ours stays known as ours.
//!
//! The real runner on the model of systemd. Each test is made once more with the rule that it is about left out, and must fail then.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the failure")]

mod bench;
mod exam;

use std::time::Duration;

use bench::Bench;
use exam::holds_unless;
use musterd::runner::{RunnerError, StartOutcome};

const OLD: &str = "[Service]\nExecStart=/sim/run --version=1\n";
const NEW: &str = "[Service]\nExecStart=/sim/run --version=2\n";
const TICK: &str = "[Timer]\nOnActiveSec=1\nOnUnitActiveSec=1\nUnit=app.service\n";
const ONESHOT: &str = "[Service]\nType=oneshot\nExecStart=/sim/run --version=1 takes=10ms\n";

/// A machine on which `app` runs from its old file, and another unit that refers to it.
fn bench_with(other: &str, text: &str) -> Bench {
    let mut bench = Bench::new();
    bench.see("app.service");
    bench.see(other);
    bench.write("app.service", OLD);
    bench.write(other, text);
    assert_eq!(bench.start("app.service"), StartOutcome::Done);
    assert_eq!(bench.start(other), StartOutcome::Done);
    bench
}

fn take_away(bench: &mut Bench, unit: &str) {
    assert_eq!(bench.stop(unit), StartOutcome::Done);
    assert!(bench.wait_until_empty(unit));
    bench.remove(unit).unwrap();
    bench.take_starts(unit);
}

#[test]
fn a_unit_that_another_is_ordered_after_runs_from_its_new_file() {
    // A write over nothing looks at what is in memory, so the file that is started is the new one either way; what was removed
    // is in memory no more before that.
    holds_unless("removal-not-reloaded", || {
        let web = "[Unit]\nAfter=app.service\n[Service]\nExecStart=/sim/run\n";
        let mut bench = bench_with("web.service", web);
        take_away(&mut bench, "app.service");
        let gone = bench.see("app.service").observed.load == "not-found";
        bench.write("app.service", NEW);
        assert_eq!(bench.start("app.service"), StartOutcome::Done);
        assert_eq!(bench.take_starts("app.service"), [true]);
        gone
    });
}

#[test]
fn a_timer_starts_nothing_of_a_removed_service() {
    holds_unless("removal-not-reloaded", || {
        let mut bench = bench_with("tick.timer", TICK);
        take_away(&mut bench, "app.service");
        // Less than a timer takes to fire twice, so that no pause after the removal hides anything.
        bench.pass(30);
        bench.take_starts("app.service").is_empty()
    });
}

#[test]
fn a_unit_that_was_here_is_not_started_by_what_wants_it() {
    holds_unless("removal-not-reloaded", || {
        let global =
            "[Unit]\nWants=app.service\nAfter=app.service\n[Service]\nExecStart=/sim/run\n";
        let mut bench = bench_with("global.service", global);
        take_away(&mut bench, "app.service");
        assert_eq!(bench.restart("global.service"), StartOutcome::Done);
        bench.take_starts("app.service").is_empty()
    });
}

#[test]
fn a_socket_starts_nothing_of_a_removed_service() {
    holds_unless("removal-not-reloaded", || {
        let socket = "[Socket]\nListenStream=/sim/clients every=700ms\n";
        let mut bench = bench_with("app.socket", socket);
        // Somebody connects between stop and removal, perhaps: then it is refused, and tried again.
        for _ in 0..100 {
            assert_eq!(bench.stop("app.service"), StartOutcome::Done);
            if bench.wait_until_empty("app.service") && bench.remove("app.service").is_ok() {
                break;
            }
        }
        bench.take_starts("app.service");
        bench.pass(10);
        bench.take_starts("app.service").is_empty()
    });
}

#[test]
fn what_is_replaced_and_not_started_is_read_all_the_same() {
    holds_unless("replacement-not-reloaded", || {
        let tick = "[Timer]\nOnActiveSec=1\nOnUnitInactiveSec=5\nUnit=app.service\n";
        let mut bench = Bench::new();
        bench.see("app.service");
        bench.write("app.service", ONESHOT);
        bench.write("tick.timer", tick);
        assert_eq!(bench.start("tick.timer"), StartOutcome::Done);
        bench.pass(2);
        assert_eq!(bench.take_starts("app.service"), [true]);
        bench.write("app.service", &ONESHOT.replace("=1", "=2"));
        bench.pass(20);
        let started = bench.take_starts("app.service");
        assert!(!started.is_empty());
        started.iter().all(|from_its_file| *from_its_file)
    });
}

#[test]
fn what_a_timer_has_started_from_the_file_before_is_started_anew() {
    holds_unless("earlier-run-joined", || {
        let mut bench = bench_with("tick.timer", TICK);
        assert_eq!(bench.stop("app.service"), StartOutcome::Done);
        bench.take_starts("app.service");
        // Nobody has seen yet that it is up again.
        bench.pass(2);
        assert_eq!(bench.take_starts("app.service"), [true]);
        bench.write("app.service", NEW);
        assert_eq!(bench.start("app.service"), StartOutcome::Done);
        bench.take_starts("app.service") == [true]
    });
}

#[test]
fn what_a_timer_has_started_from_the_same_text_goes_on() {
    let mut bench = bench_with("tick.timer", TICK);
    assert_eq!(bench.stop("app.service"), StartOutcome::Done);
    bench.pass(2);
    bench.take_starts("app.service");
    bench.write("app.service", OLD);
    assert_eq!(bench.start("app.service"), StartOutcome::Done);
    assert!(bench.take_starts("app.service").is_empty());
}

#[test]
fn what_a_daemon_wrote_before_it_was_killed_is_read_by_the_next() {
    holds_unless("replacement-not-reloaded", || {
        let mut bench = bench_with("tick.timer", TICK);
        assert_eq!(bench.stop("app.service"), StartOutcome::Done);
        bench.put_file("app.service", NEW);
        bench.restart_daemon();
        bench.see("app.service");
        bench.pass(10);
        let started = bench.take_starts("app.service");
        started.last() == Some(&true)
    });
}

#[test]
fn what_was_started_between_its_stop_and_its_removal_stays_ours() {
    holds_unless("removal-not-looked-at", || {
        let mut bench = bench_with("tick.timer", TICK);
        assert_eq!(bench.stop("app.service"), StartOutcome::Done);
        assert!(bench.wait_until_empty("app.service"));
        bench.pass(2);
        assert_eq!(bench.active("app.service"), "active", "the timer has started it");
        let removed = bench.remove("app.service");
        if removed.is_ok() {
            return false;
        }
        assert!(matches!(removed, Err(RunnerError::StillUp { .. })), "{removed:?}");
        // It is still known as ours, and goes with the next attempt.
        let seen = bench.see("app.service").observed;
        assert!(!seen.foreign && seen.active.is_up(), "{seen:?}");
        take_away(&mut bench, "app.service");
        bench.pass(10);
        bench.take_starts("app.service").is_empty()
    });
}

#[test]
fn a_removal_that_systemd_does_not_hear_of_is_no_removal() {
    let mut bench = bench_with("tick.timer", TICK);
    assert_eq!(bench.stop("app.service"), StartOutcome::Done);
    bench.systemd.set_line(false);
    assert!(matches!(bench.remove("app.service"), Err(RunnerError::Lost { .. })));
    bench.systemd.set_line(true);
    // The timer fires meanwhile, from memory.
    bench.pass(3);
    for _ in 0..3 {
        assert_eq!(bench.stop("app.service"), StartOutcome::Done);
        if bench.remove("app.service").is_ok() {
            break;
        }
    }
    bench.take_starts("app.service");
    bench.pass(30);
    assert!(bench.take_starts("app.service").is_empty());
}

#[test]
fn many_removals_and_replacements_are_few_reloads() {
    let mut bench = Bench::new();
    let units: Vec<String> = (0..50).map(|n| format!("app{n}.service")).collect();
    for unit in &units {
        bench.write(unit, OLD);
        assert_eq!(bench.start(unit), StartOutcome::Done);
    }
    let before = bench.systemd.with_model(|model| model.count_reloads());
    for unit in &units {
        bench.write(unit, NEW);
    }
    bench.pass(1);
    for unit in &units {
        assert_eq!(bench.restart(unit), StartOutcome::Done);
        assert_eq!(bench.take_starts(unit).last(), Some(&true));
    }
    let reloads = bench.systemd.with_model(|model| model.count_reloads()) - before;
    assert_eq!(reloads, 1);
    assert!(bench.now < Duration::from_secs(60));
}

#[test]
fn what_systemd_tells_of_a_run_says_that_it_is_ours() {
    holds_unless("told-run-forgotten", || {
        let mut bench = bench_with("tick.timer", TICK);
        assert_eq!(bench.stop("app.service"), StartOutcome::Done);
        // The timer begins another run, which nobody waits for or looks at before the host has a unit of that name.
        bench.pass(2);
        bench.take_name("app.service");
        let seen = bench.see("app.service").observed;
        !seen.foreign && seen.active.is_up()
    });
}

#[test]
fn what_the_host_starts_under_a_name_of_ours_is_the_hosts() {
    let mut bench = bench_with("tick.timer", TICK);
    bench.take_name("app.service");
    assert!(!bench.see("app.service").observed.foreign, "it is still the run from our file");
    assert_eq!(bench.stop("app.service"), StartOutcome::Done);
    bench.pass(2);
    let seen = bench.see("app.service").observed;
    assert!(seen.foreign && seen.active.is_up(), "{seen:?}");
}
