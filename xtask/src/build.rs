//! The binaries that hosts run.

use std::path::PathBuf;

use anyhow::{Context, Result};
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

/// Where cargo builds, wherever the environment sent it.
pub(crate) fn target_directory() -> Result<PathBuf> {
    let metadata =
        read_output(&mut cargo_command(&["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let directory = metadata.get("target_directory").and_then(Value::as_str);
    Ok(PathBuf::from(directory.context("cargo metadata names no target directory")?))
}
