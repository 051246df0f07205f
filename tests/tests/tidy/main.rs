//! Rules of the house that a compiler does not know. Each says why; a rule that cannot be argued is removed, not ignored.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a checkout that cannot be read is a failure, and a panic tells it"
)]

mod checkout;
mod circles;
mod docs;
mod features;
mod functions;
mod loops;
mod modules;
mod pages;
mod source;
mod states;
mod types;
mod vocabulary;

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use checkout::{Files, assert_none, checkout, rust_files, text_files};

#[test]
fn files_are_small() {
    let long: Vec<String> = rust_files()
        .iter()
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > 600)
        .map(|(path, lines)| format!("{path}: {lines} lines"))
        .collect();
    assert_none(&long, "a file this long has always mixed two jobs; split it by job");
}

#[test]
fn modules_say_what_they_are_for() {
    let silent: Vec<String> = rust_files()
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//!"))
        .map(|(path, _)| path)
        .collect();
    assert_none(&silent, "a file begins with what it owns and what it never does");
}

#[test]
fn nothing_is_left_to_be_done_in_comments() {
    // In two parts, so that this file does not offend itself.
    let marks = [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["XX", "X"].concat()];
    let found = lines_with(&text_files(), |line| {
        line.split(|c: char| !c.is_alphanumeric()).any(|word| marks.iter().any(|m| m == word))
    });
    assert_none(
        &found,
        "what is to be done is an issue or is done; a comment that promises it is forgotten",
    );
}

#[test]
fn no_path_of_one_persons_machine() {
    let homes = [["/ho", "me/"].concat(), ["/Us", "ers/"].concat(), ["/wo", "rk/"].concat()];
    let files = text_files().into_iter().filter(|(path, _)| path != "Cargo.lock").collect();
    let found = lines_with(&files, |line| {
        homes.iter().any(|home| {
            line.match_indices(home.as_str()).any(|(at, _)| {
                // "usr/home/", "$WORK/work/": only the beginning of a path is a place on a machine.
                !line
                    .get(..at)
                    .unwrap_or_default()
                    .ends_with(|c: char| c.is_alphanumeric() || "._-}$".contains(c))
            })
        })
    });
    assert_none(&found, "the checkout works wherever it is");
}

#[test]
fn tests_wait_for_conditions() {
    let sleep = ["sle", "ep("].concat();
    let waits = "tests/src/lab/wait.rs";
    // Their sleeps are those of simulated nodes, whose clocks the tests move.
    let simulated = ["runtime/tests/", "sim/tests/"];
    let files = rust_files()
        .into_iter()
        .filter(|(path, _)| (path.contains("tests/") || path.contains("/testing")) && path != waits)
        .filter(|(path, _)| !simulated.iter().any(|area| path.starts_with(area)))
        .collect();
    assert_none(
        &lines_with(&files, |line| line.contains(&sleep)),
        "a sleep is too long on one machine and too short on another; wait for the condition",
    );
    assert_none(
        &lines_with(&rust_files(), |line| {
            line.trim_start().starts_with(&["#[ig", "nore"].concat())
        }),
        "a test that does not run says nothing",
    );
}

/// What is in a message of the log cannot be told from what somebody put there; in a field it can. So a message is a fixed
/// sentence.
#[test]
fn what_is_logged_is_data() {
    let sources = rust_files().into_iter().filter(|(path, _)| path.contains("/src/"));
    let mut offences = Vec::new();
    for (path, text) in sources {
        let product = text.split("#[cfg(test)]").next().unwrap_or_default();
        for level in ["error", "warn", "info", "debug", "trace"] {
            for call in product.split(&format!("tracing::{level}!(")).skip(1) {
                let mut open = 1;
                let end = call.find(|c| {
                    open += i32::from(c == '(') - i32::from(c == ')');
                    open == 0
                });
                let call = call.get(..end.unwrap_or(call.len())).unwrap_or_default();
                // Every second piece is between quotation marks.
                for literal in call.split('"').skip(1).step_by(2) {
                    if !literal.replace("{{", "").contains('{') {
                        continue;
                    }
                    offences.push(format!("{path}: {literal}"));
                }
            }
        }
    }
    assert_none(&offences, "a message of the log is a fixed sentence; what varies is a field");
}

