//! Records of every schema ever written, as files, and the proof that they are read.
//!
//! `store/fixtures/v<schema>/` holds one file per kind of record, named like its key with `/` as `+`. Files of a former
//! schema are never changed: they are what daemons of that version wrote. Files of the present schema are also what is
//! written, byte for byte; a change of a record shows here first.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use muster_common::cordon::{AtDeadline, Cordon, CordonHolder, Drain, DrainEnd, Hold};
use muster_common::machine::{Machine, MachineId, RunnerKind};
use muster_common::snapshot::{Change, Handover, Leader, Placement, Unit};
use muster_common::state::{ActiveState, DesiredState, ObservedState};
use muster_common::unit::{FileHash, UnitFile, UnitName};

use super::decode::read;
use super::keys::{Key, parse};
use super::records::{
    CordonRecord, FileRecord, LeaderRecord, MachineRecord, MembersRecord, MetadataRecord,
    PlaceRecord, StateRecord, UnitRecord, encode,
};
use crate::store::{KeyValue, LeaseId};

const CREATED: u64 = 5;
const WRITTEN: u64 = 7;

fn file() -> UnitFile {
    "[Service]\n# as \"written\"\nExecStart=/bin/true\n".parse().unwrap()
}

fn machine() -> MachineId {
    "6a1f2b3c4d5e6f708192a3b4c5d6e7f8".parse().unwrap()
}

fn unit() -> UnitName {
    "web@1.service".parse().unwrap()
}

fn hash() -> FileHash {
    file().hash()
}

/// Each record of the present schema, with its meaning and its bytes.
fn present() -> Vec<(Key, Change, Vec<u8>)> {
    let registered = Machine {
        id: machine(),
        host: "n1".to_owned(),
        address: "192.0.2.1".to_owned(),
        api: Some("192.0.2.1:4001".to_owned()),
        metadata: BTreeMap::from([("rack".to_owned(), "1".to_owned())]),
        version: "0.1.0".to_owned(),
        runners: BTreeSet::from([RunnerKind::Systemd, RunnerKind::Docker]),
        container_runner: None,
        containers_lost: None,
        leaving: false,
        boot: "0c9f".to_owned(),
        created: CREATED,
        revision: WRITTEN,
    };
    let without = Machine {
        id: "m2".parse().unwrap(),
        runners: BTreeSet::from([RunnerKind::Systemd]),
        container_runner: None,
        containers_lost: Some("No such file or directory".to_owned()),
        leaving: false,
        ..registered.clone()
    };
    let placement = Placement {
        file: hash(),
        desired: DesiredState::Launched,
        generation: 3,
        handover: Handover {
            takes_over: Some("m2".parse().unwrap()),
            tried: BTreeMap::from([("m3".parse().unwrap(), "the start job failed".to_owned())]),
        },
        revision: WRITTEN,
    };
    let drain = Drain {
        began: 1_700_000_000,
        deadline: Some(300),
        then: AtDeadline::Force,
        ended: Some(DrainEnd::Forced),
    };
    let hold = |by: &str, reason: &str, drain| Hold {
        by: by.to_owned(),
        reason: reason.to_owned(),
        since: 1_700_000_000,
        drain,
    };
    let cordon = Cordon {
        holds: BTreeMap::from([
            (CordonHolder::Person, hold("root", "new disk", None)),
            (CordonHolder::Reboot, hold("", "a reboot is due", Some(drain))),
        ]),
        revision: WRITTEN,
    };
    let observed = ObservedState {
        load: "loaded".to_owned(),
        active: ActiveState::Failed,
        sub: "failed".to_owned(),
        file: Some(hash()),
        hash: file().fleet_hash(),
        generation: 3,
        desired: DesiredState::Launched,
        since: 1_700_000_000,
        invocation: "0123456789abcdef0123456789abcdef".to_owned(),
        problem: Some("the start job failed".to_owned()),
        remark: String::new(),
    };
    let container: UnitName = "web@1.container".parse().unwrap();
    let fetching = ObservedState {
        active: ActiveState::Activating,
        sub: "start-pre".to_owned(),
        invocation: String::new(),
        problem: None,
        remark: "fetching the image web:1: 30% of 10 MB".to_owned(),
        ..observed.clone()
    };
    let leader = Leader { machine: machine(), held: BTreeSet::from(["m2".parse().unwrap()]) };
    let desired = DesiredState::Loaded;
    let record = UnitRecord::new(hash(), desired, 3, "00000000000000ff-1".to_owned());
    let known = Unit { name: unit(), file: hash(), desired, generation: 3, revision: WRITTEN };
    vec![
        (
            Key::File(hash()),
            Change::File(hash(), Some(Arc::new(file()))),
            encode(&FileRecord::new(&file())).into(),
        ),
        (Key::Unit(unit()), Change::Unit(unit(), Some(known)), encode(&record).into()),
        (
            Key::Machine(machine()),
            Change::Machine(machine(), Some(registered.clone())),
            encode(&MachineRecord::new(&registered)).into(),
        ),
        (
            Key::Machine(without.id.clone()),
            Change::Machine(without.id.clone(), Some(without.clone())),
            encode(&MachineRecord::new(&without)).into(),
        ),
        (
            Key::Metadata(machine(), "rack/row".to_owned()),
            Change::Metadata(machine(), "rack/row".to_owned(), Some("2".to_owned())),
            encode(&MetadataRecord::new("2")).into(),
        ),
        (
            Key::Cordon(machine()),
            Change::Cordon(machine(), Some(cordon.clone())),
            encode(&CordonRecord::new(&cordon)).into(),
        ),
        (
            Key::Place(machine(), unit()),
            Change::Place(machine(), unit(), Some(placement.clone())),
            encode(&PlaceRecord::new(&placement)).into(),
        ),
        (
            Key::State(machine(), unit()),
            Change::State(machine(), unit(), Some(observed.clone())),
            encode(&StateRecord::new(observed)).into(),
        ),
        (
            Key::State(machine(), container.clone()),
            Change::State(machine(), container, Some(fetching.clone())),
            encode(&StateRecord::new(fetching)).into(),
        ),
        (
            Key::Leader,
            Change::Leader(Some(leader.clone())),
            encode(&LeaderRecord::new(&leader)).into(),
        ),
        (
            Key::Members,
            Change::Members([machine()].into()),
            encode(&MembersRecord::new(&[machine()].into())).into(),
        ),
    ]
}

