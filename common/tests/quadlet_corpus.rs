//! Every key and form that podman-systemd.unit(5) describes is taken, and its service looked for under the name that Podman's generator gives
//! it: `tests/tests/podman_corpus.rs` holds the expectations against the generator itself.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use muster_common::machine::RunnerKind;
use muster_common::unit::{
    UnitFile, UnitName, check_bytes, list_references, quadlet_service, runner_of,
};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus/quadlet")
}

/// The files of a folder, each as a unit that asks for Podman.
fn read_folder(folder: &str) -> BTreeMap<UnitName, String> {
    let entries = fs::read_dir(corpus().join(folder)).unwrap();
    let file = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
        (name, format!("{}\n[X-Fleet]\nRunner=podman\n", fs::read_to_string(path).unwrap()))
    };
    entries.map(file).collect()
}

/// What the generator calls each file's service.
fn expected_services() -> BTreeMap<UnitName, UnitName> {
    let text = fs::read_to_string(corpus().join("expected.txt")).unwrap();
    let named = text.lines().filter_map(|line| {
        let (file, made) = line.strip_prefix("== ")?.split_once(": ")?;
        Some((file.parse().unwrap(), made.strip_suffix(" (0)")?.parse().unwrap()))
    });
    named.collect()
}

#[test]
fn every_key_and_form_is_taken_and_its_service_found() {
    let (files, named, services) =
        (read_folder("files"), read_folder("named"), expected_services());
    assert!(files.len() >= 60);
    let mut references = 0;
    for (unit, text) in files.iter().chain(&named) {
        let (file, _): (UnitFile, _) = check_bytes(unit, text.as_bytes()).unwrap();
        assert_eq!(runner_of(unit, &file), RunnerKind::Podman, "{unit}");
        if files.contains_key(unit) {
            assert_eq!(quadlet_service(unit, &file).as_ref(), services.get(unit), "{unit}");
        }
        for reference in list_references(&file) {
            assert!(named.contains_key(&reference.unit), "{unit} names {}", reference.unit);
            references += 1;
        }
    }
    assert!(references >= 10, "{references}");
    assert_eq!(services.len(), files.len());
}

/// The files in the blocks of a page, by the names in their first lines.
fn files_of_page(page: &str) -> BTreeMap<UnitName, String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
    let blocks = text.split("```ini\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let named = |block: &str| {
        let name = block.lines().next().unwrap().strip_prefix("# ").unwrap();
        (name.parse().unwrap(), block.to_owned())
    };
    blocks.map(named).collect()
}

#[test]
fn the_files_that_come_from_compose_are_sound() {
    let files = files_of_page("../docs/from-compose.md");
    assert!(files.len() >= 10, "{files:?}");
    for (unit, text) in &files {
        let (file, checked) = check_bytes(unit, text.as_bytes()).unwrap();
        assert_eq!(checked.warnings, [], "{unit}");
        for reference in list_references(&file) {
            assert!(files.contains_key(&reference.unit), "{unit} names {}", reference.unit);
        }
    }
}
