//! Conditions and assertions that do not hold.

use muster_engine::container::{ContainerLife, FoundContainer};

use super::{describe_step, go_on, policy, seconds, story, up};

/// As in systemd: a start whose conditions do not hold is none, whatever `Restart=` says, and does not count.
#[test]
fn conditions_that_do_not_hold_leave_it_inactive() {
    let lines = "[Unit]\nStartLimitBurst=1\n[Service]\nRestart=always\nRestartSec=1";
    let mut life = story(
        lines,
        "
        0 start => activating/start-pre : prepare
        1 unmet => inactive/dead (condition)
        2 tick  => inactive/dead (condition)
        3 start => activating/start-pre : prepare
        4 unmet => inactive/dead (condition)
        5 stop  => inactive/dead (condition)
    ",
    );
    // A daemon that has just started knows it still.
    let memory = life.persistent_memory().clone();
    let (adopted, actions) = ContainerLife::adopt_container(
        policy(lines),
        memory,
        (FoundContainer::Absent, false),
        seconds("6"),
    );
    assert_eq!(describe_step(&adopted, &actions), "inactive/dead (condition)");
    go_on(
        &mut life,
        "
        7 start    => activating/start-pre : prepare
        8 prepared => activating/start : start
        9 started  => active/running
    ",
    );
}

#[test]
fn conditions_are_looked_at_before_each_restart() {
    let mut life = up("[Service]\nRestart=always\nRestartSec=1");
    go_on(
        &mut life,
        "
        3 exit 1 => activating/auto-restart (ended with code 1, restart 1)
        4 tick   => activating/start-pre : prepare
        5 unmet  => inactive/dead (condition)
        9 tick   => inactive/dead (condition)
    ",
    );
}

#[test]
fn an_assertion_that_does_not_hold_fails_the_start_and_nothing_starts_it_again() {
    story(
        "[Unit]\nStartLimitBurst=1\n[Service]\nRestart=always",
        "
        0 start  => activating/start-pre : prepare
        1 assert => failed/failed (assert)
        2 tick   => failed/failed (assert)
        3 start  => activating/start-pre : prepare
        4 assert => failed/failed (assert)
    ",
    );
}
