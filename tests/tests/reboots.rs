//! Rolls: several hosts want to reboot at once, and do so as many at a time as there are slots, while the service they
//! carry goes on.

use anyhow::{Context, Result, ensure};
use muster_tests::cluster::Cluster;
use muster_tests::reboots::{DEFAULT, Reboots, format_history, options_with};
use muster_tests::rolls::{ensure_all_back, find_overlap, print_samples, request_all};

/// Where the replicas of `examples/web@.service` answer, whatever host they are on.
const REPLICAS: [(&str, u16); 3] =
    [("web@1.service", 8001), ("web@2.service", 8002), ("web@3.service", 8003)];

/// Starts so many replicas, no two on one host, and waits until each answers. Their ports.
fn replicas(cluster: &Cluster, count: usize) -> Result<Vec<u16>> {
    let first = cluster.host(0)?;
    let replicas: Vec<_> = REPLICAS.into_iter().take(count).collect();
    let names: Vec<&str> = replicas.iter().map(|(name, _)| *name).collect();
    cluster.write_examples(first, &["web@.service"])?;
    cluster.run(first, "musterctl submit web@.service")?;
    cluster.run(first, &format!("musterctl start {}", names.join(" ")))?;
    cluster.wait_for_condition("answers of all replicas", || {
        for (name, port) in &replicas {
            cluster.http_get(cluster.host_of(name)?, *port, "/")?;
        }
        Ok(())
    })?;
    Ok(replicas.into_iter().map(|(_, port)| port).collect())
}

#[test]
fn hosts_that_want_to_at_once_reboot_one_after_the_other_and_one_replica_at_most_is_away()
-> Result<()> {
    let cluster = Cluster::start(options_with("settle = \"1s\""))?;
    let reboots = Reboots::for_lab(&cluster);
    reboots.count_boots()?;
    let ports = replicas(&cluster, 3)?;

    cluster.step("all three ask at once; there is one slot, and no room for a replica anywhere");
    let (roll, samples) = cluster.sample_while(&ports, || {
        request_all(&cluster)?;
        reboots.watch(DEFAULT, 3, |what| cluster.step(what))
    })?;
    print_samples(&cluster, &ports, &samples);
    ensure!(roll.most == 1, "{} slots were held at once: {roll:?}", roll.most);
    ensure!(
        samples.fewest_answering() == 2,
        "at one time {} replicas answered",
        samples.fewest_answering()
    );
    ensure!(samples.doubled_samples().is_empty(), "{:?}", samples.doubled_samples());

    let history = reboots.wait_for_freed(DEFAULT, 3)?;
    ensure!(find_overlap(&history).is_none(), "{:?}", find_overlap(&history));
    ensure_all_back(&cluster, &reboots, &history)?;
    for (unit, _) in REPLICAS {
        cluster.host_of(unit)?;
    }

    cluster.step("which is what a user is told");
    let first = cluster.host(0)?;
    let status = cluster.run(first, "musterctl reboot status")?.stdout;
    for line in ["Available: 1", "Max: 1"] {
        ensure!(status.lines().any(|told| told == line), "{line:?} is missing: {status}");
    }
    let history = cluster.run(first, "musterctl reboot history")?.stdout;
    for host in cluster.hosts() {
        let id = host.machine_id().get(..8).context("a machine id is short")?;
        ensure!(history.contains(id), "{} is missing: {history}", host.name());
    }
    cluster.assert_sound()?;
    cluster.tear_down()
}

#[test]
fn with_room_elsewhere_units_move_before_they_stop_and_no_replica_is_ever_away() -> Result<()> {
    let cluster = Cluster::start(options_with("settle = \"1s\""))?;
    let reboots = Reboots::for_lab(&cluster);
    reboots.count_boots()?;
    let ports = replicas(&cluster, 2)?;

    cluster.step("one after the other, and the third host has room");
    let (roll, samples) = cluster.sample_while(&ports, || {
        request_all(&cluster)?;
        reboots.watch(DEFAULT, 3, |what| cluster.step(what))
    })?;
    print_samples(&cluster, &ports, &samples);
    ensure!(roll.most == 1, "{} slots were held at once: {roll:?}", roll.most);
    ensure!(
        samples.fewest_answering() == 2,
        "at one time {} replicas answered",
        samples.fewest_answering()
    );
    ensure_all_back(&cluster, &reboots, &reboots.wait_for_freed(DEFAULT, 3)?)?;
    cluster.assert_sound()?;
    cluster.tear_down()
}

#[test]
fn two_slots_are_for_two_hosts_and_the_third_waits() -> Result<()> {
    // While two of them are down the store has no quorum, and everybody who needs it waits for it.
    let cluster = Cluster::start(options_with("settle = \"1s\""))?;
    let reboots = Reboots::for_lab(&cluster);
    reboots.count_boots()?;
    let first = cluster.host(0)?;
    cluster.run(first, "musterctl reboot set-max 2")?;
    ensure!(reboots.read_slots(DEFAULT)?.max == 2, "{:?}", reboots.read_slots(DEFAULT)?);
    request_all(&cluster)?;
    let roll = reboots.watch(DEFAULT, 3, |what| cluster.step(what))?;
    ensure!(roll.most == 2, "{} slots were held at once: {roll:?}", roll.most);
    let history = reboots.wait_for_freed(DEFAULT, 3)?;
    ensure!(
        find_overlap(&history).is_some(),
        "nobody held a slot beside another: {}",
        format_history(&history)
    );
    ensure_all_back(&cluster, &reboots, &history)?;
    cluster.assert_sound()?;
    cluster.tear_down()
}
