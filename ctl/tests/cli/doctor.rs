//! `doctor`: what is looked at, what is printed, and the exit codes.

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::daemon::{Answer, Daemon, musterctl, output_text};

const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn report(machine: &str, leading: bool) -> Value {
    json!({"answer": "report", "report": {"machine": machine, "leading": leading}})
}

/// Records of two machines, the first of which leads.
fn records() -> Value {
    let machine = |id: &str| json!({"id": id, "address": "192.0.2.1", "runners": ["systemd"]});
    json!({
        "revision": 7,
        "machines": {A: machine(A), B: machine(B)},
        "members": [A, B],
        "leader": {"machine": A},
    })
}

fn daemon(machines: &Value, records: Answer) -> Daemon {
    Daemon::new([
        ("GET /v1/inspect/machines", Answer::json(json!({"machines": machines}))),
        ("GET /v1/inspect/records", records),
    ])
}

#[test]
fn nothing_wrong_is_said_with_what_was_looked_at() {
    let daemon = daemon(&json!({A: report(A, true), B: report(B, false)}), Answer::json(records()));
    assert_snapshot!(daemon.run("doctor"), @r#"
    exit 0
    --- stdout
    Nothing wrong: 2 machines answered; 0 units at revision 7
    "#);
    assert_eq!(daemon.lines(), ["GET /v1/inspect/machines", "GET /v1/inspect/records"]);
}

#[test]
fn findings_have_a_word_a_sentence_and_a_way_out() {
    let mut records = records();
    records["unreadable"] = json!([{"key": "unit/\u{1b}[31mred", "problem": "it is\nno JSON"}]);
    records["cordons"] = json!({"cccccccccccccccccccccccccccccccc": {"holds": {"person": {}}}});
    let silent = json!({"answer": "silent", "problem": "connection refused"});
    let daemon = daemon(&json!({A: report(A, true), B: silent}), Answer::json(records));
    assert_snapshot!(daemon.run("doctor --wait 0"), @r#"
    exit 1
    --- stdout
    Wrong now; some of it may pass:
      record-unreadable
          the record unit/\u{1b}[31mred cannot be read: it is\nno JSON
          what to do: destroy the unit and submit it again, or delete the record in etcd; a newer daemon may be able to read it
      machine-silent  bbbbbbbb...
          bbbbbbbb... is registered and does not answer: connection refused
          what to do: look after musterd on that machine, and after the way there: its port may be closed
    Worth knowing:
      cordon-of-nobody  cccccccc...
          cccccccc... is cordoned and not in the cluster
          what to do: nothing if it is to come back; otherwise `musterctl forget cccccccccccccccccccccccccccccccc`
    1 machine answered, 1 did not; 0 units at revision 7
    "#);
    assert_snapshot!(daemon.run("doctor --wait 0 --json"), @r#"
    exit 1
    --- stdout
    {
      "healthy": false,
      "revision": 7,
      "answered": 1,
      "silent": 1,
      "violations": [
        {
          "word": "record-unreadable",
          "severity": "unsettled",
          "unit": null,
          "machines": [],
          "message": "the record unit/\\u{1b}[31mred cannot be read: it is\\nno JSON",
          "way_out": "destroy the unit and submit it again, or delete the record in etcd; a newer daemon may be able to read it"
        },
        {
          "word": "machine-silent",
          "severity": "unsettled",
          "unit": null,
          "machines": [
            "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
          ],
          "message": "bbbbbbbb... is registered and does not answer: connection refused",
          "way_out": "look after musterd on that machine, and after the way there: its port may be closed"
        },
        {
          "word": "cordon-of-nobody",
          "severity": "remark",
          "unit": null,
          "machines": [
            "cccccccccccccccccccccccccccccccc"
          ],
          "message": "cccccccc... is cordoned and not in the cluster",
          "way_out": "nothing if it is to come back; otherwise `musterctl forget cccccccccccccccccccccccccccccccc`"
        }
      ]
    }
    "#);
}

#[test]
fn what_passes_by_itself_does_not_count() {
    let silent = json!({"answer": "silent", "problem": "connection refused"});
    let (a, b) = (report(A, true), report(B, false));
    let daemon = Daemon::with_rules(vec![
        ("GET /v1/inspect/machines", Answer::json(json!({"machines": {A: a, B: silent}}))),
        ("GET /v1/inspect/machines", Answer::json(json!({"machines": {A: a, B: b}}))),
        ("GET /v1/inspect/records", Answer::json(records())),
    ]);
    assert_snapshot!(daemon.run("doctor --wait 100ms"), @r#"
    exit 0
    --- stdout
    Nothing wrong: 2 machines answered; 0 units at revision 7
    --- stderr
    note: something is not as it should be; looking for 100ms whether it passes
    "#);
}

#[test]
fn a_store_that_cannot_be_read_is_a_finding() {
    let failed = json!({"answer": "report", "report": {"machine": A, "components": [
        {"name": "store", "ok": false, "since": 1, "problem": "no endpoint answers"},
    ]}});
    let daemon =
        daemon(&json!({A: failed}), Answer::error(503, "the store does not answer in time"));
    assert_snapshot!(daemon.run("doctor --wait 0"), @r#"
    exit 1
    --- stdout
    Wrong now; some of it may pass:
      store-unread
          the store cannot be read: the store does not answer in time
          what to do: repair the store: `journalctl -u musterd` and etcd's own log say what is wrong; units that run go on
      component-failed  aaaaaaaa...
          store of aaaaaaaa...: no endpoint answers
          what to do: look at that machine: `journalctl -u musterd` there has more
    1 machine answered; the store could not be read
    "#);
}

#[test]
fn a_daemon_that_cannot_be_asked_is_another_exit_code() {
    let output = musterctl("doctor --endpoint unix:///nonexistent/muster.sock").output().unwrap();
    assert_snapshot!(output_text(&output), @r#"
    exit 2
    --- stderr
    error: could not look at the cluster: no daemon listens at unix:///nonexistent/muster.sock: No such file or directory (os error 2)
    hint: `systemctl start musterd` starts it on this machine; `--endpoint` names another
    "#);
    let old = Daemon::new([]);
    assert!(old.run("doctor").starts_with("exit 2\n"));
}
