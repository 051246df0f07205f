//! A container's life as stories: what happens on the left, where that leaves it and what is done about it on the right.
//!
//! `SECONDS EVENT => ACTIVE/SUB [(REMARK)] [: ACTIONS]`. A `tick` is due when the story says so: one that comes before
//! the deadline changes nothing.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what fails in a test is to fail it")]

#[path = "container_life/conditions.rs"]
mod conditions;
#[path = "container_life/properties.rs"]
mod properties;

use std::fmt::Write as _;
use std::time::Duration;

use muster_common::container::{HostFacts, Quadlet, read};
use muster_engine::container::{
    ContainerAction, ContainerLife, ContainerPolicy, Ended, FoundContainer, HealthState, LifeEvent,
    LifeMemory,
};

/// The policy of a container with these lines below its image.
fn policy(lines: &str) -> ContainerPolicy {
    let file = format!("[Container]\nImage=a\n{lines}\n").parse().unwrap();
    match read(&"web.container".parse().unwrap(), &file, &HostFacts::stand_in()) {
        Ok((Quadlet::Container(spec), _)) => ContainerPolicy::from_spec(&spec),
        other => panic!("{other:?}"),
    }
}

fn seconds(text: &str) -> Duration {
    Duration::from_secs_f64(text.parse().unwrap())
}

fn ended(code: &str, oom: bool) -> Ended {
    Ended { code: code.parse().unwrap(), oom }
}

fn event(words: &[&str]) -> LifeEvent {
    match words {
        ["start"] => LifeEvent::Start,
        ["restart"] => LifeEvent::Restart,
        ["stop"] => LifeEvent::Stop,
        ["prepared"] => LifeEvent::Prepared,
        ["unprepared"] => LifeEvent::Unprepared,
        ["unmet"] => LifeEvent::Unmet,
        ["assert"] => LifeEvent::AssertFailed,
        ["started"] => LifeEvent::Started,
        ["refused"] => LifeEvent::NotStarted,
        ["healthy"] => LifeEvent::Health(HealthState::Healthy),
        ["unhealthy"] => LifeEvent::Health(HealthState::Unhealthy),
        ["exit", code] => LifeEvent::Ended(ended(code, false)),
        ["oom", code] => LifeEvent::Ended(ended(code, true)),
        ["taken", code] => LifeEvent::TakenAlong(Some(ended(code, false))),
        ["taken"] => LifeEvent::TakenAlong(None),
        ["gone"] => LifeEvent::Gone,
        ["tick"] => LifeEvent::Tick,
        other => panic!("{other:?}"),
    }
}

fn describe_step(life: &ContainerLife, actions: &[ContainerAction]) -> String {
    let mut line = format!("{}/{}", life.active_state(), life.sub_state());
    if !life.remark_text().is_empty() {
        write!(line, " ({})", life.remark_text()).unwrap();
    }
    if !actions.is_empty() {
        let actions: Vec<_> =
            actions.iter().map(|action| format!("{action:?}").to_lowercase()).collect();
        write!(line, " : {}", actions.join(", ")).unwrap();
    }
    line
}

/// Plays a story with a container that was never started, and gives it back for more.
#[track_caller]
fn story(lines: &str, script: &str) -> ContainerLife {
    let mut life = ContainerLife::new(policy(lines));
    go_on(&mut life, script);
    life
}

#[track_caller]
fn go_on(life: &mut ContainerLife, script: &str) {
    let (mut expected, mut got) = (Vec::new(), Vec::new());
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (left, _) = line.split_once("=>").unwrap();
        let words: Vec<&str> = left.split_whitespace().collect();
        let actions = life.step(seconds(words.first().unwrap()), event(words.get(1..).unwrap()));
        expected.push(line.split_whitespace().collect::<Vec<_>>().join(" "));
        got.push(format!("{} => {}", words.join(" "), describe_step(life, &actions)));
    }
    assert_eq!(got.join("\n"), expected.join("\n"));
}

const UP: &str = "
    0 start    => activating/start-pre : prepare
    1 prepared => activating/start : start
    2 started  => active/running
";

