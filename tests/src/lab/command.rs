//! Commands of the machine itself, with errors that say what was run and what it answered.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Lines of a failed command's output that its error repeats.
const LAST_LINES: usize = 10;

/// Runs a command to its end and hands back its standard output; a non-zero exit is an error with its standard error.
pub(super) fn run<S: AsRef<OsStr>>(program: &str, arguments: &[S]) -> Result<String> {
    let mut command = Command::new(program);
    command.args(arguments);
    finish_command(&mut command)
}

/// [`run`] for a command that needed more than arguments.
pub(super) fn finish_command(command: &mut Command) -> Result<String> {
    let shown = format!("{command:?}");
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {shown}"))?;
    if !output.status.success() {
        bail!("{shown}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a command that takes long and hands over each line that it prints; a non-zero exit is an error with its last lines.
pub(super) fn follow_output(command: &mut Command, mut on_line: impl FnMut(&str)) -> Result<()> {
    let shown = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {shown}"))?;
    let mut last = VecDeque::new();
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).lines() {
            let line = line?;
            on_line(&line);
            if last.len() == LAST_LINES {
                last.pop_front();
            }
            last.push_back(line);
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("{shown}: {status}: {}", Vec::from(last).join("; "));
    }
    Ok(())
}
