//! Units and their files through the registry.

use std::sync::Arc;

use muster_common::decision::{UnitWrite, UnitWritten};
use muster_common::state::DesiredState;
use muster_common::unit::{FileHash, UnitFile, UnitName};
use muster_store::{Registry, RegistryError, StoreError};

use crate::support::Bed;

pub(crate) fn name(name: &str) -> UnitName {
    name.parse().unwrap()
}

pub(crate) fn file(command: &str) -> Arc<UnitFile> {
    Arc::new(format!("[Service]\n# as written\nExecStart={command}\n").parse().unwrap())
}

pub(crate) fn write(unit: &str, file: &Arc<UnitFile>, expected: u64) -> UnitWrite {
    UnitWrite {
        name: name(unit),
        file: Arc::clone(file),
        desired: DesiredState::Launched,
        generation: 7,
        expected,
    }
}

/// Writes one unit that nobody else writes.
pub(crate) async fn written(registry: &Registry, write: UnitWrite) -> u64 {
    match registry.write_units(vec![write]).await.unwrap().as_slice() {
        [UnitWritten::Done { revision }] => *revision,
        other => panic!("{other:?}"),
    }
}

async fn stored_files(registry: &Registry) -> Vec<FileHash> {
    registry.read_snapshot().await.unwrap().files.into_keys().collect()
}

pub(crate) async fn a_unit_is_written_with_its_file(bed: &Bed) {
    let registry = bed.registry();
    let file = file("/bin/true");
    let revision = written(&registry, write("a.service", &file, 0)).await;
    let snapshot = registry.read_snapshot().await.unwrap();
    assert!(snapshot.revision >= revision);
    let unit = &snapshot.units[&name("a.service")];
    assert_eq!((unit.revision, unit.generation, unit.file), (revision, 7, file.hash()));
    assert_eq!(unit.desired, DesiredState::Launched);
    assert_eq!(snapshot.files[&file.hash()].text(), file.text());
    assert!(snapshot.unreadable.is_empty());
    let missing = FileHash::of_text("nobody has it");
    let files = registry.read_files(&[file.hash(), missing]).await.unwrap();
    assert_eq!(files[&file.hash()].as_ref().unwrap().text(), file.text());
    assert_eq!(files[&missing].as_ref().unwrap_err(), "the store does not have it");
}

pub(crate) async fn a_unit_someone_else_wrote_is_a_conflict(bed: &Bed) {
    let registry = bed.registry();
    let file = file("/bin/true");
    let first = written(&registry, write("a.service", &file, 0)).await;
    let second = written(&registry, write("a.service", &file, first)).await;
    for expected in [0, first, second + 1] {
        let outcome = registry.write_units(vec![write("a.service", &file, expected)]).await;
        assert_eq!(outcome.unwrap(), [UnitWritten::Conflict]);
    }
    assert_eq!(registry.read_snapshot().await.unwrap().units[&name("a.service")].revision, second);
}

fn thousand(file: &Arc<UnitFile>) -> Vec<UnitWrite> {
    (0..1000).map(|n| write(&format!("web@{n}.service"), file, 0)).collect()
}

pub(crate) async fn a_thousand_units_are_written_and_results_are_in_order(bed: &Bed) {
    let registry = bed.registry();
    let results = registry.write_units(thousand(&file("/bin/true"))).await.unwrap();
    let snapshot = registry.read_snapshot().await.unwrap();
    assert_eq!((snapshot.units.len(), snapshot.files.len()), (1000, 1));
    for (n, result) in results.into_iter().enumerate() {
        let revision = snapshot.units[&name(&format!("web@{n}.service"))].revision;
        assert_eq!(result, UnitWritten::Done { revision });
    }
    let names: Vec<UnitName> = snapshot.units.into_keys().collect();
    let destroyed = registry.destroy_units(&names).await.unwrap();
    assert_eq!(destroyed.destroyed.len(), 1000);
    let snapshot = registry.read_snapshot().await.unwrap();
    assert_eq!((snapshot.units.len(), snapshot.files.len()), (0, 0));
}

pub(crate) async fn conflicts_are_found_among_many(bed: &Bed) {
    let registry = bed.registry();
    let old = file("/bin/false");
    for taken in [0, 500, 501, 999] {
        written(&registry, write(&format!("web@{taken}.service"), &old, 0)).await;
    }
    let results = registry.write_units(thousand(&file("/bin/true"))).await.unwrap();
    let conflicts: Vec<usize> = results
        .iter()
        .enumerate()
        .filter(|(_, result)| **result == UnitWritten::Conflict)
        .map(|(n, _)| n)
        .collect();
    assert_eq!(conflicts, [0, 500, 501, 999]);
    let snapshot = registry.read_snapshot().await.unwrap();
    assert_eq!(snapshot.units.len(), 1000);
    assert_eq!(snapshot.units[&name("web@500.service")].file, old.hash());
}

pub(crate) async fn of_two_writes_of_one_unit_the_first_counts(bed: &Bed) {
    let registry = bed.registry();
    let (one, two) = (file("/bin/one"), file("/bin/two"));
    let writes = vec![write("a.service", &one, 0), write("a.service", &two, 0)];
    let results = registry.write_units(writes).await.unwrap();
    assert!(matches!(results.as_slice(), [UnitWritten::Done { .. }, UnitWritten::Conflict]));
    assert_eq!(registry.read_snapshot().await.unwrap().units[&name("a.service")].file, one.hash());
}

