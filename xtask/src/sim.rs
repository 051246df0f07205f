//! `cargo xtask sim`: the simulator, built as fast as the programs, and run.
//!
//! Owns the build. What can be asked of it is the simulator's own command line.

use std::ffi::OsStr;

use anyhow::Result;
use clap::Args;

use crate::shell::{cargo_command, run};

#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct SimCommandLine {
    /// Arguments for the simulator; `--help` shows them.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(crate) fn run_simulator(command_line: &SimCommandLine) -> Result<()> {
    run_with(&command_line.arguments)
}

/// Builds the simulator, and runs it with these arguments.
pub(crate) fn run_with<S: AsRef<OsStr>>(arguments: &[S]) -> Result<()> {
    let mut command =
        cargo_command(&["run", "--quiet", "--profile", "sim", "--package", "muster-sim", "--"]);
    run(command.args(arguments))
}
