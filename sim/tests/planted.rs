//! The table of planted faults and of marked branches says what the code says.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a checkout that cannot be read is a failure"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use muster_sim::{BRANCHES, PLANTED};

/// The crates of the product.
const CRATES: [&str; 6] = ["common", "engine", "store", "runtime", "client", "agent"];

/// The names in the calls of a function of the probe, anywhere in the product; one that is there twice, twice.
fn names_in_code(function: &str) -> Vec<String> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut names = Vec::new();
    for package in CRATES {
        for path in rust_files(&top.join(package).join("src")) {
            // The probe's own tests.
            if path.ends_with("common/src/probe.rs") {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            for (_, rest) in text.match_indices(function).map(|(at, _)| text.split_at(at)) {
                let argument = rest.strip_prefix(function).unwrap().trim_start();
                if let Some((name, _)) =
                    argument.strip_prefix('"').and_then(|argument| argument.split_once('"'))
                {
                    names.push(name.to_owned());
                }
            }
        }
    }
    names.sort();
    names
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

#[test]
fn every_planted_fault_is_in_the_code_and_once_in_the_table() {
    let table: BTreeSet<String> = PLANTED.iter().map(|fault| fault.name.to_owned()).collect();
    assert_eq!(table.len(), PLANTED.len(), "a name stands twice in the table");
    let code: BTreeSet<String> = names_in_code("is_planted(").into_iter().collect();
    assert_eq!(code, table);
}

#[test]
fn every_marked_branch_is_in_the_table() {
    let code: BTreeSet<String> = names_in_code("reached(").into_iter().collect();
    let table: BTreeSet<String> = BRANCHES.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(code, table);
}

/// The text of a test, from its name to its end. It is named by its file, from the top of the checkout, and its function.
fn text_of_test(test: &str) -> Option<String> {
    let (file, name) = test.split_once("::")?;
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    let text = fs::read_to_string(top.join(format!("{file}.rs"))).ok()?;
    let (_, rest) = text.split_once(&format!("#[test]\nfn {name}() {{"))?;
    rest.split_once("\n}\n").map(|(body, _)| body.to_owned())
}

#[test]
fn what_a_test_finds_is_what_it_leaves_out() {
    for fault in PLANTED {
        let Some(test) = fault.test else {
            assert!(fault.budget > 0, "nothing is to find {}", fault.name);
            continue;
        };
        let text = text_of_test(test);
        let text = text.unwrap_or_else(|| panic!("{}: there is no test {test}", fault.name));
        let leaves_out = text.contains("holds_unless") || text.contains("fails_without");
        let named = text.contains(&format!("\"{}\"", fault.name));
        assert!(leaves_out && named, "{test} does not leave {} out", fault.name);
    }
}
