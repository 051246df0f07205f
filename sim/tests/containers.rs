//! The model of a container engine does what an engine does, seen through the real runner: the conformance suite of runners, and what
//! the model can show besides.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the failure")]

mod container_stories;
mod engine_bench;
mod exam;

use std::time::Duration;

use container_stories::*;
use engine_bench::{EngineBench, container, good, name};
use exam::fails_without;
use muster_common::state::{ActiveState, sub};
use muster_common::unit::FileHash;
use muster_engine::run_origin::RunOrigin;
use muster_sim::containers::{EngineModel, EngineOptions};
use musterd::runner::{RunnerError, StartOutcome};

fn failed(problem: &str) -> StartOutcome {
    StartOutcome::Failed { problem: problem.to_owned() }
}

fn bad() -> String {
    container("Exec=false\n[Service]\nType=oneshot")
}

#[test]
fn a_unit_is_written_started_stopped_and_removed() {
    let mut bench = EngineBench::new();
    assert_eq!(bench.see("a.container").observed.load, "not-found");
    bench.write("a.container", &good());
    assert_eq!(bench.see("a.container").observed.file, Some(FileHash::of_text(&good())));
    assert_eq!(bench.start("a.container"), StartOutcome::Done);
    let seen = bench.see("a.container");
    assert_eq!((seen.observed.load.as_str(), seen.observed.active.as_str()), ("loaded", "active"));
    assert_eq!((seen.observed.foreign, seen.invocation.len()), (false, 32));
    assert_eq!(bench.start("a.container"), StartOutcome::Done);
    assert_eq!(bench.see("a.container").invocation, seen.invocation, "what runs is left alone");
    assert_eq!(bench.restart("a.container"), StartOutcome::Done);
    assert_ne!(bench.see("a.container").invocation, seen.invocation);
    assert_eq!(bench.stop("a.container"), StartOutcome::Done);
    assert_eq!(bench.stop("a.container"), StartOutcome::Done);
    assert_eq!(bench.active("a.container"), "inactive");
    bench.remove("a.container").unwrap();
    let seen = bench.see("a.container").observed;
    assert_eq!((seen.file, seen.load.as_str()), (None, "not-found"));
    let told = bench.told("a.container");
    assert!(told.contains(&"active".to_owned()), "{told:?}");
    assert_eq!(told.last().map(String::as_str), Some("inactive"));
}

#[test]
fn a_start_that_fails_says_so_and_a_file_that_is_no_good_is_known_before() {
    let mut bench = EngineBench::new();
    bench.write("a.container", &bad());
    assert_eq!(bench.start("a.container"), failed("start failed: exit status 1"));
    assert_eq!(bench.active("a.container"), "failed");
    bench.write("a.container", "[Container]\nExec=true\n");
    let StartOutcome::Failed { problem } = bench.load("a.container") else { panic!("it loads") };
    assert!(problem.contains("Image"), "{problem}");
    bench.write("a.container", &good());
    assert_eq!(bench.load("a.container"), StartOutcome::Done);
    assert_eq!(bench.start("a.container"), StartOutcome::Done);
    bench.write("a.container", &bad());
    assert!(matches!(bench.restart("a.container"), StartOutcome::Failed { .. }));
    bench.clean("a.container");
    assert_eq!(bench.see("a.container").observed.load, "not-found", "no failure is left behind");
}

#[test]
fn a_crash_is_told_and_stopping_what_does_not_run_is_no_failure() {
    let mut bench = EngineBench::new();
    assert_eq!(bench.stop("nothing.container"), StartOutcome::Done);
    bench.write("a.container", &good());
    bench.start("a.container");
    let unit = bench.engine.with_model(|model| model.kill_by_hand(0));
    assert_eq!(unit, Some(name("a.container")));
    bench.pass(2);
    assert_eq!(bench.told("a.container").last().map(String::as_str), Some("failed"));
    bench.clean("a.container");
}

#[test]
fn a_container_of_the_machines_own_is_left_alone() {
    let mut bench = EngineBench::new();
    bench.engine.with_model(|model| assert!(model.make_foreign("systemd-a")));
    bench.see("a.container");
    let written = bench.try_write("a.container", &good());
    assert!(matches!(written, Err(RunnerError::Taken { .. })), "{written:?}");
    let seen = bench.see("a.container").observed;
    assert!(seen.foreign && seen.obstacle.contains("of its own, which Muster does not touch"));
    assert!(matches!(bench.start("a.container"), StartOutcome::Failed { .. }));
    bench.remove("a.container").unwrap();
    assert!(bench.engine.has_container("systemd-a"), "it was touched");
}

