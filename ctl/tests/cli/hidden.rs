//! Text from users, machines, the store and files, on a terminal: nothing in it drives the terminal, hides itself, or passes
//! for a line of musterctl's own.

use muster_common::text::is_hidden;
use serde_json::{Value, json};

use crate::answers::{change_answer, machine, state, unit};
use crate::daemon::{Answer, Daemon, musterctl, output_text};

/// A line of its own, a command to the terminal in each of its forms, and a turned direction.
const EVIL: &str = "x\nerror: forged\r\u{1b}[2J\u{9b}31m\u{7}\u{7f}\u{202e}\u{2028}y";

/// Runs a command and holds what it prints against the rules; returns it.
fn run_visibly(daemon: &Daemon, arguments: &str) -> String {
    let shown = daemon.run(arguments);
    is_visible(&shown);
    shown
}

fn is_visible(shown: &str) {
    let hidden = shown.chars().find(|&c| is_hidden(c) && c != '\n' && c != '\t');
    assert_eq!(hidden, None, "{shown:?}");
    assert!(!shown.lines().any(|line| line.starts_with("error: forged")), "{shown}");
    assert!(shown.contains("forged") && shown.contains("\\u{1b}[2J"), "{shown}");
}

fn evil_machine() -> Value {
    let mut value = serde_json::to_value(machine(1)).unwrap();
    for key in ["address", "host", "version", "containers_lost"] {
        value[key] = json!(EVIL);
    }
    value["metadata"] = json!({ EVIL: EVIL });
    value
}

fn evil_state() -> Value {
    let mut value = serde_json::to_value(state("failed", "failed")).unwrap();
    for key in ["load", "active", "sub", "hash", "problem", "remark"] {
        value[key] = json!(EVIL);
    }
    value
}

fn unreadable_record() -> Value {
    json!([{"key": format!("unit/{EVIL}"), "problem": EVIL}])
}

fn cordon() -> Value {
    json!({"holds": {"person": {"by": EVIL, "reason": EVIL, "since": 1}, "of a later version": {"reason": EVIL}}})
}

#[test]
fn lists_show_what_is_in_their_cells_and_warnings() {
    let id = machine(1).id;
    let machines = json!({
        "machines": [evil_machine()], "cordons": { id.as_str(): cordon() }, "unreadable": unreadable_record(),
    });
    let daemon = Daemon::new([("GET /v1/machines", Answer::json(machines))]);
    run_visibly(&daemon, "list-machines");
    run_visibly(&daemon, "list-machines --full --fields cordon,host,ip,machine,metadata,runners");

    let mut report = evil_state();
    report["name"] = json!("a.service");
    report["machine"] = json!(id);
    let states = json!({
        "states": [report], "silent": [], "machines": [evil_machine()], "unreadable": unreadable_record(),
    });
    let daemon = Daemon::new([("GET /v1/states", Answer::json(states))]);
    run_visibly(&daemon, "list-units");
    run_visibly(
        &daemon,
        "list-units --full --fields active,hash,load,machine,problem,remark,sub,unit",
    );

    let mut one = unit("a.service", "launched", "launched", &[1]);
    one["description"] = json!(EVIL);
    one["hash"] = json!(EVIL);
    let units =
        json!({"units": [one], "machines": [evil_machine()], "unreadable": unreadable_record()});
    let daemon = Daemon::new([("GET /v1/units", Answer::json(units))]);
    run_visibly(&daemon, "list-unit-files --fields unit,desc,hash,target");
}

