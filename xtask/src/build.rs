//! The binaries that hosts run.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::install::{self, For};
use crate::shell::{cargo, output, run};

/// Builds musterd and musterctl as they would be released; the directory they are in.
pub(crate) fn release() -> Result<PathBuf> {
    install::ensure(For::Build)?;
    run(&mut cargo(&["build", "--release", "--package", "musterd", "--package", "musterctl"]))?;
    Ok(target()?.join("release"))
}

/// Where cargo builds, wherever the environment sent it.
pub(crate) fn target() -> Result<PathBuf> {
    let metadata = output(&mut cargo(&["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let directory = metadata.get("target_directory").and_then(Value::as_str);
    Ok(PathBuf::from(directory.context("cargo metadata names no target directory")?))
}
