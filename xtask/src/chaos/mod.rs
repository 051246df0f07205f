//! `cargo xtask chaos`: the lab under faults that a seed chooses, checked from outside.
//!
//! Owns the order of a run: rounds of faults and users, calm, checks. What may happen is in `kinds` and `plan`, how it is done in
//! `faults`, `exchange` and `users`, what must be true in `checks`. The same seed gives the same faults at the same times of a round; what hosts make of them
//! is theirs.

mod chance;
mod checks;
mod exchange;
mod faults;
mod kinds;
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
    /// Programs of another build, which upgrades take turns with.
    #[arg(long, value_name = "DIR")]
    other_binaries: Option<PathBuf>,
}

pub(crate) fn run_chaos(arguments: &ChaosArguments) -> Result<()> {
    install::ensure_tools(Purpose::Lab)?;
    let seed = arguments.seed.unwrap_or_else(chance::draw_seed);
    println!("chaos: seed {seed}");
    let binaries = match &arguments.binaries {
        Some(binaries) => binaries.clone(),
        None => build::build_release()?,
    };
    let mut builds = Vec::new();
    for directory in arguments.other_binaries.iter().chain([&binaries]) {
        builds.push(std::fs::read(dist::make_package(directory)?)?);
    }
    // Made last, it is what lies there.
    let package = dist::make_package(&binaries)?;
    let provision = ["--ttl", TTL, "--docker-live-restore"].map(str::to_owned).to_vec();
    let options =
        Options { package: Some(package), provision, containers: true, ..Options::default() };
    let cluster = Cluster::boot_hosts(&options)?;
    let mut tally = plan::Tally::default();
    let limit = Duration::from_secs(arguments.minutes * 60);
    match run_rounds(&cluster, &builds, seed, limit, &mut tally) {
        Ok(()) => {
            cluster.tear_down()?;
            println!("chaos: seed {seed}: {tally}, no violation");
            Ok(())
        }
        // Dropping the cluster tells what the hosts have to say.
        Err(error) => bail!("chaos: seed {seed}: after {tally}: {error:#}"),
    }
}

/// The packages that upgrades take turns with, on each host.
fn deliver_builds(cluster: &Cluster, builds: &[Vec<u8>]) -> Result<()> {
    for host in cluster.hosts() {
        for (number, build) in builds.iter().enumerate() {
            host.write_file(&faults::build_file(number), build)?;
        }
    }
    Ok(())
}

fn run_rounds(
    cluster: &Cluster,
    builds: &[Vec<u8>],
    seed: u64,
    limit: Duration,
    tally: &mut plan::Tally,
) -> Result<()> {
    let began = Instant::now();
    deliver_builds(cluster, builds)?;
    let mut wishes = Wishes::new(cluster)?;
    checks::await_calm(cluster, &wishes)?;
    let mut number = 0;
    while began.elapsed() < limit {
        let mut chance = chance::Chance::new(seed, number);
        let round = Round::choose_faults(&mut chance, cluster.hosts().len());
        cluster.step(&format!("round {number}: {round}"));
        let before = checks::running_units(cluster)?;
        let asked = faults::play_round(cluster, &round, builds.len(), &mut wishes, &mut chance)?;
        cluster.step("calm");
        checks::await_calm(cluster, &wishes)?;
        if round.keeps_everything() {
            checks::ensure_nothing_moved(cluster, &before, &wishes, &asked)?;
        }
        wishes.ask_again(cluster)?;
        cluster.assert_sound()?;
        tally.add_round(&round);
        number += 1;
    }
    Ok(())
}
