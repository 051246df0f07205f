//! Units that only Podman runs, where no machine has it: refused with the line that needs it and the way out, and carried out once one has.

use anyhow::{Result, ensure};
use muster_tests::cluster::Cluster;
use muster_tests::lab::{Host, Options, Release};

/// Where Quadlet's generator is, under both of its names, and where it goes meanwhile.
const GENERATOR: [(&str, &str); 2] = [
    ("/usr/libexec/podman/quadlet", "/root/quadlet"),
    ("/usr/lib/systemd/system-generators/podman-system-generator", "/root/generator"),
];

const IMAGE: &str =
    "Image=localhost/busybox:latest\nPull=never\nExec=sleep infinity\nStopTimeout=1\n";

#[test]
fn what_only_podman_runs_waits_for_a_machine_that_has_it_and_says_so() -> Result<()> {
    let cluster = Cluster::start(Options {
        hosts: 1,
        etcd: false,
        podman: true,
        release: Some(Release::Trixie),
        ..Options::default()
    })?;
    let host = cluster.host(0)?;
    for (from, to) in GENERATOR {
        cluster.run(host, &format!("mv {from} {to}"))?;
    }
    restart_with(&cluster, host, "systemd")?;

    cluster.step("a pod, and what is in it, is refused: which line needs Podman, and what to do");
    cluster.write_unit(host, "shop.pod", "[Pod]\nNetwork=host\n")?;
    let web = format!("[Container]\n{IMAGE}Pod=shop.pod\n");
    cluster.write_unit(host, "web.container", &web)?;
    let words = [
        "shop.pod: no machine can take it now",
        "line 1: [Pod] is Podman's alone",
        "web.container: no machine can take it now",
        "line 6: [Container] Pod: Docker has no pods",
        "hint: a machine has Podman for units once Podman 4.4 or later (5.0 for pods) is installed and musterd restarted there",
    ];
    let told = cluster.run_failing(host, "musterctl start shop.pod web.container", &words)?;
    cluster.step(&format!("  {}", told.stderr.trim()));
    for (name, lines, word) in [
        ("box.image", "[Image]\nImage=localhost/a\n".to_owned(), "line 1: [Image] is Podman's"),
        (
            "asks.container",
            format!("[Container]\n{IMAGE}[X-Fleet]\nRunner=podman\n"),
            "line 7: [X-Fleet] Runner=podman",
        ),
        (
            "mapped.container",
            format!("[Container]\n{IMAGE}UIDMap=0:1:1\n"),
            "line 6: [Container] UIDMap",
        ),
    ] {
        cluster.write_unit(host, name, &lines)?;
        let line = format!("musterctl start {name}");
        cluster.run_failing(host, &line, &[word, "has no Podman", "hint: "])?;
    }

    cluster.step("who waits for it is told by plan and status, too");
    cluster.run(host, "musterctl start --queue --no-block shop.pod web.container")?;
    let plan = cluster.run(host, "musterctl plan")?.stdout;
    for word in ["shop.pod cannot be placed", "has no Podman with Quadlet", "line 1"] {
        ensure!(plan.contains(word), "{word} in {plan}");
    }
    let words = ["is on no machine", "`musterctl plan` says what keeps it"];
    cluster.run_failing(host, "musterctl status shop.pod", &words)?;

    cluster.step("Podman is installed and musterd restarted: what waited runs");
    for (to, from) in GENERATOR {
        cluster.run(host, &format!("mv {from} {to}"))?;
    }
    restart_with(&cluster, host, "podman")?;
    cluster.run(host, "musterctl start shop.pod web.container")?;
    let names = "podman ps --filter pod=systemd-shop --format '{{.Names}}' | sort";
    let names = cluster.run(host, names)?.stdout;
    ensure!(names.lines().eq(["systemd-shop-infra", "systemd-web"]), "its pod has {names}");

    cluster.step("a file that names nobody is told that Podman would take it if it were asked");
    cluster.write_unit(host, "plain.container", &format!("[Container]\n{IMAGE}"))?;
    let words = ["no Docker engine", "its Podman takes what says Runner=podman"];
    cluster.run_failing(host, "musterctl start plain.container", &words)?;
    cluster.assert_sound()?;
    cluster.tear_down()
}

/// Has musterd look anew at what the machine has, until that has this as the last of its runners.
fn restart_with(cluster: &Cluster, host: &Host, last: &str) -> Result<()> {
    cluster.run(host, "systemctl restart musterd")?;
    cluster.wait_for_condition(&format!("{last} in the list"), || {
        let line = "musterctl list-machines --no-legend --fields=runners";
        let listed = cluster.run(host, line)?.stdout;
        ensure!(listed.trim().ends_with(last), "{listed}");
        Ok(())
    })?;
    Ok(())
}
