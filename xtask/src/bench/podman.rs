//! Containers that Podman runs: from the command to running, one and many, beside `systemctl start` of the very services.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use muster_tests::lab::{Host, Lab};

use super::cluster::{instance_names, run_command};
use super::counting::{launch_with_command, wait_for_containers};
use super::figure::{Figure, FigureLimit, Spread};

/// The container that is started: its image is there, no network is made for it, and it ends without delay.
const CONTAINER: &str = "[Container]\nImage=localhost/busybox:latest\nPull=never\nExec=sleep infinity\nNetwork=host\n\
                         PodmanArgs=--no-hosts\nStopSignal=SIGKILL\n";

const PREFIX: &str = "crate";

/// Prefix of the services that are started without Muster.
const RAW: &str = "rawcrate";

/// Has Podman's generator make the service that is started without Muster, where systemd finds it.
const MAKE_RAW: &str = "sh -c 'mkdir -p /root/made && QUADLET_UNIT_DIRS=/root/raw /usr/lib/systemd/system-generators/podman-system-generator \
                        --no-kmsg-log /root/made && cp /root/made/*.service /run/systemd/system && systemctl daemon-reload'";

/// Puts the unit and the service in place.
pub(crate) fn prepare_units(lab: &Lab) -> Result<()> {
    lab.for_each_host(|_, host| {
        run_command(host, "mkdir -p /root/raw")?;
        host.write_file(&format!("/root/raw/{RAW}@.container"), CONTAINER)?;
        run_command(host, MAKE_RAW).map(|_| ())
    })?;
    let host = lab.host(0)?;
    let unit = format!("{CONTAINER}\n[X-Fleet]\nRunner=podman\n");
    host.write_file(&format!("/root/{PREFIX}@.container"), &unit)?;
    run_command(host, &format!("musterctl submit {PREFIX}@.container")).map(|_| ())
}

/// So many at once, beside `systemctl start` of as many at the same time on all hosts.
pub(crate) fn measure_launch(lab: &Lab, count: usize, repetitions: usize) -> Result<Figure> {
    let (mut muster, mut returned, mut raw) = (Vec::new(), Vec::new(), Vec::new());
    let units = unit_names(count);
    let host = lab.host(0)?;
    for _ in 0..repetitions {
        raw.push(run_raw(lab, count)?.as_secs_f64());
        lab.for_each_host(|_, host| {
            run_command(host, &format!("systemctl stop '{RAW}@*.service'")).map(|_| ())
        })?;
        wait_for_containers(lab, 0, Instant::now())?;
        let took = launch_with_command(lab, count, &format!("musterctl start {units}"))?;
        muster.push(took.active.as_secs_f64());
        returned.push(took.returned.as_secs_f64());
        run_command(host, &format!("musterctl destroy {units}"))?;
        wait_for_containers(lab, 0, Instant::now())?;
    }
    let returned = Spread::from_values(returned).context("nothing was measured")?;
    let plural = if count == 1 { "" } else { "s" };
    let must = if count == 1 { 1.15 } else { 1.3 };
    Ok(Figure {
        what: format!("{count} container{plural} with Podman, from the command to running"),
        unit: "s",
        raw: Spread::from_values(raw),
        muster: Spread::from_values(muster).context("nothing was measured")?,
        must: Some(FigureLimit::TimesRaw(must)),
        aim: None,
        notes: vec![
            format!("the command returned after {:.0} ms (median)", returned.median * 1000.0),
            "the raw limit is `systemctl start` of the same services, at the same time on each host"
                .to_owned(),
        ],
    })
}

fn unit_names(count: usize) -> String {
    let instances = instance_names(PREFIX, 1, count);
    let units = instances.split(' ').map(|unit| format!("{unit}.container"));
    units.collect::<Vec<_>>().join(" ")
}

/// The raw limit: the same without Muster. Every host has its share.
fn run_raw(lab: &Lab, count: usize) -> Result<Duration> {
    let share = count.div_ceil(lab.hosts().len());
    let begin = Instant::now();
    lab.for_each_host(|index, host: &Host| {
        let (from, to) = (index * share + 1, ((index + 1) * share).min(count));
        if from > to {
            return Ok(());
        }
        run_command(host, &format!("systemctl start {}", instance_names(RAW, from, to))).map(|_| ())
    })?;
    wait_for_containers(lab, count, begin)
}
