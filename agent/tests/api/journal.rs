//! Following a journal: from a place on, until the unit leaves. The stand-in for journalctl reads a file of lines, in which
//! a place is a number of lines.

use muster_common::state::ActiveState;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use musterd::machine::ledger::Ledger;
use musterd::stdx::disk::HostDisk;

use super::*;

const JOURNALCTL: &str = r#"#!/bin/sh
after=0; follow=; lines=; since=
for argument; do
  case $argument in
    --after-cursor=*) after=${argument##*=} ;;
    --lines=*) lines=${argument#*=} ;;
    --since=*) since=1 ;;
    --follow) follow=1 ;;
  esac
done
file=$(dirname "$0")/lines
[ -n "$follow" ] && exec tail -n +$((after + 1)) -f "$file"
total=$(wc -l <"$file")
[ -n "$lines" ] && [ "$lines" != all ] && [ "$lines" -lt "$total" ] && after=$((total - lines))
head -n "$total" "$file" | tail -n +$((after + 1))
if [ "$total" -gt "$after" ]; then echo "-- cursor: t=$total"; fi
"#;

/// A journal of its own, and what reads it.
struct Journal {
    directory: tempfile::TempDir,
}

impl Journal {
    fn new(text: &str) -> Self {
        let journal = Self { directory: tempfile::tempdir().unwrap() };
        let program = journal.program();
        std::fs::write(&program, JOURNALCTL).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        journal.log(text);
        journal
    }

    fn program(&self) -> PathBuf {
        self.directory.path().join("journalctl")
    }

    fn log(&self, text: &str) {
        use std::io::Write as _;
        let path: &Path = self.directory.path();
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.create(true).append(true).open(path.join("lines")).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }
}

/// A unit that runs on `m1`, whose daemon reads the journal.
async fn running(journal: &Journal) -> (Cluster, UnitName) {
    let mut cluster = cluster().await;
    let inspector = Inspector {
        systemctl: "/bin/echo".into(),
        journalctl: journal.program(),
        containers: None,
        podman: None,
    };
    let parts = parts(&cluster.registry, &cluster.view, &cluster.presence.machine);
    cluster.router = api_router(App::new(AppParts { inspector, ..parts }));
    let name: UnitName = "a.service".parse().unwrap();
    cluster.submit("a.service", HELLO, "launched").await;
    let placement = cluster.place(&name).await;
    cluster.report(&name, &placement, "active", "running").await;
    (cluster, name)
}

fn follow(query: &str) -> Request<Body> {
    let path = format!("/v1/units/a.service/journal/follow?{query}");
    Request::get(path).body(Body::empty()).unwrap()
}

/// The next event that is not about lines, with the lines until then and the place behind them.
async fn read_until(
    stream: &mut mpsc::UnboundedReceiver<Value>,
    enough: &str,
) -> (String, Value, Value) {
    let (mut text, mut cursor) = (String::new(), Value::Null);
    let read = async {
        while let Some(event) = stream.recv().await {
            if event["event"] != "lines" {
                return (text, cursor, event);
            }
            text.push_str(event["text"].as_str().unwrap());
            cursor = event["cursor"].clone();
            if !enough.is_empty() && text.ends_with(enough) {
                return (text, cursor, event);
            }
        }
        panic!("the stream ended after {text:?}")
    };
    tokio::time::timeout(LIMIT, read).await.unwrap()
}

impl Cluster {
    /// The unit leaves `m1`.
    async fn leave(&self, name: &UnitName) {
        let snapshot = self.registry.read_snapshot().await.unwrap();
        let removal = Decision::Remove {
            machine: self.presence.machine.clone(),
            unit: name.clone(),
            revision: snapshot.places[name][&self.presence.machine].revision,
            unit_revision: snapshot.units.get(name).map_or(0, |unit| unit.revision),
            leaving: None,
        };
        self.commit(removal).await;
        let gone = StateUpdate { unit: name.clone(), state: None };
        self.registry.publish_states(&self.presence, vec![gone]).await.unwrap();
    }
}

