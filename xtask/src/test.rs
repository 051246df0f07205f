//! `cargo xtask test`: every check and every test.

use std::process::Command;

use anyhow::Result;
use clap::{Args, ValueEnum};
use muster_tests::lab::{Lab, Release};

use crate::install::{self, Purpose};
use crate::lab::DebianChoice;
use crate::shell::{cargo_command, run, run_keeping_lines};
use crate::{build, check, dist, sim};

/// New seeds are part of a run of everything. Kept ones always are: they are unit tests.
const SIMULATES: bool = false;
/// The time in which the simulator runs new seeds, in minutes: enough to find what a change has broken for most seeds, on a person's
/// machine; and on a machine that does nothing else, with the whole run still below 50 minutes on two cores.
const MINUTES: &str = "0.5";
const MINUTES_OF_CI: &str = "5";

/// Tests of the three hosts, by the names of their binaries.
const ON_HOSTS: &str = "package(muster-tests) and kind(test) and not binary(tidy)";

/// Those of them that a release of Debian is tried with which is not the one that all run on.
const SHORT: &str =
    "binary(story) or binary(packages) or binary(reboots) or binary(reboots_softly)";

#[derive(Debug, Args)]
pub(crate) struct TestArguments {
    /// Only one part.
    #[arg(long)]
    only: Option<Part>,
    #[command(flatten)]
    debian: DebianChoice,
    /// Of the end-to-end tests only the story, the packages and the reboots: what another Debian is tried with.
    #[arg(long)]
    short: bool,
    /// More arguments for nextest, such as a filter.
    #[arg(last = true)]
    nextest: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Formatting, lints, dependencies.
    Check,
    /// Everything that needs no hosts: unit, scenario, property and conformance tests, the store against a real etcd.
    Unit,
    /// The simulator with new seeds, for half a minute; for five where CI is set. The first seed is drawn from the time and printed.
    Sim,
    /// End-to-end tests on three hosts.
    E2e,
}

fn is_ci() -> bool {
    std::env::var_os("CI").is_some()
}

/// The test runner, as `.config/nextest.toml` has it for people, or for machines where `CI` is set.
fn nextest_command() -> Command {
    let profile = if is_ci() { "ci" } else { "default" };
    cargo_command(&["nextest", "run", "--no-fail-fast", "--profile", profile])
}

fn run_parts(arguments: &TestArguments) -> Result<Vec<String>> {
    let wanted = |part| arguments.only.is_none_or(|only| only == part);
    let mut summaries = Vec::new();
    if wanted(Part::Check) {
        check::run_checks()?;
    }
    if wanted(Part::Unit) {
        install::ensure_tools(Purpose::Unit)?;
        // nextest does not run the examples in the documentation.
        if arguments.nextest.is_empty() {
            run(&mut cargo_command(&["test", "--quiet", "--workspace", "--doc"]))?;
        }
        let mut command = nextest_command();
        command.arg("--workspace");
        command.arg("--filterset").arg(format!("not ({ON_HOSTS})")).args(&arguments.nextest);
        summaries.extend(run_keeping_lines(&mut command, "Summary")?);
    }
    if wanted(Part::Sim) && (SIMULATES || arguments.only.is_some()) {
        let minutes = if is_ci() { MINUTES_OF_CI } else { MINUTES };
        sim::run_with(&["--minutes", minutes])?;
    }
    if wanted(Part::E2e) {
        install::ensure_tools(Purpose::Lab)?;
        install::ensure_nextest()?;
        let binaries = build::build_release()?;
        let packages = dist::for_tests(&binaries)?;
        // Minutes, once; a test that did it would look as if it hung.
        let release =
            arguments.debian.chosen_release().map_or_else(Release::from_environment, Ok)?;
        Lab::prepare_base(release, |text| eprintln!("lab: {text}"))?;
        let mut command = nextest_command();
        command.args(["--package", "muster-tests"]);
        let which = if arguments.short { SHORT } else { ON_HOSTS };
        command.arg("--filterset").arg(which).args(&arguments.nextest);
        arguments.debian.pass_to(&mut command);
        command.env("MUSTER_BINARIES", binaries).env("MUSTER_PACKAGES", packages);
        summaries.extend(run_keeping_lines(&mut command, "Summary")?);
    }
    Ok(summaries)
}

pub(crate) fn run_tests(arguments: &TestArguments) -> Result<()> {
    let summaries = run_parts(arguments)?;
    if summaries.len() > 1 {
        eprintln!("all parts passed:");
        for summary in summaries {
            eprintln!("     {summary}");
        }
    }
    Ok(())
}