#[test]
fn a_units_failure_and_a_refusal_are_told_without_effect() {
    let accepted =
        change_answer([("a.service", json!({"outcome": "changed", "warnings": [EVIL]}))]);
    let failed = json!({
        "event": "failed", "name": "a.service", "machine": evil_machine(), "state": evil_state(), "log": [EVIL, EVIL],
    });
    let degraded = json!({"event": "degraded", "message": EVIL});
    let daemon = Daemon::new([
        ("POST /v1/units", Answer::json(&accepted)),
        ("POST /v1/wait", Answer::events(json!([degraded, failed]))),
    ]);
    run_visibly(&daemon, "start a");

    let reason = |reason: Value| json!({"machine": machine(1).id, "reason": reason});
    let refusal = json!({"machines": [
        reason(json!({"reason": "cordoned", "why": EVIL})),
        reason(json!({"reason": "not-started", "problem": EVIL})),
        reason(json!({"reason": "metadata", "key": EVIL, "wanted": [EVIL], "found": EVIL})),
    ]});
    let refused = change_answer([("a.service", json!({"outcome": "refused", "refusal": refusal}))]);
    let daemon = Daemon::new([("POST /v1/units", Answer::json(&refused))]);
    let shown = run_visibly(&daemon, "start a");
    // One line for each machine, and none that somebody made up.
    assert_eq!(shown.lines().filter(|line| line.starts_with("  1111")).count(), 3, "{shown}");

    let failed = change_answer([("a.service", json!({"outcome": "failed", "message": EVIL}))]);
    run_visibly(&Daemon::new([("POST /v1/units", Answer::json(failed))]), "start a");
    run_visibly(&Daemon::new([("POST /v1/units", Answer::error(500, EVIL))]), "start a");
    let moves = json!({"moves": [EVIL], "refusals": {"a.service": refusal}});
    run_visibly(&Daemon::new([("GET /v1/plan", Answer::json(moves))]), "plan");
}

#[test]
fn reboots_tell_what_machines_and_people_say_without_effect() {
    let id = machine(1).id;
    let because = json!({"source": "requested", "by": EVIL, "at": 1, "because": EVIL});
    let host = json!({
        "machine": id, "group": "default", "phase": "waiting", "since": 1, "boot": EVIL,
        "due": [because, {"source": "reboot-required", "packages": [EVIL]}, {"source": "command", "output": EVIL}],
        "waits": [{"reason": "inhibited", "who": EVIL, "why": EVIL}, {"reason": "hook-failed", "hook": EVIL, "problem": EVIL}],
    });
    let reboots = json!({
        "machine": id, "groups": [{"name": "default", "max": 1, "available": 0, "holders": [
            {"id": "a\u{202e}b", "kind": "person", "since": 1},
        ]}],
        "hosts": [host], "requests": [{"machine": id, "by": EVIL, "at": 1, "because": EVIL}],
        "unreadable": unreadable_record(), "machines": [evil_machine()],
    });
    let history = json!({"group": "default", "entries": [
        {"id": "a", "outcome": "gave-up", "problem": EVIL, "due": [because]},
        {"id": "a", "outcome": "unlocked", "by": EVIL},
    ]});
    let requested = json!({"id": id, "request": {"by": EVIL, "at": 1}, "anew": false});
    let daemon = Daemon::new([
        ("GET /v1/reboot", Answer::json(reboots)),
        ("GET /v1/reboot/history", Answer::json(history)),
        ("POST /v1/reboot/request", Answer::json(requested)),
        ("POST /v1/reboot/lock", Answer::error(409, EVIL)),
    ]);
    for command in ["reboot status", "reboot history", "reboot request 1111", "reboot lock"] {
        run_visibly(&daemon, command);
    }
}

#[test]
fn the_status_of_a_unit_is_lines_of_text() {
    let status = json!({"machine": machine(1).id, "output": format!("a.service - {EVIL}\n\tActive\n"), "code": 0});
    let daemon = Daemon::new([("GET /v1/units/a.service/status", Answer::json(status))]);
    let shown = daemon.run("status a");
    assert!(shown.contains("\n\tActive\n") && shown.contains("\\u{1b}[2J"), "{shown:?}");
    assert!(!shown.chars().any(|c| is_hidden(c) && c != '\n' && c != '\t'), "{shown:?}");
}

#[test]
fn json_means_what_was_said_and_hides_nothing() {
    let machines = json!({"machines": [evil_machine()]});
    let daemon = Daemon::new([("GET /v1/machines", Answer::json(machines))]);
    let output = daemon.command("list-machines --output json").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.chars().any(|c| is_hidden(c) && c != '\n'), "{text:?}");
    let rows: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(rows[0]["host"], EVIL);
}