#[tokio::test]
async fn a_journal_is_followed_and_taken_up_without_a_line_lost_or_shown_twice() {
    let journal = Journal::new("1\n2\n3\n");
    let (cluster, _) = running(&journal).await;
    let mut stream = cluster.follow(follow("lines=2")).await;
    let (text, _, from) = read_until(&mut stream, "").await;
    assert_eq!((text.as_str(), &from["event"]), ("", &json!("from")));
    assert_eq!(from["machine"]["id"], "m1");
    let (text, _, _) = read_until(&mut stream, "3\n").await;
    assert_eq!(text, "2\n3\n");
    let mut seen = Value::Null;
    for line in ["4\n", "5\n6\n"] {
        journal.log(line);
        let (text, cursor, _) = read_until(&mut stream, line).await;
        assert_eq!(text, line);
        seen = cursor;
    }
    assert_eq!(seen, "t=6");
    // Nobody listens for a while.
    drop(stream);
    journal.log("7\n8\n");
    let mut stream = cluster.follow(follow("prefer=m1&cursor=t%3D6&ago=5000")).await;
    read_until(&mut stream, "").await;
    journal.log("9\n");
    let (text, _, _) = read_until(&mut stream, "9\n").await;
    assert_eq!(text, "7\n8\n9\n");
    // A place in another machine's journal is none in this one's.
    let mut stream = cluster.follow(follow("prefer=m2&cursor=t%3D6&ago=5000")).await;
    read_until(&mut stream, "").await;
    let (text, _, _) = read_until(&mut stream, "9\n").await;
    assert_eq!(text, "1\n2\n3\n4\n5\n6\n7\n8\n9\n");
}

#[tokio::test]
async fn a_journal_that_was_empty_is_followed_from_its_first_line() {
    let journal = Journal::new("");
    let (cluster, _) = running(&journal).await;
    let mut stream = cluster.follow(follow("lines=10")).await;
    read_until(&mut stream, "").await;
    journal.log("1\n");
    assert_eq!(read_until(&mut stream, "1\n").await.0, "1\n");
    journal.log("2\n");
    assert_eq!(read_until(&mut stream, "2\n").await.0, "2\n");
}

#[tokio::test]
async fn a_unit_that_leaves_is_told_after_its_last_lines() {
    let journal = Journal::new("1\n");
    let (cluster, name) = running(&journal).await;
    let mut stream = cluster.follow(follow("lines=1")).await;
    read_until(&mut stream, "").await;
    read_until(&mut stream, "1\n").await;
    journal.log("stopped\n");
    cluster.leave(&name).await;
    let (text, _, last) = read_until(&mut stream, "").await;
    assert_eq!((text.as_str(), last), ("stopped\n", json!({"event": "left"})));
    assert_eq!(stream.recv().await, None);
}

#[tokio::test]
async fn what_a_unit_logged_before_it_left_is_there_for_who_was_cut_off() {
    let journal = Journal::new("1\n");
    let (mut cluster, name) = running(&journal).await;
    let directory = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(Arc::new(HostDisk), directory.path().to_owned()).unwrap();
    let ledger = Arc::new(Mutex::new(ledger));
    ledger.lock().unwrap().record_file(&name, FileHash::of_text(HELLO)).unwrap();
    let inspector = Inspector {
        systemctl: "/bin/echo".into(),
        journalctl: journal.program(),
        containers: None,
        podman: None,
    };
    let parts = parts(&cluster.registry, &cluster.view, &cluster.presence.machine);
    parts.health.set_owned_units(ledger.clone());
    cluster.router = api_router(App::new(AppParts { inspector, ..parts }));
    let mut stream = cluster.follow(follow("lines=1")).await;
    read_until(&mut stream, "").await;
    read_until(&mut stream, "1\n").await;
    // The line breaks, the unit goes on, and it leaves before anybody asks again.
    drop(stream);
    journal.log("2\nstopped\n");
    cluster.leave(&name).await;
    ledger.lock().unwrap().forget_unit(&name).unwrap();
    let mut stream = cluster.follow(follow("machine=m1&cursor=t%3D1&ago=5000")).await;
    read_until(&mut stream, "").await;
    let (text, _, last) = read_until(&mut stream, "").await;
    assert_eq!((text.as_str(), last), ("2\nstopped\n", json!({"event": "left"})));
    // Whoever takes up nothing, and whatever was never ours, is told that it is not here.
    let conflict = StatusCode::CONFLICT;
    assert_eq!(cluster.send(follow("machine=m1&lines=5")).await.status, conflict);
    cluster.submit("b.service", HELLO, "inactive").await;
    let other = "/v1/units/b.service/journal/follow?machine=m1&cursor=t%3D0";
    let other = Request::get(other).body(Body::empty()).unwrap();
    assert_eq!(cluster.send(other).await.status, conflict);
}

