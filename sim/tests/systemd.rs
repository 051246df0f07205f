//! The model of systemd does what systemd does, seen through the real runner: the conformance suite of runners, and what the model can
//! show besides.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the failure")]

mod bench;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bench::{Bench, name};
use muster_common::unit::FileHash;
use muster_sim::systemd::SystemdModel;
use musterd::runner::{Runner as _, RunnerError, RunnerEvent, StartOutcome};

const GOOD: &str = "[Service]\nExecStart=/sim/run\n";
const BAD: &str = "[Service]\nType=oneshot\nExecStart=/sim/run fails=1\n";
const UNLOADABLE: &str = "[Service]\nType=simple\n";

fn failed(problem: &str) -> StartOutcome {
    StartOutcome::Failed { problem: problem.to_owned() }
}

/// The states that were told of a unit since this was asked last.
fn told(bench: &mut Bench, unit: &str) -> Vec<String> {
    let mut told = Vec::new();
    while let Ok(event) = bench.events.try_recv() {
        match event {
            RunnerEvent::Changed { unit: of, active, .. } if of == name(unit) => {
                told.push(active.to_string());
            }
            RunnerEvent::Relist => told.push("relist".to_owned()),
            RunnerEvent::Lost { .. } => told.push("lost".to_owned()),
            RunnerEvent::Changed { .. } => {}
        }
    }
    told
}

#[test]
fn a_unit_is_written_started_stopped_and_removed() {
    let mut bench = Bench::new();
    assert_eq!(bench.see("a.service").observed.load, "not-found");
    bench.write("a.service", GOOD);
    assert_eq!(bench.see("a.service").observed.file, Some(FileHash::of_text(GOOD)));
    assert_eq!(bench.start("a.service"), StartOutcome::Done);
    let seen = bench.see("a.service");
    assert_eq!((seen.observed.active.as_str(), seen.invocation.len()), ("active", 32));
    assert_eq!(bench.start("a.service"), StartOutcome::Done);
    assert_eq!(bench.see("a.service").invocation, seen.invocation, "what runs is left alone");
    assert_eq!(bench.restart("a.service"), StartOutcome::Done);
    assert_ne!(bench.see("a.service").invocation, seen.invocation);
    assert_eq!(bench.stop("a.service"), StartOutcome::Done);
    assert_eq!(bench.stop("a.service"), StartOutcome::Done);
    assert_eq!(bench.see("a.service").observed.active.as_str(), "inactive");
    bench.remove("a.service").unwrap();
    let seen = bench.see("a.service").observed;
    assert_eq!((seen.file, seen.load.as_str()), (None, "not-found"));
    let told = told(&mut bench, "a.service");
    assert!(told.contains(&"active".to_owned()), "{told:?}");
    assert_eq!(told.last().map(String::as_str), Some("inactive"));
}

#[test]
fn a_start_that_fails_says_so_and_a_file_that_is_no_good_is_known_before() {
    let mut bench = Bench::new();
    bench.write("a.service", BAD);
    assert_eq!(bench.start("a.service"), failed("start failed: exit status 1"));
    assert_eq!(bench.see("a.service").observed.active.as_str(), "failed");
    bench.write("a.service", UNLOADABLE);
    let StartOutcome::Failed { problem } = bench.load("a.service") else { panic!("it loads") };
    assert!(problem.contains("bad-setting"), "{problem}");
    bench.write("a.service", GOOD);
    assert_eq!(bench.load("a.service"), StartOutcome::Done);
    assert_eq!(bench.start("a.service"), StartOutcome::Done);
    bench.write("a.service", BAD);
    assert!(matches!(bench.restart("a.service"), StartOutcome::Failed { .. }));
    assert_eq!(bench.stop("a.service"), StartOutcome::Done);
    bench.remove("a.service").unwrap();
    assert_eq!(bench.see("a.service").observed.load, "not-found", "no failure is left behind");
}

