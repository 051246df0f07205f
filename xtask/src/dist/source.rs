//! What both packages are made of.
//!
//! Owns the parts they share: programs, pages, completions, and the time that everything in them gets.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::man;
use crate::shell::{program_command, read_output};

/// The things that a package is made of.
#[derive(Debug)]
pub(super) struct PackageSource<'a> {
    /// Where musterd and musterctl are.
    pub(super) binaries: &'a Path,
    /// A directory that may be emptied.
    pub(super) work: &'a Path,
    /// The package's version.
    pub(super) version: &'a str,
    /// The time of everything in it, in seconds since 1970.
    pub(super) epoch: &'a str,
    /// Rather quickly than small.
    pub(super) fast: bool,
}

/// Puts what is made from the programs into `directory`: `man/` and `completions/`.
pub(super) fn collect_extras(binaries: &Path, directory: &Path) -> Result<()> {
    man::write_man_pages(binaries, &directory.join("man"))?;
    let completions = directory.join("completions");
    fs::create_dir_all(&completions)?;
    let musterctl = binaries.join("musterctl");
    for (shell, name) in [("bash", "musterctl"), ("zsh", "_musterctl"), ("fish", "musterctl.fish")]
    {
        let script = read_output(&mut program_command(
            &musterctl.to_string_lossy(),
            &["completions", shell],
        ))?;
        fs::write(completions.join(name), script)?;
    }
    Ok(())
}

/// An empty directory.
pub(super) fn empty_directory(directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory)
            .with_context(|| format!("cannot empty {}", directory.display()))?;
    }
    Ok(fs::create_dir_all(directory)?)
}

/// A command with the time that everything gets.
pub(super) fn with_epoch(mut command: Command, epoch: &str) -> Command {
    command.env("SOURCE_DATE_EPOCH", epoch);
    command
}
