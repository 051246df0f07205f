//! `journal -f`: what a user sees of a unit that is followed, wherever it goes.

use std::process::Stdio;

use insta::assert_snapshot;
use muster_common::api::journal::JournalEvent;
use muster_common::state::DesiredState;
use serde_json::{Value, json};

use crate::answers::{machine, unit};
use crate::daemon::{Answer, Daemon, interrupt};

const FOLLOW: &str = "GET /v1/units/web@1.service/journal/follow";

fn from_event(n: u8) -> Value {
    serde_json::to_value(JournalEvent::From { machine: machine(n) }).unwrap()
}

fn lines(text: &str, cursor: &str) -> Value {
    let cursor = Some(cursor.to_owned());
    serde_json::to_value(JournalEvent::Lines { text: text.to_owned(), base64: None, cursor })
        .unwrap()
}

fn event_value(event: JournalEvent) -> Value {
    serde_json::to_value(event).unwrap()
}

/// What was asked of the daemon about the journal, without how long ago it began.
fn asked_queries(daemon: &Daemon) -> Vec<String> {
    let lines = daemon.lines().into_iter().filter(|line| line.contains("/journal/follow"));
    let query = |line: String| line.split_once('?').unwrap().1.to_owned();
    lines
        .map(query)
        .map(|query| {
            let kept = query.split('&').map(|pair| match pair.split_once('=') {
                Some(("ago", _)) => "ago",
                _ => pair,
            });
            kept.collect::<Vec<_>>().join("&")
        })
        .collect()
}

#[test]
fn lines_are_printed_as_they_come() {
    let daemon =
        Daemon::new([(FOLLOW, Answer::OpenEvents(vec![from_event(1), lines("a line\n", "c1")]))]);
    let mut child = daemon.command("journal -f web@1").stdout(Stdio::piped()).spawn().unwrap();
    let mut line = [0; 7];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
    assert_eq!(&line, b"a line\n");
    // It goes on following: only a signal ends it.
    interrupt(&child);
    let ended = child.wait().unwrap();
    assert!(!ended.success() && ended.code() != Some(1), "{ended:?}");
    assert_eq!(asked_queries(&daemon), ["output=short&lines=10"]);
}

