//! Measures a large cluster on one machine, and prints one line of JSON a figure.
//!
//! `cargo run --release -p muster-doubles --example scale -- --musterd PATH [--machines N] [--units N] [--quick]`
//!
//! Real are etcd's three members, the daemons that may lead, and everything an agent does with the store: its registration, its
//! watches, its converge loop, its states. The hosts are not: a unit is a line in memory, and so is the disk. All agents are one
//! process, so that what the leader and etcd need can be told apart from what they need; and the leader is measured without any agents
//! first. Both say what belongs to this one machine, on which everything shares the processors, and what to Muster.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a measurement that meets something unexpected has failed, and says where"
)]

mod agents;
mod alone;
mod etcd;
mod figures;
mod launch;
mod leaders;
mod measure;
mod orphans;
mod placements;
mod size;
mod storms;
mod usage;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[derive(Debug, Parser)]
#[command(subcommand_negates_reqs = true, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    role: Option<Role>,
    /// The daemon that leads.
    #[arg(long, required = true)]
    musterd: Option<PathBuf>,
    /// Machines that take units.
    #[arg(long, default_value_t = 1000)]
    machines: usize,
    /// Units.
    #[arg(long, default_value_t = 10_000)]
    units: usize,
    /// A machine that is silent this long is gone, in seconds.
    #[arg(long, default_value_t = 10)]
    ttl: u64,
    /// Fewer repetitions.
    #[arg(long)]
    quick: bool,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// The agents of many machines, which come and go as standard input says.
    Agents {
        /// Where etcd is.
        #[arg(long, value_delimiter = ',')]
        endpoints: Vec<String>,
        /// A machine that is silent this long is gone, in seconds.
        #[arg(long)]
        ttl: u64,
    },
}

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    orphans::end_with_a_panic();
    // Each agent has its own connections, and each member of etcd all of them.
    let most = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most }).unwrap();
    let ttl = Duration::from_secs(arguments.ttl);
    match arguments.role {
        Some(Role::Agents { endpoints, ttl }) => {
            agents::run_agents(endpoints, Duration::from_secs(ttl)).await;
        }
        None => {
            let scale = size::Scale {
                musterd: arguments.musterd.expect("the daemon is named"),
                machines: arguments.machines,
                units: arguments.units,
                ttl,
                repetitions: if arguments.quick { 1 } else { 3 },
            };
            orphans::end_with_a_signal();
            measure::measure_all(&scale).await;
            orphans::end_all();
        }
    }
}