#[tokio::test]
async fn a_unit_that_is_destroyed_is_told_to_be() {
    let journal = Journal::new("1\n");
    let (cluster, name) = running(&journal).await;
    let mut stream = cluster.follow(follow("lines=1")).await;
    read_until(&mut stream, "").await;
    read_until(&mut stream, "1\n").await;
    cluster.send_json(Method::POST, "/v1/units/destroy", r#"{"names":["a.service"]}"#).await;
    cluster.leave(&name).await;
    let (_, _, last) = read_until(&mut stream, "").await;
    assert_eq!(last, json!({"event": "destroyed"}));
    let again = cluster.send(follow("prefer=m1&wait=true&ago=1")).await;
    assert_eq!(again.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_unit_on_no_machine_is_refused_or_waited_for() {
    let journal = Journal::new("1\n");
    let (cluster, name) = running(&journal).await;
    cluster.leave(&name).await;
    assert_eq!(cluster.send(follow("lines=1")).await.status, StatusCode::CONFLICT);
    let mut stream = cluster.follow(follow("prefer=m1&wait=true&ago=1")).await;
    let (_, _, nowhere) = read_until(&mut stream, "").await;
    assert_eq!(nowhere, json!({"event": "nowhere", "desired": "launched"}));
    cluster.place(&name).await;
    let (_, _, placed) = read_until(&mut stream, "").await;
    assert_eq!(placed, json!({"event": "placed"}));
}

#[tokio::test]
async fn the_lines_of_a_failure_are_those_of_its_own_start() {
    let (start, before) = ("0123456789abcdef0123456789abcdef", "00000000000000000000000000000001");
    // Newest first, as they are asked for. Of the last words journald has found no start: the program was gone.
    let entries = [
        json!({"__REALTIME_TIMESTAMP": "70", "_PID": "9", "MESSAGE": "the key is missing"}),
        json!({"__REALTIME_TIMESTAMP": "60", "_PID": "1", "INVOCATION_ID": start, "MESSAGE": "Failed"}),
        json!({"__REALTIME_TIMESTAMP": "20", "_PID": "8", "MESSAGE": "the door is locked"}),
        json!({"__REALTIME_TIMESTAMP": "10", "_PID": "1", "INVOCATION_ID": before, "MESSAGE": "Failed"}),
    ];
    let journal = Journal::new(&entries.map(|entry| format!("{entry}\n")).concat());
    let (cluster, name) = running(&journal).await;
    let snapshot = cluster.registry.read_snapshot().await.unwrap();
    let placement = snapshot.places[&name][&cluster.presence.machine].clone();
    let failed = ObservedState {
        load: "loaded".to_owned(),
        active: ActiveState::Failed,
        sub: "failed".to_owned(),
        file: Some(placement.file),
        hash: "h".to_owned(),
        generation: placement.generation,
        desired: placement.desired,
        since: 0,
        invocation: start.to_owned(),
        problem: None,
        remark: String::new(),
    };
    let update = StateUpdate { unit: name, state: Some(failed) };
    cluster.registry.publish_states(&cluster.presence, vec![update]).await.unwrap();
    let wait = json!({"units": [{"name": "a.service", "until": "launched"}]});
    let events = cluster.events(wait, |_| false).await;
    let failed = events.last().unwrap();
    assert_eq!(failed["log"], json!(["Failed", "the key is missing"]));
}

/// journalctl would fail with it, again and again, and the client wait for ever.
#[tokio::test]
async fn a_place_that_is_none_is_refused() {
    let journal = Journal::new("a\n");
    let (cluster, _) = running(&journal).await;
    let long = format!("t=1;s={}", "0".repeat(33));
    for place in ["6", "soon", "s%3D1", "t%3D%1b", "t%3D1%00", "t%3D-1", "at:%1b", &long] {
        for machine in ["machine", "prefer"] {
            let path =
                format!("/v1/units/a.service/journal/follow?{machine}=m1&ago=1&cursor={place}");
            let answer = cluster.get(&path).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{place}: {}", answer.text);
            assert!(answer.message().starts_with("cursor="), "{}", answer.text);
            assert!(
                !answer.message().chars().any(muster_common::text::is_hidden),
                "{}",
                answer.text
            );
        }
    }
}
