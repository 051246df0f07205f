//! Containers: from the command to running, one and many, and back after a power cut; beside Docker's own client, and beside
//! Docker Swarm on the same hosts.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use muster_tests::lab::{IMAGE, Lab};

use super::cluster::{self, Launch, instance_names, muster_leader, run_command};
use super::counting::{launch_with_command, wait_for_containers};
use super::figure::{Figure, FigureLimit, Spread};
use super::swarm;

/// The unit that is started. What is measured is the way to it: an image that is there, no network to make, an end without delay.
const UNIT: &str =
    "[Container]\nImage=busybox:latest\nExec=sleep infinity\nNetwork=host\nStopSignal=SIGKILL\n";

const PREFIX: &str = "box";

/// Number of containers that run when a host is lost.
const LOST_AMONG: usize = 30;

/// Puts the unit in place.
pub(crate) fn prepare_images(lab: &Lab) -> Result<()> {
    let host = lab.host(0)?;
    host.write_file(&format!("/root/{PREFIX}@.container"), UNIT)?;
    run_command(host, &format!("musterctl submit {PREFIX}@.container")).map(|_| ())
}

/// So many at once, beside as many `docker run` at the same time, and beside a service of as many replicas in a swarm.
pub(crate) fn measure_launch(lab: &Lab, count: usize, repetitions: usize) -> Result<Figure> {
    let (mut muster, mut returned, mut raw) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..repetitions {
        raw.push(run_raw(lab, count)?.as_secs_f64());
        clear_raw(lab)?;
        let took = start_containers(lab, count)?;
        muster.push(took.active.as_secs_f64());
        returned.push(took.returned.as_secs_f64());
        clear_containers(lab, count)?;
    }
    // Afterwards, since a swarm is kept together by daemons that would cost the others time.
    let swarm = swarm::launch_swarm(lab, count, repetitions)?;
    let returned = Spread::from_values(returned).context("nothing was measured")?;
    let plural = if count == 1 { "" } else { "s" };
    Ok(Figure {
        what: format!("{count} container{plural}, from the command to running"),
        unit: "s",
        raw: Spread::from_values(raw),
        muster: Spread::from_values(muster).context("nothing was measured")?,
        must: Some(FigureLimit::TimesRaw(1.5)),
        aim: Some(FigureLimit::AtMost(swarm.running.median)),
        notes: vec![
            format!("the command returned after {:.0} ms (median)", returned.median * 1000.0),
            "the raw limit is `docker run` of the same, in parallel on each host".to_owned(),
            format!(
                "the aim is Docker Swarm's figure on the same hosts: {} s; its client returned after {:.1} s",
                swarm.running.format_spread(3),
                swarm.returned.median,
            ),
        ],
    })
}

/// Repeats: thirty on three hosts, one host lost, all thirty on two, the host back.
pub(crate) fn measure_failover(lab: &Lab, repetitions: usize) -> Result<Figure> {
    let (mut times, mut lost) = (Vec::new(), Vec::new());
    for _ in 0..repetitions {
        start_containers(lab, LOST_AMONG)?;
        let leader = muster_leader(lab)?;
        let victim = lab.hosts().iter().find(|host| host.name() != leader.name());
        let victim = victim.context("no other host")?;
        lost.push(victim.count_containers());
        let begin = Instant::now();
        victim.power_cut()?;
        times.push(wait_for_containers(lab, LOST_AMONG, begin)?.as_secs_f64());
        victim.power_on()?;
        lab.wait_for_etcd()?;
        lab.wait_for_daemons()?;
        cluster::wait_for_machines(lab, lab.hosts().len())?;
        victim.wait_for_engine()?;
        clear_containers(lab, LOST_AMONG)?;
    }
    Ok(Figure {
        what: "power cut of a follower, default TTL, to all containers running elsewhere"
            .to_owned(),
        unit: "s",
        raw: None,
        muster: Spread::from_values(times).context("nothing was measured")?,
        must: Some(FigureLimit::AtMost(18.0)),
        aim: Some(FigureLimit::AtMost(11.5)),
        notes: vec![
            format!("containers lost each time: {lost:?} of {LOST_AMONG}"),
            "18 s is Docker Swarm's figure, for 10 of 30".to_owned(),
        ],
    })
}

fn start_containers(lab: &Lab, count: usize) -> Result<Launch> {
    launch_with_command(lab, count, &format!("musterctl start {}", unit_names(count)))
}

fn clear_containers(lab: &Lab, count: usize) -> Result<()> {
    run_command(lab.host(0)?, &format!("musterctl destroy {}", unit_names(count)))?;
    wait_for_containers(lab, 0, Instant::now()).map(|_| ())
}

fn unit_names(count: usize) -> String {
    let units: Vec<String> = instance_names(PREFIX, 1, count)
        .split(' ')
        .map(|unit| format!("{unit}.container"))
        .collect();
    units.join(" ")
}

/// The raw limit: the same without Muster.
fn run_raw(lab: &Lab, count: usize) -> Result<Duration> {
    let share = count.div_ceil(lab.hosts().len());
    let begin = Instant::now();
    lab.for_each_host(|index, host| {
        let mine = share.min(count.saturating_sub(index * share));
        let line = format!(
            "sh -c 'for one in $(seq {mine}); do docker run --detach --network=host --stop-signal=SIGKILL {IMAGE} sleep infinity & done; wait'"
        );
        if mine > 0 { run_command(host, &line).map(|_| ()) } else { Ok(()) }
    })?;
    wait_for_containers(lab, count, begin)
}

fn clear_raw(lab: &Lab) -> Result<()> {
    lab.for_each_host(|_, host| {
        run_command(
            host,
            "sh -c 'docker ps --all --quiet | xargs --no-run-if-empty docker rm --force'",
        )
        .map(|_| ())
    })?;
    wait_for_containers(lab, 0, Instant::now()).map(|_| ())
}
