//! The binaries that hosts run.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use muster_tests::lab::{Lab, Release};
use serde_json::Value;

use crate::install::{self, Purpose};
use crate::shell::{cargo_command, read_output, run};

/// Builds musterd and musterctl as they would be released; the directory they are in.
pub(crate) fn build_release() -> Result<PathBuf> {
    install::ensure_tools(Purpose::Build)?;
    run(&mut cargo_command(&[
        "build",
        "--release",
        "--package",
        "musterd",
        "--package",
        "musterctl",
    ]))?;
    Ok(target_directory()?.join("release"))
}

/// The programs for hosts to look at, those in `given` or freshly built, while the base root of their release is made. Nothing is packed:
/// hosts take the programs as they are.
pub(crate) fn prepare_hosts(given: Option<&Path>, release: Option<Release>) -> Result<PathBuf> {
    install::ensure_tools(Purpose::Lab)?;
    let release = release.map_or_else(Release::from_environment, Ok)?;
    let began = Instant::now();
    std::thread::scope(|scope| {
        let base = scope.spawn(move || {
            let made = Lab::prepare_base(release, tell_base);
            (made.map(drop), began.elapsed())
        });
        let programs = given.map_or_else(build_for_lab, |programs| Ok(programs.to_owned()));
        if !base.is_finished() {
            let built = if programs.is_ok() { "built" } else { "not built" };
            let seconds = began.elapsed().as_secs();
            eprintln!(
                "the programs are {built} after {seconds} s; waiting for the base root of {release}"
            );
        }
        let (made, took) = base.join().map_err(|_| anyhow!("a thread panicked"))?;
        made?;
        if given.is_none() && took.as_secs() > 0 {
            eprintln!("the base root of {release} was there after {} s", took.as_secs());
        }
        programs
    })
}

fn tell_base(text: &str) {
    eprintln!("lab: {text}");
}

/// Builds musterd and musterctl for hosts on which nothing is measured; the directory they are in.
fn build_for_lab() -> Result<PathBuf> {
    run(&mut cargo_command(&[
        "build",
        "--profile",
        "lab",
        "--package",
        "musterd",
        "--package",
        "musterctl",
    ]))?;
    Ok(target_directory()?.join("lab"))
}

/// Where cargo builds, wherever the environment sent it.
pub(crate) fn target_directory() -> Result<PathBuf> {
    let metadata =
        read_output(&mut cargo_command(&["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let directory = metadata.get("target_directory").and_then(Value::as_str);
    Ok(PathBuf::from(directory.context("cargo metadata names no target directory")?))
}
