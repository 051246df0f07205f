//! The shapes a client meets under `/v1`; other programs read them too.

use insta::assert_json_snapshot;
use serde::de::DeserializeOwned;
use serde_json::{from_value, json, to_value};

use super::*;
use crate::refusal::UnitReason;

fn name(text: &str) -> UnitName {
    text.parse().unwrap()
}

fn refusal() -> Refusal {
    Refusal { unit: Some(UnitReason::NoMachines), machines: Vec::new() }
}

fn state() -> ObservedState {
    from_value(
        json!({"load": "loaded", "active": "active", "sub": "running", "desired": "launched"}),
    )
    .unwrap()
}

fn machine() -> Machine {
    from_value(json!({"id": "m1", "address": "192.0.2.1"})).unwrap()
}

fn unit() -> UnitSummary {
    UnitSummary {
        name: name("a.service"),
        hash: "abc".into(),
        description: String::new(),
        global: false,
        desired: DesiredState::Launched,
        current: DesiredState::Loaded,
        generation: 3,
        machines: vec!["m1".parse().unwrap()],
    }
}

/// A value comes back from its own JSON.
#[track_caller]
fn survives<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T) {
    let json = to_value(value).unwrap();
    assert_eq!(&from_value::<T>(json.clone()).unwrap(), value, "{json}");
}

#[test]
fn a_request_says_only_what_it_must() {
    let change: ChangeRequest =
        from_value(json!({"units": [{"name": "a.service", "desired": "launched"}]})).unwrap();
    let expected = ChangeRequest {
        units: vec![UnitChange {
            name: name("a.service"),
            file: None,
            desired: Some(DesiredState::Launched),
            restart: false,
        }],
        ..ChangeRequest::default()
    };
    assert_eq!(change, expected);
    survives(&ChangeRequest {
        files: BTreeMap::from([(FileHash::of_text("x"), "x".into())]),
        ..expected
    });
    let wait: WaitRequest =
        from_value(json!({"units": [{"name": "a.service", "until": "gone"}]})).unwrap();
    assert_eq!(
        wait.units.first().map(|unit| (unit.until, unit.generation)),
        Some((Until::Gone, 0))
    );
}

#[test]
fn a_request_with_a_misspelt_field_is_refused_by_name() {
    let error =
        |result: Result<(), serde_json::Error>| result.expect_err("it is accepted").to_string();
    let change = from_value::<ChangeRequest>(json!({"units": [], "replcae": true})).map(drop);
    assert!(error(change).contains("unknown field `replcae`"));
    let unit = from_value::<UnitChange>(json!({"name": "a.service", "desird": "loaded"})).map(drop);
    assert!(error(unit).contains("unknown field `desird`"));
    let bad_name = from_value::<DestroyRequest>(json!({"names": ["a b.service"]})).map(drop);
    assert!(error(bad_name).contains("\"a b.service\" is not a unit name"));
}

#[test]
fn every_outcome_is_told_by_its_word() {
    let changed = |outcome| UnitChanged {
        name: name("a.service"),
        outcome,
        global: false,
        generation: 1,
        was: None,
        warnings: Vec::new(),
    };
    let outcomes = [
        ChangeOutcome::Created,
        ChangeOutcome::Changed,
        ChangeOutcome::Unchanged,
        ChangeOutcome::Differs,
        ChangeOutcome::Refused { refusal: refusal() },
        ChangeOutcome::Failed { message: "why".into() },
    ];
    let answer = ChangeAnswer { units: outcomes.into_iter().map(changed).collect(), revision: 9 };
    survives(&answer);
    let words: Vec<_> = answer
        .units
        .iter()
        .map(|unit| to_value(unit).unwrap()["outcome"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(words, ["created", "changed", "unchanged", "differs", "refused", "failed"]);
    let refused = &answer.units[4];
    assert_json_snapshot!(refused, @r#"
    {
      "name": "a.service",
      "outcome": "refused",
      "refusal": {
        "unit": {
          "reason": "no-machines"
        }
      },
      "global": false,
      "generation": 1
    }
    "#);
}

#[test]
fn every_event_is_told_by_its_word() {
    let unit = name("a.service");
    let events = [
        WaitEvent::Progress { name: unit.clone(), machine: Some(machine()), state: Some(state()) },
        WaitEvent::Done { name: unit.clone(), machines: vec![machine()], remarks: BTreeMap::new() },
        WaitEvent::Refused { name: unit.clone(), refusal: refusal() },
        WaitEvent::Failed { name: unit, machine: machine(), state: state(), log: vec!["x".into()] },
        WaitEvent::Degraded { message: "etcd is unreachable".into() },
    ];
    for event in &events {
        survives(event);
    }
    let words: Vec<_> = events
        .iter()
        .map(|event| to_value(event).unwrap()["event"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(words, ["progress", "done", "refused", "failed", "degraded"]);
    for (until, word) in [
        (Until::Launched, "launched"),
        (Until::Loaded, "loaded"),
        (Until::Inactive, "inactive"),
        (Until::Gone, "gone"),
    ] {
        assert_eq!(to_value(until).unwrap(), json!(word));
    }
}

#[test]
fn lists_are_flat() {
    let detail = UnitDetail {
        unit: unit(),
        text: "[Service]\n".into(),
        states: BTreeMap::from([("m1".parse().unwrap(), state())]),
        refusal: Some(refusal()),
    };
    survives(&detail);
    assert_json_snapshot!(detail, @r#"
    {
      "name": "a.service",
      "hash": "abc",
      "global": false,
      "desired": "launched",
      "current": "loaded",
      "generation": 3,
      "machines": [
        "m1"
      ],
      "text": "[Service]\n",
      "states": {
        "m1": {
          "load": "loaded",
          "active": "active",
          "sub": "running",
          "generation": 0,
          "desired": "launched",
          "since": 0
        }
      },
      "refusal": {
        "unit": {
          "reason": "no-machines"
        }
      }
    }
    "#);
    let state =
        ReportedState { name: name("a.service"), machine: "m1".parse().unwrap(), state: state() };
    survives(&state);
    assert_json_snapshot!(state, @r#"
    {
      "name": "a.service",
      "machine": "m1",
      "load": "loaded",
      "active": "active",
      "sub": "running",
      "generation": 0,
      "desired": "launched",
      "since": 0
    }
    "#);
}

#[test]
fn every_answer_survives_its_json() {
    let unreadable = Unreadable { key: "unit/x".into(), problem: "not JSON".into() };
    survives(&Units {
        units: vec![unit()],
        machines: vec![machine()],
        unreadable: vec![unreadable.clone()],
    });
    survives(&States {
        states: vec![ReportedState {
            name: name("a.service"),
            machine: "m1".parse().unwrap(),
            state: state(),
        }],
        silent: vec![name("b.service")],
        lost: BTreeMap::from([(name("b.service"), vec!["m2".parse().unwrap()])]),
        machines: vec![machine()],
        unreadable: vec![unreadable.clone()],
    });
    survives(&Machines {
        machines: vec![machine()],
        cordons: BTreeMap::from([("m1".parse().unwrap(), Cordon::default())]),
        leader: Some("m1".parse().unwrap()),
        unreadable: vec![unreadable],
    });
    survives(&DestroyAnswer {
        destroyed: vec![name("a.service")],
        unknown: vec![name("b.service")],
        revision: 4,
    });
    survives(&UnitStatus { machine: "m1".parse().unwrap(), output: "x".into(), code: 3 });
    survives(&Version { version: "0.1.0".into() });
}
