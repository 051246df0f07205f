//! What must be true, seen from outside: from the hosts' own systemd, past every daemon.

use anyhow::{Context, Result, anyhow, ensure};
use muster_tests::cluster::{Cluster, Running};

use super::users::{Wish, Wishes};

fn is_ours(unit: &str) -> bool {
    unit.starts_with("single") || unit.starts_with("apart@") || unit.starts_with("box")
}

/// The units that run and their hosts, with the id of each run.
pub(super) fn running_units(cluster: &Cluster) -> Result<Running> {
    cluster.list_running(is_ours)
}

/// No unit that may not share a host does. True at any moment.
pub(super) fn ensure_apart(cluster: &Cluster) -> Result<()> {
    for host in cluster.hosts().iter().filter(|host| host.is_up()) {
        let apart = host.active_units(|unit| unit.starts_with("apart@"));
        ensure!(apart.len() < 2, "conflict-together: {} runs {}", host.name(), apart.join(" "));
    }
    Ok(())
}

/// Waits until every daemon is well and has nothing to do, and until each wish that was granted is fulfilled.
pub(super) fn await_calm(cluster: &Cluster, wishes: &Wishes) -> Result<()> {
    cluster.wait_for_etcd()?;
    cluster.wait_for_machines(cluster.hosts().len())?;
    cluster.wait_until_settled()?;
    cluster.wait_for_condition("what users were granted", || {
        for (unit, wish) in &wishes.0 {
            let hosts = cluster.active_on(unit);
            let count = hosts.len();
            let names: Vec<&str> = hosts.iter().map(|host| host.name()).collect();
            match wish {
                Wish::Runs => {
                    ensure!(count == 1, "{unit} is to run and is on [{}]", names.join(" "));
                }
                Wish::Stopped | Wish::Gone => {
                    ensure!(count == 0, "{unit} is not to run and is on [{}]", names.join(" "));
                }
                Wish::Open => {
                    ensure!(count < 2, "{unit} runs twice: [{}]", names.join(" "));
                }
            }
        }
        ensure_apart(cluster)
    })?;
    ensure_known(cluster, wishes)
}

/// What was acknowledged is there, and what was destroyed is not.
fn ensure_known(cluster: &Cluster, wishes: &Wishes) -> Result<()> {
    let host = cluster.host(0)?;
    let listed = cluster.run(host, "musterctl list-unit-files --no-legend --fields=unit --full")?;
    let known: Vec<&str> = listed.stdout.lines().map(str::trim).collect();
    for unit in wishes.units_with(Wish::Runs).chain(wishes.units_with(Wish::Stopped)) {
        ensure!(known.contains(&unit.as_str()), "acknowledged-lost: {unit} is not known any more");
    }
    for unit in wishes.units_with(Wish::Gone) {
        ensure!(
            !known.contains(&unit.as_str()),
            "destroyed-known: {unit} was destroyed and is known"
        );
    }
    Ok(())
}

/// After faults that may move nothing: what ran and is still wanted runs where it did, in the same run, unless users had asked
/// for it meanwhile.
pub(super) fn ensure_nothing_moved(
    cluster: &Cluster,
    before: &Running,
    wishes: &Wishes,
    asked: &[String],
) -> Result<()> {
    let now = running_units(cluster)?;
    let moved: Vec<&(String, String, String)> = before
        .difference(&now)
        .filter(|(_, unit, _)| !asked.contains(unit) && wishes.0.contains_key(unit))
        .collect();
    if moved.is_empty() {
        return Ok(());
    }
    let units: Vec<String> =
        moved.iter().map(|(host, unit, _)| format!("{unit} of {host}")).collect();
    Err(anyhow!("now:\n{}", Cluster::format_running(&now)))
        .with_context(|| format!("moved-without-cause: {}", units.join(", ")))
}
