//! The files of the checkout.
//!
//! Owns the list of what is tracked, and how a rule tells its offences: all of them at once. It judges nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Files by their path in the checkout.
pub(crate) type Files = BTreeMap<String, String>;

/// The top of the checkout.
pub(crate) fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Paths of all tracked files, those that are no text among them.
pub(crate) fn tracked_paths() -> Vec<String> {
    let list = Command::new("git").args(["ls-files", "-z"]).current_dir(checkout()).output();
    let list = list.unwrap();
    assert!(list.status.success(), "git ls-files: {list:?}");
    let list = String::from_utf8(list.stdout).unwrap();
    // What is listed and not there has been moved and not been committed yet.
    let paths = list.split_terminator('\0').filter(|path| checkout().join(path).exists());
    paths.map(ToOwned::to_owned).collect()
}

/// Tracked text files.
pub(crate) fn text_files() -> Files {
    let files: Files = tracked_paths()
        .into_iter()
        .filter_map(|path| {
            let text = fs::read_to_string(checkout().join(&path)).ok()?;
            Some((path, text))
        })
        .collect();
    assert!(files.len() > 50, "only {} files: is this the checkout?", files.len());
    files
}

/// Tracked sources, tests among them.
pub(crate) fn rust_files() -> Files {
    text_files().into_iter().filter(|(path, _)| is_rust(path)).collect()
}

pub(crate) fn is_rust(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|kind| kind == "rs")
}

/// Fails with every offence at once.
#[track_caller]
pub(crate) fn assert_none(offences: &[String], why: &str) {
    assert!(offences.is_empty(), "{why}\n  {}", offences.join("\n  "));
}

/// Offences outside of areas that do not conform yet, given by the beginnings of their paths. With `TIDY=agent/src/net` in
/// the environment it is all that name this path instead, so that whoever works there sees what is left; `TIDY=/` is all.
pub(crate) fn outside_of(areas: &[&str], mut offences: Vec<String>) -> Vec<String> {
    match std::env::var("TIDY") {
        Ok(area) => offences.retain(|offence| offence.contains(&area)),
        Err(_) => {
            offences.retain(|offence| !areas.iter().any(|area| offence.starts_with(area)));
        }
    }
    offences
}