fn up(lines: &str) -> ContainerLife {
    story(lines, UP)
}

#[test]
fn it_runs_and_stops() {
    let mut life = up("");
    go_on(
        &mut life,
        "
        10 stop     => deactivating/stop-sigterm : signal
        11 exit 143 => inactive/dead
        12 tick     => inactive/dead
    ",
    );
}

#[test]
fn what_does_not_stop_is_killed_and_that_is_a_failure() {
    go_on(
        &mut up(""),
        "
        10 stop     => deactivating/stop-sigterm : signal
        19 tick     => deactivating/stop-sigterm
        20 tick     => deactivating/stop-sigkill : kill
        30 tick     => deactivating/stop-sigkill : kill
        31 exit 137 => failed/failed (timeout)
    ",
    );
}

#[test]
fn the_shorter_of_two_graces_counts() {
    for (lines, killed) in [
        ("StopTimeout=20\n[Service]\nTimeoutStopSec=5", 5),
        ("StopTimeout=20", 20),
        ("[Service]\nTimeoutStopSec=40", 40),
        ("", 10),
    ] {
        let mut life = up(lines);
        life.step(seconds("10"), LifeEvent::Stop);
        assert_eq!(life.next_deadline(), Some(Duration::from_secs(10 + killed)), "{lines}");
    }
    let mut life = up("[Service]\nTimeoutStopSec=infinity");
    life.step(seconds("10"), LifeEvent::Stop);
    assert_eq!(life.next_deadline(), None);
}

#[test]
fn its_own_stop_signal_ends_it_well() {
    go_on(
        &mut up("StopSignal=SIGQUIT"),
        "
        10 stop     => deactivating/stop-sigterm : signal
        11 exit 131 => inactive/dead
    ",
    );
    go_on(
        &mut up(""),
        "
        10 stop     => deactivating/stop-sigterm : signal
        11 exit 3   => failed/failed (exit-code, code 3)
    ",
    );
}

/// systemd.service(5), the table of `Restart=`: exit 0, exit 1, SIGTERM, SIGSEGV, too long a start.
#[test]
fn restart_is_systemds_table() {
    let ends = ["exit 0", "exit 1", "exit 143", "exit 139", "long"];
    let table = [
        ("no", [false, false, false, false, false]),
        ("always", [true, true, true, true, true]),
        ("on-success", [true, false, true, false, false]),
        ("on-failure", [false, true, false, true, true]),
        ("on-abnormal", [false, false, false, true, true]),
        ("on-abort", [false, false, false, true, false]),
        ("on-watchdog", [false, false, false, false, false]),
    ];
    for (restart, expected) in table {
        for (end, expected) in ends.iter().zip(expected) {
            let lines = format!("Notify=healthy\nHealthCmd=true\n[Service]\nRestart={restart}");
            let mut life = ContainerLife::new(policy(&lines));
            for event in [LifeEvent::Start, LifeEvent::Prepared, LifeEvent::Started] {
                life.step(seconds("0"), event);
            }
            if *end == "long" {
                life.step(seconds("90"), LifeEvent::Tick);
                life.step(seconds("91"), LifeEvent::Ended(ended("143", false)));
            } else {
                life.step(seconds("1"), LifeEvent::Health(HealthState::Healthy));
                life.step(seconds("2"), event(&end.split(' ').collect::<Vec<_>>()));
            }
            assert_eq!(
                life.sub_state() == "auto-restart",
                expected,
                "Restart={restart}, {end}: {:?}",
                life.current_phase()
            );
        }
    }
}

#[test]
fn exit_codes_may_be_a_success_prevent_a_restart_or_force_one() {
    let codes = "SuccessExitStatus=3\nRestartPreventExitStatus=4 SIGKILL\nRestartForceExitStatus=5";
    let after = |restart: &str, end: &str| {
        let mut life = up(&format!("[Service]\nRestart={restart}\n{codes}"));
        life.step(seconds("3"), event(&["exit", end]));
        format!("{}/{}", life.active_state(), life.sub_state())
    };
    assert_eq!(after("on-failure", "3"), "inactive/dead");
    assert_eq!(after("on-failure", "4"), "failed/failed");
    assert_eq!(after("always", "137"), "failed/failed");
    assert_eq!(after("no", "5"), "activating/auto-restart");
}