/// The shell puts the names of files in a pattern's place, and any of them may look like an option, or be one's value.
#[test]
fn a_command_line_that_is_not_understood_is_repeated_without_effect() {
    let option = format!("--{EVIL}");
    for arguments in [
        &[option.as_str()][..],
        &[EVIL],
        &["drain", "m1", "--deadline", EVIL],
        &["list-units", "--output", EVIL],
        &["--endpoint", EVIL, "list-units"],
    ] {
        let output = musterctl("").args(arguments).output().unwrap();
        let shown = output_text(&output);
        let hidden = shown.chars().find(|&c| is_hidden(c) && c != '\n' && c != '\t');
        assert_eq!((hidden, output.status.code()), (None, Some(2)), "{shown:?}");
        assert!(shown.contains("\\u{1b}[2J") && shown.contains("\\u{202e}"), "{shown}");
    }
    // What hides nothing is said as ever.
    let output = musterctl("drain m1 --deadline soon").output().unwrap();
    assert!(output_text(&output).contains("error: invalid value 'soon' for '--deadline"));
}

#[test]
fn a_file_whose_name_hides_something_is_named_without_effect() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = musterctl("");
    command.current_dir(folder.path()).args(["import", &format!("./{EVIL}.json")]);
    let shown = output_text(&command.output().unwrap());
    is_visible(&shown);
}

/// To a pipe what somebody wrote goes as it is; the terminal's part is `output::screen`'s.
#[test]
fn a_file_and_a_journal_are_byte_for_byte_in_a_pipe() {
    let text = format!("[Unit]\nDescription={EVIL}\n");
    let mut detail = unit("a.service", "launched", "launched", &[1]);
    detail["text"] = json!(text);
    let daemon = Daemon::new([
        ("GET /v1/units/a.service", Answer::json(detail)),
        ("GET /v1/units/a.service/journal", Answer::Text(200, text.clone())),
    ]);
    for command in ["cat a", "journal a"] {
        let output = daemon.command(command).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), text, "{command}");
    }
}

/// A pseudo-terminal of util-linux's `script`, as a person has one.
#[test]
fn on_a_terminal_a_file_and_a_journal_drive_nothing() {
    let text = format!("[Unit]\nDescription={}\n", EVIL.replace('\n', " "));
    let mut detail = unit("a.service", "launched", "launched", &[1]);
    detail["text"] = json!(text);
    let daemon = Daemon::new([
        ("GET /v1/units/a.service", Answer::json(detail)),
        ("GET /v1/units/a.service/journal", Answer::Text(200, text)),
    ]);
    for command in ["cat a", "journal a"] {
        let line = format!("{} {command}", env!("CARGO_BIN_EXE_musterctl"));
        let output = std::process::Command::new("script")
            .args(["--quiet", "--return", "--command", &line, "/dev/null"])
            .env("MUSTERCTL_ENDPOINT", daemon.socket())
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        let shown = String::from_utf8(output.stdout).unwrap();
        // The terminal itself puts a carriage return before each line feed.
        is_visible(&shown.replace("\r\n", "\n"));
    }
}

#[test]
fn a_text_that_a_daemon_would_refuse_is_refused_before_it_is_sent() {
    let daemon = Daemon::new([]);
    let long = "x".repeat(257);
    for (option, command) in [
        ("--reason", &["cordon", "m1"][..]),
        ("--reason", &["drain", "m1"]),
        ("--because", &["reboot", "request"]),
    ] {
        for (text, told) in [
            (long.as_str(), "a text of 257 bytes, and at most 256 are taken"),
            ("a\u{1b}[2J", "the character \\u{1b} at byte 1"),
        ] {
            let mut command_line = daemon.command("");
            let output = command_line.args(command).args([option, text]).output().unwrap();
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{stderr}");
            assert!(stderr.contains(told) && stderr.contains(option), "{stderr}");
        }
    }
    assert_eq!(daemon.requests(), []);
}
