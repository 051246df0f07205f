//! `reboot`: slots, hosts, requests.

mod waiting;

use std::time::{SystemTime, UNIX_EPOCH};

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::answers::machine;
use crate::daemon::{Answer, Daemon, musterctl, output_text};

/// A moment two and a half hours ago, and a bit, so that it is still that when the client looks at its clock.
fn hours_ago() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() - 9010
}

/// What is shown, with the moments that lie two and a half hours back replaced: `DATE TIME (2h 30m ago)`.
fn without_dates(shown: &str) -> String {
    let mut words: Vec<String> = shown.split(' ').map(str::to_owned).collect();
    for i in 0..words.len() {
        if words[i] == "(2h" {
            "TIME".clone_into(&mut words[i - 1]);
            let before = words[i - 2].len() - "2026-11-21".len();
            words[i - 2].replace_range(before.., "DATE");
        }
    }
    words.join(" ")
}

fn id(n: u8) -> String {
    machine(n).id.to_string()
}

/// What the daemon of machine 1 tells: machines 1 to 3, of which 3 is not registered, in the group `default`.
fn status(holders: &Value, hosts: &Value, requests: &Value) -> Value {
    let held = holders.as_array().unwrap().len();
    json!({
        "machine": id(1), "revision": 7,
        "groups": [
            {"name": "default", "max": 1, "available": 1 - held.min(1), "holders": holders},
            {"name": "web", "max": 4, "available": 4, "holders": []},
        ],
        "hosts": hosts, "requests": requests, "machines": [machine(1), machine(2)],
    })
}

fn idle_cluster() -> Value {
    status(&json!([]), &json!([]), &json!([]))
}

/// Machine 2 drains, machine 3 waits for it, somebody wants machine 1 to reboot, which never said how far it is.
fn busy_cluster() -> Value {
    let since = hours_ago();
    let taken = json!({"reason": "slots-taken", "group": "default", "max": 1, "holders": [id(2)]});
    let draining = json!({"reason": "draining", "left": 2, "until": since});
    status(
        &json!([{"id": id(2), "kind": "host", "since": since}]),
        &json!([
            {"machine": id(2), "phase": "draining", "since": since, "waits": [draining],
             "due": [{"source": "reboot-required"}], "slot": since},
            {"machine": id(3), "phase": "waiting", "since": since, "waits": [taken],
             "due": [{"source": "update-engine", "version": "4081.2.0"}]},
            {"machine": "44444444444444444444444444444444", "phase": "idle", "since": since},
            {"machine": "55555555555555555555555555555555", "group": "web", "phase": "due"},
        ]),
        &json!([{"machine": id(1), "by": "jane", "at": since, "because": "new firmware"}]),
    )
}

fn daemon_with<const N: usize>(status: Value, more: [(&str, Answer); N]) -> Daemon {
    let mut rules = vec![("GET /v1/reboot", Answer::json(status))];
    rules.extend(more);
    Daemon::with_rules(rules)
}

