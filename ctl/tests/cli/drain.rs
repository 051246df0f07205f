//! `drain`: what a user sees of a machine that is emptied, and the exit code.

use insta::assert_snapshot;
use muster_common::api::drain::DrainEvent;
use muster_common::cordon::{AtDeadline, Cordon, CordonHolder, Drain, DrainEnd, Hold};
use muster_common::drain::{DrainProgress, DrainStatus};
use muster_common::refusal::{Refusal, UnitReason};
use serde_json::{Value, json};

use crate::answers::{full_refusal, machine, name};
use crate::daemon::{Answer, Daemon, musterctl, output_text};

fn cordon(ended: Option<DrainEnd>) -> Cordon {
    let drain = Drain { began: 1, deadline: Some(300), then: AtDeadline::GiveUp, ended };
    let hold = Hold { drain: Some(drain), ..Hold::default() };
    Cordon { holds: [(CordonHolder::Person, hold)].into(), revision: 0 }
}

fn progress(cordon: Option<Cordon>, units: &[(&str, DrainStatus)]) -> DrainProgress {
    let units = units.iter().map(|(unit, status)| (name(unit), status.clone())).collect();
    DrainProgress { machine: machine(1).id, cordon, units }
}

fn ongoing_drain(units: &[(&str, DrainStatus)]) -> DrainProgress {
    progress(Some(cordon(None)), units)
}

fn queued_unit() -> DrainStatus {
    DrainStatus::Queued { to: Some(machine(2).id), stops_first: false }
}

fn moving_unit() -> DrainStatus {
    DrainStatus::Moving { to: machine(2).id }
}

fn progress_event(progress: DrainProgress) -> Value {
    serde_json::to_value(DrainEvent::Progress { progress }).unwrap()
}

fn left_event(unit: &str) -> Value {
    serde_json::to_value(DrainEvent::Left { name: name(unit), to: Some(machine(2)) }).unwrap()
}

fn daemon(first: &DrainProgress, events: Vec<Value>) -> Daemon {
    let path = format!("/v1/machines/{}/drain", machine(1).id);
    let order = format!("POST {path}");
    let follow = format!("GET {path}/events?revision=7");
    let machines = json!({"machines": [machine(1), machine(2)], "cordons": {}});
    Daemon::new([
        ("GET /v1/machines", Answer::json(machines)),
        (order.as_str(), Answer::json(json!({"progress": first, "revision": 7}))),
        (follow.as_str(), Answer::Events(events)),
    ])
}

