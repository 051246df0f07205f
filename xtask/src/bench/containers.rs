//! Containers: from the command to running, one and many, and back after a power cut; beside Docker's own client, and beside
//! Docker Swarm on the same hosts.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use muster_tests::lab::{Host, IMAGE, Lab, wait_closely};

use super::cluster::{self, Launch, PATIENCE, command, instances, leader};
use super::figure::{Bound, Figure, Spread};
use super::swarm;

/// What is measured is the way to it: an image that is there, no network to make, an end without delay.
const UNIT: &str =
    "[Container]\nImage=busybox:latest\nExec=sleep infinity\nNetwork=host\nStopSignal=SIGKILL\n";

const PREFIX: &str = "box";

/// How exactly a moment is seen from outside; a look at a hundred cgroups takes a while itself.
const INTERVAL: Duration = Duration::from_millis(5);

/// How many run when a host is lost.
const LOST_AMONG: usize = 30;

/// Puts the unit in place.
pub(crate) fn prepare(lab: &Lab) -> Result<()> {
    let host = lab.host(0)?;
    host.write_file(&format!("/root/{PREFIX}@.container"), UNIT)?;
    command(host, &format!("musterctl submit {PREFIX}@.container")).map(|_| ())
}

/// So many at once, beside as many `docker run` at the same time, and beside a service of as many replicas in a swarm.
pub(crate) fn launch(lab: &Lab, count: usize, repetitions: usize) -> Result<Figure> {
    let (mut muster, mut returned, mut raw) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..repetitions {
        raw.push(run_raw(lab, count)?.as_secs_f64());
        clear_raw(lab)?;
        let took = start(lab, count)?;
        muster.push(took.active.as_secs_f64());
        returned.push(took.returned.as_secs_f64());
        clear(lab, count)?;
    }
    // Afterwards, since a swarm is kept together by daemons that would cost the others time.
    let swarm = swarm::launch(lab, count, repetitions)?;
    let returned = Spread::of(returned).context("nothing was measured")?;
    let plural = if count == 1 { "" } else { "s" };
    Ok(Figure {
        what: format!("{count} container{plural}, from the command to running"),
        unit: "s",
        raw: Spread::of(raw),
        muster: Spread::of(muster).context("nothing was measured")?,
        must: Some(Bound::TimesRaw(1.5)),
        aim: Some(Bound::AtMost(swarm.running.median)),
        notes: vec![
            format!("the command returned after {:.0} ms (median)", returned.median * 1000.0),
            "the raw limit is `docker run` of the same, in parallel on each host".to_owned(),
            format!(
                "the aim is Docker Swarm's figure on the same hosts: {} s; its client returned after {:.1} s",
                swarm.running.show(3),
                swarm.returned.median,
            ),
        ],
    })
}

/// Repeats: thirty on three hosts, one host lost, all thirty on two, the host back.
pub(crate) fn failover(lab: &Lab, repetitions: usize) -> Result<Figure> {
    let (mut times, mut lost) = (Vec::new(), Vec::new());
    for _ in 0..repetitions {
        start(lab, LOST_AMONG)?;
        let leader = leader(lab)?;
        let victim = lab.hosts().iter().find(|host| host.name() != leader.name());
        let victim = victim.context("no other host")?;
        lost.push(victim.count_containers());
        let begin = Instant::now();
        victim.power_cut()?;
        times.push(wait_for(lab, LOST_AMONG, begin)?.as_secs_f64());
        victim.boot()?;
        lab.wait_for_etcd()?;
        lab.wait_for_daemons()?;
        cluster::wait_for_machines(lab, lab.hosts().len())?;
        victim.wait_for_engine()?;
        clear(lab, LOST_AMONG)?;
    }
    Ok(Figure {
        what: "power cut of a follower, default TTL, to all containers running elsewhere"
            .to_owned(),
        unit: "s",
        raw: None,
        muster: Spread::of(times).context("nothing was measured")?,
        must: Some(Bound::AtMost(18.0)),
        aim: Some(Bound::AtMost(11.5)),
        notes: vec![
            format!("containers lost each time: {lost:?} of {LOST_AMONG}"),
            "18 s is Docker Swarm's figure, for 10 of 30".to_owned(),
        ],
    })
}

fn running(lab: &Lab) -> usize {
    lab.hosts().iter().map(Host::count_containers).sum()
}

/// Waits until so many containers run on all hosts together; how long after `since`.
pub(crate) fn wait_for(lab: &Lab, count: usize, since: Instant) -> Result<Duration> {
    wait_closely(&format!("{count} containers"), PATIENCE, INTERVAL, || {
        let running = running(lab);
        if running == count { Ok(()) } else { Err(anyhow!("{running} run")) }
    })?;
    Ok(since.elapsed())
}

fn start(lab: &Lab, count: usize) -> Result<Launch> {
    launch_with(lab, count, &format!("musterctl start {}", units(count)))
}

/// Runs a command on a host that has so many containers started, and watches them from outside.
pub(crate) fn launch_with(lab: &Lab, count: usize, line: &str) -> Result<Launch> {
    let host = lab.host(0)?;
    let begin = Instant::now();
    std::thread::scope(|scope| {
        let starting = scope.spawn(|| command(host, line));
        let active = wait_for(lab, count, begin);
        let returned = starting.join().map_err(|_| anyhow!("a thread panicked"))??;
        Ok(Launch { active: active?, returned: returned.took })
    })
}

fn clear(lab: &Lab, count: usize) -> Result<()> {
    command(lab.host(0)?, &format!("musterctl destroy {}", units(count)))?;
    wait_for(lab, 0, Instant::now()).map(|_| ())
}

fn units(count: usize) -> String {
    let units: Vec<String> =
        instances(PREFIX, 1, count).split(' ').map(|unit| format!("{unit}.container")).collect();
    units.join(" ")
}

/// The raw limit: the same without Muster.
fn run_raw(lab: &Lab, count: usize) -> Result<Duration> {
    let share = count.div_ceil(lab.hosts().len());
    let begin = Instant::now();
    lab.each(|index, host| {
        let mine = share.min(count.saturating_sub(index * share));
        let line = format!(
            "sh -c 'for one in $(seq {mine}); do docker run --detach --network=host --stop-signal=SIGKILL {IMAGE} sleep infinity & done; wait'"
        );
        if mine > 0 { command(host, &line).map(|_| ()) } else { Ok(()) }
    })?;
    wait_for(lab, count, begin)
}

fn clear_raw(lab: &Lab) -> Result<()> {
    lab.each(|_, host| {
        command(host, "sh -c 'docker ps --all --quiet | xargs --no-run-if-empty docker rm --force'")
            .map(|_| ())
    })?;
    wait_for(lab, 0, Instant::now()).map(|_| ())
}
