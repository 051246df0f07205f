//! `cordon`, `uncordon` and `forget`.

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::answers::machine;
use crate::daemon::{Answer, Daemon, output_text};

fn reboot_hold() -> Value {
    json!({"holds": {"reboot": {"reason": "a reboot is due", "since": 1}}})
}

fn daemon(verb: &str, cordon: &Value) -> Daemon {
    let machines = json!({"machines": [machine(1), machine(2)], "cordons": {}});
    let answer = json!({"machine": machine(2).id, "cordon": cordon});
    let path = format!("POST /v1/machines/{}/{verb}", machine(2).id);
    Daemon::new([
        ("GET /v1/machines", Answer::json(machines)),
        (path.as_str(), Answer::json(answer)),
    ])
}

#[test]
fn cordon_names_the_machine_by_id_address_or_host_and_says_who_and_why() {
    for given in ["2222", "22222222...", "10.0.0.2", "n2"] {
        let daemon = daemon("cordon", &reboot_hold());
        let mut command = daemon.command(&format!("cordon {given} --reason disk"));
        let output = command.env_remove("SUDO_USER").env("USER", "ann").output().unwrap();
        assert_eq!(output_text(&output), "exit 0\n--- stdout\n22222222... takes nothing new\n");
        let asked = daemon.requests().pop().unwrap();
        assert_eq!(asked.body, json!({"by": "ann", "reason": "disk"}));
    }
}

#[test]
fn a_machine_nobody_knows_is_not_cordoned() {
    assert_snapshot!(daemon("cordon", &reboot_hold()).run("cordon n3"), @r#"
    exit 1
    --- stderr
    error: "n3" names no machine
    hint: `musterctl list-machines --full` shows them
    "#);
}

#[test]
fn uncordon_says_when_others_still_cordon_the_machine() {
    assert_snapshot!(daemon("uncordon", &Value::Null).run("uncordon n2"), @r"
    exit 0
    --- stdout
    22222222... takes units again
    ");
    assert_snapshot!(daemon("uncordon", &reboot_hold()).run("uncordon n2"), @r"
    exit 1
    --- stderr
    error: 22222222... is still cordoned for its reboot (a reboot is due)
    hint: `--all` takes back what others hold too
    ");
    let all = daemon("uncordon", &Value::Null);
    all.run("uncordon n2 --all");
    assert_eq!(all.requests().pop().unwrap().body, json!({"all": true}));
}

#[test]
fn the_list_of_machines_warns_of_cordons() {
    let machines = json!({"machines": [machine(1), machine(2)], "cordons": {machine(2).id.as_str(): reboot_hold()}});
    let daemon = Daemon::new([("GET /v1/machines", Answer::json(machines))]);
    assert_snapshot!(daemon.run("list-machines --fields=machine,host,cordon"), @r"
    exit 0
    --- stdout
    MACHINE		HOST	CORDON
    11111111...	n1	-
    22222222...	n2	for its reboot (a reboot is due)
    --- stderr
    warning: 22222222... is cordoned for its reboot (a reboot is due)
    ");
}

#[test]
fn a_machine_that_is_gone_is_forgotten_by_its_whole_id() {
    let machines = json!({"machines": [machine(1)], "cordons": {}});
    let gone = machine(2).id;
    let path = format!("POST /v1/machines/{gone}/forget");
    let daemon = Daemon::new([
        ("GET /v1/machines", Answer::json(machines)),
        (path.as_str(), Answer::json(json!({"machine": gone, "records": 3}))),
    ]);
    assert_snapshot!(daemon.run(&format!("forget {gone}")), @r"
    exit 0
    --- stdout
    22222222... is forgotten
    ");
}