#[test]
fn a_crash_loop_waits_and_ends_at_the_limit() {
    let lines = "[Unit]\nStartLimitIntervalSec=30\nStartLimitBurst=2\n[Service]\nRestart=always\nRestartSec=2s";
    let mut life = up(lines);
    go_on(
        &mut life,
        "
        3   exit 1   => activating/auto-restart (ended with code 1, restart 1)
        4.9 tick     => activating/auto-restart (ended with code 1, restart 1)
        5   tick     => activating/start-pre : prepare
        5   prepared => activating/start : start
        5   started  => active/running
        6   exit 1   => activating/auto-restart (ended with code 1, restart 2)
        8   tick     => failed/failed (start-limit-hit, code 1)
        9   start    => failed/failed (start-limit-hit, code 1)
        30  start    => activating/start-pre : prepare
    ",
    );
}

#[test]
fn one_that_its_engine_took_along_is_started_again_whatever_its_policy() {
    for restart in ["no", "on-failure", "on-abort"] {
        go_on(
            &mut up(&format!("[Service]\nRestart={restart}")),
            "
            9 taken 143 => activating/start-pre : prepare
            9 prepared  => activating/start : start
            9 started   => active/running
        ",
        );
    }
    // Within the start limit: an engine that keeps dying is no reason to try for ever.
    go_on(
        &mut up("[Unit]\nStartLimitIntervalSec=30\nStartLimitBurst=1"),
        "9 taken 137 => failed/failed (start-limit-hit, code 137)",
    );
    // One that was being stopped has stopped, and work that was done is done.
    go_on(
        &mut up(""),
        "
        9 stop      => deactivating/stop-sigterm : signal
        9 taken 137 => inactive/dead
    ",
    );
    story(
        "[Service]\nType=oneshot\nRemainAfterExit=yes",
        "
        0 start     => activating/start-pre : prepare
        1 prepared  => activating/start : start
        2 started   => activating/start
        3 taken 143 => activating/start-pre : prepare
        3 prepared  => activating/start : start
        3 started   => activating/start
        4 taken 0   => active/exited
    ",
    );
}

#[test]
fn a_start_that_takes_too_long_is_stopped() {
    story(
        "[Service]\nRestart=on-failure\nTimeoutStartSec=20",
        "
        0  start    => activating/start-pre : prepare
        15 prepared => activating/start : start
        20 tick     => deactivating/stop-sigterm : signal
        21 gone     => activating/auto-restart (restart 1)
    ",
    );
    // Without a limit of its own a download may take as long as it takes.
    story(
        "",
        "
        0    start    => activating/start-pre : prepare
        3000 tick     => activating/start-pre
        3001 prepared => activating/start : start
        3091 tick     => deactivating/stop-sigterm : signal
        3092 refused  => failed/failed (timeout)
    ",
    );
    story(
        "[Service]\nTimeoutStartSec=20",
        "
        0  start => activating/start-pre : prepare
        20 tick  => failed/failed (timeout) : cancelprepare
    ",
    );
}

#[test]
fn a_missing_image_is_a_failure_and_no_loop() {
    story(
        "[Service]\nRestart=no",
        "
        0 start      => activating/start-pre : prepare
        9 unprepared => failed/failed (resources)
    ",
    );
    story(
        "[Unit]\nStartLimitBurst=1\n[Service]\nRestart=always",
        "
        0   start      => activating/start-pre : prepare
        1   unprepared => activating/auto-restart (restart 1)
        1.1 tick       => failed/failed (start-limit-hit)
    ",
    );
}

const HEALTHY: &str = "Notify=healthy\nHealthCmd=true\n";

#[test]
fn it_may_have_to_be_well_to_count_as_started() {
    let mut life = story(
        HEALTHY,
        "
        0  start    => activating/start-pre : prepare
        1  prepared => activating/start : start
        2  started  => activating/start
    ",
    );
    go_on(
        &mut life,
        "
        50 unhealthy => activating/start (unhealthy)
        60 healthy   => active/running
        99 unhealthy => active/running (unhealthy)
    ",
    );
    story(
        HEALTHY,
        "
        0  start    => activating/start-pre : prepare
        1  prepared => activating/start : start
        2  started  => activating/start
        3  exit 0   => failed/failed (protocol)
    ",
    );
}