#[test]
fn a_new_runner_takes_over_what_runs() {
    let mut bench = EngineBench::new();
    bench.write("a.container", &good());
    bench.start("a.container");
    let before = bench.see("a.container");
    bench.restart_daemon();
    let after = bench.see("a.container");
    assert_eq!(
        (after.observed.active, &after.invocation),
        (ActiveState::Active, &before.invocation)
    );
    assert_eq!(after.observed.file, before.observed.file);
    bench.clean("a.container");
}

#[test]
fn a_line_that_breaks_and_an_engine_that_is_replaced_lose_nothing() {
    let mut bench = EngineBench::new();
    bench.write("a.container", &good());
    bench.start("a.container");
    let before = bench.see("a.container").invocation;
    let breaks: [fn(&EngineBench); 3] = [
        |bench| {
            bench.engine.set_line(false);
            bench.engine.set_line(true);
        },
        |bench| bench.engine.with_model(|model| model.restart_engine(Duration::from_secs(2))),
        |bench| bench.engine.with_model(|model| model.kill_engine(Duration::from_secs(2))),
    ];
    for act in breaks {
        act(&bench);
        bench.pass(1);
        bench.wait_for_relist();
        assert_eq!(bench.see("a.container").invocation, before, "it was started anew");
    }
    bench.told("a.container");
    assert_eq!(bench.stop("a.container"), StartOutcome::Done);
    assert_eq!(bench.told("a.container").last().map(String::as_str), Some("inactive"));
    bench.clean("a.container");
}

#[test]
fn an_engine_without_live_restore_takes_its_containers_along_and_they_come_back() {
    let mut bench = EngineBench::with_options(7, not_live());
    bench.write("a.container", &good());
    bench.start("a.container");
    let before = bench.see("a.container").invocation;
    bench.engine.with_model(|model| model.restart_engine(Duration::from_secs(2)));
    assert!(!bench.engine.is_running(&name("a.container")));
    bench.pass(10);
    let after = bench.see("a.container");
    assert_eq!(after.observed.active, ActiveState::Active);
    assert_ne!(after.invocation, before);
}

#[test]
fn a_start_waits_for_its_image_and_says_when_it_cannot_be_had() {
    let mut bench = EngineBench::new();
    let text = "[Container]\nImage=registry.example/other:1\nRetry=0\n";
    bench.write("a.container", text);
    bench.engine.with_model(|model| model.set_registry_away(true));
    let StartOutcome::Failed { problem } = bench.start("a.container") else { panic!("it runs") };
    assert!(problem.contains("cannot fetch the image"), "{problem}");
    bench.engine.with_model(|model| model.set_registry_away(false));
    let before = bench.now;
    assert_eq!(bench.start_at("a.container", 2), StartOutcome::Done);
    assert!(bench.now.saturating_sub(before) > Duration::from_millis(200), "it was there at once");
}

#[test]
fn a_stop_may_be_slow_and_what_is_deaf_is_killed() {
    let mut bench = EngineBench::new();
    bench.write("slow.container", &container("Exec=/sim/run stops=5s"));
    bench.start("slow.container");
    let before = bench.now;
    assert_eq!(bench.stop("slow.container"), StartOutcome::Done);
    assert!(bench.now.saturating_sub(before) >= Duration::from_secs(5));
    bench.write("deaf.container", &container("Exec=/sim/run deaf\nStopTimeout=3"));
    bench.start("deaf.container");
    let before = bench.now;
    bench.stop("deaf.container");
    assert!(bench.now.saturating_sub(before) >= Duration::from_secs(3));
    assert!(!bench.engine.is_running(&name("deaf.container")));
}

#[test]
fn a_pause_by_hand_is_no_end_and_does_not_keep_a_stop_from_it() {
    let mut bench = EngineBench::new();
    bench.write("a.container", &good());
    bench.start("a.container");
    bench.engine.with_model(|model| model.pause_by_hand(0)).unwrap();
    bench.pass(5);
    assert_eq!(bench.active("a.container"), "active");
    assert_eq!(bench.stop("a.container"), StartOutcome::Done);
    bench.clean("a.container");
}

