//! Running programs: shown, in the checkout's top directory, their output passed on.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The checkout's top directory.
pub(crate) fn checkout_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// A program to run in the checkout.
pub(crate) fn program_command<S: AsRef<OsStr>>(name: &str, arguments: &[S]) -> Command {
    let mut command = Command::new(name);
    command.args(arguments).current_dir(checkout_root());
    command
}

/// The cargo that runs us, in the checkout.
pub(crate) fn cargo_command<S: AsRef<OsStr>>(arguments: &[S]) -> Command {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut command = program_command(&cargo, arguments);
    // Set by `cargo run` for xtask itself; a nested cargo would take them for its own package's.
    for variable in ["CARGO_PKG_NAME", "CARGO_PKG_VERSION", "CARGO_MANIFEST_DIR"] {
        command.env_remove(variable);
    }
    command
}

/// Shows a command and runs it; its failure is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = describe(command);
    let status = command.status().with_context(|| format!("cannot run {shown}"))?;
    if !status.success() {
        bail!("{shown}: {status}");
    }
    Ok(())
}

/// [`run`], also handing back those lines of standard error that begin with `prefix`, without leading blanks.
pub(crate) fn run_keeping_lines(command: &mut Command, prefix: &str) -> Result<Vec<String>> {
    let shown = describe(command);
    let mut child =
        command.stderr(Stdio::piped()).spawn().with_context(|| format!("cannot run {shown}"))?;
    let mut kept = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        for line in BufReader::new(stderr).lines() {
            let line = line?;
            eprintln!("{line}");
            if line.trim_start().starts_with(prefix) {
                kept.push(line.trim_start().to_owned());
            }
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("{shown}: {status}");
    }
    Ok(kept)
}

/// Runs a command quietly; whether it succeeded. One that cannot be run did not.
pub(crate) fn is_success(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// Runs a command quietly and hands back its standard output.
pub(crate) fn read_output(command: &mut Command) -> Result<String> {
    let shown = format!("{command:?}");
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("cannot run {shown}"))?;
    if !output.status.success() {
        bail!("{shown}: {}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn describe(command: &Command) -> String {
    let name = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(name).chain(command.get_args());
    let line = words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ");
    eprintln!("$ {line}");
    line
}
