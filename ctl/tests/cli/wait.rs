//! Waiting for units, as a user sees it: success, refusal, failure, trouble, and giving up.

use std::process::{Command, Stdio};

use insta::assert_snapshot;
use serde_json::json;

use crate::daemon::{Answer, Daemon, eventually, interrupt, shown};
use crate::words::{changed, done, full, machine, state};

/// The daemon takes a start of these units.
fn accepted<const N: usize>(units: [&str; N]) -> (&'static str, Answer) {
    let units = units.map(|unit| (unit, json!({ "outcome": "created" })));
    ("POST /v1/units", Answer::json(changed(units)))
}

#[test]
fn a_unit_that_is_destroyed_meanwhile_is_a_failure() {
    let daemon = Daemon::new([
        accepted(["web@1.service"]),
        ("POST /v1/wait", Answer::events([done("web@1.service", &[])])),
    ]);
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
        Daemon::new([accepted(["web@1.service"]), ("POST /v1/wait", Answer::events([event]))])
            .run(line)
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
        accepted(["web@4.service"]),
        (
            "POST /v1/wait",
            Answer::OpenEvents(vec![
                json!({ "event": "refused", "name": "web@4.service", "refusal": full() }),
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
fn a_queued_start_tells_a_refusal_once_and_waits_until_the_time_is_up() {
    let refused = json!({ "event": "refused", "name": "web@4.service", "refusal": full() });
    let daemon = Daemon::new([
        accepted(["web@4.service"]),
        ("POST /v1/wait", Answer::OpenEvents(vec![refused.clone(), refused])),
    ]);
    assert_snapshot!(daemon.run("start --queue --timeout 3s web@4"), @r"
    exit 1
    --- stderr
    warning: web@4.service waits: no machine can take it now
      11111111...: Conflicts=web@* matches web@1.service, which is there
      22222222...: Conflicts=web@* matches web@2.service, which is there
      33333333...: Conflicts=web@* matches web@3.service, which is there
    error: timed out: after 3s, web@4.service (no machine takes it) is still waited for
    hint: what was requested stays so; `musterctl list-units` shows how far it is
    ");
    assert_eq!(daemon.requests()[0].body["queue"], true);
}

#[test]
fn a_start_tells_what_it_waits_for() {
    let mut fetching = state("activating", "start-pre");
    fetching.remark = "fetching the image web:1: 30% of 10 MB".to_owned();
    let daemon = Daemon::new([
        accepted(["web@4.container"]),
        (
            "POST /v1/wait",
            Answer::OpenEvents(vec![json!({
                "event": "progress", "name": "web@4.container", "machine": machine(1),
                "state": fetching,
            })]),
        ),
    ]);
    assert_snapshot!(daemon.run("start --timeout 3s web@4.container"), @r"
    exit 1
    --- stderr
    error: timed out: after 3s, web@4.container (activating/start-pre on 11111111.../10.0.0.1, fetching the image web:1: 30% of 10 MB) is still waited for
    hint: what was requested stays so; `musterctl list-units` shows how far it is
    ");
}

#[test]
fn a_failed_start_shows_the_last_log_lines() {
    let mut failed = state("failed", "failed");
    failed.problem = Some("the start job failed".to_owned());
    let event = json!({
        "event": "failed", "name": "web@1.service", "machine": machine(1), "state": failed,
        "log": ["web[7]: cannot bind 0.0.0.0:80", "systemd[1]: web@1.service: Failed with result 'exit-code'."],
    });
    let script =
        || Daemon::new([accepted(["web@1.service"]), ("POST /v1/wait", Answer::events([&event]))]);
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
    let daemon = Daemon::new([
        accepted(["web@1.service"]),
        ("POST /v1/wait", Answer::events([&away, &away, &done("web@1.service", &[1])])),
    ]);
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
        accepted(["web@1.service", "web@2.service"]),
        ("POST /v1/wait", Answer::events([done("web@1.service", &[1])])),
        ("POST /v1/wait", Answer::Hangup),
        ("POST /v1/wait", Answer::error(503, "the store is not reached yet")),
        ("POST /v1/wait", Answer::events([done("web@2.service", &[2])])),
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

#[test]
fn a_daemon_that_never_finishes_a_wait_is_given_up() {
    let daemon = Daemon::new([accepted(["web@1.service"]), ("POST /v1/wait", Answer::Hangup)]);
    assert_snapshot!(daemon.run("start web@1 --request-timeout 2"), @r"
    exit 1
    --- stderr
    error: the exchange with unix://[SOCKET] broke off: connection closed before message completed
    hint: the daemon's log (`journalctl -u musterd`) may say why
    ");
}

#[test]
fn a_daemon_that_ends_every_wait_at_once_is_given_up() {
    let daemon =
        Daemon::new([accepted(["web@1.service"]), ("POST /v1/wait", Answer::Events(vec![]))]);
    assert_snapshot!(daemon.run("start web@1 --request-timeout 2"), @r"
    exit 1
    --- stderr
    error: the daemon ended the wait before it was over
    ");
}

#[test]
fn time_limits_name_what_is_still_waited_for() {
    let daemon = || {
        Daemon::new([
            accepted(["web@1.service", "web@2.service", "web@3.service"]),
            (
                "POST /v1/wait",
                Answer::OpenEvents(vec![
                    json!({
                        "event": "progress", "name": "web@1.service", "machine": machine(1),
                        "state": state("activating", "start"),
                    }),
                    json!({ "event": "progress", "name": "web@2.service" }),
                    done("web@3.service", &[3]),
                ]),
            ),
        ])
    };
    assert_snapshot!(daemon().run("start web@1 web@2 web@3 --block-attempts=6"), @r"
    exit 1
    --- stdout
    Unit web@3.service launched on 33333333.../10.0.0.3
    --- stderr
    error: timed out: after 3s, web@1.service (activating/start on 11111111.../10.0.0.1), web@2.service (not placed) are still waited for
    hint: what was requested stays so; `musterctl list-units` shows how far it is
    ");
    assert_snapshot!(daemon().run("start web@1 web@2 web@3 --timeout=3s -o json"), @r#"
    exit 1
    --- stdout
    [
      {
        "unit": "web@3.service",
        "result": "done",
        "state": "launched",
        "machines": [
          {
            "id": "33333333333333333333333333333333",
            "ip": "10.0.0.3"
          }
        ]
      },
      {
        "unit": "web@1.service",
        "result": "pending",
        "message": "activating/start on 11111111.../10.0.0.1"
      },
      {
        "unit": "web@2.service",
        "result": "pending",
        "message": "not placed"
      }
    ]
    --- stderr
    error: timed out: after 3s, web@1.service (activating/start on 11111111.../10.0.0.1), web@2.service (not placed) are still waited for
    hint: what was requested stays so; `musterctl list-units` shows how far it is
    "#);
}

#[test]
fn ctrl_c_says_that_what_was_requested_stays() {
    let daemon =
        Daemon::new([accepted(["web@1.service"]), ("POST /v1/wait", Answer::OpenEvents(vec![]))]);
    let child = daemon
        .command("start web@1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    eventually("the wait", || daemon.lines().len() == 2);
    interrupt(&child);
    assert_snapshot!(shown(&child.wait_with_output().unwrap()), @r"
    exit 130
    --- stderr
    error: interrupted while web@1.service (nothing heard yet) is still waited for; what was requested stays so
    hint: `musterctl list-units` shows how far they are
    ");
}

/// `script` runs the client with a terminal as standard output and standard error.
#[test]
fn only_a_terminal_sees_progress() {
    let daemon = || {
        Daemon::new([
            accepted(["web@1.service"]),
            (
                "POST /v1/wait",
                Answer::OpenEvents(vec![json!({
                    "event": "progress", "name": "web@1.service", "machine": machine(1),
                    "state": state("activating", "start"),
                })]),
            ),
        ])
    };
    let line = "start web@1 --timeout 3s";
    let progress = "0/1: web@1.service activating/start on 11111111.../10.0.0.1";

    let (terminal, pipe) = (daemon(), daemon());
    let command = format!("{} {line}", env!("CARGO_BIN_EXE_musterctl"));
    let in_terminal = Command::new("script")
        .args(["--quiet", "--return", "--command", &command, "/dev/null"])
        .env("MUSTERCTL_ENDPOINT", terminal.socket())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let seen = String::from_utf8_lossy(&in_terminal.stdout);
    assert!(seen.contains(progress), "{seen}");
    assert!(!pipe.run(line).contains(progress));
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
    let child = daemon
        .command("destroy web@1 --notice-after 50ms")
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    eventually("the notice", || daemon.lines().iter().any(|line| line == "GET /v1/machines"));
    // It asks once for each notice, and has said the first before it asks for the second.
    eventually("the second notice", || {
        daemon.lines().iter().filter(|line| *line == "GET /v1/machines").count() == 2
    });
    interrupt(&child);
    let said = String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap();
    let said: String = said.split_inclusive('\n').take(3).collect();
    assert_snapshot!(said, @r"
    waiting: no news yet
      web@1.service is to be gone: deactivating/stop-sigterm on 22222222.../10.0.0.2; 22222222.../10.0.0.2 has not reported that it has it no more
      22222222... is not registered now: it is down, or its daemon does not reach the store
    ");
}
