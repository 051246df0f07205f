//! A roll of hosts whose units Podman runs: replicas of a template that have no room elsewhere, a pod of two containers that moves, and one
//! container on every host.
//!
//! What runs is read from cgroups of the hosts, from Podman and over HTTP, never only from Muster. These hosts are Debian 13 whatever
//! release the others are made of: older ones have no Quadlet.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use muster_tests::cluster::Cluster;
use muster_tests::lab::{Host, Options, Release};
use muster_tests::reboots::{DEFAULT, Reboots, options_with};
use muster_tests::rolls::{ensure_all_back, find_overlap, print_samples, request_all};

/// Three replicas of a template, no two on one host: each is away while its host reboots.
const REPLICAS: [&str; 3] = ["web@1", "web@2", "web@3"];

/// Where the replicas answer, and behind them the pod.
const PORTS: [u16; 4] = [8001, 8002, 8003, 8004];

const IMAGE: &str = "Image=localhost/busybox:latest\nPull=never\n";

/// Serves a page on a port, and ends as it is asked to. It is up once it answers.
fn serving(port: &str) -> String {
    format!(
        "{IMAGE}Exec=sh -c 'mkdir /page; echo %N > /page/index.html; httpd -p {port} -h /page; trap \"exit 0\" TERM; sleep infinity & wait'\n\
         HealthCmd=wget -q -O /dev/null http://127.0.0.1:{port}/\nHealthInterval=1s\nNotify=healthy\n"
    )
}

/// Runs until it is stopped.
fn idling() -> String {
    format!("{IMAGE}Exec=sh -c 'trap \"exit 0\" TERM; sleep infinity & wait'\n")
}

fn start_units(cluster: &Cluster, host: &Host) -> Result<()> {
    let service = "[Service]\nRestart=always\n\n[X-Fleet]\nRunner=podman\n";
    let files = [
        (
            "web@.container",
            format!("[Container]\nNetwork=host\n{}{service}Conflicts=web@*\n", serving("800%i")),
        ),
        ("shop.pod", "[Pod]\nNetwork=host\n\n[X-Fleet]\nRunner=podman\n".to_owned()),
        ("window.container", format!("[Container]\nPod=shop.pod\n{}{service}", serving("8004"))),
        ("clerk.container", format!("[Container]\nPod=shop.pod\n{}{service}", idling())),
        (
            "agent.container",
            format!("[Container]\nNetwork=none\n{}{service}Global=true\n", idling()),
        ),
    ];
    for (name, text) in &files {
        cluster.write_unit(host, name, text)?;
    }
    cluster.run(host, "musterctl submit web@.container")?;
    let replicas: Vec<String> = REPLICAS.iter().map(|name| format!("{name}.container")).collect();
    let started = cluster.run(
        host,
        &format!(
            "musterctl start {} shop.pod window.container clerk.container agent.container",
            replicas.join(" ")
        ),
    )?;
    cluster.report_duration("musterctl start of everything", started.took);
    Ok(())
}

/// Everything runs where it is to, and each host's Podman has what runs there and nothing besides.
fn ensure_all_run(cluster: &Cluster) -> Result<()> {
    let replicas: Vec<String> = REPLICAS.iter().map(|name| format!("{name}.service")).collect();
    let mut taken = BTreeSet::new();
    for service in &replicas {
        taken.insert(cluster.host_of(service)?.name());
    }
    ensure!(taken.len() == REPLICAS.len(), "the replicas are on {taken:?}");
    let home = cluster.host_of("window.service")?;
    for host in cluster.hosts() {
        let mut expected = BTreeSet::from(["systemd-agent".to_owned()]);
        for service in &replicas {
            if cluster.host_of(service)?.name() == host.name() {
                let name = service.trim_end_matches(".service").replace('@', "_");
                expected.insert(format!("systemd-{name}"));
            }
        }
        if host.name() == home.name() {
            let members = ["systemd-shop-infra", "systemd-window", "systemd-clerk"];
            expected.extend(members.map(ToOwned::to_owned));
        }
        for (what, line) in [
            ("runs", "podman ps --format '{{.Names}}'"),
            ("knows", "podman ps --all --format '{{.Names}}'"),
        ] {
            let listed = cluster.run(host, line)?.stdout;
            let names: BTreeSet<String> = listed.lines().map(ToOwned::to_owned).collect();
            ensure!(names == expected, "Podman of {} {what} {names:?}", host.name());
        }
        let members = "podman ps --filter pod=systemd-shop --quiet";
        let members = cluster.run(host, members)?.stdout.lines().count();
        let of_pod = if host.name() == home.name() { 3 } else { 0 };
        ensure!(members == of_pod, "the pod on {} has {members} containers", host.name());
    }
    for port in PORTS {
        let answers = |host: &&Host| cluster.http_get(host, port, "/").is_ok();
        let answering = cluster.hosts().iter().filter(answers).count();
        ensure!(answering == 1, "{answering} hosts answer on {port}");
    }
    Ok(())
}

#[test]
fn containers_and_a_pod_of_podmans_run_again_after_each_reboot_and_one_replica_at_most_is_away()
-> Result<()> {
    let cluster = Cluster::start(Options {
        podman: true,
        release: Some(Release::Trixie),
        ..options_with("settle = \"1s\"")
    })?;
    let reboots = Reboots::for_lab(&cluster);
    reboots.count_boots()?;
    start_units(&cluster, cluster.host(0)?)?;
    cluster.wait_for_condition("everything to run", || ensure_all_run(&cluster))?;

    cluster.step("all three hosts ask at once; there is one slot");
    let (roll, samples) = cluster.sample_while(&PORTS, || {
        request_all(&cluster)?;
        reboots.watch(DEFAULT, 3, |what| cluster.step(what))
    })?;
    print_samples(&cluster, &PORTS, &samples);
    ensure!(roll.most == 1, "{} slots were held at once: {roll:?}", roll.most);
    let (replicas, pod) = samples.split_replicas(REPLICAS.len());
    ensure!(replicas.doubled_samples().is_empty(), "{:?}", replicas.doubled_samples());
    let fewest = replicas.fewest_answering();
    ensure!(fewest == 2, "at one time {fewest} replicas answered");
    // It keeps no data, so that it runs elsewhere before it stops.
    ensure!(pod.fewest_answering() == 1, "the pod was away for {:?}", pod.time_silent());

    let history = reboots.wait_for_freed(DEFAULT, 3)?;
    ensure!(find_overlap(&history).is_none(), "{:?}", find_overlap(&history));
    ensure_all_back(&cluster, &reboots, &history)?;
    cluster.wait_for_condition("everything to run again", || ensure_all_run(&cluster))?;
    cluster.assert_sound()?;

    cluster.step("destroyed is gone");
    let units = "web@1.container web@2.container web@3.container web@.container window.container \
                 clerk.container shop.pod agent.container";
    cluster.run(cluster.host(0)?, &format!("musterctl destroy {units}"))?;
    cluster.wait_for_condition("nothing of it on any host", || {
        for host in cluster.hosts() {
            let left = cluster.run(host, "podman ps --all --quiet; podman pod ls --quiet")?.stdout;
            ensure!(left.is_empty(), "Podman of {} has {left}", host.name());
        }
        Ok(())
    })?;
    cluster.tear_down()
}
