//! `cargo xtask chaos`: the lab under faults that a seed chooses, checked from outside.
//!
//! Owns the order of a run: rounds of faults and users, calm, checks. What may happen is in `plan`, how it is done in `faults` and
//! `users`, what must be true in `checks`. The same seed gives the same faults at the same times of a round; what hosts make of them
//! is theirs.

mod chance;
mod checks;
mod faults;
mod plan;
mod users;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;
use muster_tests::cluster::Cluster;
use muster_tests::lab::Options;

use crate::install::{self, Purpose};
use crate::{build, dist};
use plan::Round;
use users::Wishes;

/// A machine that is silent this long is gone: short, so that a run has many losses.
const TTL: &str = "5s";

#[derive(Debug, Args)]
pub(crate) struct ChaosArguments {
    /// How long to go on; a round that has begun is ended.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// What is chosen by; printed, so that a run can be made again.
    #[arg(long)]
    seed: Option<u64>,
    /// Take musterd and musterctl from here instead of building them.
    #[arg(long, value_name = "DIR")]
    binaries: Option<PathBuf>,
}

pub(crate) fn run_chaos(arguments: &ChaosArguments) -> Result<()> {
    install::ensure_tools(Purpose::Lab)?;
    let seed = arguments.seed.unwrap_or_else(chance::draw_seed);
    println!("chaos: seed {seed}");
    let binaries = match &arguments.binaries {
        Some(binaries) => binaries.clone(),
        None => build::build_release()?,
    };
    let package = dist::make_package(&binaries)?;
    let provision = vec!["--ttl".to_owned(), TTL.to_owned()];
    let options = Options { package: Some(package), provision, ..Options::default() };
    let cluster = Cluster::boot_hosts(&options)?;
    let result = run_rounds(&cluster, seed, Duration::from_secs(arguments.minutes * 60));
    match result {
        Ok(tally) => {
            cluster.tear_down()?;
            println!("chaos: seed {seed}: {tally}, no violation");
            Ok(())
        }
        // Dropping the cluster tells what the hosts have to say.
        Err(error) => bail!("chaos: seed {seed}: {error:#}"),
    }
}

fn run_rounds(cluster: &Cluster, seed: u64, limit: Duration) -> Result<plan::Tally> {
    let began = Instant::now();
    let mut tally = plan::Tally::default();
    let mut wishes = Wishes::new(cluster)?;
    checks::await_calm(cluster, &wishes)?;
    let mut number = 0;
    while began.elapsed() < limit {
        let mut chance = chance::Chance::new(seed, number);
        let round = Round::choose_faults(&mut chance, cluster.hosts().len());
        cluster.step(&format!("round {number}: {round}"));
        let before = checks::running_units(cluster)?;
        let asked = faults::play_round(cluster, &round, &mut wishes, &mut chance)?;
        cluster.step("calm");
        checks::await_calm(cluster, &wishes)?;
        if round.keeps_everything() {
            checks::ensure_nothing_moved(cluster, &before, &wishes, &asked)?;
        }
        wishes.ask_again(cluster)?;
        tally.add_round(&round);
        number += 1;
    }
    Ok(tally)
}
