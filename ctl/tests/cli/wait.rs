//! Waiting for units, as a user sees it: success, refusal, failure, trouble, and giving up.

use std::io::Read;
use std::process::{Command, Stdio};

use insta::assert_snapshot;
use serde_json::json;

use crate::answers::{change_answer, done_event, full_refusal, machine, state};
use crate::daemon::{Answer, Daemon, interrupt, output_text, wait_until};

/// The daemon takes a start of these units.
fn accepted_change<const N: usize>(units: [&str; N]) -> (&'static str, Answer) {
    let units = units.map(|unit| (unit, json!({ "outcome": "created" })));
    ("POST /v1/units", Answer::json(change_answer(units)))
}

/// A daemon that has made one unit, and answers the wait for it.
fn daemon_with_wait(unit: &str, answer: Answer) -> Daemon {
    Daemon::new([accepted_change([unit]), ("POST /v1/wait", answer)])
}

#[test]
fn a_unit_that_is_destroyed_meanwhile_is_a_failure() {
    let daemon =
        daemon_with_wait("web@1.service", Answer::events([done_event("web@1.service", &[])]));
    assert_snapshot!(daemon.run("start web@1"), @r"
    exit 1
    --- stderr
    error: web@1.service was destroyed meanwhile
    ");
}

#[test]
fn a_unit_that_somebody_else_changes_meanwhile_is_a_failure() {
    let overtaken = |desired: &str| json!({ "event": "overtaken", "name": "web@1.service", "desired": desired });
    let script = |line: &'static str, event: serde_json::Value| {
        daemon_with_wait("web@1.service", Answer::events([event])).run(line)
    };
    assert_snapshot!(script("start web@1", overtaken("loaded")), @r"
    exit 1
    --- stderr
    error: web@1.service was stopped meanwhile
    hint: somebody else asked for that; `musterctl list-units` shows what became of it
    ");
    assert_snapshot!(script("load web@1", overtaken("launched")), @r"
    exit 1
    --- stderr
    error: web@1.service was started meanwhile
    hint: somebody else asked for that; `musterctl list-units` shows what became of it
    ");
    assert_snapshot!(script("start web@1 --output json", overtaken("inactive")), @r#"
    exit 1
    --- stdout
    [
      {
        "unit": "web@1.service",
        "result": "failed",
        "message": "was unloaded meanwhile",
        "log": []
      }
    ]
    --- stderr
    error: web@1.service was unloaded meanwhile
    hint: somebody else asked for that; `musterctl list-units` shows what became of it
    "#);
}

#[test]
fn a_refusal_that_comes_later_ends_the_wait() {
    let daemon = Daemon::new([
        accepted_change(["web@4.service"]),
        (
            "POST /v1/wait",
            Answer::OpenEvents(vec![
                json!({ "event": "refused", "name": "web@4.service", "refusal": full_refusal() }),
            ]),
        ),
    ]);
    assert_snapshot!(daemon.run("start web@4"), @r"
    exit 1
    --- stderr
    error: web@4.service: no machine can take it now
      11111111...: Conflicts=web@* matches web@1.service, which is there
      22222222...: Conflicts=web@* matches web@2.service, which is there
      33333333...: Conflicts=web@* matches web@3.service, which is there
    ");
}

#[test]
fn a_queued_start_tells_a_refusal_once_and_goes_on_waiting() {
    let refused = json!({ "event": "refused", "name": "web@4.service", "refusal": full_refusal() });
    let daemon = daemon_with_wait(
        "web@4.service",
        Answer::events([&refused, &refused, &done_event("web@4.service", &[1])]),
    );
    assert_snapshot!(daemon.run("start --queue web@4"), @r"
    exit 0
    --- stdout
    Unit web@4.service launched on 11111111.../10.0.0.1
    --- stderr
    warning: web@4.service waits: no machine can take it now
      11111111...: Conflicts=web@* matches web@1.service, which is there
      22222222...: Conflicts=web@* matches web@2.service, which is there
      33333333...: Conflicts=web@* matches web@3.service, which is there
    ");
    assert_eq!(daemon.requests()[0].body["queue"], true);
}

#[test]
fn a_failed_start_shows_the_last_log_lines() {
    let mut failed = state("failed", "failed");
    failed.problem = Some("the start job failed".to_owned());
    let event = json!({
        "event": "failed", "name": "web@1.service", "machine": machine(1), "state": failed,
        "log": ["web[7]: cannot bind 0.0.0.0:80", "systemd[1]: web@1.service: Failed with result 'exit-code'."],
    });
    let script = || daemon_with_wait("web@1.service", Answer::events([&event]));
    assert_snapshot!(script().run("start web@1"), @r"
    exit 1
    --- stderr
    error: web@1.service failed on 11111111.../10.0.0.1: failed/failed, the start job failed
      web[7]: cannot bind 0.0.0.0:80
      systemd[1]: web@1.service: Failed with result 'exit-code'.
    hint: `musterctl status web@1.service` and `musterctl journal web@1.service` show more
    ");
    assert_snapshot!(script().run("start web@1 --output json"), @r#"
    exit 1
    --- stdout
    [
      {
        "unit": "web@1.service",
        "result": "failed",
        "message": "failed on 11111111.../10.0.0.1: failed/failed, the start job failed",
        "log": [
          "web[7]: cannot bind 0.0.0.0:80",
          "systemd[1]: web@1.service: Failed with result 'exit-code'."
        ]
      }
    ]
    --- stderr
    error: web@1.service failed on 11111111.../10.0.0.1: failed/failed, the start job failed
      web[7]: cannot bind 0.0.0.0:80
      systemd[1]: web@1.service: Failed with result 'exit-code'.
    hint: `musterctl status web@1.service` and `musterctl journal web@1.service` show more
    "#);
}

#[test]
fn the_store_being_away_is_told_once() {
    let away = json!({ "event": "degraded", "message": "etcd does not answer" });
    let daemon = daemon_with_wait(
        "web@1.service",
        Answer::events([&away, &away, &done_event("web@1.service", &[1])]),
    );
    assert_snapshot!(daemon.run("start web@1"), @r"
    exit 0
    --- stdout
    Unit web@1.service launched on 11111111.../10.0.0.1
    --- stderr
    warning: etcd does not answer; still waiting
    ");
}

#[test]
fn a_wait_outlives_a_restart_of_the_daemon() {
    let daemon = Daemon::new([
        accepted_change(["web@1.service", "web@2.service"]),
        ("POST /v1/wait", Answer::events([done_event("web@1.service", &[1])])),
        ("POST /v1/wait", Answer::Hangup),
        ("POST /v1/wait", Answer::error(503, "the store is not reached yet")),
        ("POST /v1/wait", Answer::events([done_event("web@2.service", &[2])])),
    ]);
    assert_snapshot!(daemon.run("start web@1 web@2"), @r"
    exit 0
    --- stdout
    Unit web@1.service launched on 11111111.../10.0.0.1
    Unit web@2.service launched on 22222222.../10.0.0.2
    ");
    let waits: Vec<_> =
        daemon.requests().into_iter().filter(|r| r.line == "POST /v1/wait").collect();
    assert_eq!(waits.len(), 4);
    assert_eq!(waits[3].body["units"].as_array().unwrap().len(), 1, "only what is still missing");
}

/// What it says of the daemon is tested beside the code that follows it.
#[test]
fn a_daemon_that_never_goes_through_with_a_wait_is_given_up() {
    for answer in [Answer::Hangup, Answer::Events(vec![])] {
        let daemon = daemon_with_wait("web@1.service", answer);
        let shown = daemon.run("start web@1 --request-timeout 1");
        assert!(shown.starts_with("exit 1\n--- stderr\nerror: "), "{shown}");
    }
}

/// Without news: whether they come before the time is up depends on the machine. What becomes of them is tested beside the code
/// that hears them.
#[test]
fn time_limits_name_what_is_still_waited_for() {
    let daemon = || {
        Daemon::new([
            accepted_change(["web@1.service", "web@2.service"]),
            ("POST /v1/wait", Answer::OpenEvents(vec![])),
        ])
    };
    assert_snapshot!(daemon().run("start web@1 web@2 --block-attempts=1"), @r"
    exit 1
    --- stderr
    error: timed out: after 2s, web@1.service (nothing heard yet), web@2.service (nothing heard yet) are still waited for
    hint: what was requested stays so; `musterctl list-units` shows how far it is
    ");
    assert_snapshot!(daemon().run("start web@1 web@2 --timeout=1s -o json"), @r#"
    exit 1
    --- stdout
    [
      {
        "unit": "web@1.service",
        "result": "pending",
        "message": "nothing heard yet"
      },
      {
        "unit": "web@2.service",
        "result": "pending",
        "message": "nothing heard yet"
      }
    ]
    --- stderr
    error: timed out: after 1s, web@1.service (nothing heard yet), web@2.service (nothing heard yet) are still waited for
    hint: what was requested stays so; `musterctl list-units` shows how far it is
    "#);
}

#[test]
fn ctrl_c_says_that_what_was_requested_stays() {
    let daemon = daemon_with_wait("web@1.service", Answer::OpenEvents(vec![]));
    let child = daemon
        .command("start web@1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("the wait", || daemon.lines().len() == 2);
    interrupt(&child);
    assert_snapshot!(output_text(&child.wait_with_output().unwrap()), @r"
    exit 130
    --- stderr
    error: interrupted while web@1.service (nothing heard yet) is still waited for; what was requested stays so
    hint: `musterctl list-units` shows how far they are
    ");
}

/// `script` runs the client with a terminal as standard output and standard error.
#[test]
fn only_a_terminal_sees_progress() {
    let progress = "0/1: web@1.service activating/start on 11111111.../10.0.0.1";
    let event = json!({
        "event": "progress", "name": "web@1.service", "machine": machine(1),
        "state": state("activating", "start"),
    });
    let daemon = daemon_with_wait("web@1.service", Answer::OpenEvents(vec![event.clone()]));
    let command = format!("exec {} start web@1", env!("CARGO_BIN_EXE_musterctl"));
    let mut in_terminal = Command::new("script")
        .args(["--quiet", "--flush", "--command", &command, "/dev/null"])
        .env("MUSTERCTL_ENDPOINT", daemon.socket())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // It is drawn once it is heard of, and the wait goes on: whoever has seen it ends that.
    read_until(in_terminal.stdout.as_mut().unwrap(), progress);
    in_terminal.kill().unwrap();
    in_terminal.wait().unwrap();

    let daemon = daemon_with_wait(
        "web@1.service",
        Answer::events([&event, &done_event("web@1.service", &[1])]),
    );
    assert_eq!(
        daemon.run("start web@1"),
        "exit 0\n--- stdout\nUnit web@1.service launched on 11111111.../10.0.0.1\n"
    );
}

/// Reads until a text is there; what there is by then.
fn read_until(stream: &mut impl Read, text: &str) -> String {
    let mut seen = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let length = stream.read(&mut piece).unwrap();
        assert_ne!(length, 0, "it ended without {text:?}: {}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&piece[..length]);
        let so_far = String::from_utf8_lossy(&seen);
        if so_far.contains(text) {
            return so_far.into_owned();
        }
    }
}

/// A daemon whose unit moves from state to state for ever must not keep a script from hearing of it.
#[test]
fn a_wait_in_which_all_moves_and_nothing_is_said_says_what_it_waits_for() {
    let step = |sub: &str| {
        json!({
            "event": "progress", "name": "web@1.service", "machine": machine(1),
            "state": state("activating", sub),
        })
    };
    let daemon = Daemon::new([
        accepted_change(["web@1.service"]),
        ("POST /v1/wait", Answer::EndlessEvents(vec![step("start"), step("auto-restart")])),
        ("GET /v1/machines", Answer::json(json!({ "machines": [machine(1)] }))),
    ]);
    let child = daemon
        .command("start web@1 --notice-after 300ms")
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("the notice", || daemon.lines().iter().any(|line| line == "GET /v1/machines"));
    interrupt(&child);
    child.wait_with_output().unwrap();
}

#[test]
fn a_wait_without_news_says_what_it_waits_for_and_on_which_machine() {
    let stuck = json!({
        "event": "progress", "name": "web@1.service", "machine": machine(2),
        "state": state("deactivating", "stop-sigterm"),
    });
    let daemon = Daemon::new([
        (
            "POST /v1/units/destroy",
            Answer::json(json!({ "destroyed": ["web@1.service"], "unknown": [], "revision": 3 })),
        ),
        ("POST /v1/wait", Answer::OpenEvents(vec![stuck])),
        (
            "GET /v1/machines",
            Answer::json(json!({ "machines": [machine(1)], "leader": machine(1).id })),
        ),
    ]);
    let mut child = daemon
        .command("destroy web@1 --notice-after 50ms")
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // Before the event comes it may have said already that it has heard nothing.
    let last =
        "22222222... is not registered now: it is down, or its daemon does not reach the store\n";
    let output_text = read_until(child.stderr.as_mut().unwrap(), last);
    interrupt(&child);
    child.wait().unwrap();
    let lines: Vec<&str> = output_text.lines().rev().take(3).collect();
    assert!(lines[2].starts_with("waiting: no news"), "{output_text}");
    assert_eq!(
        lines[1],
        "  web@1.service is to be gone: deactivating/stop-sigterm on 22222222.../10.0.0.2; \
         22222222.../10.0.0.2 has not reported that it has it no more"
    );
    assert_eq!(lines[0], format!("  {}", last.trim_end()));
}