#[test]
fn status_prints_what_locksmithctl_prints() {
    assert_snapshot!(daemon_with(idle_cluster(), []).run("reboot status"), @r"
    exit 0
    --- stdout
    Available: 1
    Max: 1
    ");
    let holders = json!([{"id": "c988d2509fdf5cdcbed39037c56406fb", "kind": "fleet-lock", "since": hours_ago()}]);
    let held = status(&holders, &json!([]), &json!([]));
    assert_snapshot!(without_dates(&daemon_with(held, []).run("reboot status")), @r"
    exit 0
    --- stdout
    Available: 0
    Max: 1

    MACHINE ID
    c988d2509fdf5cdcbed39037c56406fb

    HOST					SLOT SINCE				PHASE	PHASE SINCE	WHY
    c988d2509fdf5cdcbed39037c56406fb	DATE TIME (2h 30m ago)	-	-		a FleetLock client
    ");
}

#[test]
fn status_says_who_holds_a_slot_and_why_the_next_one_waits() {
    assert_snapshot!(without_dates(&daemon_with(busy_cluster(), []).run("reboot status")), @r"
    exit 0
    --- stdout
    Available: 0
    Max: 1

    MACHINE ID
    22222222222222222222222222222222

    HOST			SLOT SINCE				PHASE		PHASE SINCE				WHY
    22222222.../10.0.0.2	DATE TIME (2h 30m ago)	draining	DATE TIME (2h 30m ago)	draining: 2 units left, until DATE TIME (2h 30m ago)
    33333333...		-					waiting		DATE TIME (2h 30m ago)	the slot of group default taken by 22222222222222222222222222222222
    11111111.../10.0.0.1	-					-		-					requested by jane: new firmware; it never said how far it is
    ");
}

#[test]
fn a_holder_that_is_gone_is_seen_to_be() {
    let holders = json!([{"id": id(3), "kind": "host", "since": hours_ago()}]);
    let hosts = json!([{"machine": id(3), "phase": "rebooting", "since": hours_ago()}]);
    let daemon = daemon_with(status(&holders, &hosts, &json!([])), []);
    let shown = without_dates(&daemon.run("reboot status"));
    let row = shown.lines().last().unwrap();
    assert_eq!(
        row.split('\t').filter(|cell| !cell.is_empty()).collect::<Vec<_>>(),
        [
            "33333333...",
            "DATE TIME (2h 30m ago)",
            "rebooting",
            "DATE TIME (2h 30m ago)",
            "it is not registered now"
        ]
    );
}

#[test]
fn status_of_another_group() {
    let daemon = daemon_with(busy_cluster(), []);
    assert_snapshot!(daemon.run("reboot status --group web"), @r"
    exit 0
    --- stdout
    Available: 4
    Max: 4

    HOST		SLOT SINCE	PHASE	PHASE SINCE	WHY
    55555555...	-		due	-		-
    ");
    assert_eq!(daemon.run("reboot --group web status"), daemon.run("reboot status --group web"));
    let by_environment = daemon.command("reboot status").env("MUSTERCTL_GROUP", "web").output();
    assert_eq!(output_text(&by_environment.unwrap()), daemon.run("reboot status --group web"));
    assert_snapshot!(daemon.run("reboot status --group db"), @r"
    exit 1
    --- stderr
    error: there is no reboot group db; there are default, web
    hint: `musterctl reboot set-max --group db 1` makes it
    ");
    assert_snapshot!(output_text(&musterctl("reboot status --group a/b").output().unwrap()), @r#"
    exit 2
    --- stderr
    error: invalid value 'a/b' for '--group <GROUP>': "a/b" is not a reboot group: expected 1 to 256 of the characters A-Z a-z 0-9 . -

    For more information, try '--help'.
    "#);
}

#[test]
fn status_as_json_is_all_of_one_group() {
    let known = busy_cluster();
    let output =
        daemon_with(known.clone(), []).command("reboot status --output json").output().unwrap();
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(printed["group"], "default");
    assert_eq!((&printed["max"], &printed["available"]), (&json!(1), &json!(0)));
    assert_eq!(printed["holders"], known["groups"][0]["holders"]);
    assert_eq!(printed["hosts"].as_array().unwrap().len(), 3, "{printed}");
    assert_eq!(printed["hosts"][1]["waits"], known["hosts"][1]["waits"]);
    assert_eq!(printed["requests"], known["requests"]);
    assert_eq!(printed["groups"], json!(["default", "web"]));
}

#[test]
fn records_that_cannot_be_read_are_told() {
    let mut damaged = idle_cluster();
    damaged["unreadable"] = json!([
        {"key": "reboot-host/m9", "problem": "it has no schema"},
        {"key": "reboot/db", "problem": "it has no schema"},
    ]);
    let daemon = daemon_with(damaged, []);
    assert_snapshot!(daemon.run("reboot status"), @r"
    exit 0
    --- stdout
    Available: 1
    Max: 1
    --- stderr
    warning: the record reboot-host/m9 cannot be read: it has no schema
    warning: the record reboot/db cannot be read: it has no schema
    ");
    assert_snapshot!(daemon.run("reboot status --group db"), @r"
    exit 1
    --- stderr
    error: the record reboot/db cannot be read: it has no schema
    ");
}

#[test]
fn a_slot_is_locked_for_whoever_is_named() {
    let locked = |id: &str, anew: bool| {
        let answer = json!({"group": "default", "id": id, "since": hours_ago(), "anew": anew});
        daemon_with(idle_cluster(), [("POST /v1/reboot/lock", Answer::json(answer))])
    };
    let daemon = locked(&id(1), true);
    assert_snapshot!(daemon.run("reboot lock"), @r"
    exit 0
    --- stdout
    11111111.../10.0.0.1 holds a slot of group default
    ");
    let own = json!({"group": "default", "by": "ann"});
    assert_eq!(daemon.requests().pop().unwrap().body, own, "the daemon knows whose it is");

    for given in ["2222", "22222222...", "10.0.0.2", "n2"] {
        let daemon = locked(&id(2), true);
        assert!(daemon.run(&format!("reboot lock {given}")).contains("22222222.../10.0.0.2 holds"));
        assert_eq!(daemon.requests().pop().unwrap().body["id"], id(2), "{given}");
    }
    let daemon = locked("maintenance", false);
    assert_snapshot!(without_dates(&daemon.run("reboot lock maintenance")), @r"
    exit 0
    --- stdout
    maintenance holds a slot of group default already, since DATE TIME (2h 30m ago)
    ");
    assert_eq!(daemon.requests().pop().unwrap().body["id"], "maintenance");
}

#[test]
fn without_a_free_slot_lock_fails_and_says_why() {
    let refused = json!({
        "error": {"code": 409, "message": "the slot of group default taken by maintenance"},
        "wait": {"reason": "slots-taken", "group": "default", "max": 1, "holders": ["maintenance"]},
    });
    let daemon =
        daemon_with(idle_cluster(), [("POST /v1/reboot/lock", Answer::Json(409, refused))]);
    assert_snapshot!(daemon.run("reboot lock n2"), @r"
    exit 1
    --- stderr
    error: the slot of group default taken by maintenance
    hint: `musterctl reboot status` shows who holds a slot and since when; `--wait` waits for one
    ");
    assert_snapshot!(daemon.run("reboot lock --group db"), @r"
    exit 1
    --- stderr
    error: there is no reboot group db; there are default, web
    hint: `musterctl reboot set-max --group db 1` makes it
    ");
}

#[test]
fn a_slot_is_unlocked_for_whoever_holds_it() {
    let zincati = "c988d2509fdf5cdcbed39037c56406fb";
    let holders = json!([
        {"id": "maintenance", "kind": "person", "since": hours_ago()},
        {"id": zincati, "kind": "fleet-lock", "since": hours_ago()},
    ]);
    let unlock = |freed: &str| {
        let holder = json!({"id": freed, "kind": "person", "since": hours_ago()});
        let answer = json!({"group": "default", "id": freed, "freed": holder});
        let known = status(&holders, &json!([]), &json!([]));
        daemon_with(known, [("POST /v1/reboot/unlock", Answer::json(answer))])
    };
    let daemon = unlock("maintenance");
    assert_snapshot!(without_dates(&daemon.run("reboot unlock maintenance")), @r"
    exit 0
    --- stdout
    maintenance holds no slot of group default any more; it did since DATE TIME (2h 30m ago)
    ");
    let expected = json!({"group": "default", "id": "maintenance", "by": "ann"});
    assert_eq!(daemon.requests().pop().unwrap().body, expected);

    let daemon = unlock(zincati);
    daemon.run("reboot unlock c988d250");
    assert_eq!(daemon.requests().pop().unwrap().body["id"], zincati, "the beginning of a holder");
}

#[test]
fn who_holds_no_slot_cannot_be_unlocked() {
    let answer = json!({"group": "default", "id": "manteinance"});
    let daemon = daemon_with(idle_cluster(), [("POST /v1/reboot/unlock", Answer::json(answer))]);
    assert_snapshot!(daemon.run("reboot unlock manteinance"), @r"
    exit 1
    --- stderr
    error: manteinance holds no slot of group default
    hint: `musterctl reboot status` shows who does
    ");
}

#[test]
fn set_max_prints_what_was_and_what_is() {
    let answer = json!({"group": "web", "old": 1, "new": 4});
    let daemon = daemon_with(idle_cluster(), [("POST /v1/reboot/max", Answer::json(answer))]);
    assert_snapshot!(daemon.run("reboot set-max 4 --group web"), @r"
    exit 0
    --- stdout
    Old: 1
    New: 4
    ");
    let expected = json!({"group": "web", "max": 4, "by": "ann"});
    assert_eq!(daemon.requests().pop().unwrap().body, expected);
    for wrong in ["-1", "100001", "many"] {
        let output = musterctl(&format!("reboot set-max {wrong}")).output().unwrap();
        assert!(output_text(&output).starts_with("exit 2\n"), "{wrong}: {}", output_text(&output));
    }
    assert_snapshot!(output_text(&musterctl("reboot set-max -1").output().unwrap()), @r#"
    exit 2
    --- stderr
    error: invalid value '-1' for '<N>': "-1" is not a number of slots: expected 0 (nobody reboots) to 100000

    For more information, try '--help'.
    "#);
}

#[test]
fn history_shows_the_newest_first_as_the_daemon_tells_it() {
    let phases =
        json!([{"phase": "draining", "seconds": 12}, {"phase": "rebooting", "seconds": 95}]);
    let entries = json!([
        {"id": id(2), "kind": "host", "taken": 1_700_000_400, "freed": 1_700_000_700,
         "outcome": "rebooted", "due": [{"source": "reboot-required", "packages": ["linux-base"]}],
         "phases": phases},
        {"id": "maintenance", "kind": "person", "taken": 1_700_000_000, "freed": 1_700_000_060,
         "outcome": "unlocked", "by": "jane"},
    ]);
    let history = json!({"group": "default", "entries": entries});
    let daemon =
        || daemon_with(idle_cluster(), [("GET /v1/reboot/history", Answer::json(history.clone()))]);
    assert_snapshot!(daemon().run("reboot history"), @r"
    exit 0
    --- stdout
    MACHINE			TAKEN			FREED			HELD	OUTCOME			WHY			PHASES
    22222222.../10.0.0.2	2023-11-14 22:20:00	2023-11-14 22:25:00	5m	rebooted		required by linux-base	draining 12s, rebooting 1m 35s
    maintenance		2023-11-14 22:13:20	2023-11-14 22:14:20	1m	unlocked by jane	-			-
    ");
    assert_eq!(daemon().run("reboot history --group default"), daemon().run("reboot history"));
    let output = daemon().command("reboot history --output json").output().unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), history);
    assert_snapshot!(daemon().run("reboot history --group db"), @r"
    exit 1
    --- stderr
    error: there is no reboot group db; there are default, web
    hint: `musterctl reboot set-max --group db 1` makes it
    ");
}

fn request_answer(n: u8, anew: bool, host: &Value) -> Value {
    let request = json!({"by": "jane", "at": hours_ago(), "because": "new firmware"});
    json!({"id": id(n), "request": request, "anew": anew, "host": host})
}

#[test]
fn machines_are_asked_to_reboot() {
    let idle = json!({"phase": "idle"});
    let daemon = daemon_with(
        busy_cluster(),
        [("POST /v1/reboot/request", Answer::json(request_answer(2, true, &idle)))],
    );
    let asked = daemon.command("reboot request n2 3333 --because").arg("new firmware").output();
    assert!(output_text(&asked.unwrap()).starts_with("exit 0\n"));
    let bodies: Vec<Value> = daemon.requests().into_iter().skip(1).map(|r| r.body).collect();
    let body = |n| json!({"id": id(n), "by": "ann", "because": "new firmware"});
    assert_eq!(bodies, [body(2), body(3)]);

    assert_snapshot!(daemon.run("reboot request"), @r"
    exit 0
    --- stdout
    22222222.../10.0.0.2 is asked to reboot
    ");
    assert_eq!(daemon.requests().pop().unwrap().body, json!({"id": id(1), "by": "ann"}));
    assert_snapshot!(daemon.run("reboot request n7"), @r#"
    exit 1
    --- stderr
    error: "n7" names no machine
    hint: `musterctl list-machines --full` shows them
    "#);
    assert_snapshot!(output_text(&musterctl("reboot request n7 --all").output().unwrap()), @r"
    exit 2
    --- stderr
    error: the argument '[MACHINE]...' cannot be used with '--all'

    Usage: musterctl reboot request <MACHINE>...

    For more information, try '--help'.
    ");
}

#[test]
fn all_hosts_of_a_group_are_asked() {
    let idle = json!({"phase": "idle"});
    let daemon = daemon_with(
        busy_cluster(),
        [("POST /v1/reboot/request", Answer::json(request_answer(2, true, &idle)))],
    );
    daemon.run("reboot request --all --group web");
    let asked: Vec<Value> =
        daemon.requests().into_iter().skip(1).map(|r| r.body["id"].clone()).collect();
    assert_eq!(asked, ["55555555555555555555555555555555"]);
}

#[test]
fn what_may_keep_a_machine_from_rebooting_is_told() {
    let over = |n, anew, host| {
        daemon_with(
            idle_cluster(),
            [("POST /v1/reboot/request", Answer::json(request_answer(n, anew, &host)))],
        )
    };
    assert_snapshot!(over(2, true, Value::Null).run("reboot request n2"), @r"
    exit 0
    --- stdout
    22222222.../10.0.0.2 is asked to reboot
    --- stderr
    warning: 22222222.../10.0.0.2 has never said how far it is with reboots; its daemon may lack the reboot role
    ");
    let off = json!({"strategy": "off"});
    assert_snapshot!(without_dates(&over(2, false, off).run("reboot request n2")), @r"
    exit 0
    --- stdout
    22222222.../10.0.0.2 has been asked to reboot already by jane, DATE TIME (2h 30m ago)
    --- stderr
    warning: the reboot strategy of 22222222.../10.0.0.2 is off: it does not reboot by itself
    ");
}

#[test]
fn a_request_is_taken_back() {
    let cancelled = |cancelled: bool, host: Value| {
        let answer = json!({"id": id(2), "cancelled": cancelled, "host": host});
        daemon_with(idle_cluster(), [("POST /v1/reboot/cancel", Answer::json(answer))])
    };
    let daemon = cancelled(true, json!({"phase": "waiting"}));
    assert_snapshot!(daemon.run("reboot cancel n2"), @r"
    exit 0
    --- stdout
    22222222.../10.0.0.2 is not asked to reboot any more
    ");
    assert_eq!(daemon.requests().pop().unwrap().body, json!({"id": id(2), "by": "ann"}));
    assert_snapshot!(cancelled(true, json!({"phase": "draining"})).run("reboot cancel n2"), @r"
    exit 0
    --- stdout
    22222222.../10.0.0.2 is not asked to reboot any more
    --- stderr
    warning: 22222222.../10.0.0.2 is at it already: draining
    ");
    assert_snapshot!(cancelled(false, Value::Null).run("reboot cancel n2"), @r"
    exit 0
    --- stdout
    22222222.../10.0.0.2 was not asked
    ");
}

#[test]
fn a_daemon_that_knows_nothing_of_reboots_is_of_another_version() {
    let daemon =
        Daemon::new([("GET /v1/reboot", Answer::error(404, "there is nothing at /v1/reboot"))]);
    assert_snapshot!(daemon.run("reboot status"), @r"
    exit 1
    --- stderr
    error: unix://[SOCKET] does not know /v1/reboot
    hint: it is no musterd, or one of another version than this musterctl 0.1.0
    ");
    let daemon = daemon_with(
        idle_cluster(),
        [("POST /v1/reboot/request", Answer::error(404, "machine m9 is not known"))],
    );
    assert_snapshot!(daemon.run("reboot request"), @r"
    exit 1
    --- stderr
    error: machine m9 is not known
    ");
}

#[test]
fn a_group_without_hosts_cannot_be_asked() {
    assert_snapshot!(daemon_with(idle_cluster(), []).run("reboot request --all"), @r"
    exit 1
    --- stderr
    error: no host has ever said that it is in reboot group default
    ");
}

/// What the daemon of machine 1 tells, whose group is `web`, as it is of machine 2.
fn worker_cluster() -> Value {
    let mut status = status(
        &json!([]),
        &json!([{"machine": id(2), "phase": "idle", "group": "web"}]),
        &json!([]),
    );
    status["group"] = json!("web");
    status
}

#[test]
fn without_a_group_that_of_the_host_is_meant_and_said() {
    let note = "note: group web, that of this machine; `--group` names another";
    let locked = json!({"group": "web", "id": id(1), "since": 1, "anew": true});
    let rules = || {
        vec![
            ("GET /v1/reboot", Answer::json(worker_cluster())),
            ("POST /v1/reboot/lock", Answer::json(&locked)),
            ("POST /v1/reboot/unlock", Answer::json(json!({"group": "web", "id": id(1)}))),
            ("POST /v1/reboot/max", Answer::json(json!({"group": "web", "old": 1, "new": 2}))),
            ("GET /v1/reboot/history", Answer::json(json!({"group": "web", "entries": []}))),
        ]
    };
    for line in ["status", "lock", "unlock", "set-max 2", "history"] {
        let daemon = Daemon::with_rules(rules());
        let shown = daemon.run(&format!("reboot {line}"));
        assert!(shown.contains(note), "{line}: {shown}");
        let last = daemon.requests().pop().unwrap();
        if line == "status" {
            assert!(shown.contains("Available: 4\nMax: 4\n"), "{shown}");
        } else {
            assert!(last.line.contains("web") || last.body["group"] == json!("web"), "{last:?}");
        }
        let named = Daemon::with_rules(rules()).run(&format!("reboot {line} --group web"));
        assert!(!named.contains("note: "), "{line}: {named}");
    }
    // A slot for another machine is one of that machine's group.
    let mut elsewhere = worker_cluster();
    elsewhere["group"] = json!("default");
    let daemon = Daemon::with_rules(vec![
        ("GET /v1/reboot", Answer::json(elsewhere)),
        ("POST /v1/reboot/lock", Answer::json(&locked)),
    ]);
    let shown = daemon.run("reboot lock n2");
    assert!(shown.contains("note: group web, that of 22222222.../10.0.0.2; "), "{shown}");
    assert_eq!(daemon.requests().pop().unwrap().body["group"], json!("web"));
}