pub(crate) async fn destroying_removes_units_and_files_nobody_names(bed: &Bed) {
    let registry = bed.registry();
    let (shared, own) = (file("/bin/shared"), file("/bin/own"));
    written(&registry, write("a.service", &shared, 0)).await;
    written(&registry, write("b.service", &shared, 0)).await;
    written(&registry, write("c.service", &own, 0)).await;
    let names = ["a.service", "c.service", "unknown.service", "a.service"].map(name);
    let destroyed = registry.destroy_units(&names).await.unwrap();
    assert_eq!(destroyed.destroyed, ["a.service", "c.service"].map(name));
    assert_eq!(destroyed.unknown, [name("unknown.service")]);
    let snapshot = registry.read_snapshot().await.unwrap();
    assert!(destroyed.revision > 0 && destroyed.revision <= snapshot.revision);
    assert_eq!(snapshot.units.keys().collect::<Vec<_>>(), [&name("b.service")]);
    assert_eq!(snapshot.files.keys().collect::<Vec<_>>(), [&shared.hash()]);
    let again = registry.destroy_units(&names).await.unwrap();
    assert_eq!((again.destroyed.len(), again.unknown.len(), again.revision), (0, 3, 0));
}

pub(crate) async fn a_file_replaced_is_removed(bed: &Bed) {
    let registry = bed.registry();
    let (old, new) = (file("/bin/old"), file("/bin/new"));
    let a = written(&registry, write("a.service", &old, 0)).await;
    let b = written(&registry, write("b.service", &old, 0)).await;
    written(&registry, write("a.service", &new, a)).await;
    assert_eq!(stored_files(&registry).await.len(), 2, "b still names the old one");
    written(&registry, write("b.service", &new, b)).await;
    assert_eq!(stored_files(&registry).await, [new.hash()]);
}

/// Units come and go that share one file, while each is destroyed as soon as it is there: no unit may ever lack its
/// file, and in the end none is left over.
pub(crate) async fn a_file_named_again_survives_its_removal(bed: &Bed) {
    let shared = file("/bin/shared");
    let tasks = (0..6).map(|task| {
        let (registry, shared) = (bed.registry(), Arc::clone(&shared));
        tokio::spawn(async move {
            let unit = format!("web@{task}.service");
            for _ in 0..15 {
                written(&registry, write(&unit, &shared, 0)).await;
                let snapshot = registry.read_snapshot().await.unwrap();
                for unit in snapshot.units.values() {
                    assert!(snapshot.files.contains_key(&unit.file), "{} has no file", unit.name);
                }
                registry.destroy_units(&[name(&unit)]).await.unwrap();
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let snapshot = bed.registry().read_snapshot().await.unwrap();
    assert!(snapshot.units.is_empty());
    assert!(snapshot.files.is_empty());
}

/// Two writers raise the generation of the same units: every rise counts.
pub(crate) async fn two_writers_lose_nothing(bed: &Bed) {
    const UNITS: u64 = 50;
    const ROUNDS: u64 = 5;
    let file = file("/bin/true");
    let unit = |n: u64| format!("web@{n}.service");
    let create = (0..UNITS).map(|n| UnitWrite { generation: 0, ..write(&unit(n), &file, 0) });
    bed.registry().write_units(create.collect()).await.unwrap();
    let writers = (0..2).map(|_| {
        let (registry, file) = (bed.registry(), Arc::clone(&file));
        tokio::spawn(async move {
            for _ in 0..ROUNDS {
                let mut left: Vec<UnitName> = (0..UNITS).map(|n| name(&unit(n))).collect();
                while !left.is_empty() {
                    let snapshot = registry.read_snapshot().await.unwrap();
                    let writes = left.iter().map(|name| UnitWrite {
                        generation: snapshot.units[name].generation + 1,
                        ..write(name.as_str(), &file, snapshot.units[name].revision)
                    });
                    let results = registry.write_units(writes.collect()).await.unwrap();
                    let mut results = results.into_iter();
                    left.retain(|_| results.next() == Some(UnitWritten::Conflict));
                }
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let snapshot = bed.registry().read_snapshot().await.unwrap();
    assert!(snapshot.units.values().all(|unit| unit.generation == 2 * ROUNDS));
}

pub(crate) async fn a_unit_too_large_is_refused(bed: &Bed) {
    let registry = bed.registry();
    let text = format!("[Service]\nExecStart=/bin/echo {}\n", "\u{1}".repeat(200_000));
    let Ok(large) = text.parse::<UnitFile>() else { return };
    let error = registry.write_units(vec![write("a.service", &Arc::new(large), 0)]).await;
    let error = error.unwrap_err();
    assert!(matches!(error, RegistryError::Store(StoreError::Rejected { .. })), "{error:?}");
    assert!(registry.read_snapshot().await.unwrap().units.is_empty());
}

pub(crate) async fn files_are_found_by_unit_or_by_template(bed: &Bed) {
    let registry = bed.registry();
    let (own, shared) = (file("own"), file("shared"));
    written(&registry, write("data@.volume", &shared, 0)).await;
    written(&registry, write("data@1.volume", &own, 0)).await;
    let asked = ["data@1.volume", "data@2.volume", "none.volume", "none@1.volume"].map(name);
    let found = registry.files_of(&asked).await.unwrap();
    let found: Vec<(&str, &str)> =
        found.iter().map(|(unit, file)| (unit.as_str(), file.text())).collect();
    assert_eq!(found, [("data@1.volume", own.text()), ("data@2.volume", shared.text())]);
    assert!(registry.files_of(&[]).await.unwrap().is_empty());
}
