//! Docker Swarm on the same hosts, as the yardstick for containers.
//!
//! Owns a swarm of three managers that exists while it is measured and not longer.

use std::time::Instant;

use anyhow::{Context, Result};
use muster_tests::lab::{IMAGE, Lab};

use super::cluster::run_command;
use super::counting::{launch_with_command, wait_for_containers};
use super::figure::Spread;

/// The times of Swarm, in seconds.
#[derive(Debug)]
pub(crate) struct Swarm {
    /// From the command until all containers run.
    pub(crate) running: Spread,
    /// Until its client returned.
    pub(crate) returned: Spread,
}

/// A service with so many replicas, again and again.
pub(crate) fn launch_swarm(lab: &Lab, count: usize, repetitions: usize) -> Result<Swarm> {
    form_swarm(lab)?;
    let measured = measure_swarm(lab, count, repetitions);
    dissolve_swarm(lab)?;
    measured
}

fn measure_swarm(lab: &Lab, count: usize, repetitions: usize) -> Result<Swarm> {
    let (mut running, mut returned) = (Vec::new(), Vec::new());
    for _ in 0..repetitions {
        let line = format!(
            "docker service create --quiet --name box --replicas {count} --network host --stop-signal SIGKILL --no-resolve-image {IMAGE} sleep infinity"
        );
        let took = launch_with_command(lab, count, &line)?;
        running.push(took.active.as_secs_f64());
        returned.push(took.returned.as_secs_f64());
        run_command(lab.host(0)?, "docker service rm box")?;
        wait_for_containers(lab, 0, Instant::now())?;
    }
    Ok(Swarm {
        running: Spread::from_values(running).context("nothing was measured")?,
        returned: Spread::from_values(returned).context("nothing was measured")?,
    })
}

fn form_swarm(lab: &Lab) -> Result<()> {
    let first = lab.host(0)?;
    run_command(first, &format!("docker swarm init --advertise-addr {}", first.address()))?;
    let token = run_command(first, "docker swarm join-token --quiet manager")?.stdout;
    for host in lab.hosts().iter().skip(1) {
        let (token, address) = (token.trim(), first.address());
        run_command(host, &format!("docker swarm join --token {token} {address}:2377"))?;
    }
    Ok(())
}

fn dissolve_swarm(lab: &Lab) -> Result<()> {
    for host in lab.hosts() {
        run_command(host, "docker swarm leave --force")?;
    }
    Ok(())
}
