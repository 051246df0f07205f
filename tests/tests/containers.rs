//! Containers as units: the story of a user, from a template to containers that are gone again.
//!
//! What runs is read from cgroups of the hosts and from the engines' own records, never only from Muster.

use anyhow::{Context, Result, ensure};
use muster_tests::cluster::Cluster;
use muster_tests::lab::{Host, IMAGE, Options};

fn ours(unit: &str) -> bool {
    unit.starts_with("web@")
}

#[test]
fn containers_are_placed_run_moved_and_forgotten() -> Result<()> {
    let cluster = Cluster::start(Options { containers: true, ..Options::default() })?;
    let first = cluster.host(0)?;

    cluster.step("instances of a template start on different machines");
    let greet = "Exec=sh -c 'echo %n greets from $$HOSTNAME; exec sleep infinity'\nEnvironment=HOSTNAME=%H\n\
                 [X-Fleet]\nConflicts=web@*";
    cluster.write_container(first, "web@.container", greet)?;
    let started = cluster.run(first, "musterctl start web@1.container web@2.container")?;
    cluster.report_duration("musterctl start web@1.container web@2.container", started.took);
    let (one, two) = (cluster.host_of("web@1.container")?, cluster.host_of("web@2.container")?);
    ensure!(one.name() != two.name(), "both run on {}", one.name());
    for (instance, host) in [(1, one), (2, two)] {
        let container = cluster.container_of(host, &format!("web@{instance}.container"))?;
        ensure!(container.name == format!("systemd-web_{instance}"), "{container:?}");
        let policy = inspect(&cluster, host, &container.id, ".HostConfig.RestartPolicy.Name")?;
        ensure!(policy.is_empty() || policy == "no", "dockerd itself may restart it: {policy}");
    }

    listed_and_told_anywhere(&cluster, one, two)?;
    services_and_containers_conflict(&cluster, first, one)?;

    cluster.step("musterd is killed on every host, and restarted: the same containers");
    let before = cluster.list_running(ours)?;
    cluster.for_each_host(|_, host| cluster.run(host, "systemctl kill --signal=KILL musterd"))?;
    back(&cluster)?;
    cluster.ensure_unchanged(&before, ours)?;
    cluster.for_each_host(|_, host| cluster.run(host, "systemctl restart musterd"))?;
    back(&cluster)?;
    cluster.ensure_unchanged(&before, ours)?;

    a_global_container_runs_everywhere(&cluster, first)?;
    stopped_started_and_restarted(&cluster, first)?;

    cluster.step("a drained machine gives its container up");
    let from = cluster.host_of("web@2.container")?;
    let drain = cluster.run(first, &format!("musterctl drain {}", from.machine_id()))?;
    cluster.report_duration("musterctl drain", drain.took);
    let to = cluster.host_of("web@2.container")?;
    ensure!(to.name() != from.name(), "it is drained, and the container is still there");
    cluster.run(first, &format!("musterctl uncordon {}", from.machine_id()))?;
    ensure!(known(&cluster, from)?.is_empty(), "its engine still knows it");

    cluster.step("a host loses power: its container runs elsewhere");
    let cut = to;
    let survivor = cluster.other_host(&[cut])?;
    let other = cluster.host_of("web@1.container")?;
    let stays = cluster.container_of(other, "web@1.container")?.id;
    cut.power_cut()?;
    let took = cluster.moves_away("web@2.container", &[cut])?;
    cluster.report_duration("from the cut to running elsewhere", took);

    cluster.step("the host comes back: what it ran is swept away there, and nothing moves");
    let before = cluster.list_running(ours)?;
    cut.power_on()?;
    cut.wait_for_engine()?;
    cluster.wait_for_etcd()?;
    cluster.wait_for_machines(3)?;
    cluster.wait_until_settled()?;
    cluster.one_round()?;
    cluster.ensure_unchanged(&before, ours)?;
    ensure!(cluster.container_of(other, "web@1.container")?.id == stays, "web@1 was restarted");
    cluster.wait_for_condition("its engine to have forgotten it", || {
        let known = known(&cluster, cut)?;
        ensure!(known.is_empty(), "it knows {known:?}");
        Ok(())
    })?;

    cluster.step("destroyed is gone: from every host, every engine and the store");
    cluster.run(survivor, "musterctl destroy web@1.container web@2.container web@.container")?;
    for host in cluster.hosts() {
        let running = host.list_containers();
        ensure!(running.is_empty(), "{} runs {running:?}", host.name());
        let known = known(&cluster, host)?;
        ensure!(known.is_empty(), "the engine of {} knows {known:?}", host.name());
    }
    cluster.wait_until_forgotten(survivor)?;
    cluster.assert_sound()?;
    cluster.tear_down()
}