#[test]
fn each_unit_that_moves_is_told_and_global_units_do_not_count() {
    let first = ongoing_drain(&[
        ("a.service", queued_unit()),
        ("b.service", queued_unit()),
        ("node.service", DrainStatus::Global),
    ]);
    let daemon = daemon(
        &first,
        vec![
            progress_event(ongoing_drain(&[
                ("a.service", moving_unit()),
                ("b.service", moving_unit()),
                ("node.service", DrainStatus::Global),
            ])),
            left_event("a.service"),
            progress_event(ongoing_drain(&[
                ("b.service", moving_unit()),
                ("node.service", DrainStatus::Global),
            ])),
            // That it left was not told: the daemon had been restarted.
            progress_event(ongoing_drain(&[("node.service", DrainStatus::Global)])),
        ],
    );
    assert_snapshot!(daemon.run("drain n1"), @r"
    exit 0
    --- stdout
    a.service moved to 22222222.../10.0.0.2
    b.service moved to 22222222...
    11111111... is drained
    ");
}

#[test]
fn an_order_says_who_why_how_long_and_what_then() {
    let daemon = daemon(&ongoing_drain(&[]), Vec::new());
    let mut command = daemon.command("drain 1111 --deadline 5m --force --reason disk");
    let output = command.env_remove("SUDO_USER").env("USER", "ann").output().unwrap();
    assert_eq!(output_text(&output), "exit 0\n--- stdout\n11111111... is drained\n");
    let asked = daemon.requests().pop().unwrap();
    assert_eq!(
        asked.body,
        json!({"by": "ann", "reason": "disk", "deadline": 300, "then": "force", "dry_run": false})
    );
}

#[test]
fn what_cannot_move_is_told_with_its_reason() {
    let stuck = |refusal| DrainStatus::Stuck { refusal };
    let units = [
        ("a.service", stuck(Refusal { unit: Some(UnitReason::NoOtherMachine), machines: vec![] })),
        ("node.service", DrainStatus::Global),
        ("p.service", DrainStatus::Pinned),
        ("web@4.service", stuck(full_refusal())),
    ];
    assert_snapshot!(daemon(&ongoing_drain(&units), Vec::new()).run("drain n1"), @r"
    exit 1
    --- stderr
    error: a.service cannot move: there is no other machine
    error: p.service cannot move: its MachineID= names this machine
    error: web@4.service cannot move: no other machine takes it
      11111111...: Conflicts=web@* matches web@1.service, which is there
      22222222...: Conflicts=web@* matches web@2.service, which is there
      33333333...: Conflicts=web@* matches web@3.service, which is there
    hint: 11111111... goes on being drained, should that change; `musterctl uncordon` calls it off
    ");
    let given_up = [("a.service", DrainStatus::Stays), ("p.service", DrainStatus::Stays)];
    let end = progress(Some(cordon(Some(DrainEnd::GaveUp))), &given_up);
    let first = ongoing_drain(&[("a.service", queued_unit()), ("p.service", DrainStatus::Pinned)]);
    assert_snapshot!(daemon(&first, vec![progress_event(end)]).run("drain n1 --deadline 1h"), @r"
    exit 1
    --- stderr
    error: a.service was not up elsewhere in time
    error: p.service cannot move: its MachineID= names this machine
    error: the drain of 11111111... was given up at its deadline
    ");
    let off = progress(None, &given_up);
    assert_snapshot!(daemon(&first, vec![progress_event(off)]).run("drain n1"), @r"
    exit 1
    --- stderr
    error: p.service cannot move: its MachineID= names this machine
    error: the drain of 11111111... was called off
    ");
}

#[test]
fn a_forced_drain_is_waited_for_beyond_what_cannot_move() {
    let first = ongoing_drain(&[("p.service", DrainStatus::Pinned)]);
    let forced = |units: &[(&str, DrainStatus)]| {
        progress_event(progress(Some(cordon(Some(DrainEnd::Forced))), units))
    };
    let gone =
        serde_json::to_value(DrainEvent::Left { name: name("p.service"), to: None }).unwrap();
    let events = vec![
        progress_event(first.clone()),
        forced(&[("p.service", DrainStatus::Stopping)]),
        gone,
        forced(&[]),
    ];
    assert_snapshot!(daemon(&first, events).run("drain n1 --deadline 1h --force"), @r"
    exit 0
    --- stdout
    p.service stopped, and is on no machine now
    11111111... is drained
    ");
}

#[test]
fn a_rehearsal_shows_what_would_become_of_each_unit() {
    let units = [
        ("a.service", queued_unit()),
        ("db.service", DrainStatus::Queued { to: Some(machine(2).id), stops_first: true }),
        ("node.service", DrainStatus::Global),
        ("p.service", DrainStatus::Pinned),
        ("web@4.service", DrainStatus::Stuck { refusal: full_refusal() }),
    ];
    let some = daemon(&progress(None, &units), Vec::new());
    assert_snapshot!(some.run("drain n1 --dry-run"), @r"
    exit 1
    --- stdout
    a.service moves to 22222222...
    db.service is stopped, then started on 22222222...
    node.service stays: it is global
    p.service cannot move: its MachineID= names this machine
    web@4.service cannot move: no other machine takes it
      11111111...: Conflicts=web@* matches web@1.service, which is there
      22222222...: Conflicts=web@* matches web@2.service, which is there
      33333333...: Conflicts=web@* matches web@3.service, which is there
    ");
    assert_eq!(some.requests().pop().unwrap().body["dry_run"], json!(true));
    let all = daemon(&progress(None, &units[..1]), Vec::new());
    assert_snapshot!(all.run("drain n1 --dry-run"), @r"
    exit 0
    --- stdout
    a.service moves to 22222222...
    ");
}

#[test]
fn without_waiting_and_as_json() {
    let first = ongoing_drain(&[("a.service", queued_unit())]);
    assert_snapshot!(daemon(&first, Vec::new()).run("drain n1 --no-block"), @r"
    exit 0
    --- stdout
    11111111... is being drained
    ");
    let end = ongoing_drain(&[("node.service", DrainStatus::Global)]);
    let events = vec![left_event("a.service"), progress_event(end)];
    assert_snapshot!(daemon(&first, events).run("drain n1 --output json"), @r#"
    exit 0
    --- stdout
    {
      "machine": "11111111111111111111111111111111",
      "cordon": {
        "holds": {
          "person": {
            "since": 0,
            "drain": {
              "began": 1,
              "deadline": 300,
              "then": "give-up"
            }
          }
        }
      },
      "units": {
        "node.service": {
          "course": "global"
        }
      }
    }
    "#);
}

#[test]
fn force_is_nothing_without_a_deadline() {
    assert_snapshot!(output_text(&musterctl("drain n1 --force").output().unwrap()), @r"
    exit 2
    --- stderr
    error: the following required arguments were not provided:
      --deadline <DURATION>

    Usage: musterctl drain --deadline <DURATION> --force <MACHINE>

    For more information, try '--help'.
    ");
}

#[test]
fn a_deadline_is_kept_though_a_unit_takes_its_time_to_stop() {
    let stopping = [("slow.service", DrainStatus::Stopping)];
    let first = ongoing_drain(&stopping);
    let machines = json!({"machines": [machine(1), machine(2)], "cordons": {}});
    let path = format!("/v1/machines/{}/drain", machine(1).id);
    let run = |line: &str, first: &DrainProgress, end: DrainProgress| {
        let (order, follow) = (format!("POST {path}"), format!("GET {path}/events?revision=7"));
        let daemon = Daemon::new([
            ("GET /v1/machines", Answer::json(&machines)),
            (order.as_str(), Answer::json(json!({"progress": first, "revision": 7}))),
            (follow.as_str(), Answer::OpenEvents(vec![progress_event(end)])),
        ]);
        daemon.run(line)
    };
    let ended = |end| progress(Some(cordon(Some(end))), &stopping);
    assert_snapshot!(run("drain n1 --deadline 1h", &first, ended(DrainEnd::GaveUp)), @r"
    exit 1
    --- stderr
    error: slow.service is still being stopped on 11111111...
    error: the drain of 11111111... was given up at its deadline
    ");
    // What is told when the time is up is what was known from the first.
    let forced = ended(DrainEnd::Forced);
    assert_snapshot!(run("drain n1 --deadline 1 --force", &forced, forced.clone()), @r"
    exit 1
    --- stderr
    error: slow.service is still being stopped on 11111111...
    error: the deadline of the drain of 11111111... has passed, and what was left is being stopped
    hint: `TimeoutStopSec=` of a unit says how long its stop may take
    ");
    // Nobody leads, so nobody ends it.
    assert_snapshot!(run("drain n1 --deadline 1", &first, first.clone()), @r"
    exit 1
    --- stderr
    error: slow.service is still being stopped on 11111111...
    error: the deadline of the drain of 11111111... has passed, and the leader has not ended it yet
    hint: `musterctl list-machines` shows who leads; `musterctl uncordon` calls it off
    ");
}
