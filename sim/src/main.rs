//! The simulator as a program: `cargo xtask sim` builds and runs it.

use std::process::ExitCode;

use clap::Parser as _;
use muster_sim::command::{SimArguments, run_command};

fn main() -> ExitCode {
    run_command(&SimArguments::parse())
}
