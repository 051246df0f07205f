//! The command line of the simulator.
//!
//! Owns what can be asked for. What comes of it is printed by the files below: failing seeds at once, each so that it can be run again.

mod figures;
mod found;
mod many;
mod planted;
mod single;

use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgGroup, Parser};

use crate::planted::{PLANTED, PlantedFault, find_fault};
use found::Found;

/// Run the daemons' own loops in a world that fails by a seed, and look for what must never happen.
///
/// Without an option 100 seeds are run. The exit code is 0 when nothing was found, 1 when something was, and 2 when the command line
/// makes no sense.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask sim", bin_name = "cargo xtask sim")]
#[command(group = ArgGroup::new("what").args(["seeds", "minutes", "seed", "keep", "kept", "planted"]))]
pub struct SimArguments {
    /// Run this many seeds.
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// Run new seeds for this long, such as 5 or 0.5. The first one is drawn from the time, and printed.
    #[arg(long, value_name = "N", value_parser = parse_minutes)]
    minutes: Option<Duration>,
    /// Run one seed, and tell its story if it fails.
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// With --seed: print every event.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Shrink a failing seed and keep its plan in sim/seeds, where a test runs it for ever.
    #[arg(long, value_name = "SEED")]
    keep: Option<u64>,
    /// Run the plans in sim/seeds.
    #[arg(long)]
    kept: bool,
    /// Plant faults in the product, one after the other or only this one, and see whether they are found.
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "")]
    planted: Option<String>,
    /// Plant this fault in all that is run.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["planted", "kept"], value_parser = find_planted)]
    with: Option<&'static PlantedFault>,
    /// The first seed of --seeds, --minutes and --planted.
    #[arg(long, value_name = "SEED", conflicts_with_all = ["seed", "keep", "kept"])]
    first: Option<u64>,
    /// Seeds that are run at a time; as many as there are processors unless this says otherwise.
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Print how often each fault, request and marked branch came, not only which never came.
    #[arg(long)]
    coverage: bool,
}

/// Does as the command line says.
pub fn run_command(arguments: &SimArguments) -> ExitCode {
    // A daemon that panics is a finding, and is told as one.
    std::panic::set_hook(Box::new(|_| {}));
    let with = arguments.with;
    let jobs = arguments.jobs.or_else(|| std::thread::available_parallelism().ok());
    let jobs = jobs.map_or(1, NonZeroUsize::get);
    let found = if let Some(seed) = arguments.seed {
        single::run_seed(seed, arguments.trace, with)
    } else if let Some(seed) = arguments.keep {
        single::keep_seed(seed, with)
    } else if arguments.kept {
        single::run_kept()
    } else if let Some(name) = &arguments.planted {
        let Some(faults) = chosen_faults(name) else { return ExitCode::from(2) };
        planted::run_planted(&faults, arguments.first.unwrap_or(1), jobs)
    } else {
        let amount = match (arguments.minutes, arguments.seeds) {
            (Some(time), _) => many::Amount::Time(time),
            (None, count) => many::Amount::Seeds(count.unwrap_or(100)),
        };
        let run = many::ManySeeds { amount, first: arguments.first, with, jobs };
        many::run_seeds(&run, arguments.coverage)
    };
    if found == Found::Nothing { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn parse_minutes(text: &str) -> Result<Duration, String> {
    let minutes: f64 = text.parse().map_err(|_| format!("\"{text}\" is no number"))?;
    let time = Duration::try_from_secs_f64(minutes * 60.0).ok();
    let time = time.filter(|time| !time.is_zero());
    time.ok_or_else(|| "it has to be more than nothing, and less than for ever".to_owned())
}

fn find_planted(name: &str) -> Result<&'static PlantedFault, String> {
    let found = find_fault(name);
    found.ok_or_else(|| "no planted fault has this name; --planted shows them all".to_owned())
}

/// The fault of this name, or all; an error is printed.
fn chosen_faults(name: &str) -> Option<Vec<&'static PlantedFault>> {
    if name.is_empty() {
        return Some(PLANTED.iter().collect());
    }
    match find_planted(name) {
        Ok(fault) => Some(vec![fault]),
        Err(problem) => {
            eprintln!("error: {name}: {problem}");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        SimArguments::command().debug_assert();
        for good in [
            &["--seeds", "3", "--first", "7"][..],
            &["--minutes", "0.5", "--jobs", "2"],
            &["--seed", "3", "--trace", "--with", "ledger-unsaved"],
            &["--planted"],
            &["--planted", "ledger-unsaved", "--first", "4"],
            &["--keep", "3"],
            &["--kept"],
        ] {
            let words = std::iter::once(&"sim").chain(good);
            SimArguments::try_parse_from(words).unwrap();
        }
        for bad in [
            &["--seeds", "3", "--minutes", "1"][..],
            &["--minutes", "0"],
            &["--minutes", "-1"],
            &["--trace"],
            &["--seed", "3", "--with", "nothing-of-that-name"],
        ] {
            let words = std::iter::once(&"sim").chain(bad);
            assert!(SimArguments::try_parse_from(words).is_err(), "{bad:?}");
        }
    }
}
