//! Set-up and everyday commands: `cargo xtask test`, `check`, `demo`, `bench`, `chaos`, `sim`, `lab`, `dist`, `man`.
//!
//! Runs before anything is installed, so it builds with nothing but a Rust toolchain: it never depends, even indirectly, on a
//! crate that needs protoc or a system library. It installs what is missing and calls cargo, the lab and the programs
//! for the rest; what is right or wrong about Muster is decided by tests, by the story and by measurements, not here.

mod bench;
mod build;
mod chaos;
mod check;
mod demo;
mod dist;
mod install;
mod lab;
mod shell;
mod sim;
mod story;
mod test;
mod vagrant;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Set-up and everyday commands.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Install what is missing and run every check and test there is.
    Test(test::TestArguments),
    /// Formatting, lints, shell scripts and dependencies: the quick part of `test`.
    Check,
    /// Boot three hosts and play the story of Muster on them.
    Demo(demo::DemoArguments),
    /// Measure, beside the raw limits of the same machine.
    Bench(bench::BenchArguments),
    /// The three hosts under faults that a seed chooses, checked from outside.
    Chaos(chaos::ChaosArguments),
    /// Run the daemons' own loops in a world that fails by a seed, and look for what must never happen.
    Sim(sim::SimCommandLine),
    /// Make what users install: the Debian package and the static tarball.
    Dist(dist::DistArguments),
    /// Make the manual pages.
    Man(dist::man::ManArguments),
    /// The three hosts by themselves.
    Lab(lab::LabArguments),
    /// Bring up three virtual machines with Vagrant and play the story of vagrant/README.md on them.
    Vagrant(vagrant::VagrantArguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Test(arguments) => test::run_tests(&arguments),
        Command::Check => check::check(),
        Command::Demo(arguments) => demo::run_demo(&arguments),
        Command::Bench(arguments) => bench::run_bench(&arguments),
        Command::Chaos(arguments) => chaos::run_chaos(&arguments),
        Command::Sim(arguments) => sim::run_simulator(&arguments),
        Command::Dist(arguments) => dist::make_dist(&arguments),
        Command::Man(arguments) => dist::man::make_man_pages(&arguments),
        Command::Lab(arguments) => lab::run_lab(&arguments),
        Command::Vagrant(arguments) => vagrant::run_vagrant(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
