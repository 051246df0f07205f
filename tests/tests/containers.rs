//! Containers as units: the story of a user, from a template to containers that are gone again.
//!
//! What runs is read from cgroups of the hosts and from the engines' own records, never only from Muster.

use anyhow::{Result, ensure};
use muster_tests::cluster::Cluster;
use muster_tests::lab::{Host, Options};

fn ours(unit: &str) -> bool {
    unit.starts_with("web@")
}

#[test]
fn containers_are_placed_run_moved_and_forgotten() -> Result<()> {
    let provision = vec!["--ttl".to_owned(), "5s".to_owned()];
    let cluster = Cluster::up(Options { containers: true, provision, ..Options::default() })?;
    let first = cluster.host(0)?;

    cluster.step("instances of a template start on different machines");
    cluster.write_container(first, "web@.container", "[X-Fleet]\nConflicts=web@*")?;
    let started = cluster.run(first, "musterctl start web@1.container web@2.container")?;
    cluster.took("musterctl start web@1.container web@2.container", started.took);
    let (one, two) = (cluster.home("web@1.container")?, cluster.home("web@2.container")?);
    ensure!(one.name() != two.name(), "both run on {}", one.name());
    for (instance, host) in [(1, one), (2, two)] {
        let container = cluster.container(host, &format!("web@{instance}.container"))?;
        ensure!(container.name == format!("systemd-web_{instance}"), "{container:?}");
        let policy = inspect(&cluster, host, &container.id, ".HostConfig.RestartPolicy.Name")?;
        ensure!(policy.is_empty() || policy == "no", "dockerd itself may restart it: {policy}");
    }

    cluster.step("musterd is killed on every host: the same containers");
    let before = cluster.running(ours)?;
    cluster.each(|_, host| cluster.run(host, "systemctl kill --signal=KILL musterd"))?;
    cluster.wait_for_daemons()?;
    cluster.wait_for_machines(3)?;
    cluster.settled()?;
    cluster.one_round()?;
    cluster.unchanged(&before, ours)?;

    cluster.step("a host loses power: its container runs elsewhere");
    let survivor = cluster.other(&[two])?;
    two.power_cut()?;
    let took = cluster.moves_away("web@2.container", &[two])?;
    cluster.took("from the cut to running elsewhere", took);
    cluster.run(survivor, "musterctl list-units")?;
    cluster.down()
}

/// What a host's engine says of a container.
fn inspect(cluster: &Cluster, host: &Host, container: &str, field: &str) -> Result<String> {
    let line = format!("docker inspect --format '{{{{{field}}}}}' {container}");
    Ok(cluster.run(host, &line)?.stdout.trim().to_owned())
}
