//! A roll: every host of a lab reboots once, as many at a time as there are slots.
//!
//! Owns asking for one, and what is so after each that went well. What else is to hold during it is for the caller to say.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::cluster::Cluster;
use crate::lab::{Host, Samples};
use crate::reboots::{Entry, Reboots, format_history};

/// Every host asks for its own reboot, all at the same time.
pub fn request_all(cluster: &Cluster) -> Result<()> {
    cluster.for_each_host(|_, host| cluster.run(host, "musterctl reboot request"))?;
    Ok(())
}

/// Whoever began before another had ended.
pub fn find_overlap(history: &[Entry]) -> Option<(&Entry, &Entry)> {
    let pairs = history.iter().zip(history.iter().skip(1));
    pairs.into_iter().find(|(one, next)| next.taken < one.freed)
}

/// Every host has rebooted once, is back with all others, and nothing of the reboots is left.
pub fn ensure_all_back(cluster: &Cluster, reboots: &Reboots<'_>, history: &[Entry]) -> Result<()> {
    cluster.step(&format!("all slots are free: {}", format_history(history)));
    for entry in history {
        ensure!(entry.outcome == "rebooted", "{entry:?}");
        let is_requested = |due: &Value| due.get("source").is_some_and(|by| by == "requested");
        ensure!(entry.due.iter().any(is_requested), "{entry:?}");
        let passed = entry.phase_names();
        for phase in ["locking", "draining", "rebooting", "returned", "settling"] {
            ensure!(passed.contains(&phase), "{phase} is missing: {entry:?}");
        }
    }
    let ids: BTreeSet<&str> = history.iter().map(|entry| entry.id.as_str()).collect();
    let hosts: BTreeSet<&str> = cluster.hosts().iter().map(Host::machine_id).collect();
    ensure!(ids == hosts, "{ids:?} have rebooted");
    cluster.wait_for_machines(cluster.hosts().len())?;
    let boots = reboots.boot_counts()?;
    ensure!(boots.values().all(|count| *count == 1), "each should have booted once: {boots:?}");
    for host in cluster.hosts() {
        reboots.wait_for_phase(host, "idle")?;
    }
    for below in ["cordon/", "reboot-request/"] {
        let left = cluster.list_keys(cluster.host(0)?, below)?;
        ensure!(left.is_empty(), "{left:?} is left");
    }
    cluster.wait_until_settled()
}

/// Says how long each replica was away, and all of them at once.
pub fn print_samples(cluster: &Cluster, ports: &[u16], samples: &Samples) {
    let looks = samples.0.len();
    cluster.step(&format!("{looks} looks, the longest gap {:?}", samples.longest_gap()));
    for (replica, port) in ports.iter().enumerate() {
        cluster.report_duration(&format!("{port} was away"), samples.time_away(replica));
    }
    cluster.report_duration("the service was away", samples.time_silent());
}