#[test]
fn a_start_may_be_slow_hang_or_be_cancelled() {
    let mut bench = Bench::new();
    bench.write("slow.service", "[Service]\nType=notify\nExecStart=/sim/run takes=20s\n");
    let before = bench.now;
    assert_eq!(bench.start("slow.service"), StartOutcome::Done);
    assert_eq!(bench.now.saturating_sub(before), Duration::from_secs(20));
    bench.write(
        "hung.service",
        "[Service]\nType=notify\nExecStart=/sim/run hangs\nTimeoutStartSec=5\n",
    );
    assert_eq!(bench.start("hung.service"), failed("start failed: timeout"));

    bench.write("other.service", "[Service]\nType=notify\nExecStart=/sim/run takes=20s\n");
    let (unit, other) = (name("other.service"), name("other.service"));
    let (started, stopped) = bench.ask(async move |runner| {
        let stop = async {
            muster_runtime::sleep(Duration::from_secs(2)).await;
            runner.stop(&other).await
        };
        futures::join!(runner.start(&unit, 1), stop)
    });
    assert_eq!(started.unwrap(), failed("start was cancelled by another job"));
    assert_eq!(stopped.unwrap(), StartOutcome::Done);
}

#[test]
fn what_is_needed_comes_first_and_its_failure_is_a_failure() {
    let mut bench = Bench::new();
    bench.write("need.service", "[Service]\nType=oneshot\nExecStart=/sim/run takes=3s fails=2\n");
    let text = "[Unit]\nRequires=need.service\nAfter=need.service\n[Service]\nExecStart=/sim/run\n";
    bench.write("a.service", text);
    assert_eq!(
        bench.start("a.service"),
        failed("start failed because a unit it depends on failed")
    );
    assert_eq!(bench.active("a.service"), "inactive");
    bench.write("b.service", "[Unit]\nRequires=nothing.service\n[Service]\nExecStart=/sim/run\n");
    let unit = name("b.service");
    let refused = bench.ask(async move |runner| runner.start(&unit, 1).await);
    assert!(matches!(refused, Err(RunnerError::Refused { .. })), "{refused:?}");
}

#[test]
fn a_crash_is_told_and_restarted_until_that_is_too_often() {
    let mut bench = Bench::new();
    bench.see("a.service");
    let text = "[Service]\nRestart=on-failure\nExecStart=/sim/run runs=10ms exit=7\n";
    bench.write("a.service", text);
    assert_eq!(bench.start("a.service"), StartOutcome::Done);
    bench.pass(5);
    assert_eq!(bench.active("a.service"), "failed");
    assert_eq!(bench.take_starts("a.service").len(), 5);
    let unit = name("a.service");
    let why = bench.ask(async move |runner| runner.failed_since_start(&unit).await).unwrap();
    assert!(why.is_some(), "{why:?}");

    bench.see("b.service");
    bench.write("b.service", GOOD);
    assert_eq!(bench.start("b.service"), StartOutcome::Done);
    bench.systemd.with_model(|model| model.kill_unit(&name("b.service")));
    assert_eq!(told(&mut bench, "b.service").last().map(String::as_str), Some("failed"));
}

#[test]
fn a_unit_is_not_down_before_the_last_of_its_processes_is() {
    let mut bench = Bench::new();
    bench.see("a.service");
    bench
        .write("a.service", "[Service]\nKillMode=process\nExecStart=/sim/run stops=1s stays=30s\n");
    assert_eq!(bench.start("a.service"), StartOutcome::Done);
    assert!(!bench.wait_until_empty("a.service"), "it runs");
    assert_eq!(bench.stop("a.service"), StartOutcome::Done);
    let seen = bench.see("a.service");
    assert_eq!(seen.observed.active.as_str(), "deactivating");
    assert!(seen.remark.contains("left behind"), "{}", seen.remark);
    let before = bench.now;
    assert!(bench.wait_until_empty("a.service"));
    assert!(bench.now.saturating_sub(before) > Duration::from_secs(25));
    assert_eq!(bench.see("a.service").observed.active.as_str(), "inactive");
}

#[test]
fn what_refuses_to_stop_is_not_down() {
    let mut bench = Bench::new();
    let text = "[Unit]\nRefuseManualStop=yes\n[Service]\nExecStart=/sim/run\n";
    bench.write("a.service", text);
    assert_eq!(bench.start("a.service"), StartOutcome::Done);
    let StartOutcome::Failed { problem } = bench.stop("a.service") else { panic!("it stops") };
    assert!(problem.starts_with("systemd does not stop it: Operation refused"), "{problem}");
    assert!(!bench.wait_until_empty("a.service"));
    // Its file gone, it is there all the same, and that is no removal.
    assert!(matches!(bench.remove("a.service"), Err(RunnerError::StillUp { .. })));
    assert!(!bench.see("a.service").observed.foreign);
}

