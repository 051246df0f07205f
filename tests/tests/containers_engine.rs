//! A container engine that goes away and comes back under its containers: a silence of it declares nothing dead.
//!
//! What runs is read from cgroups of the hosts, which tell it while no engine answers.

use anyhow::{Context, Result, ensure};
use muster_tests::cluster::{Cluster, LONG_TTL, PREFIX, Running};
use muster_tests::lab::{Host, Options, Signal};

const DAEMON: &str = "/etc/docker/daemon.json";

fn ours(unit: &str) -> bool {
    unit.starts_with("app")
}

#[test]
fn containers_outlive_what_their_engine_goes_through() -> Result<()> {
    let provision = ["--ttl", LONG_TTL, "--docker-live-restore"].map(str::to_owned).to_vec();
    let cluster = Cluster::start(Options { containers: true, provision, ..Options::default() })?;
    let first = cluster.host(0)?;
    let apps: Vec<String> = (1..=6).map(|number| format!("app{number}.container")).collect();
    // What an engine takes along is no end of the container's own, so that none of these is asked then.
    let policies = ["no", "no", "no", "on-failure", "on-failure", "on-failure"];
    for (app, restart) in apps.iter().zip(policies) {
        cluster.write_container(first, app, &format!("[Service]\nRestart={restart}"))?;
    }
    cluster.run(first, &format!("musterctl start {}", apps.join(" ")))?;
    let running = cluster.list_running(ours)?;
    ensure!(running.len() == 6, "{}", Cluster::format_running(&running));
    let host = cluster.other_host(&[cluster.find_leader()?])?;
    let asked = cluster.other_host(&[host])?;

    cluster.step("dockerd is killed with live-restore on: systemd starts it again, the containers never went");
    let before = host.unit_processes("docker.service");
    host.signal_unit("docker.service", Signal::KILL)?;
    cluster.wait_for_condition("another dockerd", || {
        let now = host.unit_processes("docker.service");
        ensure!(!now.is_empty() && now.iter().all(|process| !before.contains(process)), "{now:?}");
        Ok(())
    })?;
    host.wait_for_engine()?;
    never_dead(&cluster, asked)?;
    answers(&cluster, host, true)?;
    works(&cluster, host)?;
    cluster.ensure_unchanged(&running, ours)?;

    cluster.step("dockerd is restarted with live-restore on");
    cluster.run(host, "systemctl restart docker")?;
    answers(&cluster, host, true)?;
    never_dead(&cluster, asked)?;
    works(&cluster, host)?;
    cluster.ensure_unchanged(&running, ours)?;

    cluster.step("dockerd hangs: that is noticed, and no container is said to have gone");
    host.signal_unit("docker.service", Signal::STOP)?;
    let took = cluster.wait_for_condition("a word of it", || is_shown(&cluster, asked, host))?;
    cluster.report_duration("noticed", took);
    never_dead(&cluster, asked)?;
    host.signal_unit("docker.service", Signal::CONT)?;
    works(&cluster, host)?;
    cluster.ensure_unchanged(&running, ours)?;

    cluster.step("dockerd is stopped for a while, and musterd is restarted meanwhile");
    cluster.run(host, "systemctl stop docker.socket docker.service")?;
    never_dead(&cluster, asked)?;
    cluster.run(host, "systemctl restart musterd")?;
    answers(&cluster, host, false)?;
    cluster.wait_for_machines(3)?;
    cluster.one_round()?;
    never_dead(&cluster, asked)?;
    cluster.ensure_unchanged(&running, ours)?;

    cluster.step("  that is shown");
    is_shown(&cluster, asked, host)?;
    let (_, unit, _) = on(&running, host).pop_first().context("it runs nothing")?;
    let status = cluster.run_shell(asked, &format!("musterctl status {unit}"))?.stdout;
    ensure!(status.contains("the container engine does not answer"), "{status}");

    cluster.step("  nothing new is placed there, and a refusal says so");
    let there = format!("[X-Fleet]\nMachineID={}", host.machine_id());
    cluster.write_container(asked, "pinned.container", &there)?;
    let refused = cluster.run_failing(
        asked,
        "musterctl start --timeout 20 pinned.container",
        &["pinned.container: no machine can take it"],
    )?;
    cluster.step(&format!("  {}", refused.stderr.trim()));
    ensure!(refused.stderr.contains("no Docker engine"), "{}", refused.stderr);
    cluster.run(asked, "musterctl start --queue --no-block pinned.container")?;

    cluster.step("  it is back: what waited is started, the others never went");
    cluster.run(host, "systemctl start docker.socket docker.service")?;
    answers(&cluster, host, true)?;
    cluster.wait_for_condition("the one that waited", || {
        cluster.container_of(host, "pinned.container").map(|_| ())
    })?;
    cluster.run(asked, "musterctl destroy pinned.container")?;
    cluster.wait_until_settled()?;
    cluster.ensure_unchanged(&running, ours)?;

    cluster.step(
        "live-restore off: dockerd takes its containers along, and they are started again, here",
    );
    cluster.run(host, &format!("echo '{{}}' > {DAEMON} && systemctl reload docker"))?;
    for (how, line) in [
        ("restarted", "systemctl restart docker"),
        ("killed", "systemctl kill --signal=KILL docker"),
    ] {
        cluster.step(&format!("  when it is {how}"));
        let before = cluster.list_running(ours)?;
        cluster.run(host, line)?;
        others_in_their_place(&cluster, host, &before)?;
        // They run before anybody has heard of it.
        cluster.wait_for_condition("every container to be listed as up", || {
            never_dead(&cluster, asked)
        })?;
    }

    cluster.step("a container of the host's own is left alone");
    let own = "docker run --detach --name systemd-own --network host --init busybox sleep infinity";
    let own = cluster.run(asked, own)?.stdout.trim().to_owned();
    let there = format!("[X-Fleet]\nMachineID={}", asked.machine_id());
    cluster.write_container(asked, "own.container", &there)?;
    let refused =
        cluster.run_failing(asked, "musterctl start own.container", &["own.container"])?;
    cluster.step(&format!("  {}", refused.stderr.trim()));
    for verb in ["stop", "destroy"] {
        let _ =
            cluster.run_shell(asked, &format!("musterctl {verb} --timeout 20 own.container"))?;
        let found = asked.list_containers().into_iter().any(|container| container.id == own);
        ensure!(found, "{verb} took the host's own container along");
    }
    cluster.tear_down()
}

