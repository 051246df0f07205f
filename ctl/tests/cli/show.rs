//! Commands that change nothing: lists, cat, status, journal, plan.

use std::process::Stdio;

use insta::assert_snapshot;
use muster_common::machine::{Machine, RunnerKind};
use serde_json::{Value, json};

use crate::answers::{full_refusal, machine, state, unit};
use crate::daemon::{Answer, Daemon, output_text, wait_until};

fn reported_state(unit: &str, n: u8, active: &str, sub: &str) -> Value {
    let mut value = serde_json::to_value(state(active, sub)).unwrap();
    value["name"] = json!(unit);
    value["machine"] = json!(machine(n).id);
    value
}

fn states() -> Daemon {
    let states = [
        reported_state("agent.service", 1, "active", "running"),
        reported_state("agent.service", 2, "failed", "failed"),
        reported_state("web@1.service", 2, "active", "running"),
    ];
    let answer = json!({
        "states": states, "silent": ["hello.service"], "machines": [machine(1), machine(2)],
    });
    Daemon::new([("GET /v1/states", Answer::json(answer))])
}

#[test]
fn list_units_prints_fleets_table() {
    assert_snapshot!(states().run("list-units"), @r"
    exit 0
    --- stdout
    UNIT		MACHINE			ACTIVE	SUB
    agent.service	11111111.../10.0.0.1	active	running
    agent.service	22222222.../10.0.0.2	failed	failed
    hello.service	-			-	-
    web@1.service	22222222.../10.0.0.2	active	running
    ");
    assert_snapshot!(states().run("list-units --full --no-legend"), @r"
    exit 0
    --- stdout
    agent.service	11111111111111111111111111111111/10.0.0.1	active	running
    agent.service	22222222222222222222222222222222/10.0.0.2	failed	failed
    hello.service	-						-	-
    web@1.service	22222222222222222222222222222222/10.0.0.2	active	running
    ");
    assert_snapshot!(states().run("list-units -l --fields=unit,load,hash"), @r"
    exit 0
    --- stdout
    UNIT		LOAD	HASH
    agent.service	loaded	8ee17c7ec6f1c9be1ea6f2f8ea2f9ff3b3c2d5f0
    agent.service	loaded	8ee17c7ec6f1c9be1ea6f2f8ea2f9ff3b3c2d5f0
    hello.service	-	-
    web@1.service	loaded	8ee17c7ec6f1c9be1ea6f2f8ea2f9ff3b3c2d5f0
    ");
    assert_snapshot!(states().run("list-units --fields hash,sub"), @r"
    exit 0
    --- stdout
    HASH	SUB
    8ee17c7	running
    8ee17c7	failed
    -	-
    8ee17c7	running
    ");
}

#[test]
fn list_units_says_what_there_is_to_say() {
    let mut states = [
        reported_state("job.container", 1, "failed", "failed"),
        reported_state("web@1.container", 1, "active", "running"),
        reported_state("web@2.container", 2, "activating", "start-pre"),
    ];
    states[0]["remark"] = json!("exit-code, code 3");
    states[0]["problem"] = json!("start failed: exit status 3");
    states[2]["remark"] = json!("fetching the image web:1: 30% of 10 MB");
    let machines = [machine(1), machine(2)];
    let answer = json!({"states": states, "silent": [], "machines": machines});
    let daemon = Daemon::new([("GET /v1/states", Answer::json(answer))]);
    assert_snapshot!(daemon.run("list-units"), @r"
    exit 0
    --- stdout
    UNIT		MACHINE			ACTIVE		SUB		REMARK
    job.container	11111111.../10.0.0.1	failed		failed		exit-code, code 3
    web@1.container	11111111.../10.0.0.1	active		running		-
    web@2.container	22222222.../10.0.0.2	activating	start-pre	fetching the image web:1: 30% of 10 MB
    ");
    assert_snapshot!(daemon.run("list-units --fields unit,active,problem"), @r"
    exit 0
    --- stdout
    UNIT		ACTIVE		PROBLEM
    job.container	failed		start failed: exit status 3
    web@1.container	active		-
    web@2.container	activating	-
    ");
}

#[test]
fn list_units_in_json_leaves_nothing_out() {
    assert_snapshot!(states().run("list-units -o json"), @r#"
    exit 0
    --- stdout
    [
      {
        "unit": "agent.service",
        "machine": "11111111111111111111111111111111",
        "ip": "10.0.0.1",
        "load": "loaded",
        "active": "active",
        "sub": "running",
        "hash": "8ee17c7ec6f1c9be1ea6f2f8ea2f9ff3b3c2d5f0",
        "since": 1700000000,
        "problem": null,
        "remark": null
      },
      {
        "unit": "agent.service",
        "machine": "22222222222222222222222222222222",
        "ip": "10.0.0.2",
        "load": "loaded",
        "active": "failed",
        "sub": "failed",
        "hash": "8ee17c7ec6f1c9be1ea6f2f8ea2f9ff3b3c2d5f0",
        "since": 1700000000,
        "problem": null,
        "remark": null
      },
      {
        "unit": "hello.service",
        "machine": null,
        "ip": null,
        "load": null,
        "active": null,
        "sub": null,
        "hash": null,
        "since": null,
        "problem": null,
        "remark": null
      },
      {
        "unit": "web@1.service",
        "machine": "22222222222222222222222222222222",
        "ip": "10.0.0.2",
        "load": "loaded",
        "active": "active",
        "sub": "running",
        "hash": "8ee17c7ec6f1c9be1ea6f2f8ea2f9ff3b3c2d5f0",
        "since": 1700000000,
        "problem": null,
        "remark": null
      }
    ]
    "#);
}

#[test]
fn a_field_that_does_not_exist_is_told_before_anything_is_asked() {
    let daemon = states();
    assert_snapshot!(daemon.run("list-units --fields=unit,machines"), @r#"
    exit 1
    --- stderr
    error: there is no field "machines"; valid fields are active,hash,load,machine,problem,remark,sub,unit
    "#);
    assert_snapshot!(daemon.run("list-unit-files --fields="), @r#"
    exit 1
    --- stderr
    error: there is no field ""; valid fields are desc,dstate,global,hash,state,target,tmachine,unit
    "#);
    assert_snapshot!(daemon.run("list-machines --fields=id"), @r#"
    exit 1
    --- stderr
    error: there is no field "id"; valid fields are cordon,host,ip,machine,metadata,runners
    "#);
    assert!(daemon.lines().is_empty());
}

fn files() -> Daemon {
    let mut global = unit("agent.service", "launched", "launched", &[1, 2]);
    global["global"] = json!(true);
    let mut broken = unit("broken.service", "inactive", "inactive", &[]);
    broken["hash"] = json!("");
    broken["description"] = json!("");
    let units = [
        global,
        broken,
        unit("web@.service", "inactive", "inactive", &[]),
        unit("web@1.service", "launched", "loaded", &[2]),
    ];
    let machines: Vec<Machine> = vec![machine(1), machine(2)];
    let unreadable = json!([{ "key": "unit/odd.service", "problem": "expected value at line 1" }]);
    Daemon::new([(
        "GET /v1/units",
        Answer::json(json!({ "units": units, "machines": machines, "unreadable": unreadable })),
    )])
}

#[test]
fn list_unit_files_prints_fleets_table_and_warns_of_unreadable_records() {
    assert_snapshot!(files().run("list-unit-files"), @r"
    exit 0
    --- stdout
    UNIT		HASH	DSTATE		STATE		TARGET
    agent.service	8ee17c7	launched	-		global
    broken.service	-	inactive	inactive	-
    web@.service	8ee17c7	inactive	inactive	-
    web@1.service	8ee17c7	launched	loaded		22222222.../10.0.0.2
    --- stderr
    warning: the record unit/odd.service cannot be read: expected value at line 1
    ");
    assert_snapshot!(files().run("list-unit-files --full --fields=unit,hash,target"), @r"
    exit 0
    --- stdout
    UNIT		HASH						TARGET
    agent.service	8ee17c7ec6f1c9be1ea6f2f8ea2f9ff3b3c2d5f0	global
    broken.service	-						-
    web@.service	8ee17c7ec6f1c9be1ea6f2f8ea2f9ff3b3c2d5f0	-
    web@1.service	8ee17c7ec6f1c9be1ea6f2f8ea2f9ff3b3c2d5f0	22222222222222222222222222222222/10.0.0.2
    --- stderr
    warning: the record unit/odd.service cannot be read: expected value at line 1
    ");
    assert_snapshot!(files().run("list-unit-files --fields unit,desc,global,tmachine"), @r"
    exit 0
    --- stdout
    UNIT		DESC		GLOBAL	TMACHINE
    agent.service	A web server	true	global
    broken.service	-		false	-
    web@.service	A web server	false	-
    web@1.service	A web server	false	22222222.../10.0.0.2
    --- stderr
    warning: the field tmachine is fleet's old name of target
    warning: the record unit/odd.service cannot be read: expected value at line 1
    ");
}

#[test]
fn list_unit_files_in_json_leaves_nothing_out() {
    assert_snapshot!(files().run("list-unit-files -o json"), @r#"
    exit 0
    --- stdout
    [
      {
        "unit": "agent.service",
        "hash": "8ee17c7ec6f1c9be1ea6f2f8ea2f9ff3b3c2d5f0",
        "desc": "A web server",
        "global": true,
        "dstate": "launched",
        "state": "launched",
        "target": [
          {
            "id": "11111111111111111111111111111111",
            "ip": "10.0.0.1"
          },
          {
            "id": "22222222222222222222222222222222",
            "ip": "10.0.0.2"
          }
        ]
      },
      {
        "unit": "broken.service",
        "hash": null,
        "desc": null,
        "global": false,
        "dstate": "inactive",
        "state": "inactive",
        "target": []
      },
      {
        "unit": "web@.service",
        "hash": "8ee17c7ec6f1c9be1ea6f2f8ea2f9ff3b3c2d5f0",
        "desc": "A web server",
        "global": false,
        "dstate": "inactive",
        "state": "inactive",
        "target": []
      },
      {
        "unit": "web@1.service",
        "hash": "8ee17c7ec6f1c9be1ea6f2f8ea2f9ff3b3c2d5f0",
        "desc": "A web server",
        "global": false,
        "dstate": "launched",
        "state": "loaded",
        "target": [
          {
            "id": "22222222222222222222222222222222",
            "ip": "10.0.0.2"
          }
        ]
      }
    ]
    --- stderr
    warning: the record unit/odd.service cannot be read: expected value at line 1
    "#);
}

fn machines() -> Daemon {
    let mut plain = machine(2);
    plain.metadata.clear();
    plain.address.clear();
    let answer = json!({ "machines": [machine(1), plain], "leader": machine(1).id });
    Daemon::new([("GET /v1/machines", Answer::json(answer))])
}

#[test]
fn list_machines_prints_fleets_table() {
    assert_snapshot!(machines().run("list-machines"), @r"
    exit 0
    --- stdout
    MACHINE		IP		METADATA
    11111111...	10.0.0.1	disk=ssd,zone=a
    22222222...	-		-
    ");
    assert_snapshot!(machines().run("list-machines -l --no-legend --fields=metadata,machine"), @r"
    exit 0
    --- stdout
    disk=ssd,zone=a	11111111111111111111111111111111
    -		22222222222222222222222222222222
    ");
}

#[test]
fn list_machines_tells_what_runs_units_and_what_does_not_any_more() {
    let both = [RunnerKind::Systemd, RunnerKind::Docker].into();
    let well = Machine { runners: both, ..machine(1) };
    let lost = Machine {
        runners: [RunnerKind::Systemd].into(),
        container_runner: None,
        containers_lost: Some("No such file or directory".to_owned()),
        ..machine(2)
    };
    let answer = json!({"machines": [well, lost]});
    let daemon = Daemon::new([("GET /v1/machines", Answer::json(answer))]);
    assert_snapshot!(daemon.run("list-machines --fields machine,runners"), @r"
    exit 0
    --- stdout
    MACHINE		RUNNERS
    11111111...	systemd,docker
    22222222...	systemd
    --- stderr
    warning: the container engine of 22222222... does not answer: No such file or directory
    ");
}

#[test]
fn list_machines_in_json_names_the_leader() {
    assert_snapshot!(machines().run("list-machines -o json"), @r#"
    exit 0
    --- stdout
    [
      {
        "machine": "11111111111111111111111111111111",
        "ip": "10.0.0.1",
        "metadata": {
          "disk": "ssd",
          "zone": "a"
        },
        "version": "0.1.0",
        "leader": true,
        "host": "n1",
        "cordon": null,
        "runners": [],
        "containers_lost": null
      },
      {
        "machine": "22222222222222222222222222222222",
        "ip": null,
        "metadata": {},
        "version": "0.1.0",
        "leader": false,
        "host": "n2",
        "cordon": null,
        "runners": [],
        "containers_lost": null
      }
    ]
    "#);
}

#[test]
fn cat_prints_the_file_as_it_is() {
    let mut detail = unit("web@.service", "inactive", "inactive", &[]);
    detail["text"] = json!("# a comment\n[Service]\nExecStart=/bin/sh -c 'a \\\n  b'\n\n");
    let daemon = Daemon::new([("GET /v1/units/web@.service", Answer::json(detail))]);
    let output = daemon.command("cat web@").output().unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "# a comment\n[Service]\nExecStart=/bin/sh -c 'a \\\n  b'\n\n"
    );
    assert!(output.status.success() && output.stderr.is_empty());
}

#[test]
fn a_unit_that_does_not_exist_cannot_be_shown() {
    let daemon = Daemon::new([
        ("GET /v1/units/ghost.service", Answer::error(404, "unit ghost.service does not exist")),
        (
            "GET /v1/units/ghost.service/journal",
            Answer::error(404, "unit ghost.service does not exist"),
        ),
    ]);
    assert_snapshot!(daemon.run("cat ghost"), @r"
    exit 1
    --- stderr
    error: unit ghost.service does not exist
    ");
    assert_snapshot!(daemon.run("journal ghost"), @r"
    exit 1
    --- stderr
    error: unit ghost.service does not exist
    ");
}

fn status_of(unit: &str, n: u8, output: &str, code: i32) -> (String, Answer) {
    let answer = json!({ "machine": machine(n).id, "output": output, "code": code });
    (format!("GET /v1/units/{unit}/status"), Answer::json(answer))
}

fn statuses() -> Daemon {
    let (a, running) = status_of("a.service", 1, "● a.service\n   Active: active (running)\n", 0);
    let (b, dead) = status_of("b.service", 2, "○ b.service\n   Active: inactive (dead)\n", 3);
    let (c, other) = status_of("c.service", 2, "● c.service", 4);
    Daemon::new([
        (&a, running),
        (&b, dead),
        (&c, other),
        ("GET /v1/units/ghost.service/status", Answer::error(404, "it does not exist")),
    ])
}

#[test]
fn status_prints_an_empty_line_between_units_and_exits_with_systemctls_code() {
    assert_snapshot!(statuses().run("status a"), @r"
    exit 0
    --- stdout
    ● a.service
       Active: active (running)
    ");
    assert_snapshot!(statuses().run("status a b c"), @r"
    exit 3
    --- stdout
    ● a.service
       Active: active (running)

    ○ b.service
       Active: inactive (dead)

    ● c.service
    ");
    assert_snapshot!(statuses().run("status a ghost b"), @r"
    exit 1
    --- stdout
    ● a.service
       Active: active (running)

    ○ b.service
       Active: inactive (dead)
    --- stderr
    error: ghost.service: it does not exist
    ");
    assert_snapshot!(statuses().run("status b -o json"), @r#"
    exit 3
    --- stdout
    [
      {
        "unit": "b.service",
        "machine": "22222222222222222222222222222222",
        "code": 3,
        "output": "○ b.service\n   Active: inactive (dead)\n"
      }
    ]
    "#);
}

#[test]
fn a_machine_is_named_by_the_beginning_of_its_id_or_by_its_address() {
    let answer = json!({ "machines": [machine(1), machine(2)] });
    let lines = |machine_argument: &str| {
        let (line, status) = status_of("a.service", 2, "● a.service\n", 0);
        let daemon = Daemon::new([("GET /v1/machines", Answer::json(&answer)), (&line, status)]);
        let shown = daemon.run(&format!("status a --machine {machine_argument}"));
        (daemon.lines().pop().unwrap(), shown)
    };
    let asked = format!("GET /v1/units/a.service/status?machine={}", machine(2).id);
    for given in ["22222222", "22222222...", "10.0.0.2", machine(2).id.as_str()] {
        assert_eq!(lines(given).0, asked, "{given}");
    }
    assert_snapshot!(lines("33").1, @r#"
    exit 1
    --- stderr
    error: "33" names no machine
    hint: `musterctl list-machines --full` shows them
    "#);
    assert_snapshot!(lines("...").1, @r#"
    exit 1
    --- stderr
    error: "..." names no machine
    hint: `musterctl list-machines --full` shows them
    "#);
}

#[test]
fn journal_hands_over_its_options_and_prints_what_comes() {
    let daemon = Daemon::new([(
        "GET /v1/units/web@1.service/journal",
        Answer::Text(200, "Nov 21 09:00:00 host web[7]: hello\n".to_owned()),
    )]);
    assert_snapshot!(daemon.run("journal web@1"), @r"
    exit 0
    --- stdout
    Nov 21 09:00:00 host web[7]: hello
    ");
    daemon.run("journal --lines 100 -o short-iso --sudo web@1");
    assert_eq!(
        daemon.lines(),
        [
            "GET /v1/units/web@1.service/journal?lines=10&follow=false&output=short",
            "GET /v1/units/web@1.service/journal?lines=100&follow=false&output=short-iso",
        ]
    );
}

#[test]
fn plan_prints_moves_and_refusals() {
    let plan = json!({
        "moves": ["place web@1.service on 11111111.../10.0.0.1"],
        "refusals": { "web@4.service": full_refusal() },
    });
    assert_snapshot!(Daemon::new([("GET /v1/plan", Answer::json(plan))]).run("plan"), @r"
    exit 0
    --- stdout
    place web@1.service on 11111111.../10.0.0.1
    web@4.service cannot be placed:
      11111111...: Conflicts=web@* matches web@1.service, which is there
      22222222...: Conflicts=web@* matches web@2.service, which is there
      33333333...: Conflicts=web@* matches web@3.service, which is there
    ");
    let nothing = json!({ "moves": [], "refusals": {} });
    assert_snapshot!(Daemon::new([("GET /v1/plan", Answer::json(&nothing))]).run("plan"), @r"
    exit 0
    --- stdout
    nothing to do
    ");
    assert_snapshot!(Daemon::new([("GET /v1/plan", Answer::json(nothing))]).run("plan -o json"), @r#"
    exit 0
    --- stdout
    {
      "moves": [],
      "refusals": {}
    }
    "#);
}

#[test]
fn unfreeze_says_nothing_when_it_worked() {
    let daemon = Daemon::new([("POST /v1/unfreeze", Answer::Text(204, String::new()))]);
    assert_eq!(daemon.run("unfreeze"), "exit 0\n");
    assert_eq!(daemon.lines(), ["POST /v1/unfreeze"]);
}

#[test]
fn a_reader_that_has_read_enough_is_no_failure() {
    let states: Vec<Value> = (0..5000)
        .map(|n| reported_state(&format!("web@{n}.service"), 1, "active", "running"))
        .collect();
    let daemon = Daemon::new([(
        "GET /v1/states",
        Answer::json(json!({ "states": states, "silent": [], "machines": [machine(1)] })),
    )]);
    let mut child =
        daemon.command("list-units").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    wait_until("its end", || child.try_wait().unwrap().is_some());
    assert_eq!(output_text(&child.wait_with_output().unwrap()), "exit 0\n");
}
