//! `musterctl`: the client of a Muster cluster. It asks a daemon over HTTP and prints the answer.
//!
//! Owns the process: the command line, the event loop, the exit code. It never touches the store or a machine: whatever
//! it knows, a daemon told it.

mod argument_error;
mod asking_user;
mod cli;
mod commands;
mod daemon_hints;
mod dropins;
mod error;
mod exit_code;
mod follow;
mod local_file;
mod machines;
mod output;
mod pattern;
mod request_log;
mod ssh;
mod tunnel;
mod unit_words;
mod units;
mod wait;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::FromArgMatches as _;
use clap::builder::Styles;
use muster_common::errors::error_chain;
use muster_common::text::clean_lines;

use crate::cli::{Cli, fleet};
use crate::error::Error;
use crate::output::console::Console;

fn main() -> ExitCode {
    let matches = match cli::build_command_line().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => return print_usage_error(&error),
    };
    let mut cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let mut console = Console::new(cli.global.output_format());
    // What is no text becomes a value that cannot be read, or a path that is not there.
    let variable = |name: &str| {
        let found = std::env::var_os(name).filter(|_| cli.command.asks_daemon());
        found.map(|value| value.to_string_lossy().into_owned())
    };
    match fleet::fall_back(&mut cli.global, |id| cli::is_given(&matches, id), variable) {
        Ok(notes) => notes.iter().for_each(|note| console.print_note(note)),
        Err(error) => {
            print_error(&console, &error.into());
            return ExitCode::FAILURE;
        }
    }
    match run(cli, &mut console) {
        Ok(code) => code,
        Err(error) if error.is_closed_output() => ExitCode::SUCCESS,
        Err(error) => {
            print_error(&console, &error);
            error.exit_code()
        }
    }
}

/// Says what is wrong with the command line, or the help that was asked for. Part of a command line may be the name of a file
/// that somebody else made, as the shell puts them in a pattern's place, and clap repeats it as it is.
fn print_usage_error(error: &clap::Error) -> ExitCode {
    // Without colours all that is hidden in it comes from outside.
    let plain = cli::build_command_line().styles(Styles::plain()).try_get_matches().err();
    let text = plain.map(|plain| plain.render().ansi().to_string()).unwrap_or_default();
    let shown = clean_lines(&text).to_string();
    if shown == text {
        error.exit();
    }
    // Whoever closed it will not read why.
    let _ = write!(io::stderr(), "{shown}");
    ExitCode::from(2)
}

/// Runs the command on one thread: it has one conversation at a time, and threads would take longer to start than most
/// commands take.
fn run(cli: Cli, console: &mut Console) -> Result<ExitCode, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Runtime)?;
    let code = runtime.block_on(commands::run(cli, console));
    // A resolver that still waits for a name server must not keep the process.
    runtime.shutdown_background();
    code
}

fn print_error(console: &Console, error: &Error) {
    console.print_error(error_chain(error));
    if let Some(hint) = error.way_out() {
        console.print_hint(hint);
    }
}