#[test]
fn a_line_that_breaks_loses_nothing_and_units_run_on() {
    let mut bench = Bench::new();
    bench.write("a.service", GOOD);
    assert_eq!(bench.start("a.service"), StartOutcome::Done);
    let before = bench.see("a.service");
    told(&mut bench, "a.service");
    bench.systemd.set_line(false);
    bench.systemd.with_model(|model| model.kill_unit(&name("a.service")));
    bench.systemd.set_line(true);
    assert_eq!(told(&mut bench, "a.service"), ["lost", "relist"]);
    assert_eq!(bench.see("a.service").observed.active.as_str(), "failed");
    assert_eq!(bench.start("a.service"), StartOutcome::Done);
    assert_ne!(bench.see("a.service").invocation, before.invocation);

    let before = bench.see("a.service");
    bench.systemd.with_model(SystemdModel::reexecute_systemd);
    assert!(told(&mut bench, "a.service").contains(&"relist".to_owned()));
    assert_eq!(bench.see("a.service").invocation, before.invocation);
    bench.restart_daemon();
    assert_eq!(bench.see("a.service").invocation, before.invocation);
}

#[test]
fn a_boot_leaves_nothing_and_a_soft_one_leaves_the_files() {
    let mut bench = Bench::new();
    let text = format!("{GOOD}[Install]\nWantedBy=multi-user.target\n");
    bench.write("a.service", &text);
    let unit = name("a.service");
    bench.ask(async move |runner| runner.enable(&[unit]).await).unwrap();
    assert_eq!(bench.start("a.service"), StartOutcome::Done);
    let marks = |bench: &Bench| {
        bench.systemd.with_model(|model| (model.boot_number(), model.userspace_number()))
    };
    let (boot, userspace) = marks(&bench);
    bench.systemd.with_model(SystemdModel::begin_shutdown);
    bench.pass(1);
    assert!(bench.systemd.with_model(|model| model.is_down()));
    bench.systemd.with_model(SystemdModel::restart_softly);
    let (same_boot, next_userspace) = marks(&bench);
    assert!(same_boot == boot && next_userspace != userspace);
    bench.restart_daemon();
    // What was hooked into a target is started by systemd itself.
    assert_eq!(bench.see("a.service").observed.active.as_str(), "active");

    let disk = bench.disk.clone();
    bench.systemd.with_model(|model| {
        model.restart_after_power_cut(|directory: &Path| disk.clear_below(directory));
    });
    bench.restart_daemon();
    let seen = bench.see("a.service").observed;
    assert_eq!((seen.file, seen.active.as_str()), (None, "inactive"));
    assert_ne!(marks(&bench).0, boot);
}

#[test]
fn what_waits_to_be_started_as_the_machine_goes_down_is_not() {
    let mut bench = Bench::new();
    bench.write("a.service", "[Service]\nExecStart=/sim/run stops=3s\n");
    bench.write("b.service", "[Unit]\nAfter=a.service\n[Service]\nExecStart=/sim/run\n");
    assert_eq!(bench.start("a.service"), StartOutcome::Done);
    let runner = Arc::clone(&bench.runner);
    bench.node.spawn(async move {
        let _ = runner.restart(&name("a.service"), 2).await;
    });
    let runner = Arc::clone(&bench.runner);
    bench.node.spawn(async move {
        let _ = runner.start(&name("b.service"), 1).await;
    });
    bench.pass(1);
    assert_eq!(bench.active("b.service"), "inactive", "it waits for the other to be up again");
    bench.systemd.with_model(SystemdModel::begin_shutdown);
    bench.pass(10);
    assert!(bench.take_starts("b.service").is_empty());
    assert!(bench.systemd.with_model(|model| model.is_down()));
}

#[test]
fn the_same_calls_at_the_same_moments_give_the_same_run() {
    let run = || {
        let mut bench = Bench::new();
        bench.see("a.service");
        let text = "[Service]\nRestart=always\nRestartSec=1\nStartLimitBurst=0\n\
                    ExecStart=/sim/run takes=1ms..3s runs=1ms..9s fails-per-mille=300\n";
        bench.write("a.service", text);
        let _ = bench.start("a.service");
        bench.pass(300);
        let mut events = Vec::new();
        while let Ok(event) = bench.events.try_recv() {
            events.push(format!("{event:?}"));
        }
        (events, bench.starts)
    };
    assert_eq!(run(), run());
}
