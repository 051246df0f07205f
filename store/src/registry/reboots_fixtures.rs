//! Records of reboots of every schema ever written, and the proof that they are read. See `fixtures`.

use std::path::{Path, PathBuf};

use muster_common::machine::MachineId;
use muster_common::reboot::{
    DueReason, Group, HistoryEntry, Holder, HolderKind, HostStatus, Phase, PhaseSpan, Request,
    Semaphore, SlotOutcome, Strategy, WaitReason,
};

use super::*;

fn machine() -> MachineId {
    "6a1f2b3c4d5e6f708192a3b4c5d6e7f8".parse().unwrap()
}

fn semaphore() -> Semaphore {
    let holder = |id: &str, kind, since| Holder { id: id.parse().unwrap(), kind, since };
    Semaphore {
        max: 3,
        holders: vec![
            holder("0123456789abcdef0123456789abcdef", HolderKind::FleetLock, 1_700_000_000),
            holder("6a1f2b3c4d5e6f708192a3b4c5d6e7f8", HolderKind::Host, 1_700_000_060),
            holder("jane at the console", HolderKind::Person, 1_700_000_120),
        ],
    }
}

fn host() -> HostStatus {
    HostStatus {
        group: "eu-1.canary".parse().unwrap(),
        strategy: Strategy::Lock,
        phase: Phase::Draining,
        since: 1_700_000_060,
        due: vec![
            DueReason::RebootRequired { packages: vec!["linux-base".to_owned()] },
            DueReason::Requested {
                by: "jane".to_owned(),
                at: 1_700_000_000,
                because: None,
                method: None,
            },
        ],
        waits: vec![WaitReason::Draining { left: 2, until: 1_700_000_360 }],
        slot: Some(1_700_000_060),
        passed: vec![PhaseSpan { phase: Phase::Waiting, seconds: 60 }],
        boot: "0c9f".to_owned(),
        userspace: None,
    }
}

fn request() -> Request {
    Request {
        by: "jane".to_owned(),
        at: 1_700_000_000,
        because: Some("new firmware".to_owned()),
        method: None,
    }
}

fn history() -> History {
    let entry = |id: &str, kind, outcome| HistoryEntry {
        id: id.parse().unwrap(),
        kind,
        taken: 1_700_000_000,
        freed: 1_700_000_300,
        outcome,
        due: Vec::new(),
        phases: Vec::new(),
    };
    let mut rebooted = entry("m1", HolderKind::Host, SlotOutcome::Rebooted);
    rebooted.due = vec![DueReason::UpdateEngine { version: "4081.2.0".to_owned() }];
    rebooted.phases = vec![
        PhaseSpan { phase: Phase::Draining, seconds: 12 },
        PhaseSpan { phase: Phase::Rebooting, seconds: 48 },
    ];
    History {
        entries: vec![
            rebooted,
            entry(
                "m2",
                HolderKind::Host,
                SlotOutcome::GaveUp { problem: "a hook failed".to_owned() },
            ),
            entry("m3", HolderKind::FleetLock, SlotOutcome::Released),
            entry("m4", HolderKind::Person, SlotOutcome::Unlocked { by: "jane".to_owned() }),
        ],
    }
}

/// The present schema's records.
fn present() -> Vec<(RebootKey, bytes::Bytes)> {
    let group: Group = "eu-1.canary".parse().unwrap();
    vec![
        (RebootKey::Group(group.clone()), write(semaphore())),
        (RebootKey::Host(machine()), write(host())),
        (RebootKey::Request(machine()), write(request())),
        (RebootKey::History(group), write(history())),
    ]
}

fn directory(schema: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/v{schema}"))
}

fn path(key: &RebootKey) -> PathBuf {
    directory(SCHEMA).join(format!("{}.json", key.to_string().replace('/', "+")))
}

#[test]
fn what_is_written_is_what_the_fixtures_hold() {
    for (key, bytes) in present() {
        let path = path(&key);
        if std::env::var_os("MUSTER_WRITE_FIXTURES").is_some() {
            std::fs::write(&path, &bytes).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap();
        assert_eq!(std::str::from_utf8(&bytes).unwrap(), expected, "{}", path.display());
    }
}

#[test]
fn the_present_fixtures_mean_what_they_should() {
    fn value<T: DeserializeOwned>(key: &RebootKey) -> T {
        let record: Record<T> = decode(&std::fs::read(path(key)).unwrap()).unwrap();
        record.value
    }
    let group: Group = "eu-1.canary".parse().unwrap();
    assert_eq!(value::<Semaphore>(&RebootKey::Group(group.clone())), semaphore());
    assert_eq!(value::<HostStatus>(&RebootKey::Host(machine())), host());
    assert_eq!(value::<Request>(&RebootKey::Request(machine())), request());
    assert_eq!(value::<History>(&RebootKey::History(group)).entries, history().entries);
}

#[test]
fn fixtures_of_every_schema_are_read() {
    for schema in 1..=SCHEMA {
        let mut seen = 0;
        for entry in std::fs::read_dir(directory(schema)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().replace('+', "/");
            if parse(&name).is_some() {
                assert_eq!(record_problem(&name, &std::fs::read(&path).unwrap()), None, "{name}");
                seen += 1;
            }
        }
        assert!(seen >= 4, "schema {schema} has lost fixtures");
    }
}

#[test]
fn keys_are_read_as_they_are_written() {
    for (key, _) in present() {
        assert_eq!(parse(&key.to_string()), Some(Ok(key)));
    }
    assert_eq!(parse("leader"), None);
    assert_eq!(parse("reboots/x"), None);
    assert!(matches!(parse("reboot/a b"), Some(Err(_))));
    assert!(matches!(parse("reboot-host/"), Some(Err(_))));
}