fn listed_and_told_anywhere(cluster: &Cluster, home: &Host, other: &Host) -> Result<()> {
    cluster.step("list-units, status and journal, asked from another host");
    let unit = "web@1.container";
    let rows = cluster.list_states(other)?;
    let row = rows.iter().find(|row| row.unit == unit).context("it is not listed")?;
    let words = (row.active.as_deref(), row.sub.as_deref(), row.machine.as_deref());
    ensure!(words == (Some("active"), Some("running"), Some(home.machine_id())), "{row:?}");
    let id = cluster.container_of(home, unit)?.id;
    let status = cluster.run(other, &format!("musterctl status {unit}"))?.stdout;
    let short = id.get(..12).context("its id is short")?;
    for word in [unit, "active (running)", short, IMAGE, home.name()] {
        ensure!(status.contains(word), "{word} in:\n{status}");
    }
    let greeting = format!("{unit} greets from {}", home.name());
    cluster.wait_for_condition("its greeting", || {
        let journal = cluster.run(other, &format!("musterctl journal {unit}"))?.stdout;
        ensure!(journal.contains(&greeting), "{journal}");
        Ok(())
    })?;
    Ok(())
}

fn services_and_containers_conflict(cluster: &Cluster, first: &Host, home: &Host) -> Result<()> {
    cluster.step("a service that conflicts with a container is refused where that runs, and the other way round");
    let there = format!("MachineID={}", home.machine_id());
    cluster.write_sleeper(first, "lonely.service", &format!("Conflicts=*.container\n{there}"))?;
    cluster.run_failing(first, "musterctl start lonely.service", &["Conflicts=*.container"])?;
    ensure!(cluster.active_on("lonely.service").is_empty(), "it was refused and runs");
    cluster.run(first, "musterctl destroy lonely.service")?;

    cluster.write_sleeper(first, "shy.service", &there)?;
    cluster.run(first, "musterctl start shy.service")?;
    let proud = format!("[X-Fleet]\nConflicts=shy.service\n{there}");
    cluster.write_container(first, "proud.container", &proud)?;
    cluster.run_failing(first, "musterctl start proud.container", &["Conflicts=shy.service"])?;
    ensure!(cluster.active_on("proud.container").is_empty(), "it was refused and runs");
    cluster.run(first, "musterctl destroy proud.container shy.service")?;
    Ok(())
}

fn a_global_container_runs_everywhere(cluster: &Cluster, first: &Host) -> Result<()> {
    cluster.step("a global container runs on every machine");
    cluster.write_container(first, "node.container", "[X-Fleet]\nGlobal=true")?;
    cluster.run(first, "musterctl start node.container")?;
    cluster.wait_for_condition("it everywhere", || {
        let on = cluster.active_on("node.container").len();
        ensure!(on == cluster.hosts().len(), "it runs on {on}");
        Ok(())
    })?;
    cluster.run(first, "musterctl destroy node.container")?;
    ensure!(cluster.active_on("node.container").is_empty(), "it was destroyed and runs");
    Ok(())
}

fn stopped_started_and_restarted(cluster: &Cluster, first: &Host) -> Result<()> {
    cluster.step("stop, start, restart");
    let unit = "web@1.container";
    let home = cluster.host_of(unit)?;
    let before = cluster.container_of(home, unit)?.id;
    cluster.run(first, &format!("musterctl start {unit}"))?;
    let same = cluster.container_of(home, unit)?.id == before;
    ensure!(same, "a start of what runs restarted it");
    let restart = cluster.run(first, &format!("musterctl restart {unit}"))?;
    cluster.report_duration("musterctl restart", restart.took);
    let after = cluster.container_of(home, unit)?.id;
    ensure!(after != before, "it was not restarted");
    let stop = cluster.run(first, &format!("musterctl stop {unit}"))?;
    cluster.report_duration("musterctl stop", stop.took);
    ensure!(cluster.active_on(unit).is_empty(), "it was stopped and runs");
    cluster.run(first, &format!("musterctl start {unit}"))?;
    cluster.host_of(unit)?;
    Ok(())
}

/// Waits until the daemons have taken up their work again, all of it.
fn back(cluster: &Cluster) -> Result<()> {
    cluster.wait_for_daemons()?;
    cluster.wait_for_machines(3)?;
    cluster.wait_until_settled()?;
    cluster.one_round()
}

/// Names of all units' containers that a host's engine knows, running or not.
fn known(cluster: &Cluster, host: &Host) -> Result<Vec<String>> {
    let line = "docker ps --all --filter label=muster.unit --format '{{.Names}}'";
    let names = cluster.run(host, line)?.stdout;
    Ok(names.lines().map(str::to_owned).collect())
}

/// What a host's engine says of a container.
fn inspect(cluster: &Cluster, host: &Host, container: &str, field: &str) -> Result<String> {
    let line = format!("docker inspect --format '{{{{{field}}}}}' {container}");
    Ok(cluster.run(host, &line)?.stdout.trim().to_owned())
}