#[test]
fn what_its_engine_took_along_is_started_again_though_somebody_clears_it_away() {
    assert_eq!(state_after_cleared_away(), "active");
}

#[test]
fn a_person_who_lets_a_container_go_on_keeps_no_stop_from_it() {
    assert_eq!(stops_unheard(), 0);
}

#[test]
fn what_a_person_removes_has_failed_and_what_a_person_starts_runs() {
    let mut bench = EngineBench::new();
    bench.write("a.container", &good());
    bench.start("a.container");
    bench.engine.with_model(|model| model.remove_by_hand(0)).unwrap();
    bench.pass(2);
    assert_eq!(bench.active("a.container"), "failed");
    assert_eq!(bench.start_at("a.container", 2), StartOutcome::Done);
    bench.stop("a.container");
    bench.engine.with_model(|model| model.start_by_hand(0)).unwrap();
    bench.pass(2);
    assert_eq!(bench.active("a.container"), "active");
    bench.clean("a.container");
}

#[test]
fn what_a_person_has_started_is_nobodys_until_it_is_asked_for() {
    let mut bench = EngineBench::with_options(7, not_live());
    bench.write("a.container", &good());
    bench.start("a.container");
    bench.restart_userspace();
    assert_eq!(bench.active("a.container"), "inactive");
    bench.engine.with_model(|model| model.start_by_hand(0)).unwrap();
    bench.pass(2);
    let before = bench.see("a.container");
    assert_eq!(before.observed.origin, RunOrigin::Others);
    assert_eq!(bench.start_at("a.container", 2), StartOutcome::Done);
    let after = bench.see("a.container");
    assert_eq!((after.observed.origin, after.invocation), (RunOrigin::Cluster, before.invocation));
    bench.engine.with_model(|model| model.restart_engine(Duration::from_secs(2)));
    bench.pass(10);
    assert_eq!(bench.active("a.container"), "active", "it was taken along, and is wanted");
    bench.clean("a.container");
}

#[test]
fn events_that_are_lost_are_made_up_for_by_a_look() {
    let mut bench = EngineBench::new();
    bench.write("a.container", &good());
    bench.start("a.container");
    bench.engine.with_model(|model| model.set_losing_events(true));
    bench.engine.with_model(|model| model.kill_by_hand(0));
    bench.see("a.container");
    bench.pass(1);
    assert_eq!(bench.active("a.container"), "failed");
}

#[test]
fn an_engine_that_hangs_is_noticed_and_waited_for() {
    let mut bench = EngineBench::new();
    bench.write("a.container", &good());
    bench.start("a.container");
    let before = bench.see("a.container").invocation;
    bench.engine.with_model(|model| model.set_hung(true));
    bench.pass(40);
    let seen = bench.see("a.container");
    assert!(seen.remark.contains("does not answer"), "{}", seen.remark);
    bench.engine.with_model(|model| model.set_hung(false));
    bench.pass(10);
    let seen = bench.see("a.container");
    assert_eq!((seen.invocation, seen.remark.as_str()), (before, ""));
}

#[test]
fn after_a_power_cut_nothing_runs_and_the_remains_are_in_nobodys_way() {
    let mut bench = EngineBench::new();
    bench.write("a.container", &good());
    bench.start("a.container");
    bench.engine.with_model(EngineModel::lose_power);
    bench.disk.clear_below(std::path::Path::new("/run"));
    assert!(bench.engine.has_container("systemd-a"));
    bench.engine.with_model(EngineModel::begin_boot);
    bench.restart_daemon();
    assert_eq!(bench.see("a.container").observed.load, "not-found");
    bench.write("a.container", &good());
    assert_eq!(bench.start_at("a.container", 3), StartOutcome::Done);
    bench.clean("a.container");
}

#[test]
fn a_second_container_of_a_unit_never_runs_whatever_is_cut_off() {
    for length in 0..60 {
        let mut bench = EngineBench::with_options(length, EngineOptions::default());
        bench.write("a.container", &good());
        bench.begin_start("a.container");
        let end = bench.now + Duration::from_millis(length * 10);
        while bench.step(end) {}
        bench.engine.set_line(false);
        bench.engine.set_line(true);
        bench.pass(20);
        assert_eq!(bench.active("a.container"), "active", "cut after {length}");
        for start in bench.engine.take_starts() {
            assert_eq!(start.others_up, 0, "cut after {length}");
        }
        bench.clean("a.container");
    }
}

