//! Commands that change units, as a user sees them: the real binary against a scripted daemon.

use insta::assert_snapshot;
use serde_json::json;

use crate::answers::{change_answer, done_event, full_refusal, machine, name, state, unit};
use crate::daemon::{Answer, Daemon};

const FILE: &str = "[Service]\nExecStart=/bin/sleep inf\n";

/// A folder with a template and a plain unit.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("web@.service"), FILE).unwrap();
    std::fs::write(folder.path().join("hello.service"), "[Service]\nExecStart=/bin/true\n")
        .unwrap();
    folder
}

#[test]
fn submit_sends_files_and_says_what_came_of_them() {
    let daemon = Daemon::new([(
        "POST /v1/units",
        Answer::json(change_answer([
            ("web@.service", json!({ "outcome": "created" })),
            (
                "hello.service",
                json!({ "outcome": "differs", "warnings": ["hello.service: line 2: unknown key Exec in section Service"] }),
            ),
            (
                "db.service",
                json!({ "outcome": "failed", "message": "db.service is not known; submit its file first" }),
            ),
        ])),
    )]);
    assert_snapshot!(daemon.run_in(folder().path(), "submit web@.service hello db"), @r"
    exit 1
    --- stdout
    Unit web@.service inactive
    --- stderr
    warning: hello.service: line 2: unknown key Exec in section Service
    warning: hello.service: the cluster has another file of it, which was kept
    error: db.service is not known; submit its file first
    hint: `--replace` puts the local file in its place
    ");
    let body = &daemon.requests()[0].body;
    let hash = muster_common::unit::FileHash::of_text(FILE).to_string();
    assert_eq!(body["files"][&hash], FILE);
    assert_eq!(body["units"][0], json!({ "name": "web@.service", "file": hash, "restart": false }));
    assert_eq!(body["units"][2], json!({ "name": "db.service", "restart": false }));
}

#[test]
fn submit_replaces_when_told_to() {
    let daemon = Daemon::new([(
        "POST /v1/units",
        Answer::json(change_answer([("hello.service", json!({ "outcome": "changed" }))])),
    )]);
    assert_snapshot!(daemon.run_in(folder().path(), "submit --replace hello.service"), @r"
    exit 0
    --- stdout
    Unit hello.service replaced
    ");
    assert_eq!(daemon.requests()[0].body["replace"], true);
}

#[test]
fn start_makes_one_request_and_one_wait_for_all_units() {
    let daemon = Daemon::new([
        (
            "POST /v1/units",
            Answer::json(change_answer([
                ("web@1.service", json!({ "outcome": "created" })),
                ("web@2.service", json!({ "outcome": "created" })),
                ("agent.service", json!({ "outcome": "changed", "global": true })),
            ])),
        ),
        (
            "POST /v1/wait",
            Answer::events([
                json!({ "event": "progress", "name": "web@1.service", "machine": machine(1) }),
                done_event("web@2.service", &[2]),
                json!({ "event": "from-a-later-version", "name": "web@1.service" }),
                done_event("web@1.service", &[1]),
            ]),
        ),
    ]);
    assert_snapshot!(daemon.run_in(folder().path(), "start web@1 web@2 web@1.service agent"), @r"
    exit 0
    --- stdout
    Triggered global unit agent.service start
    Unit web@2.service launched on 22222222.../10.0.0.2
    Unit web@1.service launched on 11111111.../10.0.0.1
    ");
    let requests = daemon.requests();
    assert_eq!(requests.len(), 2);
    let change = &requests[0].body;
    assert_eq!(change["files"].as_object().unwrap().len(), 1, "instances share their template");
    assert_eq!(
        change["units"].as_array().unwrap().len(),
        3,
        "a unit named twice is asked for once"
    );
    assert_eq!(change["units"][0]["desired"], "launched");
    assert_eq!(
        requests[1].body,
        json!({
            "units": [
                { "name": "web@1.service", "until": "launched", "generation": 3 },
                { "name": "web@2.service", "until": "launched", "generation": 3 },
            ],
            "revision": 17,
        })
    );
}

#[test]
fn start_without_blocking_only_triggers() {
    let daemon = Daemon::new([(
        "POST /v1/units",
        Answer::json(change_answer([("web@1.service", json!({ "outcome": "created" }))])),
    )]);
    assert_snapshot!(daemon.run("start --no-block web@1"), @r"
    exit 0
    --- stdout
    Triggered unit web@1.service start
    ");
    assert_eq!(daemon.lines(), ["POST /v1/units"]);
}

#[test]
fn a_refused_start_names_each_machine_and_the_way_out() {
    let daemon = Daemon::new([
        (
            "POST /v1/units",
            Answer::json(change_answer([
                ("web@3.service", json!({ "outcome": "created" })),
                ("web@4.service", json!({ "outcome": "refused", "refusal": full_refusal() })),
            ])),
        ),
        ("POST /v1/wait", Answer::events([done_event("web@3.service", &[3])])),
    ]);
    assert_snapshot!(daemon.run("start web@3 web@4"), @r"
    exit 1
    --- stdout
    Unit web@3.service launched on 33333333.../10.0.0.3
    --- stderr
    error: web@4.service: no machine can take it now
      11111111...: Conflicts=web@* matches web@1.service, which is there
      22222222...: Conflicts=web@* matches web@2.service, which is there
      33333333...: Conflicts=web@* matches web@3.service, which is there
    hint: `--queue` keeps units waiting for a machine that can take them
    ");
}

#[test]
fn a_refusal_for_want_of_podman_says_what_to_do_about_it() {
    let reason = json!({ "reason": "no-runner", "runner": "podman", "why": "line 1: [Pod] is Podman's alone" });
    let refusal = json!({ "machines": [{ "machine": "1".repeat(32), "reason": reason }] });
    let daemon = Daemon::new([(
        "POST /v1/units",
        Answer::json(change_answer([(
            "shop.pod",
            json!({ "outcome": "refused", "refusal": refusal }),
        )])),
    )]);
    assert_snapshot!(daemon.run("start shop.pod"), @r"
    exit 1
    --- stderr
    error: shop.pod: no machine can take it now
      11111111...: it has no Podman with Quadlet, which the file needs: line 1: [Pod] is Podman's alone
    hint: a machine has Podman for units once Podman 4.4 or later (5.0 for pods) is installed and musterd restarted there
    hint: `--queue` keeps units waiting for a machine that can take them
    ");
}

#[test]
fn a_refusal_for_every_machine_alike_is_one_line() {
    let refusal = json!({ "unit": { "reason": "no-machines" } });
    let daemon = Daemon::new([(
        "POST /v1/units",
        Answer::json(change_answer([(
            "web@1.service",
            json!({ "outcome": "refused", "refusal": refusal }),
        )])),
    )]);
    assert_snapshot!(daemon.run("load web@1"), @r"
    exit 1
    --- stderr
    error: web@1.service: no machine can take it: no machine is registered
    hint: `--queue` keeps units waiting for a machine that can take them
    ");
}

#[test]
fn a_template_cannot_be_started_or_loaded() {
    let daemon = Daemon::new([]);
    assert_snapshot!(daemon.run_in(folder().path(), "start web@.service"), @r"
    exit 1
    --- stderr
    error: web@.service is a template, and a template cannot be started
    hint: name an instance of it, such as web@1.service
    ");
    assert_snapshot!(daemon.run_in(folder().path(), "load web@"), @r"
    exit 1
    --- stderr
    error: web@.service is a template, and a template cannot be loaded
    hint: name an instance of it, such as web@1.service
    ");
    assert!(daemon.lines().is_empty(), "nothing was asked of the daemon");
}

#[test]
fn files_that_are_no_unit_files_are_refused_before_anything_is_sent() {
    let folder = folder();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    write("binary.service", b"[Unit]\n\xff\xfe");
    write("huge.service", &vec![b'#'; 256 * 1024 + 1]);
    std::fs::create_dir(folder.path().join("folder.service")).unwrap();
    let daemon = Daemon::new([]);
    let run = |line: &str| daemon.run_in(folder.path(), line);
    assert_snapshot!(run("submit hello.service binary.service"), @r"
    exit 1
    --- stderr
    error: binary.service is not a unit file: it is not UTF-8 text from byte 7 on
    ");
    assert_snapshot!(run("submit huge.service"), @r"
    exit 1
    --- stderr
    error: huge.service is too large for a unit file: 262145 bytes, 262144 at most
    ");
    assert_snapshot!(run("submit folder.service"), @r"
    exit 1
    --- stderr
    error: cannot read folder.service: is a directory
    ");
    assert_snapshot!(run("start a/b/@1.service"), @r#"
    exit 1
    --- stderr
    error: "@1.service" is not a unit name: nothing stands before its @ or its type
    "#);
    assert!(daemon.lines().is_empty(), "nothing was asked of the daemon");
}

fn three_units() -> (&'static str, Answer) {
    let units = [
        unit("db.service", "launched", "inactive", &[]),
        unit("idle.service", "inactive", "inactive", &[]),
        unit("web@1.service", "launched", "launched", &[1]),
    ];
    ("GET /v1/units", Answer::json(json!({ "units": units, "machines": [machine(1)] })))
}

#[test]
fn stop_refuses_what_does_not_run_and_stops_the_rest() {
    let daemon = Daemon::new([
        three_units(),
        (
            "POST /v1/units",
            Answer::json(change_answer([("web@1.service", json!({ "outcome": "changed" }))])),
        ),
        ("POST /v1/wait", Answer::events([done_event("web@1.service", &[1])])),
    ]);
    assert_snapshot!(daemon.run("stop idle web@1 db web@9"), @r"
    exit 1
    --- stdout
    Unit web@1.service loaded on 11111111.../10.0.0.1
    --- stderr
    error: web@9.service cannot be stopped: it does not exist
    error: idle.service cannot be stopped: it is inactive
    error: db.service cannot be stopped: it is inactive
    hint: it waits for a machine; `musterctl unload db.service` takes it back
    ");
    let asked = daemon.requests();
    let change = &asked.iter().find(|request| request.line == "POST /v1/units").unwrap().body;
    assert_eq!(
        change["units"],
        json!([{ "name": "web@1.service", "desired": "loaded", "restart": false }])
    );
}

#[test]
fn unload_takes_inactive_units_as_they_are() {
    let daemon = Daemon::new([
        three_units(),
        (
            "POST /v1/units",
            Answer::json(change_answer([
                ("idle.service", json!({ "outcome": "unchanged" })),
                ("web@1.service", json!({ "outcome": "changed" })),
            ])),
        ),
        (
            "POST /v1/wait",
            Answer::events([done_event("idle.service", &[]), done_event("web@1.service", &[])]),
        ),
    ]);
    assert_snapshot!(daemon.run("unload idle web@1"), @r"
    exit 0
    --- stdout
    Unit idle.service inactive
    Unit web@1.service inactive
    ");
    assert_eq!(daemon.requests()[1].body["units"][1]["desired"], "inactive");
}

#[test]
fn restart_takes_one_unit_after_the_other_and_goes_on_after_a_failure() {
    let units = ["a.service", "b.service"].map(|name| unit(name, "launched", "launched", &[1]));
    let answer = |name| Answer::json(change_answer([(name, json!({ "outcome": "changed" }))]));
    let failed = json!({
        "event": "failed", "name": "a.service", "machine": machine(1), "state": state("failed", "failed"),
    });
    let daemon = Daemon::new([
        ("GET /v1/units", Answer::json(json!({ "units": units, "machines": [] }))),
        ("POST /v1/units", answer("a.service")),
        ("POST /v1/units", answer("b.service")),
        ("POST /v1/wait", Answer::events([failed])),
        ("POST /v1/wait", Answer::events([done_event("b.service", &[1])])),
    ]);
    assert_snapshot!(daemon.run("restart a b"), @r"
    exit 1
    --- stdout
    Unit b.service launched on 11111111.../10.0.0.1
    --- stderr
    error: a.service failed on 11111111.../10.0.0.1: failed/failed
    hint: `musterctl status a.service` and `musterctl journal a.service` show more
    ");
    assert_eq!(
        daemon.lines(),
        ["GET /v1/units", "POST /v1/units", "POST /v1/wait", "POST /v1/units", "POST /v1/wait"]
    );
    assert_eq!(
        daemon.requests()[1].body["units"],
        json!([{ "name": "a.service", "desired": "launched", "restart": true }])
    );
}

#[test]
fn destroy_waits_until_units_are_gone_and_forgives_unknown_ones() {
    let answer = json!({
        "destroyed": [name("web@1.service"), name("web@2.service")], "unknown": [name("ghost.service")],
        "revision": 21,
    });
    let daemon = Daemon::new([
        ("POST /v1/units/destroy", Answer::json(answer)),
        (
            "POST /v1/wait",
            Answer::events([done_event("web@1.service", &[]), done_event("web@2.service", &[])]),
        ),
    ]);
    assert_snapshot!(daemon.run("destroy examples/web@1.service web@2 ghost"), @r"
    exit 0
    --- stdout
    Destroyed web@1.service
    Destroyed web@2.service
    --- stderr
    warning: unit ghost.service does not exist
    ");
    let requests = daemon.requests();
    assert_eq!(
        requests[0].body,
        json!({ "names": ["web@1.service", "web@2.service", "ghost.service"] })
    );
    assert_eq!(requests[1].body["units"][0]["until"], "gone");
    assert_eq!(requests[1].body["revision"], 21);
}

#[test]
fn results_are_one_json_array() {
    let daemon = Daemon::new([
        (
            "POST /v1/units",
            Answer::json(change_answer([
                ("web@3.service", json!({ "outcome": "created" })),
                ("web@4.service", json!({ "outcome": "refused", "refusal": full_refusal() })),
                ("agent.service", json!({ "outcome": "changed", "global": true })),
            ])),
        ),
        ("POST /v1/wait", Answer::events([done_event("web@3.service", &[3])])),
    ]);
    let output = daemon.command("--output json start web@3 web@4 agent").output().unwrap();
    let results: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        results,
        json!([
            { "unit": "web@4.service", "result": "refused", "refusal": full_refusal() },
            { "unit": "agent.service", "result": "triggered", "verb": "start", "global": true },
            {
                "unit": "web@3.service", "result": "done", "state": "launched",
                "machines": [{ "id": machine(3).id, "ip": "10.0.0.3" }],
            },
        ])
    );
}

#[test]
fn a_thousand_instances_are_one_request() {
    let units: Vec<String> = (0..1000).map(|n| format!("web@{n}.service")).collect();
    let answers: Vec<_> = units
        .iter()
        .map(|name| json!({ "name": name, "outcome": "created", "generation": 1 }))
        .collect();
    let events: Vec<_> = units.iter().map(|name| done_event(name, &[1])).collect();
    let daemon = Daemon::new([
        ("POST /v1/units", Answer::json(json!({ "units": answers, "revision": 1 }))),
        ("POST /v1/wait", Answer::events(events)),
    ]);
    let folder = folder();
    let output = daemon
        .command(&format!("start {}", units.join(" ")))
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 1000);
    assert_eq!(daemon.lines(), ["POST /v1/units", "POST /v1/wait"]);
    assert_eq!(daemon.requests()[0].body["files"].as_object().unwrap().len(), 1);
}
