//! `reboot lock --wait` and `reboot request --wait`.

use std::process::Stdio;

use insta::assert_snapshot;
use serde_json::{Value, json};

use super::{daemon_with, hours_ago, id, idle_cluster, request_answer, status, without_dates};
use crate::daemon::{Answer, Daemon, interrupt, musterctl, output_text, wait_until};

fn event(mut status: Value) -> Value {
    status["event"] = json!("status");
    status["machines"] = json!([]);
    status
}

fn refused() -> Answer {
    let message = "the slot of group default taken by maintenance";
    let wait =
        json!({"reason": "slots-taken", "group": "default", "max": 1, "holders": ["maintenance"]});
    Answer::Json(409, json!({"error": {"code": 409, "message": message}, "wait": wait}))
}

#[test]
fn lock_waits_for_a_slot_and_asks_again_when_others_were_faster() {
    let held = status(
        &json!([{"id": "maintenance", "kind": "person", "since": hours_ago()}]),
        &json!([]),
        &json!([]),
    );
    let locked = json!({"group": "default", "id": id(1), "since": hours_ago(), "anew": true});
    let daemon = daemon_with(
        held.clone(),
        [
            ("POST /v1/reboot/lock", refused()),
            ("POST /v1/reboot/lock", refused()),
            ("POST /v1/reboot/lock", Answer::error(503, "the store is away")),
            ("POST /v1/reboot/lock", Answer::json(locked)),
            (
                "GET /v1/reboot/watch?group=default",
                Answer::OpenEvents(vec![event(held), event(idle_cluster())]),
            ),
        ],
    );
    assert_snapshot!(daemon.run("reboot lock --wait"), @r"
    exit 0
    --- stdout
    11111111.../10.0.0.1 holds a slot of group default
    ");
    let asked = daemon.lines().into_iter().filter(|line| line.starts_with("POST")).count();
    assert_eq!(asked, 4);
}

#[test]
fn lock_gives_up_when_the_time_is_up() {
    let held = status(
        &json!([{"id": "maintenance", "kind": "person", "since": hours_ago()}]),
        &json!([]),
        &json!([]),
    );
    let daemon = daemon_with(
        held.clone(),
        [
            ("POST /v1/reboot/lock", refused()),
            ("GET /v1/reboot/watch", Answer::OpenEvents(vec![event(held)])),
        ],
    );
    assert_snapshot!(daemon.run("reboot lock --wait --timeout 1s"), @r"
    exit 1
    --- stderr
    error: timed out: after 1s, a slot of group default is still waited for
    hint: `musterctl reboot status` shows who holds a slot and since when
    ");
    assert_snapshot!(output_text(&musterctl("reboot lock --timeout 1m").output().unwrap()), @r"
    exit 2
    --- stderr
    error: the following required arguments were not provided:
      --wait

    Usage: musterctl reboot lock --wait --timeout <DURATION> [ID]

    For more information, try '--help'.
    ");
}

/// Machine 2 in a phase of a boot, asked or not, with a slot or not.
fn at(phase: &str, boot: &str, asked: bool, holds: bool, more: &Value) -> Value {
    let mut host = json!({"machine": id(2), "phase": phase, "boot": boot, "since": hours_ago()});
    host["waits"] = more.clone();
    let holders = json!([{"id": id(2), "kind": "host", "since": hours_ago()}]);
    let wishes = json!([{"machine": id(2), "by": "ann", "at": hours_ago()}]);
    let none = json!([]);
    event(status(
        if holds { &holders } else { &none },
        &json!([host]),
        if asked { &wishes } else { &none },
    ))
}

fn asking(events: Vec<Value>) -> Daemon {
    let host = json!({"phase": "idle", "boot": "b1"});
    daemon_with(
        idle_cluster(),
        [
            ("POST /v1/reboot/request", Answer::json(request_answer(2, true, &host))),
            ("GET /v1/reboot/watch", Answer::OpenEvents(events)),
        ],
    )
}

#[test]
fn request_waits_until_the_machine_has_rebooted_and_given_its_slot_back() {
    let none = json!([]);
    let retry = json!([{"reason": "retry", "until": hours_ago(), "problem": "a hook failed"}]);
    let daemon = || {
        asking(vec![
            at("idle", "b1", true, false, &none),
            at("waiting", "b1", true, false, &retry),
            at("waiting", "b1", true, false, &retry),
            json!({"event": "degraded", "message": "the store cannot be reached (cut)"}),
            json!({"event": "of a later version"}),
            at("draining", "b1", true, true, &none),
            at("settling", "b2", true, true, &none),
            at("releasing", "b2", false, true, &none),
            at("idle", "b2", false, false, &none),
        ])
    };
    assert_snapshot!(without_dates(&daemon().run("reboot request n2 --wait")), @r"
    exit 0
    --- stdout
    22222222.../10.0.0.2 is asked to reboot
    22222222.../10.0.0.2 has rebooted
    --- stderr
    warning: 22222222.../10.0.0.2 waiting: given up for now: a hook failed, until DATE TIME (2h 30m ago)
    warning: the store cannot be reached (cut); still waiting
    ");
    let output = daemon().command("reboot request n2 --wait --output json").output().unwrap();
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(printed[0]["result"], "rebooted");
    assert_eq!(printed[0]["request"]["by"], "jane");
}

#[test]
fn request_fails_when_somebody_takes_the_request_back_or_the_time_is_up() {
    let none = json!([]);
    let start = at("waiting", "b1", true, false, &none);
    let cancelled = at("idle", "b1", false, false, &none);
    assert_snapshot!(asking(vec![start, cancelled]).run("reboot request n2 --wait"), @r"
    exit 1
    --- stdout
    22222222.../10.0.0.2 is asked to reboot
    --- stderr
    error: 22222222.../10.0.0.2 is not asked to reboot any more: somebody took the request back
    ");
    // Whether news come before the time is up depends on the machine, so there are none.
    let slow = asking(vec![]);
    assert_snapshot!(slow.run("reboot request n2 --wait --timeout 1s"), @r"
    exit 1
    --- stdout
    22222222.../10.0.0.2 is asked to reboot
    --- stderr
    error: timed out: after 1s, 22222222.../10.0.0.2 (nothing heard yet) is still waited for
    hint: the requests stand; `musterctl reboot status` shows how far the machines are, `reboot cancel` takes them back
    ");
}

#[test]
fn ctrl_c_leaves_what_was_requested() {
    let daemon = asking(vec![]);
    let mut command = daemon.command("reboot request n2 --wait");
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("the watch", || daemon.lines().iter().any(|line| line.contains("/watch")));
    interrupt(&child);
    assert_snapshot!(output_text(&child.wait_with_output().unwrap()), @r"
    exit 130
    --- stdout
    22222222.../10.0.0.2 is asked to reboot
    --- stderr
    error: interrupted while 22222222.../10.0.0.2 (nothing heard yet) is still waited for; what was requested stays so
    hint: the requests stand; `musterctl reboot status` shows how far the machines are, `reboot cancel` takes them back
    ");
}