#[test]
fn what_is_told_to_stop_while_it_is_made_is_not_started() {
    assert_eq!(starts_asked_after_stops(), 0);
}

#[test]
fn a_job_whose_start_was_not_answered_is_not_begun_again() {
    assert_eq!(starts_over_a_broken_line(), 1);
}

#[test]
fn a_job_that_its_engine_took_along_is_not_begun_again() {
    assert_eq!(starts_with_engine_restarted(), 1);
}

#[test]
fn a_job_whose_container_was_removed_is_not_begun_again() {
    assert_eq!(starts_with_container_removed(), 1);
}

#[test]
fn what_a_refused_start_has_left_behind_is_its_units() {
    assert_eq!(state_after_remains_started(), "active");
    assert!(!remains_outlive_unit());
}

#[test]
fn a_person_may_start_what_the_engine_would_not_replace() {
    assert_eq!(state_after_refused_start(), "active");
}

#[test]
fn a_container_whose_engine_is_restarted_together_with_the_daemon_is_to_go_on_and_waits_for_a_word()
{
    assert_eq!(state_after_both_restarted(), (sub::INTERRUPTED.to_owned(), 0));
}

#[test]
fn a_start_under_which_the_engine_is_restarted_comes_about() {
    assert_eq!(states_after_restarts_in_starts(), Vec::<String>::new());
}

#[test]
fn a_container_that_is_being_made_is_between_two_runs_until_it_runs() {
    let mut bench = EngineBench::new();
    bench.write("a.container", &good());
    assert!(!bench.see("a.container").observed.between_runs);
    bench.begin_start("a.container");
    bench.engine.set_line(false);
    let seen = bench.see("a.container");
    assert!(seen.observed.between_runs && seen.invocation.is_empty(), "{seen:?}");
    bench.engine.set_line(true);
    bench.pass(20);
    let seen = bench.see("a.container");
    assert!(!seen.observed.between_runs && !seen.invocation.is_empty(), "{seen:?}");
    bench.clean("a.container");
}

#[test]
fn an_image_is_fetched_once_more_when_the_engine_goes_while_it_is() {
    assert_eq!(states_after_restarts_in_fetches(), Vec::<String>::new());
}

#[test]
fn what_ran_before_a_soft_reboot_is_neither_up_nor_a_failure() {
    assert_eq!(state_after_soft_reboot(), "inactive");
    assert_eq!(state_after_untold_userspace(), "inactive");
}

#[test]
fn a_rule_of_containers_that_is_left_out_is_noticed() {
    for planted in ["engine-run-forgotten", "interrupted-run-goes-on-unasked"] {
        fails_without(planted, || {
            assert_eq!(state_after_both_restarted(), (sub::INTERRUPTED.to_owned(), 0));
        });
    }
    fails_without("called-off-start-goes-on", || assert_eq!(starts_asked_after_stops(), 0));
    fails_without("cleared-away-counts-as-failed", || {
        assert_eq!(state_after_cleared_away(), "active");
    });
    fails_without("cut-off-fetch-not-repeated", || {
        assert!(states_after_restarts_in_fetches().is_empty());
    });
    fails_without("left-container-unknown", || {
        assert_eq!(state_after_remains_started(), "active");
    });
    fails_without("left-container-not-removed", || assert!(!remains_outlive_unit()));
    fails_without("start-dated-by-its-answer", || {
        assert!(states_after_restarts_in_starts().is_empty());
    });
    fails_without("memory-outlives-userspace", || {
        assert_eq!(state_after_soft_reboot(), "inactive");
    });
    fails_without("remembered-for-any-userspace", || {
        assert_eq!(state_after_untold_userspace(), "inactive");
    });
    fails_without("lost-container-start-repeated", || {
        assert_eq!(starts_over_a_broken_line(), 1);
    });
    fails_without("unpause-race-loses-signal", || assert_eq!(stops_unheard(), 0));
    fails_without("taken-job-begun-again", || assert_eq!(starts_with_engine_restarted(), 1));
    fails_without("removed-job-begun-again", || assert_eq!(starts_with_container_removed(), 1));
}

#[test]
fn a_job_that_its_engine_took_along_has_failed() {
    let mut bench = bench_with_job();
    bench.engine.with_model(|model| model.restart_engine(Duration::from_secs(2)));
    bench.pass(10);
    assert_eq!(bench.active("job.container"), "failed");
}