#[test]
fn bad_health_has_the_consequence_the_file_says() {
    let unhealthy = |action: &str, restart: &str, script: &str| {
        let lines =
            format!("HealthCmd=true\nHealthOnFailure={action}\n[Service]\nRestart={restart}");
        go_on(&mut up(&lines), script);
    };
    unhealthy("none", "always", "9 unhealthy => active/running (unhealthy)");
    unhealthy(
        "kill",
        "on-failure",
        "
        9  unhealthy => deactivating/stop-sigkill : kill
        10 exit 137  => activating/auto-restart (ended with code 137, restart 1)
    ",
    );
    unhealthy(
        "kill",
        "no",
        "
        9  unhealthy => deactivating/stop-sigkill : kill
        10 exit 137  => failed/failed (signal 9)
    ",
    );
    unhealthy(
        "restart",
        "no",
        "
        9  unhealthy => deactivating/stop-sigterm : signal
        10 exit 143  => activating/start-pre : prepare
    ",
    );
    unhealthy(
        "stop",
        "on-failure",
        "
        9  unhealthy => deactivating/stop-sigterm : signal
        10 exit 0    => inactive/dead
    ",
    );
    unhealthy(
        "stop",
        "always",
        "
        9  unhealthy => deactivating/stop-sigterm : signal
        10 exit 0    => activating/auto-restart (ended with code 0, restart 1)
    ",
    );
}

#[test]
fn work_that_ends_is_active_only_if_it_remains() {
    let job = |remain: &str, script: &str| {
        story(
            &format!("[Service]\nType=oneshot\nRestart=on-failure\nRemainAfterExit={remain}"),
            script,
        );
    };
    job(
        "yes",
        "
        0    start    => activating/start-pre : prepare
        1    prepared => activating/start : start
        2    started  => activating/start
        5000 tick     => activating/start
        5001 exit 0   => active/exited
        5002 stop     => inactive/dead
    ",
    );
    // A job that a signal cut off has not done its work.
    job(
        "no",
        "
        0 start    => activating/start-pre : prepare
        1 prepared => activating/start : start
        2 started  => activating/start
        3 exit 143 => activating/auto-restart (ended with code 143, restart 1)
    ",
    );
    job(
        "no",
        "
        0 start    => activating/start-pre : prepare
        1 prepared => activating/start : start
        2 started  => activating/start
        3 exit 0   => inactive/dead
    ",
    );
}

#[test]
fn memory_used_up_is_told_apart() {
    go_on(&mut up(""), "9 oom 137 => failed/failed (oom-kill)");
}

#[test]
fn who_removes_it_killed_it() {
    go_on(
        &mut up("[Service]\nRestart=on-failure"),
        "9 gone => activating/auto-restart (restart 1)",
    );
    go_on(
        &mut up(""),
        "
        9  stop => deactivating/stop-sigterm : signal
        10 gone => inactive/dead
    ",
    );
}

#[test]
fn a_users_wish_overtakes_what_is_under_way() {
    // A stop during the wait for a restart, and during a stop that was to lead to a start.
    go_on(
        &mut up("[Service]\nRestart=always\nRestartSec=10s"),
        "
        9  exit 1   => activating/auto-restart (ended with code 1, restart 1)
        10 stop     => inactive/dead
        19 tick     => inactive/dead
    ",
    );
    go_on(
        &mut up(""),
        "
        9  restart  => deactivating/stop-sigterm : signal
        10 stop     => deactivating/stop-sigterm
        11 exit 143 => inactive/dead
    ",
    );
    // A start during a stop.
    go_on(
        &mut up(""),
        "
        9  stop     => deactivating/stop-sigterm : signal
        10 start    => deactivating/stop-sigterm
        11 exit 143 => activating/start-pre : prepare
        12 stop     => inactive/dead : cancelprepare
    ",
    );
}