/// Waits until a host's containers have died and are up again; those of the other hosts have not been touched.
fn others_in_their_place(cluster: &Cluster, host: &Host, before: &Running) -> Result<()> {
    let its = on(before, host);
    ensure!(its.len() == 2, "{}", Cluster::format_running(&its));
    cluster.wait_for_condition("its containers again, others in their place", || {
        let now = cluster.list_running(ours)?;
        ensure!(now.len() == 6, "{}", Cluster::format_running(&now));
        let again = on(&now, host);
        ensure!(again.len() == 2, "{} left the host", 2 - again.len());
        ensure!(again.is_disjoint(&its), "{}", Cluster::format_running(&again));
        Ok(())
    })?;
    cluster.wait_until_settled()?;
    let now = cluster.list_running(ours)?;
    let others = |running: &Running| running - &on(running, host);
    ensure!(others(&now) == others(before), "a container of another host was touched");
    Ok(())
}

/// What runs on a host.
fn on(running: &Running, host: &Host) -> Running {
    running.iter().filter(|(name, _, _)| name == host.name()).cloned().collect()
}

/// Waits until the cluster knows that a host's engine answers, or does not.
fn answers(cluster: &Cluster, host: &Host, up: bool) -> Result<()> {
    let what = if up { "the engine to answer" } else { "the engine's absence to be noticed" };
    cluster.wait_for_condition(what, || {
        let key = format!("{PREFIX}machine/{}", host.machine_id());
        let record = cluster.run(host, &format!("etcdctl get --print-value-only {key}"))?.stdout;
        ensure!(record.contains("\"docker\"") == up, "{record}");
        Ok(())
    })?;
    Ok(())
}

/// An error unless each unit of a host is listed with a word on the engine that does not answer.
fn is_shown(cluster: &Cluster, asked: &Host, host: &Host) -> Result<()> {
    let rows = cluster.list_states(asked)?;
    let its = rows.iter().filter(|row| row.machine.as_deref() == Some(host.machine_id()));
    for row in its.filter(|row| ours(&row.unit)) {
        let remark = row.remark.as_deref().unwrap_or_default();
        ensure!(remark.contains("the container engine does not answer"), "{row:?}");
    }
    Ok(())
}

/// An error if a container is said to be anything but up.
fn never_dead(cluster: &Cluster, asked: &Host) -> Result<()> {
    let rows = cluster.list_states(asked)?;
    let ours: Vec<_> = rows.iter().filter(|row| ours(&row.unit)).collect();
    ensure!(ours.len() == 6, "{ours:?}");
    for row in ours {
        ensure!(row.active.as_deref() == Some("active"), "{row:?}");
    }
    Ok(())
}

/// An error unless a container can be started and destroyed on a host.
fn works(cluster: &Cluster, host: &Host) -> Result<()> {
    let there = format!("[X-Fleet]\nMachineID={}", host.machine_id());
    cluster.write_container(host, "probe.container", &there)?;
    cluster.run(host, "musterctl start --timeout 60 probe.container")?;
    ensure!(cluster.host_of("probe.container")?.name() == host.name(), "it runs elsewhere");
    cluster.run(host, "musterctl destroy --timeout 60 probe.container")?;
    ensure!(cluster.active_on("probe.container").is_empty(), "it was destroyed and runs");
    Ok(())
}
