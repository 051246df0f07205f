//! Patterns in the place of names, lists that are narrowed, and arguments that stand for nothing.

use insta::assert_snapshot;
use serde_json::json;

use crate::answers::{change_answer, done_event, machine, state, unit};
use crate::daemon::{Answer, Daemon};

/// A template with two instances that run and one that does not, and a database.
fn units() -> serde_json::Value {
    json!({ "machines": [machine(1), machine(2)], "units": [
        unit("db.service", "launched", "launched", &[2]),
        unit("web@.service", "inactive", "inactive", &[]),
        unit("web@1.service", "launched", "launched", &[1]),
        unit("web@2.service", "launched", "launched", &[2]),
        unit("web@3.service", "inactive", "inactive", &[]),
    ] })
}

fn daemon(rules: Vec<(&str, Answer)>) -> Daemon {
    let mut all = vec![
        ("GET /v1/units", Answer::json(units())),
        ("GET /v1/machines", Answer::json(json!({"machines": [machine(1), machine(2)]}))),
    ];
    all.extend(rules);
    Daemon::with_rules(all)
}

/// The units that the last change was about.
fn changed_units(daemon: &Daemon) -> Vec<String> {
    let body =
        daemon.requests().into_iter().rev().find(|r| r.line == "POST /v1/units").unwrap().body;
    let name = |unit: &serde_json::Value| unit["name"].as_str().unwrap().to_owned();
    body["units"].as_array().unwrap().iter().map(name).collect()
}

#[test]
fn each_command_is_about_what_a_pattern_matches_and_it_can_be_about() {
    for (line, expected) in [
        ("start --no-block web@*", vec!["web@1.service", "web@2.service", "web@3.service"]),
        ("load --no-block web@[13]", vec!["web@1.service", "web@3.service"]),
        ("stop --no-block web@* db", vec!["web@1.service", "web@2.service", "db.service"]),
        ("unload --no-block *@*", vec!["web@1.service", "web@2.service", "web@3.service"]),
        ("submit d?.service", vec!["db.service"]),
    ] {
        let answer = change_answer([("web@1.service", json!({ "outcome": "changed" }))]);
        let daemon = daemon(vec![("POST /v1/units", Answer::json(answer))]);
        let shown = daemon.run(line);
        assert!(shown.starts_with("exit 0"), "{line}: {shown}");
        assert_eq!(changed_units(&daemon), expected, "{line}");
    }
}

#[test]
fn a_pattern_is_for_units_of_the_cluster_and_never_for_files() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["web@.service", "web@1.service"] {
        std::fs::write(folder.path().join(file), "[Service]\n").unwrap();
    }
    let answer = change_answer([("web@1.service", json!({ "outcome": "changed" }))]);
    let daemon = daemon(vec![("POST /v1/units", Answer::json(answer))]);
    daemon.run_in(folder.path(), "start --no-block web@1*");
    let body = daemon.requests().pop().unwrap().body;
    assert_eq!(body["files"], json!({}));
    assert_eq!(body["units"][0]["file"], json!(null));
}

