//! Records that cannot be read, in every kind of key, and records of a later version.

use muster_common::decision::UnitWritten;
use muster_common::snapshot::{Change, ClusterEvent, Snapshot, Unreadable};
use muster_common::unit::FileHash;
use muster_store::{Leadership, RegistryError};

use crate::machines::{present, state};
use crate::support::{Bed, update};
use crate::units::{file, name, write, written};

const HASH: &str = "0000000000000000000000000000000000000000000000000000000000000000";

fn poisoned() -> Vec<(String, String)> {
    let mut records = Vec::new();
    for key in [
        format!("file/{HASH}"),
        "unit/a.service".to_owned(),
        "machine/m9".to_owned(),
        "metadata/m9/key".to_owned(),
        "cordon/m9".to_owned(),
        "place/m9/a.service".to_owned(),
        "state/m9/a.service".to_owned(),
        "reboot/default".to_owned(),
        "reboot-host/m9".to_owned(),
        "reboot-request/m9".to_owned(),
        "reboot-history/default".to_owned(),
    ] {
        records.push((key, "\u{0}not json".to_owned()));
    }
    for key in
        ["file/short", "unit/no type", "machine/a b", "metadata/m9/%zz", "place/m9", "state/m9/"]
    {
        records.push((key.to_owned(), "{}".to_owned()));
    }
    // Its text is well, but it is not what the key says.
    let wrong = FileHash::of_text("another text");
    records.push((format!("file/{wrong}"), r#"{"schema":1,"text":"[Unit]\n"}"#.to_owned()));
    records
}

pub(crate) async fn each_kind_of_record_poisons_only_itself(bed: &Bed) {
    let registry = bed.registry();
    let presence = present(&registry, "m1").await;
    written(&registry, write("good.service", &file("/bin/true"), 0)).await;
    let healthy = registry.read_snapshot().await.unwrap();
    let ops = poisoned().iter().map(|(key, value)| bed.put(key, value)).collect();
    bed.store.commit(vec![], ops).await.unwrap();
    // A kind that a later version may have.
    bed.store.commit(vec![], vec![bed.put("colour/default", "whatever")]).await.unwrap();
    let snapshot = registry.read_snapshot().await.unwrap();
    let unreadable: Vec<&str> = snapshot.unreadable.keys().map(String::as_str).collect();
    let mut expected: Vec<String> = poisoned().into_iter().map(|(key, _)| key).collect();
    expected.sort();
    assert_eq!(unreadable, expected);
    assert!(snapshot.unreadable.values().all(|u| !u.problem.is_empty()));
    let rest = Snapshot {
        revision: healthy.revision,
        unreadable: healthy.unreadable.clone(),
        ..snapshot.clone()
    };
    assert_eq!(rest, healthy);
    // All goes on around it.
    let leadership: Option<Leadership> = registry.campaign_for_leadership(&presence).await.unwrap();
    assert!(leadership.is_some());
    written(&registry, write("b.service", &file("/bin/true"), 0)).await;
    let machine = "m9".parse().unwrap();
    assert!(registry.states_of(&machine).await.unwrap().is_empty());
    let error = registry.read_registration(&machine).await.unwrap_err();
    assert!(matches!(error, RegistryError::Unreadable { ref key, .. } if key == "machine/m9"));
    let files = registry.read_files(&[HASH.parse().unwrap()]).await.unwrap();
    assert!(files.values().all(Result::is_err));
    registry.register_machine(&crate::machines::machine("m9"), presence.lease).await.unwrap();
}

fn apply(snapshot: &mut Snapshot, changes: Vec<Change>) {
    for change in changes {
        snapshot.apply(change);
    }
}

pub(crate) async fn a_watch_tells_of_poison_and_of_its_end(bed: &Bed) {
    let registry = bed.registry();
    let unit = "a.service";
    written(&registry, write(unit, &file("/bin/true"), 0)).await;
    let mut watch = registry.watch();
    let ClusterEvent::Reset(mut snapshot) = update(&mut watch).await else { panic!("a reset") };
    let ops = poisoned().iter().map(|(key, value)| bed.put(key, value)).collect();
    bed.store.commit(vec![], ops).await.unwrap();
    let ClusterEvent::Changes { changes, revision } = update(&mut watch).await else {
        panic!("a change")
    };
    let poison_at = changes.iter().position(
        |c| matches!(c, Change::Unreadable(key, Some(Unreadable { .. })) if key == "unit/a.service"),
    );
    let gone = changes.iter().position(|c| *c == Change::Unit(name(unit), None));
    let why = "who hears of the loss first and of the damage after knows that it is not gone";
    assert!(gone.unwrap() < poison_at.unwrap(), "{why}");
    apply(&mut snapshot, changes);
    snapshot.revision = revision;
    let fresh = registry.read_snapshot().await.unwrap();
    assert_eq!(Snapshot { revision, ..fresh }, *snapshot);
    // Removed, or written as it should be.
    let others = poisoned().into_iter().filter(|(key, _)| key != "unit/a.service");
    let ops = others.map(|(key, _)| bed.delete(&key)).collect();
    bed.store.commit(vec![], ops).await.unwrap();
    let ClusterEvent::Changes { changes, .. } = update(&mut watch).await else {
        panic!("a change")
    };
    apply(&mut snapshot, changes);
    let revision = bed.get("unit/a.service").await.unwrap().mod_revision;
    let rewrite = write(unit, &file("/bin/true"), revision);
    let results = registry.write_units(vec![rewrite]).await.unwrap();
    assert!(matches!(results.as_slice(), [UnitWritten::Done { .. }]));
    let ClusterEvent::Changes { changes, revision } = update(&mut watch).await else {
        panic!("a change")
    };
    apply(&mut snapshot, changes);
    snapshot.revision = revision;
    assert!(snapshot.unreadable.is_empty());
    let fresh = registry.read_snapshot().await.unwrap();
    assert_eq!(Snapshot { revision, ..fresh }, *snapshot);
}

pub(crate) async fn destroying_a_poisoned_unit_removes_it(bed: &Bed) {
    let registry = bed.registry();
    let (kept, lost) = (file("/bin/kept"), file("/bin/lost"));
    written(&registry, write("kept.service", &kept, 0)).await;
    written(&registry, write("a.service", &lost, 0)).await;
    // A record of someone we do not understand names a file.
    let mentions = file("/bin/mentioned");
    written(&registry, write("b.service", &mentions, 0)).await;
    let odd = format!("file: {}", mentions.hash());
    let ops = vec![bed.put("unit/a.service", "garbage"), bed.put("unit/b.service", &odd)];
    bed.store.commit(vec![], ops).await.unwrap();
    let destroyed = registry.destroy_units(&[name("a.service")]).await.unwrap();
    assert_eq!(destroyed.destroyed, [name("a.service")]);
    let snapshot = registry.read_snapshot().await.unwrap();
    assert_eq!(snapshot.unreadable.keys().collect::<Vec<_>>(), ["unit/b.service"]);
    let mut files = [kept.hash(), mentions.hash()];
    files.sort();
    assert!(snapshot.files.keys().eq(files.iter()));
}

pub(crate) async fn records_of_a_later_version_are_read(bed: &Bed) {
    let registry = bed.registry();
    let later =
        r#"{"schema":99,"address":"a","new":{"field":[1]},"runners":["systemd","quantum"]}"#;
    let later_state = serde_json::json!({
        "schema": 99, "news": true, "load": "loaded", "active": "active", "sub": "running",
        "generation": 1, "desired": "launched", "since": 1,
    });
    let ops =
        vec![bed.put("machine/m1", later), bed.put("state/m1/a.service", &later_state.to_string())];
    bed.store.commit(vec![], ops).await.unwrap();
    let snapshot = registry.read_snapshot().await.unwrap();
    assert!(snapshot.unreadable.is_empty(), "{:?}", snapshot.unreadable);
    let id = "m1".parse().unwrap();
    assert_eq!(snapshot.machines[&id].runners.len(), 1);
    assert_eq!(snapshot.states[&name("a.service")][&id], state("active"));
}
