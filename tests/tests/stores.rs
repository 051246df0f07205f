//! Stores that are not a cluster's own: an etcd that has lost its data, and one that holds another cluster. Nothing stops, and a person is
//! told; when the right one is back nothing has moved.

use anyhow::{Context as _, Result, ensure};
use muster_tests::cluster::{Cluster, PREFIX, Running};

/// Long enough that a host which is busy with something else is not lost while etcd is there.
const TTL: &str = "10s";

/// An identity that is nobody's.
const OTHER_CLUSTER: &str = "0123456789abcdef0123456789abcdef";

/// Where the members have their data.
const READ_SETTINGS: &str = ". /etc/default/etcd";

fn ours(unit: &str) -> bool {
    unit.starts_with("app")
}

/// Does something to the data of every member while none of them runs.
fn exchange_data(cluster: &Cluster, line: &str) -> Result<()> {
    // Killed: the last but one cannot take leave of a quorum.
    let stop = "systemctl kill --signal=KILL etcd; systemctl stop etcd";
    cluster.for_each_host(|_, host| cluster.run(host, stop))?;
    cluster.for_each_host(|_, host| cluster.run(host, &format!("{READ_SETTINGS} && {line}")))?;
    cluster.for_each_host(|_, host| cluster.run(host, "systemctl start --no-block etcd"))?;
    cluster.wait_for_etcd().map(|_| ())
}

/// Every daemon refuses the store and says what a person can do; nothing of ours has changed, on disk neither.
fn refuses(cluster: &Cluster, running: &Running) -> Result<()> {
    for host in cluster.hosts() {
        cluster.wait_until_unhealthy(host, "lease: the store holds ")?;
        cluster.wait_until_unhealthy(host, "this machine belongs to cluster ")?;
        cluster.wait_for_condition("the doctor to name the way out", || {
            let found = cluster.run_doctor(host)?;
            ensure!(!found.healthy, "the doctor of {} finds nothing wrong", host.name());
            let told = found.violations.iter().any(|row| row.message.contains("--adopt-cluster="));
            ensure!(told, "{:#?}", found.violations);
            Ok(())
        })?;
        for unit in host.active_units(ours) {
            let last = host.read_file("/var/lib/muster/placements.json")?;
            ensure!(last.contains(&unit), "{unit} is forgotten: {last}");
        }
    }
    cluster.ensure_unchanged(running, ours)
}

/// Everything goes on by itself, with the units as they were.
fn goes_on(cluster: &Cluster, running: &Running) -> Result<()> {
    cluster.wait_for_machines(cluster.hosts().len())?;
    cluster.wait_until_settled()?;
    cluster.one_round()?;
    cluster.ensure_unchanged(running, ours)
}

#[test]
fn a_store_that_is_not_ours_stops_nothing() -> Result<()> {
    let cluster = Cluster::with_ttl(TTL)?;
    let first = cluster.host(0)?;
    let apps: Vec<String> = (1..=6).map(|number| format!("app{number}.service")).collect();
    for app in &apps {
        cluster.write_sleeper(first, app, "")?;
    }
    cluster.run(first, &format!("musterctl start {}", apps.join(" ")))?;
    let running = cluster.list_running(ours)?;
    for host in cluster.hosts() {
        ensure!(!host.active_units(ours).is_empty(), "{} runs nothing", host.name());
    }
    let own =
        cluster.run(first, &format!("etcdctl get --print-value-only {PREFIX}cluster"))?.stdout;
    let own = own.trim();
    let digits = own.split('"').find(|word| word.len() == OTHER_CLUSTER.len());
    let identity = digits.context("the cluster has no identity")?.to_owned();

    cluster.step("etcd begins with an empty directory");
    exchange_data(&cluster, "mv $ETCD_DATA_DIR $ETCD_DATA_DIR.kept")?;
    refuses(&cluster, &running)?;

    cluster.step("  a daemon that starts anew believes it no more");
    let restarted = cluster.host(1)?;
    cluster.run(restarted, "systemctl restart musterd")?;
    refuses(&cluster, &running)?;

    cluster.step("  another cluster is in it");
    let record = own.replacen(&identity, OTHER_CLUSTER, 1);
    cluster.run(first, &format!("etcdctl put {PREFIX}cluster '{record}'"))?;
    for host in cluster.hosts() {
        cluster.wait_until_unhealthy(host, OTHER_CLUSTER)?;
    }
    refuses(&cluster, &running)?;
    cluster.run(restarted, "systemctl restart musterd")?;
    cluster.wait_until_unhealthy(restarted, OTHER_CLUSTER)?;
    cluster.ensure_unchanged(&running, ours)?;

    cluster.step("the data are back: everything goes on, and nothing has moved");
    exchange_data(&cluster, "rm -r $ETCD_DATA_DIR && mv $ETCD_DATA_DIR.kept $ETCD_DATA_DIR")?;
    goes_on(&cluster, &running)?;
    cluster.assert_sound()?;
    cluster.tear_down()
}
