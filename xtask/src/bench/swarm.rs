//! Docker Swarm on the same hosts, as the yardstick for containers.
//!
//! Owns a swarm of three managers that exists while it is measured and not longer.

use std::time::Instant;

use anyhow::{Context, Result};
use muster_tests::lab::{IMAGE, Lab};

use super::cluster::command;
use super::containers::{launch_with, wait_for};
use super::figure::Spread;

/// What Swarm took, in seconds.
#[derive(Debug)]
pub(crate) struct Swarm {
    /// From the command until all containers run.
    pub(crate) running: Spread,
    /// Until its client returned.
    pub(crate) returned: Spread,
}

/// A service with so many replicas, again and again.
pub(crate) fn launch(lab: &Lab, count: usize, repetitions: usize) -> Result<Swarm> {
    form(lab)?;
    let measured = measure(lab, count, repetitions);
    dissolve(lab)?;
    measured
}

fn measure(lab: &Lab, count: usize, repetitions: usize) -> Result<Swarm> {
    let (mut running, mut returned) = (Vec::new(), Vec::new());
    for _ in 0..repetitions {
        let line = format!(
            "docker service create --quiet --name box --replicas {count} --network host --stop-signal SIGKILL --no-resolve-image {IMAGE} sleep infinity"
        );
        let took = launch_with(lab, count, &line)?;
        running.push(took.active.as_secs_f64());
        returned.push(took.returned.as_secs_f64());
        command(lab.host(0)?, "docker service rm box")?;
        wait_for(lab, 0, Instant::now())?;
    }
    Ok(Swarm {
        running: Spread::of(running).context("nothing was measured")?,
        returned: Spread::of(returned).context("nothing was measured")?,
    })
}

fn form(lab: &Lab) -> Result<()> {
    let first = lab.host(0)?;
    command(first, &format!("docker swarm init --advertise-addr {}", first.address()))?;
    let token = command(first, "docker swarm join-token --quiet manager")?.stdout;
    for host in lab.hosts().iter().skip(1) {
        let (token, address) = (token.trim(), first.address());
        command(host, &format!("docker swarm join --token {token} {address}:2377"))?;
    }
    Ok(())
}

fn dissolve(lab: &Lab) -> Result<()> {
    for host in lab.hosts() {
        command(host, "docker swarm leave --force")?;
    }
    Ok(())
}
