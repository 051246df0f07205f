//! Machines, states and refusals that the scripts are made of.

use muster_common::machine::Machine;
use muster_common::refusal::{MachineReason, MachineRefusal, Refusal};
use muster_common::state::{DesiredState, ObservedState};
use muster_common::unit::UnitName;
use serde_json::{Value, json};

pub(crate) fn name(name: &str) -> UnitName {
    name.parse().unwrap()
}

/// Machine `1`, `2`, ...: an id of that digit and the address 10.0.0.N.
pub(crate) fn machine(n: u8) -> Machine {
    Machine {
        id: n.to_string().repeat(32).parse().unwrap(),
        host: format!("n{n}"),
        address: format!("10.0.0.{n}"),
        api: None,
        metadata: [("zone".to_owned(), "a".to_owned()), ("disk".to_owned(), "ssd".to_owned())]
            .into(),
        version: "0.1.0".to_owned(),
        runners: [].into(),
        container_runner: None,
        containers_lost: None,
        leaving: false,
        boot: String::new(),
        created: 0,
        revision: 0,
    }
}

pub(crate) fn state(active: &str, sub: &str) -> ObservedState {
    ObservedState {
        load: "loaded".to_owned(),
        active: active.into(),
        sub: sub.to_owned(),
        file: None,
        hash: "8ee17c7ec6f1c9be1ea6f2f8ea2f9ff3b3c2d5f0".to_owned(),
        generation: 1,
        desired: DesiredState::Launched,
        since: 1_700_000_000,
        invocation: String::new(),
        problem: None,
        remark: String::new(),
    }
}

/// Three machines, each with a web server that tolerates no other.
pub(crate) fn full_refusal() -> Refusal {
    let refusal = |n: u8| MachineRefusal {
        machine: machine(n).id,
        reason: MachineReason::Conflict {
            with: name(&format!("web@{n}.service")),
            pattern: "web@*".to_owned(),
            declared_by: name("web@4.service"),
        },
    };
    Refusal { unit: None, machines: vec![refusal(1), refusal(2), refusal(3)] }
}

/// An answer to a change with an outcome for each unit.
pub(crate) fn change_answer<const N: usize>(units: [(&str, Value); N]) -> Value {
    let units: Vec<Value> = units
        .into_iter()
        .map(|(name, outcome)| {
            let mut unit = json!({ "name": name, "generation": 3 });
            let (Value::Object(unit_fields), Value::Object(more)) = (&mut unit, outcome) else {
                panic!("objects")
            };
            unit_fields.extend(more);
            unit
        })
        .collect();
    json!({ "units": units, "revision": 17 })
}

pub(crate) fn done_event(unit: &str, machines: &[u8]) -> Value {
    let machines: Vec<Machine> = machines.iter().map(|&n| machine(n)).collect();
    json!({ "event": "done", "name": unit, "machines": machines })
}

/// A unit in `GET /v1/units`.
pub(crate) fn unit(name: &str, desired: &str, current: &str, machines: &[u8]) -> Value {
    let machines: Vec<String> = machines.iter().map(|n| n.to_string().repeat(32)).collect();
    json!({
        "name": name, "hash": "8ee17c7ec6f1c9be1ea6f2f8ea2f9ff3b3c2d5f0", "description": "A web server",
        "desired": desired, "current": current, "generation": 1, "machines": machines,
    })
}