#[test]
fn a_failure_stays_to_be_seen_and_a_start_ends_it() {
    go_on(
        &mut up(""),
        "
        9  exit 2 => failed/failed (exit-code, code 2)
        10 stop   => failed/failed (exit-code, code 2)
        11 start  => activating/start-pre : prepare
    ",
    );
}

fn adopted(lines: &str, memory: &LifeMemory, seen: FoundContainer) -> String {
    adopted_after(lines, memory, (seen, false))
}

/// The same, and whether its engine took it along.
fn adopted_after(lines: &str, memory: &LifeMemory, found: (FoundContainer, bool)) -> String {
    let (life, actions) =
        ContainerLife::adopt_container(policy(lines), memory.clone(), found, seconds("100"));
    describe_step(&life, &actions)
}

#[test]
fn a_daemon_that_restarts_leaves_alone_what_runs() {
    let life = up("[Service]\nRestart=always");
    let memory = life.persistent_memory();
    assert_eq!(adopted("", memory, FoundContainer::Running(None)), "active/running");
    assert_eq!(
        adopted(HEALTHY, memory, FoundContainer::Running(Some(HealthState::Healthy))),
        "active/running"
    );
    assert_eq!(
        adopted(HEALTHY, memory, FoundContainer::Running(Some(HealthState::Starting))),
        "activating/start (waiting for its health check)"
    );
}

#[test]
fn what_ended_while_nobody_looked_is_judged_then() {
    let lines = "[Service]\nRestart=on-failure";
    let running = up(lines).persistent_memory().clone();
    let held = "activating/interrupted (cut off while the daemon was away)";
    assert_eq!(adopted(lines, &running, FoundContainer::Ended(ended("1", false))), held);
    assert_eq!(adopted(lines, &running, FoundContainer::Ended(ended("0", false))), "inactive/dead");
    assert_eq!(adopted(lines, &running, FoundContainer::Absent), held);
    // Its engine took it along: that is no end of its own.
    let killed = FoundContainer::Ended(ended("137", false));
    let running = up("").persistent_memory().clone();
    assert_eq!(adopted("", &running, killed), "failed/failed (signal 9)");
    assert_eq!(adopted_after("", &running, (killed, true)), held);
}

#[test]
fn what_was_cut_off_while_nobody_looked_goes_on_when_somebody_says_so() {
    let lines = "[Service]\nRestart=on-failure";
    let memory = up(lines).persistent_memory().clone();
    let found = (FoundContainer::Ended(ended("1", false)), false);
    let interrupted =
        || ContainerLife::adopt_container(policy(lines), memory.clone(), found, seconds("100")).0;
    let mut life = interrupted();
    assert_eq!(life.next_deadline(), None, "it waits for no clock");
    assert_eq!(life.persistent_memory().rest, None, "another daemon judges it again");
    go_on(&mut life, "101 start => activating/start-pre : prepare");
    assert_eq!(
        life.persistent_memory().restarts,
        1,
        "it is no other start than a restart by itself"
    );
    go_on(&mut interrupted(), "101 stop => inactive/dead");
    go_on(&mut interrupted(), "101 started => active/running");
}

#[test]
fn what_was_given_up_stays_given_up() {
    let mut life = up("");
    life.step(seconds("9"), LifeEvent::Ended(ended("4", false)));
    let given_up = life.persistent_memory().clone();
    let kept: LifeMemory =
        serde_json::from_str(&serde_json::to_string(&given_up).unwrap()).unwrap();
    assert_eq!(kept, given_up);
    let lines = "[Service]\nRestart=always";
    assert_eq!(
        adopted(lines, &kept, FoundContainer::Ended(ended("4", false))),
        "failed/failed (exit-code, code 4)"
    );
    assert_eq!(adopted(lines, &kept, FoundContainer::Absent), "failed/failed (exit-code, code 4)");
    // A stop under way when the daemon went.
    let mut life = up("");
    life.step(seconds("9"), LifeEvent::Stop);
    assert_eq!(
        adopted("", life.persistent_memory(), FoundContainer::Ended(ended("143", false))),
        "inactive/dead"
    );
}
