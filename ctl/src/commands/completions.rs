//! `completions`: the script that teaches a shell this command line.

use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::error::Error;
use crate::output::console::Console;

/// Prints the script.
pub(crate) fn print_completions(console: &Console, shell: Shell) -> Result<ExitCode, Error> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "musterctl", &mut script);
    console.print_data(&script)?;
    Ok(ExitCode::SUCCESS)
}
