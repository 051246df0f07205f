//! `musterd`: reads its configuration, opens the store, serves the API and runs the daemon's core.
//!
//! Owns the order in which things begin and end, and the exit code: 0 when it was asked to stop, 1 when it could not
//! do its work, 2 for flags that make no sense.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use muster_common::text::clean_lines;
use musterd::config::{Config, Flags, manual};
use musterd::daemon::orders;
use musterd::daemon::process::run_daemon;
use musterd::daemon::store::check_store;
use musterd::host::modes;
use musterd::telemetry::logs;

fn main() -> ExitCode {
    let flags = Flags::parse();
    if let Some(directory) = &flags.man {
        let written = manual::write(directory);
        return match written.with_context(|| format!("cannot write to {}", directory.display())) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => print_failure(&error),
        };
    }
    let only_check = flags.check_config;
    let (adopted, start_last_known) = (flags.adopt_cluster, flags.start_last_known);
    let file = flags.config.clone();
    let given = flags.clone();
    let config = match Config::load(flags) {
        Ok(config) => config,
        Err(error) => return print_failure(&error.into()),
    };
    if only_check {
        return match check_config(&config) {
            Ok(()) => {
                let file = file.display();
                println!("{file}: the configuration is fine; machine {}", config.machine_id);
                ExitCode::SUCCESS
            }
            Err(error) => print_failure(&error),
        };
    }
    modes::restrict_umask();
    if let Some(choice) = adopted {
        return print_order(orders::adopt_cluster(&config, choice));
    }
    if start_last_known {
        return print_order(orders::start_last_known(&config));
    }
    let level = logs::init_logging(&config.log);
    for exposed in config.find_exposures() {
        tracing::warn!(exposed, "others may read or write what the configuration rests on");
    }
    // Two threads: one can wait for a disk or plan while the other answers. More would only cost memory.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let outcome = runtime
        .context("cannot start threads")
        .and_then(|runtime| runtime.block_on(run_daemon(config, given, level)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => print_failure(&error),
    }
}

/// Checks the configuration without starting anything.
fn check_config(config: &Config) -> anyhow::Result<()> {
    let exposures = config.find_exposures();
    if !exposures.is_empty() {
        anyhow::bail!(exposures.join("\n"));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start a thread")?.block_on(check_store(config))
}

/// Prints what comes of a person's word.
fn print_order(outcome: anyhow::Result<String>) -> ExitCode {
    match outcome {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(error) => print_failure(&error),
    }
}

/// Prints the whole chain on one line, where a person or the journal sees it.
fn print_failure(error: &anyhow::Error) -> ExitCode {
    eprintln!("musterd: {}", clean_lines(&format!("{error:#}")));
    ExitCode::FAILURE
}