/// The arrows of the house. What is missing here may be depended on by nobody inside; see ARCHITECTURE.md.
#[test]
fn crates_depend_only_along_the_arrows() {
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("common", &[][..]),
        ("engine", &["muster-common"][..]),
        // Who belongs to a cluster; it touches neither the store nor a connection.
        ("identity", &["muster-common"][..]),
        ("store", &["muster-common", "muster-runtime"][..]),
        // Time and tasks; it knows nothing of ours.
        ("runtime", &[][..]),
        ("checker", &["muster-common", "muster-engine"][..]),
        ("client", &["muster-common"][..]),
        (
            "agent",
            &[
                "muster-client",
                "muster-common",
                "muster-engine",
                "muster-identity",
                "muster-runtime",
                "muster-store",
            ][..],
        ),
        ("ctl", &["muster-checker", "muster-client", "muster-common"][..]),
        // Stand-ins for the daemon's world; no program links them.
        (
            "doubles",
            &["muster-common", "muster-engine", "muster-runtime", "muster-store", "musterd"][..],
        ),
        (
            "sim",
            &[
                "muster-checker",
                "muster-client",
                "muster-common",
                "muster-doubles",
                "muster-engine",
                "muster-runtime",
                "muster-store",
                "musterd",
            ][..],
        ),
        ("tests", &[][..]),
        ("xtask", &["muster-tests"][..]),
    ]);
    let mut offences = Vec::new();
    for (directory, allowed) in allowed {
        for (section, name) in dependencies(directory) {
            // Tests may look across; what is linked may not.
            if section == "dependencies"
                && name.starts_with("muster")
                && !allowed.contains(&name.as_str())
            {
                offences.push(format!("{directory} depends on {name}"));
            }
        }
    }
    assert_none(
        &offences,
        "who may depend on whom is fixed, so that decisions stay apart from effects",
    );
}

#[test]
fn only_the_store_knows_etcd_and_xtask_builds_on_a_bare_machine() {
    let mut offences = Vec::new();
    for directory in source::CRATES.into_iter().filter(|directory| *directory != "store") {
        for (section, name) in dependencies(directory) {
            if name == "etcd-client" {
                offences.push(format!("{directory}: {section} has {name}"));
            }
        }
    }
    assert_none(&offences, "etcd is the store's business");
    let tree = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "--package",
            "xtask",
            "--edges",
            "normal,build",
            "--prefix",
            "none",
        ])
        .current_dir(checkout())
        .output()
        .unwrap();
    assert!(tree.status.success(), "cargo tree: {tree:?}");
    let tree = String::from_utf8(tree.stdout).unwrap();
    let heavy: Vec<String> = tree
        .lines()
        .filter(|line| {
            ["etcd-client", "tonic", "prost", "protoc", "ring", "zbus", "openssl", "pkg-config"]
                .iter()
                .any(|name| line.split(' ').next() == Some(name))
        })
        .map(ToOwned::to_owned)
        .collect();
    assert_none(
        &heavy,
        "xtask runs before anything is installed, so it may need nothing that has to be",
    );
}

#[test]
fn decisions_have_no_clock_no_chance_and_no_world() {
    let lists = fs::read_to_string(checkout().join("engine/clippy.toml")).unwrap();
    let needed = [
        "disallowed-methods",
        "disallowed-types",
        "std::time::Instant",
        "std::time::SystemTime",
        "std::collections::HashMap",
        "std::env",
        "std::fs",
        "std::net",
    ];
    let missing: Vec<String> = needed
        .iter()
        .filter(|item| !lists.contains(*item))
        .map(|item| format!("engine/clippy.toml does not name {item}"))
        .collect();
    assert_none(
        &missing,
        "time and seeds are inputs of a decision; the same snapshot gives the same plan",
    );
}

#[test]
fn every_crate_takes_the_lints_of_the_house() {
    let offences: Vec<String> = text_files()
        .into_iter()
        .filter(|(path, _)| path.ends_with("/Cargo.toml"))
        .filter(|(_, text)| !text.contains("[lints]\nworkspace = true"))
        .map(|(path, _)| path)
        .collect();
    assert_none(&offences, "one set of lints for all crates");
}

fn lines_with(files: &Files, offends: impl Fn(&str) -> bool) -> Vec<String> {
    files
        .iter()
        .flat_map(|(path, text)| text.lines().enumerate().map(move |(at, line)| (path, at, line)))
        .filter(|(_, _, line)| offends(line))
        .map(|(path, at, line)| format!("{path}:{}: {}", at + 1, line.trim()))
        .collect()
}

/// The dependencies a crate's manifest names, each with the section it is in; none of a crate that is not there yet.
fn dependencies(directory: &str) -> Vec<(String, String)> {
    let manifest = checkout().join(directory).join("Cargo.toml");
    let Ok(manifest) = fs::read_to_string(manifest) else { return Vec::new() };
    let mut section = String::new();
    let mut found = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name.clone_into(&mut section);
        } else if section.ends_with("dependencies") && !line.starts_with('#') {
            let name: String =
                line.chars().take_while(|c| c.is_alphanumeric() || "-_".contains(*c)).collect();
            if !name.is_empty() {
                found.push((section.clone(), name));
            }
        }
    }
    found
}
