//! What a cluster costs that has nothing to do: processor, memory, writes to the store.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use muster_tests::lab::{Host, Lab, Process};

use super::cluster::muster_leader;
use super::figure::{Figure, FigureLimit, Spread};

/// Work that the launch left behind, such as compaction and lazy publishing, is to be over.
const SETTLE: Duration = Duration::from_secs(5);

/// Three figures over a window.
pub(crate) fn measure_idle(lab: &Lab, units: usize, window: Duration) -> Result<Vec<Figure>> {
    std::thread::sleep(SETTLE);
    let daemons: Vec<Process> = lab.hosts().iter().map(daemon_process).collect::<Result<_>>()?;
    let processor = || -> Result<Vec<u64>> {
        daemons.iter().map(|daemon| daemon.processor_nanoseconds().context("no daemon")).collect()
    };
    let begin = Instant::now();
    let (processor_before, writes_before) = (processor()?, count_etcd_writes(lab)?);
    std::thread::sleep(window);
    let (processor_after, writes_after) = (processor()?, count_etcd_writes(lab)?);
    let seconds = begin.elapsed().as_secs_f64();
    let percents: Vec<f64> = processor_before
        .iter()
        .zip(&processor_after)
        .map(|(before, after)| {
            let used = Duration::from_nanos(after.saturating_sub(*before));
            used.as_secs_f64() / seconds * 100.0
        })
        .collect();
    let leads = muster_leader(lab)?.name();
    let by_host: Vec<String> = lab
        .hosts()
        .iter()
        .zip(&percents)
        .map(|(host, percent)| {
            let role = if host.name() == leads { " (leads)" } else { "" };
            format!("{}{role}: {percent:.3} %", host.name())
        })
        .collect();
    let memory: Vec<f64> = daemons
        .iter()
        .filter_map(|daemon| daemon.resident_kib())
        .map(|kib| Duration::from_millis(kib).as_secs_f64() * 1000.0 / 1024.0)
        .collect();
    let most = |values: Vec<f64>| Spread::from_values(values).map(|spread| spread.most);
    let figure = |what: &str, unit, value: f64, must, aim, notes| -> Result<Figure> {
        Ok(Figure {
            what: format!("idle with {units} units: {what}"),
            unit,
            raw: None,
            muster: Spread::from_values(vec![value]).context("nothing was measured")?,
            must: Some(FigureLimit::AtMost(must)),
            aim: Some(FigureLimit::AtMost(aim)),
            notes,
        })
    };
    let busiest = most(percents).context("no daemon")?;
    let largest = most(memory).context("no daemon")?;
    let rate = (writes_after - writes_before) / seconds;
    Ok(vec![
        figure("processor of the busiest daemon", "%", busiest, 0.5, 0.1, by_host)?,
        figure("memory of the largest daemon", "MiB", largest, 30.0, 15.0, Vec::new())?,
        figure("writes to etcd", "/s", rate, 1.0, 0.0, Vec::new())?,
    ])
}

fn daemon_process(host: &Host) -> Result<Process> {
    let processes = host.unit_processes("musterd.service");
    processes.into_iter().next().with_context(|| format!("no musterd on {}", host.name()))
}

/// Proposals that etcd's members have agreed on since the cluster began: every write is one, and so is every lease.
fn count_etcd_writes(lab: &Lab) -> Result<f64> {
    let answer = lab.http_get(lab.host(0)?, 2379, "/metrics")?;
    let name = "etcd_server_proposals_committed_total ";
    let line = answer.body.lines().find_map(|line| line.strip_prefix(name));
    Ok(line.context("etcd does not count its proposals")?.trim().parse()?)
}