fn directory(schema: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/v{schema}"))
}

fn path(key: &Key) -> PathBuf {
    directory(super::records::SCHEMA).join(format!("{}.json", key.to_string().replace('/', "+")))
}

/// Reads a fixture: its key from its name, its value from its content.
fn read_fixture(path: &Path) -> Change {
    let name = path.file_stem().unwrap().to_str().unwrap().replace('+', "/");
    let record = KeyValue {
        key: name.clone(),
        value: std::fs::read(path).unwrap().into(),
        create_revision: CREATED,
        mod_revision: WRITTEN,
        lease: Some(LeaseId(1)),
    };
    read(parse(&name).unwrap(), &record).unwrap()
}

/// Those have their own test beside their code.
fn has_own_test(path: &Path) -> bool {
    let name = path.file_name().unwrap().to_str().unwrap();
    let beginnings = ["reboot", "pki+", "host+", "join+"];
    beginnings.iter().any(|one| name.starts_with(one)) || name == "cluster.json"
}

#[test]
fn what_is_written_is_what_the_fixtures_hold() {
    for (key, _, bytes) in present() {
        let path = path(&key);
        // The one command that rewrites them, when a record changes: MUSTER_WRITE_FIXTURES=1 cargo test -p muster-store
        if std::env::var_os("MUSTER_WRITE_FIXTURES").is_some() {
            std::fs::write(&path, &bytes).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap();
        assert_eq!(String::from_utf8(bytes).unwrap(), expected, "{}", path.display());
    }
}

#[test]
fn the_present_fixtures_mean_what_they_should() {
    for (key, change, _) in present() {
        assert_eq!(read_fixture(&path(&key)), change);
    }
}

#[test]
fn fixtures_of_every_schema_are_read() {
    for schema in 1..=super::records::SCHEMA {
        let fixtures: Vec<PathBuf> = std::fs::read_dir(directory(schema))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        assert!(fixtures.len() >= 8, "schema {schema} has lost fixtures");
        for path in fixtures.iter().filter(|path| !has_own_test(path)) {
            read_fixture(path);
        }
    }
}
