//! A snapshot follows the changes it is given.

use super::*;

fn machine(id: &str, metadata: &[(&str, &str)]) -> Machine {
    Machine {
        id: id.parse().unwrap(),
        host: String::new(),
        address: String::new(),
        api: None,
        metadata: metadata.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        version: String::new(),
        runners: BTreeSet::new(),
        container_runner: None,
        containers_lost: None,
        leaving: false,
        boot: String::new(),
        created: 1,
        revision: 1,
    }
}

fn placement() -> Placement {
    Placement {
        file: FileHash::of_text(""),
        desired: DesiredState::Launched,
        generation: 1,
        handover: Handover::default(),
        revision: 1,
    }
}

fn observed() -> ObservedState {
    serde_json::from_value(serde_json::json!({
        "load": "loaded", "active": "active", "sub": "running", "desired": "launched",
    }))
    .unwrap()
}

#[test]
fn metadata_set_at_run_time_overrides_the_machines_own() {
    let id: MachineId = "m1".parse().unwrap();
    let mut snapshot = Snapshot::default();
    snapshot
        .apply(Change::Machine(id.clone(), Some(machine("m1", &[("disk", "ssd"), ("room", "1")]))));
    snapshot.apply(Change::Metadata(id.clone(), "room".into(), Some("2".into())));
    let metadata = snapshot.metadata_of(&id);
    assert_eq!(metadata.get("disk").map(String::as_str), Some("ssd"));
    assert_eq!(metadata.get("room").map(String::as_str), Some("2"));
    snapshot.apply(Change::Metadata(id.clone(), "room".into(), None));
    assert_eq!(snapshot.metadata_of(&id).get("room").map(String::as_str), Some("1"));
}

#[test]
fn metadata_outlives_its_machines_absence() {
    let id: MachineId = "m1".parse().unwrap();
    let mut snapshot = Snapshot::default();
    snapshot.apply(Change::Machine(id.clone(), Some(machine("m1", &[]))));
    snapshot.apply(Change::Metadata(id.clone(), "room".into(), Some("2".into())));
    snapshot.apply(Change::Machine(id.clone(), None));
    assert!(snapshot.machines.is_empty());
    assert_eq!(snapshot.metadata_of(&id).get("room").map(String::as_str), Some("2"));
}

/// Every kind of change, with the one that takes it back.
fn changes() -> Vec<(Change, Change)> {
    let id: MachineId = "m1".parse().unwrap();
    let name: UnitName = "a.service".parse().unwrap();
    let file: UnitFile = "[Service]\nExecStart=/bin/true\n".parse().unwrap();
    let hash = file.hash();
    let unit = Unit {
        name: name.clone(),
        file: hash,
        desired: DesiredState::Launched,
        generation: 1,
        revision: 1,
    };
    let leader = Leader { machine: id.clone(), held: BTreeSet::new() };
    let unreadable = Unreadable { key: "unit/b.service".into(), problem: "not JSON".into() };
    vec![
        (Change::Machine(id.clone(), Some(machine("m1", &[]))), Change::Machine(id.clone(), None)),
        (
            Change::Metadata(id.clone(), "k".into(), Some("v".into())),
            Change::Metadata(id.clone(), "k".into(), None),
        ),
        (Change::Cordon(id.clone(), Some(Cordon::default())), Change::Cordon(id.clone(), None)),
        (Change::File(hash, Some(Arc::new(file))), Change::File(hash, None)),
        (Change::Unit(name.clone(), Some(unit)), Change::Unit(name.clone(), None)),
        (
            Change::Place(id.clone(), name.clone(), Some(placement())),
            Change::Place(id.clone(), name.clone(), None),
        ),
        (Change::State(id.clone(), name.clone(), Some(observed())), Change::State(id, name, None)),
        (Change::Leader(Some(leader)), Change::Leader(None)),
        (Change::Members(["m1".parse().unwrap()].into()), Change::Members(BTreeSet::new())),
        (
            Change::Unreadable(unreadable.key.clone(), Some(unreadable.clone())),
            Change::Unreadable(unreadable.key, None),
        ),
    ]
}

#[test]
fn every_change_is_seen_and_can_be_taken_back() {
    for (there, back) in changes() {
        let mut snapshot = Snapshot::default();
        snapshot.apply(there.clone());
        assert_ne!(snapshot, Snapshot::default(), "{there:?} changes nothing");
        snapshot.apply(back);
        assert_eq!(snapshot, Snapshot::default(), "{there:?} leaves something behind");
    }
}

#[test]
fn the_order_of_unrelated_changes_does_not_matter() {
    let mut forth = Snapshot::default();
    let mut back = Snapshot::default();
    for (change, _) in changes() {
        forth.apply(change);
    }
    for (change, _) in changes().into_iter().rev() {
        back.apply(change);
    }
    assert_eq!(forth, back);
}