#[test]
fn what_a_pattern_destroys_is_named_first() {
    let destroyed =
        json!({ "destroyed": ["web@.service", "web@1.service"], "unknown": [], "revision": 1 });
    let daemon = daemon(vec![("POST /v1/units/destroy", Answer::json(destroyed))]);
    assert_snapshot!(daemon.run("destroy --no-block web@*"), @r"
    exit 0
    --- stdout
    Destroyed web@.service
    Destroyed web@1.service
    --- stderr
    note: to be destroyed: web@.service, web@1.service, web@2.service, web@3.service
    ");
}

#[test]
fn a_pattern_that_stands_for_nothing_is_an_error_and_nothing_is_changed() {
    for line in [
        "start db x*",
        "stop x*",
        "restart x*",
        "load x*",
        "unload x*",
        "destroy db x*",
        "submit x*",
        "cat x*",
        "status x*",
        "journal x*",
        "list-units x*",
        "list-unit-files x*",
    ] {
        let daemon = daemon(vec![(
            "GET /v1/states",
            Answer::json(json!({"states": [], "silent": ["db.service"], "machines": []})),
        )]);
        let shown = daemon.run(line);
        assert_eq!(
            shown,
            "exit 1\n--- stderr\nerror: no unit of the cluster matches \"x*\"\n\
             hint: `musterctl list-unit-files` shows the units there are\n",
            "{line}"
        );
        assert!(daemon.lines().iter().all(|line| line.starts_with("GET ")), "{:?}", daemon.lines());
    }
    let daemon = daemon(vec![]);
    assert_snapshot!(daemon.run("stop web@3*"), @r#"
    exit 1
    --- stderr
    error: "web@3*" matches web@3.service, and nothing that can be stopped
    "#);
    assert_snapshot!(daemon.run("start web["), @r#"
    exit 1
    --- stderr
    error: "web[" is not a pattern: a class has no ] at character 5
    "#);
    assert_snapshot!(daemon.run("start units/*.service"), @r#"
    exit 1
    --- stderr
    error: "units/*.service" matches no file, and a pattern of units has no directory
    hint: without quotes the shell puts the files in its place that it matches; 'web@*' in quotes stands for units of the cluster
    "#);
    assert_snapshot!(daemon.run("ssh web@*"), @r#"
    exit 1
    --- stderr
    error: "web@*" matches web@1.service, web@2.service, and ssh goes to one of them
    hint: name the unit
    "#);
    assert_snapshot!(daemon.run("ssh web@3*"), @r#"
    exit 1
    --- stderr
    error: "web@3*" matches web@3.service, and nothing that can be gone to: none is on a machine
    "#);
}

#[test]
fn a_unit_that_is_on_no_machine_is_not_said_not_to_exist() {
    let states = || Answer::json(json!({"states": [], "silent": [], "machines": []}));
    let list = |line: &str| daemon(vec![("GET /v1/states", states())]).run(line);
    let expected = "exit 0\n--- stdout\nUNIT\tMACHINE\tACTIVE\tSUB\n--- stderr\n\
                    note: no machine has any of these units; `musterctl list-unit-files` shows what is wanted of them\n";
    assert_eq!(list("list-units web@3"), expected);
    assert_eq!(list("list-units web@*"), expected);
    assert!(list("list-units web@3 ghost").ends_with("error: there is no unit ghost.service\n"));
    assert!(list("list-units web@* x*").contains("no unit of the cluster matches \"x*\""));
}

#[test]
fn a_job_on_a_machine_that_is_lost_is_shown_there() {
    let states = json!({
        "states": [], "silent": ["job.service", "new.service"], "machines": [],
        "lost": { "job.service": [machine(2).id] },
    });
    let list =
        |line: &str| daemon(vec![("GET /v1/states", Answer::json(states.clone()))]).run(line);
    assert_snapshot!(list("list-units"), @r"
    exit 0
    --- stdout
    UNIT		MACHINE		ACTIVE	SUB	REMARK
    job.service	22222222...	-	-	its machine is not registered now, so that how far it came is not known
    new.service	-		-	-	-
    ");
    assert_snapshot!(list("list-units --fields=unit,machine --no-legend job"), @"
    exit 0
    --- stdout
    job.service	22222222...
    ");
}

#[test]
fn what_was_started_a_moment_ago_can_be_stopped() {
    let units = |machines: &[u8]| json!({ "machines": [machine(1)], "units": [unit("web@1.service", "launched", "inactive", machines)] });
    let detail = |machines: &[u8], more: serde_json::Value| {
        let mut detail = unit("web@1.service", "launched", "inactive", machines);
        detail["text"] = json!("");
        detail["refusal"] = more;
        Answer::json(detail)
    };
    let accepted =
        || Answer::json(change_answer([("web@1.service", json!({ "outcome": "changed" }))]));
    for line in ["stop --no-block web@1", "stop --no-block web@*", "restart --no-block web@1"] {
        // Its machine has not carried out anything yet.
        let placed = Daemon::with_rules(vec![
            ("GET /v1/units", Answer::json(units(&[1]))),
            ("POST /v1/units", accepted()),
        ]);
        assert!(placed.run(line).starts_with("exit 0\n"), "{line}");
        // It has no machine yet.
        let being_placed = Daemon::with_rules(vec![
            ("GET /v1/units", Answer::json(units(&[]))),
            ("GET /v1/units/web@1.service", detail(&[], json!(null))),
            ("GET /v1/units/web@1.service", detail(&[1], json!(null))),
            ("POST /v1/units", accepted()),
        ]);
        assert!(being_placed.run(line).starts_with("exit 0\n"), "{line}");
        assert_eq!(changed_units(&being_placed), ["web@1.service"], "{line}");
    }
    // None takes it: that is another matter.
    let refusal = serde_json::to_value(crate::answers::full_refusal()).unwrap();
    let waiting = Daemon::with_rules(vec![
        ("GET /v1/units", Answer::json(units(&[]))),
        ("GET /v1/units/web@1.service", detail(&[], refusal)),
    ]);
    assert_snapshot!(waiting.run("stop web@1"), @r"
    exit 1
    --- stderr
    error: web@1.service cannot be stopped: it is inactive
    hint: it waits for a machine; `musterctl unload web@1.service` takes it back
    ");
}

#[test]
fn files_of_several_units_stand_below_their_names() {
    let detail = |name: &str| {
        let mut detail = unit(name, "launched", "launched", &[1]);
        detail["text"] = json!(format!("[Service]\nExecStart=/bin/{name}\n"));
        Answer::json(detail)
    };
    let rules = || {
        vec![
            ("GET /v1/units/web@1.service", detail("web@1.service")),
            ("GET /v1/units/web@2.service", detail("web@2.service")),
        ]
    };
    assert_snapshot!(daemon(rules()).run("cat web@[12]"), @r"
    exit 0
    --- stdout
    # web@1.service
    [Service]
    ExecStart=/bin/web@1.service

    # web@2.service
    [Service]
    ExecStart=/bin/web@2.service
    ");
    assert_snapshot!(daemon(rules()).run("cat web@1*"), @r"
    exit 0
    --- stdout
    [Service]
    ExecStart=/bin/web@1.service
    ");
}

#[test]
fn lists_are_narrowed_by_names_states_and_machines() {
    let states = || {
        let entry = |name: &str, n: u8, active: &str, sub: &str| {
            let mut entry = serde_json::to_value(state(active, sub)).unwrap();
            entry["name"] = json!(name);
            entry["machine"] = json!(machine(n).id);
            entry
        };
        let states = [
            entry("db.service", 2, "failed", "failed"),
            entry("web@1.service", 1, "active", "running"),
            entry("web@2.service", 2, "activating", "auto-restart"),
        ];
        Answer::json(
            json!({ "states": states, "silent": [], "machines": [machine(1), machine(2)] }),
        )
    };
    let list = |line: &str| daemon(vec![("GET /v1/states", states())]).run(line);
    assert_snapshot!(list("list-units web@*"), @r"
    exit 0
    --- stdout
    UNIT		MACHINE			ACTIVE		SUB
    web@1.service	11111111.../10.0.0.1	active		running
    web@2.service	22222222.../10.0.0.2	activating	auto-restart
    ");
    assert_snapshot!(list("list-units --state=failed,activating --machine n2 --no-legend"), @r"
    exit 0
    --- stdout
    db.service	22222222.../10.0.0.2	failed		failed
    web@2.service	22222222.../10.0.0.2	activating	auto-restart
    ");
    assert_snapshot!(list("list-units db --state failed --no-legend"), @r"
    exit 0
    --- stdout
    db.service	22222222.../10.0.0.2	failed	failed
    ");
    // Nothing has failed: that is an answer, and a good one.
    assert_eq!(list("list-units web@* --state=failed --no-legend"), "exit 0\n");
    assert_snapshot!(list("list-unit-files --state=launched --machine=2222 --no-legend"), @r"
    exit 0
    --- stdout
    db.service	8ee17c7	launched	launched	22222222.../10.0.0.2
    web@2.service	8ee17c7	launched	launched	22222222.../10.0.0.2
    ");
    assert_snapshot!(list("list-unit-files --state=running"), @r#"
    exit 1
    --- stderr
    error: there is no state "running"; there are inactive, loaded, launched
    "#);
    assert!(
        list("list-units --state=runing")
            .starts_with("exit 1\n--- stderr\nerror: there is no state \"runing\"")
    );
    assert_snapshot!(list("list-units --machine=n9"), @r#"
    exit 1
    --- stderr
    error: "n9" names no machine
    hint: `musterctl list-machines --full` shows them
    "#);
    assert_snapshot!(list("list-units ghost"), @r"
    exit 1
    --- stderr
    error: there is no unit ghost.service
    ");
}

/// A daemon that knows none of the units it is told of.
fn knows_nothing(name: &str, message: &str) -> Daemon {
    let unit = json!({ "name": name, "generation": 0, "outcome": "failed", "message": message });
    daemon(vec![
        ("POST /v1/units", Answer::json(json!({ "units": [unit], "revision": 1 }))),
        (
            "POST /v1/units/destroy",
            Answer::json(json!({"destroyed": [], "unknown": [name], "revision": 1})),
        ),
    ])
}

#[test]
fn what_is_neither_a_file_nor_a_unit_is_said_to_be_neither() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("web.job"), "[Job]\n").unwrap();
    std::fs::write(folder.path().join("notes"), "buy milk\n").unwrap();
    let job =
        || knows_nothing("web.job.service", "web.job.service is not known; submit its file first");
    let submitted = job().run_in(folder.path(), "submit ./web.job");
    assert_snapshot!(submitted, @r#"
    exit 1
    --- stderr
    error: ./web.job: it is no unit file by its name, and no unit of the cluster
    hint: "job" is no type of unit, so web.job.service was looked for; the types are artifact, automount, build, container, device, image, kube, mount, network, path, pod, scope, service, slice, socket, swap, target, timer, volume
    "#);
    for verb in ["load", "start"] {
        assert_eq!(job().run_in(folder.path(), &format!("{verb} ./web.job")), submitted);
    }
    let run = |name: &str, line: &str| {
        let message = format!("{name} is not known; submit its file first");
        knows_nothing(name, &message).run_in(folder.path(), line)
    };
    assert_snapshot!(run("db.service", "start units/db.service"), @r"
    exit 1
    --- stderr
    error: units/db.service: no such file, and no such unit in the cluster
    ");
    assert_snapshot!(run("notes.service", "submit notes"), @r"
    exit 1
    --- stderr
    error: notes: it is no unit file by its name, and no unit of the cluster
    hint: a unit file is named after its unit: notes.service
    ");
    std::fs::create_dir(folder.path().join("units")).unwrap();
    assert_snapshot!(run("units.service", "start ./units"), @r"
    exit 1
    --- stderr
    error: ./units: it is a directory, and no unit of the cluster
    hint: name the files in it, as the shell does for ./units/*
    ");
    let of_template = "app@1.service is not known and neither is its template app@.service; submit the template first";
    assert_snapshot!(knows_nothing("app@1.service", of_template).run("start app@1"), @r"
    exit 1
    --- stderr
    error: app@1: neither it nor its template app@.service is a file there or a unit of the cluster
    ");
    let unreadable =
        "the record of a.service cannot be read (x); destroy the unit and submit it again";
    assert_snapshot!(knows_nothing("a.service", unreadable).run("start a"), @r"
    exit 1
    --- stderr
    error: the record of a.service cannot be read (x); destroy the unit and submit it again
    ");
}

#[test]
fn commands_on_known_units_say_so_too_when_a_type_is_none() {
    let hint = "hint: \"job\" is no type of unit, so web.job.service was looked for; ";
    let missing = || Answer::error(404, "unit web.job.service does not exist");
    for verb in ["stop", "unload", "restart", "destroy", "cat", "status"] {
        let daemon = daemon(vec![
            (
                "POST /v1/units/destroy",
                Answer::json(
                    json!({"destroyed": [], "unknown": ["web.job.service"], "revision": 1}),
                ),
            ),
            ("GET /v1/units/web.job.service", missing()),
            ("GET /v1/units/web.job.service/status", missing()),
            ("POST /v1/wait", Answer::events([done_event("x.service", &[])])),
        ]);
        let shown = daemon.run(&format!("{verb} web.job"));
        assert!(shown.contains(hint), "{verb}: {shown}");
        assert_eq!(
            shown.matches("web.job.service").count(),
            2,
            "said once, and in the hint: {shown}"
        );
    }
}
