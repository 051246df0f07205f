//! The sentences in which a user reads why a unit is not placed.

use insta::assert_snapshot;

use super::*;

fn unit(name: &str) -> UnitName {
    name.parse().unwrap()
}

fn by_machines(reasons: Vec<(&str, MachineReason)>) -> Refusal {
    let machines = reasons
        .into_iter()
        .map(|(id, reason)| MachineRefusal { machine: id.parse().unwrap(), reason })
        .collect();
    Refusal { unit: None, machines }
}

fn metadata(found: Option<&str>) -> MachineReason {
    MachineReason::Metadata {
        key: "region".into(),
        wanted: vec!["east".into(), "west".into()],
        found: found.map(Into::into),
    }
}

fn conflict(with: &str, declared_by: &str) -> MachineReason {
    MachineReason::Conflict {
        with: unit(with),
        pattern: "web@*".into(),
        declared_by: unit(declared_by),
    }
}

fn no_runner(runner: RunnerKind, why: Option<&str>, instead: Option<RunnerKind>) -> MachineReason {
    MachineReason::NoRunner { runner, why: why.map(Into::into), instead }
}

/// Every reason that lies in the unit.
fn unit_reasons() -> Vec<UnitReason> {
    let a = unit("a.service");
    vec![
        UnitReason::NoMachines,
        UnitReason::NoOtherMachine,
        UnitReason::MachineOfCircle { through: vec![a.clone(), unit("b.service"), a.clone()] },
        UnitReason::MachineOfNotPlaced { unit: a.clone() },
        UnitReason::MachineUnknown { machine: "0123".into() },
        UnitReason::FileUnreadable { problem: "line 3: it is not UTF-8".into() },
        UnitReason::GroupContradiction { with: a },
        UnitReason::Frozen,
        UnitReason::StillRunning { machine: "0123456789".parse().unwrap() },
        UnitReason::LeaderUnreadable { unit: unit("db.service") },
    ]
}

/// Every reason that lies in a machine, on machines of their own.
fn machine_reasons() -> Refusal {
    by_machines(vec![
        ("00000000aaaa", no_runner(RunnerKind::Docker, None, None)),
        ("00000001aaaa", no_runner(RunnerKind::Docker, None, Some(RunnerKind::Podman))),
        (
            "00000002aaaa",
            no_runner(RunnerKind::Podman, Some("line 1: [Pod] is Podman's alone"), None),
        ),
        ("00000003aaaa", no_runner(RunnerKind::Podman, None, Some(RunnerKind::Docker))),
        ("11111111aaaa", no_runner(RunnerKind::Systemd, None, None)),
        ("22222222aaaa", MachineReason::OtherMachineId),
        ("33333333aaaa", metadata(None)),
        ("44444444aaaa", metadata(Some("north"))),
        ("55555555aaaa", conflict("web@1.service", "web@4.service")),
        ("66666666aaaa", conflict("web@1.service", "web@1.service")),
        ("77777777aaaa", MachineReason::NotBeside { unit: unit("db.service") }),
        ("88888888aaaa", MachineReason::Replaced { unit: unit("old.service") }),
        (
            "99999999aaaa",
            MachineReason::Group {
                unit: unit("db.service"),
                because: Box::new(MachineReason::OtherMachineId),
            },
        ),
        ("aaaaaaaaaaaa", MachineReason::Cordoned { why: "by root (new disk)".into() }),
        ("bbbbbbbbaaaa", MachineReason::NotStarted { problem: "the start job failed".into() }),
        ("ccccccccaaaa", MachineReason::NotGone),
        ("ddddddddaaaa", MachineReason::NotTried),
        ("eeeeeeeeaaaa", MachineReason::NotBesideGlobal { unit: unit("log.service") }),
    ])
}

#[test]
fn reasons_that_lie_in_the_unit() {
    let lines: Vec<_> = unit_reasons()
        .into_iter()
        .map(|reason| Refusal { unit: Some(reason), machines: Vec::new() }.to_string())
        .collect();
    assert_snapshot!(lines.join("\n"), @r"
    no machine is registered
    there is no other machine
    MachineOf= goes in a circle: a.service -> b.service -> a.service
    MachineOf=a.service names a unit that is not loaded or started
    MachineID=0123 names a machine that is not registered
    its file cannot be used: line 3: it is not UTF-8
    it must be beside a.service, whose own options contradict that
    half of the machines or more vanished together, so nothing is placed anew until they return or `musterctl unfreeze` is given
    it may not run twice at a time, and 01234567... has not stopped it yet
    it must be beside db.service, whose record cannot be read
    ");
}

#[test]
fn reasons_that_lie_in_the_machines() {
    assert_snapshot!(machine_reasons(), @r"
    00000000...: it has no Docker engine for container units
    00000001...: it has no Docker engine for container units; its Podman takes what says Runner=podman in [X-Fleet]
    00000002...: it has no Podman with Quadlet, which the file needs: line 1: [Pod] is Podman's alone
    00000003...: it has no Podman with Quadlet; its Docker takes what says Runner=docker in [X-Fleet]
    11111111...: it does not run systemd
    22222222...: MachineID= names another machine
    33333333...: MachineMetadata= wants region=east or region=west, it has no region
    44444444...: MachineMetadata= wants region=east or region=west, it has region=north
    55555555...: Conflicts=web@* matches web@1.service, which is there
    66666666...: web@1.service is there and has Conflicts=web@*
    77777777...: MachineOf=db.service, which is elsewhere
    88888888...: old.service is there, which it replaces
    99999999...: db.service, which must be beside it, is refused: MachineID= names another machine
    aaaaaaaa...: it is cordoned by root (new disk)
    bbbbbbbb...: it did not start there: the start job failed
    cccccccc...: it has not stopped an earlier copy of the unit yet
    dddddddd...: it would take it, but the unit did not start where it was tried
    eeeeeeee...: MachineOf=log.service, a global unit that is not there
    ");
}

#[test]
fn every_reason_survives_its_json() {
    let mut refusals = vec![machine_reasons()];
    refusals.extend(
        unit_reasons().into_iter().map(|r| Refusal { unit: Some(r), machines: Vec::new() }),
    );
    for refusal in refusals {
        let json = serde_json::to_string(&refusal).unwrap();
        assert_eq!(serde_json::from_str::<Refusal>(&json).unwrap(), refusal, "{json}");
    }
}

#[test]
fn a_reason_is_told_by_its_tag() {
    let refusal = by_machines(vec![("m1", metadata(None))]);
    assert_snapshot!(serde_json::to_string_pretty(&refusal).unwrap(), @r#"
    {
      "machines": [
        {
          "machine": "m1",
          "reason": {
            "reason": "metadata",
            "key": "region",
            "wanted": [
              "east",
              "west"
            ]
          }
        }
      ]
    }
    "#);
}

#[test]
fn a_runner_that_a_machine_would_have_to_have_is_found_in_a_group_too() {
    let pod = no_runner(RunnerKind::Podman, None, None);
    let beside = MachineReason::Group { unit: unit("shop.pod"), because: Box::new(pod) };
    let refusal = by_machines(vec![("0aaa", MachineReason::OtherMachineId), ("1aaa", beside)]);
    assert!(refusal.misses_runner(RunnerKind::Podman));
    assert!(!refusal.misses_runner(RunnerKind::Docker));
}