#[test]
fn a_stream_that_breaks_is_taken_up_where_it_was_and_a_unit_that_moves_is_gone_after() {
    let daemon = Daemon::new([
        (FOLLOW, Answer::Events(vec![from_event(1), lines("1\n2\n", "c2")])),
        // Its daemon is not back yet; the other one does not know better either.
        (FOLLOW, Answer::error(502, "cannot reach the daemon of machine 1")),
        (FOLLOW, Answer::error(503, "the store does not answer")),
        (
            FOLLOW,
            Answer::Events(vec![
                from_event(1),
                lines("3\n", "c3"),
                event_value(JournalEvent::Left),
            ]),
        ),
        (
            FOLLOW,
            Answer::Events(vec![
                from_event(2),
                lines("4\n", "d1"),
                event_value(JournalEvent::Left),
            ]),
        ),
        (
            FOLLOW,
            Answer::Events(vec![
                event_value(JournalEvent::Nowhere { desired: DesiredState::Inactive }),
                event_value(JournalEvent::Placed),
            ]),
        ),
        // Back where it was: from its own place there.
        (FOLLOW, Answer::Events(vec![from_event(1), lines("repeated\n", "c3")])),
        (
            FOLLOW,
            Answer::Events(vec![
                from_event(1),
                lines("5\n", "c4"),
                event_value(JournalEvent::Destroyed),
            ]),
        ),
    ]);
    assert_snapshot!(daemon.run("journal -f web@1 -n 2 -o cat"), @r"
    exit 1
    --- stdout
    1
    2
    3
    4
    5
    --- stderr
    note: the journal of web@1.service on 11111111.../10.0.0.1 broke off; asking again
    note: the journal of web@1.service on 11111111.../10.0.0.1 goes on
    note: web@1.service has moved from 11111111.../10.0.0.1 to 22222222.../10.0.0.2; its journal goes on there
    note: web@1.service is on no machine; it is wanted inactive, and waited for
    note: the journal of web@1.service on 11111111.../10.0.0.1 goes on
    error: web@1.service was destroyed; its journal ends here
    ");
    let (one, two) = (machine(1).id, machine(2).id);
    assert_eq!(
        asked_queries(&daemon),
        [
            "output=cat&lines=2".to_owned(),
            format!("output=cat&machine={one}&cursor=c2&ago"),
            format!("output=cat&prefer={one}&wait=true&cursor=c2&ago"),
            format!("output=cat&machine={one}&cursor=c2&ago"),
            format!("output=cat&prefer={one}&wait=true&cursor=c3&ago"),
            format!("output=cat&prefer={two}&wait=true&cursor=d1&ago"),
            format!("output=cat&prefer={two}&wait=true&cursor=d1&ago"),
            format!("output=cat&prefer={one}&wait=true&cursor=c3&ago"),
        ]
    );
}

#[test]
fn entries_for_a_program_are_taken_up_too_and_none_is_shown_in_part() {
    let entry = |name: &str| format!("__CURSOR={name}\nMESSAGE=a\n\n");
    let part = json!({ "event": "lines", "text": "__CURSOR=2\nMESS" });
    let binary = json!({ "event": "lines", "text": "", "base64": "/wo=", "cursor": "c3" });
    let daemon = Daemon::new([
        (FOLLOW, Answer::Events(vec![from_event(1), lines(&entry("1"), "c1"), part.clone()])),
        (
            FOLLOW,
            Answer::Events(vec![
                from_event(1),
                part,
                lines("AGE=a\n\n", "c2"),
                binary,
                event_value(JournalEvent::Destroyed),
            ]),
        ),
    ]);
    let output = daemon.command("journal -f web@1 -o export").output().unwrap();
    let expected = [entry("1").as_bytes(), entry("2").as_bytes(), b"\xff\n"].concat();
    assert_eq!(output.stdout, expected, "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(asked_queries(&daemon).len(), 2);
    let one = machine(1).id;
    assert_eq!(asked_queries(&daemon)[1], format!("output=export&machine={one}&cursor=c1&ago"));
}

#[test]
fn a_unit_that_was_destroyed_while_nobody_told_is_said_to_be() {
    let daemon = Daemon::new([
        (FOLLOW, Answer::Events(vec![from_event(1), lines("1\n", "c1")])),
        (FOLLOW, Answer::error(404, "unit web@1.service does not exist")),
        (FOLLOW, Answer::error(404, "unit web@1.service does not exist")),
    ]);
    assert_snapshot!(daemon.run("journal -f web@1"), @r"
    exit 1
    --- stdout
    1
    --- stderr
    note: the journal of web@1.service on 11111111.../10.0.0.1 broke off; asking again
    error: web@1.service was destroyed; its journal ends here
    ");
}

#[test]
fn what_cannot_be_followed_at_all_is_an_error_at_once() {
    let daemon = Daemon::new([(FOLLOW, Answer::error(409, "unit web@1.service is on no machine"))]);
    assert_snapshot!(daemon.run("journal -f web@1"), @r"
    exit 1
    --- stderr
    error: unit web@1.service is on no machine
    ");
    let old = Answer::error(404, "there is nothing at /v1/units/web@1.service/journal/follow");
    let shown = Daemon::new([(FOLLOW, old)]).run("journal -f web@1");
    assert!(shown.contains("it is no musterd, or one of another version"), "{shown}");
}

#[test]
fn a_journal_of_one_machine_ends_when_the_unit_leaves_it() {
    let left = vec![from_event(1), lines("1\n", "c1"), event_value(JournalEvent::Left)];
    let daemon = Daemon::new([
        ("GET /v1/machines", Answer::json(json!({"machines": [machine(1), machine(2)]}))),
        (FOLLOW, Answer::Events(left)),
    ]);
    assert_snapshot!(daemon.run("journal -f web@1 --machine n1"), @r"
    exit 1
    --- stdout
    1
    --- stderr
    error: web@1.service is not on 11111111... any more; what that machine had to say of it ends here
    hint: without --machine the journal is followed wherever the unit goes
    ");
}

#[test]
fn journals_of_several_units_are_followed_together_or_printed_in_turn() {
    let units = json!({ "machines": [], "units": [
        unit("web@1.service", "launched", "launched", &[1]),
        unit("web@2.service", "launched", "launched", &[1]),
    ] });
    let ended = |text: &str| {
        Answer::Events(vec![from_event(1), lines(text, "c"), event_value(JournalEvent::Destroyed)])
    };
    let daemon = Daemon::new([
        ("GET /v1/units", Answer::json(units)),
        (FOLLOW, ended("one\n")),
        ("GET /v1/units/web@2.service/journal/follow", ended("two\n")),
        ("GET /v1/units/web@1.service/journal", Answer::Text(200, "one\n".to_owned())),
        ("GET /v1/units/web@2.service/journal", Answer::Text(200, "two\n".to_owned())),
    ]);
    let followed = daemon.run("journal -f web@*");
    for part in
        ["exit 1\n", "one\n", "two\n", "web@1.service was destroyed", "web@2.service was destroyed"]
    {
        assert!(followed.contains(part), "{part:?} in {followed}");
    }
    assert_snapshot!(daemon.run("journal web@*"), @r"
    exit 0
    --- stdout
    one
    two
    --- stderr
    note: the journal of web@1.service
    note: the journal of web@2.service
    ");
}
