//! Every unit file in `examples/` is sound, and asks of the scheduler what its comment says.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use muster_common::unit::{Checked, Requirements, UnitFile, UnitName, check_bytes};

fn examples() -> BTreeMap<UnitName, (UnitFile, Checked)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let entries = fs::read_dir(&directory).unwrap();
    entries
        .map(|entry| {
            let entry = entry.unwrap();
            let name = UnitName::from_argument(&entry.path().to_string_lossy()).unwrap();
            let bytes = fs::read(entry.path()).unwrap();
            let checked = check_bytes(&name, &bytes).unwrap_or_else(|error| panic!("{error}"));
            (name, checked)
        })
        .collect()
}

#[test]
fn each_is_sound_and_explains_itself() {
    let examples = examples();
    let names: Vec<_> = examples.keys().map(UnitName::as_str).collect();
    assert_eq!(
        names,
        [
            "clerk.container",
            "hello.service",
            "node-info.service",
            "page@.container",
            "pages.volume",
            "shelf.volume",
            "shop.pod",
            "tidy.service",
            "tidy.timer",
            "till@.container",
            "web-announce@.service",
            "web@.service",
            "window.container",
        ]
    );
    for (name, (file, checked)) in &examples {
        assert_eq!(checked.warnings, [], "{name}");
        assert!(file.text().starts_with("# "), "{name} has no comment that says what it shows");
        assert!(!file.description().is_empty(), "{name} has no description");
    }
}

#[test]
fn they_ask_of_the_scheduler_what_they_show() {
    let examples = examples();
    let requirements = |template: &str, unit: &str| {
        let (file, _) = &examples[&template.parse::<UnitName>().unwrap()];
        Requirements::from_file(&unit.parse().unwrap(), file).unwrap()
    };
    let web = requirements("web@.service", "web@1.service");
    assert!(web.conflicts.iter().any(|pattern| pattern.matches_name("web@2.service")));
    assert!(!web.conflicts.iter().any(|pattern| pattern.matches_name("web-announce@1.service")));
    let announce = requirements("web-announce@.service", "web-announce@1.service");
    assert!(announce.machine_of.iter().map(UnitName::as_str).eq(["web@1.service"]));
    let page = requirements("page@.container", "page@1.container");
    assert!(page.conflicts.iter().any(|pattern| pattern.matches_name("page@2.container")));
    let till = requirements("till@.container", "till@1.container");
    assert!(till.machine_of.iter().map(UnitName::as_str).eq(["shop.pod"]));
    assert!(requirements("node-info.service", "node-info.service").global);
    let timer = requirements("tidy.timer", "tidy.timer");
    assert!(timer.machine_of.iter().map(UnitName::as_str).eq(["tidy.service"]));
}
