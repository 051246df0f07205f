//! Who runs a container unit that names nobody, and what Podman's generator says when a file is submitted: on a machine with Podman alone.

use anyhow::{Result, ensure};
use muster_tests::cluster::Cluster;
use muster_tests::lab::{CONFIGURATION, Host, Options, Release};

const IMAGE: &str =
    "Image=localhost/busybox:latest\nPull=never\nExec=sleep infinity\nStopTimeout=1\n";

#[test]
fn the_machine_says_who_runs_what_names_nobody() -> Result<()> {
    let options = Options {
        hosts: 1,
        etcd: false,
        podman: true,
        release: Some(Release::Trixie),
        configuration: "[containers]\nrunner = \"auto\"\n".to_owned(),
        ..Options::default()
    };
    let cluster = Cluster::start(options)?;
    let host = cluster.host(0)?;
    cluster.step("auto is Podman here, and the list says so");
    cluster.wait_for_condition("it in the list", || {
        let listed = runners(&cluster, host)?;
        ensure!(listed.contains("podman*"), "{listed}");
        Ok(())
    })?;

    cluster.step("a file that names nobody is Podman's");
    cluster.write_unit(host, "plain.container", &format!("[Container]\n{IMAGE}"))?;
    cluster.run(host, "musterctl start plain.container")?;
    let before = cluster.invocation_id(host, "plain.service")?;
    let names = cluster.run(host, "podman ps --format '{{.Names}}'")?.stdout;
    ensure!(names.contains("systemd-plain"), "Podman runs {names}");

    cluster.step("what Podman says of a file that names nobody is told when it is submitted");
    let updates = "[Container]\nImage=busybox\nAutoUpdate=registry\n";
    cluster.write_unit(host, "updates.container", updates)?;
    let told = cluster.run(host, "musterctl submit updates.container")?.stderr;
    for word in ["line 3", "left to Podman", "fully qualified"] {
        ensure!(told.contains(word), "{word} in {told}");
    }
    ensure!(!told.contains("Docker"), "{told}");
    cluster.run(host, "musterctl destroy updates.container")?;

    cluster.step("what Docker has nothing for is told at once, and taken");
    let mapped = format!("[Container]\n{IMAGE}PodmanArgs=--cgroup-conf=memory.high=1G\n");
    cluster.write_unit(host, "mapped.container", &mapped)?;
    let told = cluster.run(host, "musterctl submit mapped.container")?.stderr;
    for word in ["line 6", "PodmanArgs", "only machines with Podman take it"] {
        ensure!(told.contains(word), "{word} in {told}");
    }

    cluster.step("what the generator says is told when a file is submitted");
    let wrong = format!("[Container]\n{IMAGE}Bogus=1\n[X-Fleet]\nRunner=podman\n");
    cluster.write_unit(host, "wrong.container", &wrong)?;
    let told = cluster.run(host, "musterctl submit wrong.container")?.stderr;
    for word in ["line 6", "unsupported key 'Bogus'"] {
        ensure!(told.contains(word), "{word} in {told}");
    }
    let short = "[Container]\nImage=busybox\n[X-Fleet]\nRunner=podman\n";
    cluster.write_unit(host, "short.container", short)?;
    let told = cluster.run(host, "musterctl submit short.container")?.stderr;
    ensure!(told.contains("fully qualified"), "{told}");
    let waits = format!("[Container]\n{IMAGE}Volume=later.volume:/d\n[X-Fleet]\nRunner=podman\n");
    cluster.write_unit(host, "waits.container", &waits)?;
    let told = cluster.run(host, "musterctl submit waits.container")?.stderr;
    ensure!(told.contains("later.volume"), "{told}");

    drop_ins_are_merged_as_podman_does(&cluster, host)?;

    cluster.step("a machine that changes its mind runs on what it runs");
    let written = host.read_file(CONFIGURATION)?;
    host.write_file(CONFIGURATION, &written.replace("\"auto\"", "\"docker\""))?;
    cluster.run(host, "systemctl restart musterd")?;
    cluster.wait_for_condition("the list to say so", || {
        let listed = runners(&cluster, host)?;
        ensure!(listed.contains("podman") && !listed.contains('*'), "{listed}");
        Ok(())
    })?;
    let after = cluster.invocation_id(host, "plain.service")?;
    ensure!(before == after, "it was started again");
    cluster.wait_for_condition("it to be shown", || {
        let rows = cluster.list_states(host)?;
        let row = rows.iter().find(|row| row.unit == "plain.container");
        ensure!(row.is_some_and(|row| row.active.as_deref() == Some("active")), "{rows:?}");
        Ok(())
    })?;

    cluster.step("what nobody there runs is refused, with the reason");
    cluster.write_unit(host, "other.container", &format!("[Container]\n{IMAGE}"))?;
    let words = ["no Docker engine"];
    cluster.run_failing(host, "musterctl start other.container", &words)?;
    cluster.tear_down()
}

/// Has the generator read what `musterctl` has made of a file and its drop-ins, and the file beside the drop-ins.
const TRANSLATE_BOTH: &str = "set -e; cd /root; mkdir -p whole made/whole made/parts; musterctl cat shop-web@1.container > whole/shop-web@1.container; \
     for from in whole parts; do QUADLET_UNIT_DIRS=/root/$from /usr/lib/systemd/system-generators/podman-system-generator \
     --no-kmsg-log /root/made/$from; done; \
     for from in whole parts; do grep ExecStart=/ made/$from/*.service; done";

fn drop_ins_are_merged_as_podman_does(cluster: &Cluster, host: &Host) -> Result<()> {
    cluster.step("drop-ins are merged as the generator does");
    let files = [
        (
            "shop-web@1.container",
            "Image=localhost/busybox:latest\nEnvironment=A=file\nEnvironment=B=file",
        ),
        ("shop-web@1.container.d/20.conf", "Environment=A=instance\nPull=never"),
        ("shop-web@1.container.d/10.conf", "Environment=C=hides"),
        ("shop-web@.container.d/10.conf", "Environment=C=hidden"),
        ("shop-web@.container.d/30.conf", "Environment=B=template"),
        ("shop-.container.d/40.conf", "Environment=B=prefix\nExec=sleep infinity"),
        ("container.d/50.conf", "Environment=D=all\nStopTimeout=1"),
    ];
    for (name, lines) in files {
        let path = format!("/root/parts/{name}");
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        cluster.run(host, &format!("mkdir -p {folder}"))?;
        host.write_file(&path, &format!("[Container]\n{lines}\n"))?;
    }
    host.write_file("/root/parts/shop-web@1.container.d/60.conf", "[X-Fleet]\nRunner=podman\n")?;
    let told = cluster.run(host, "musterctl start /root/parts/shop-web@1.container")?.stderr;
    for word in ["shop-web@1.container.d/10.conf (from line ", "container.d/50.conf (from line "] {
        ensure!(told.contains(word), "{word} in {told}");
    }
    let made = cluster.run(host, TRANSLATE_BOTH)?.stdout;
    let commands: Vec<&str> = made.lines().collect();
    let [whole, parts] = commands[..] else { anyhow::bail!("it makes {made}") };
    ensure!(whole == parts, "{made}");
    ensure!(whole.contains("--env B=prefix") && whole.contains("--env C=hides"), "{whole}");
    let variables = cluster.run(host, "podman exec systemd-shop-web_1 env")?.stdout;
    ensure!(variables.contains("A=instance") && variables.contains("D=all"), "{variables}");

    cluster.step("a drop-in that is none is told with its line");
    host.write_file("/root/parts/container.d/99.conf", "Label=x\n")?;
    let words = ["container.d/99.conf, line 1", "before the first [Section]"];
    cluster.run_failing(host, "musterctl start /root/parts/shop-web@1.container", &words)?;
    cluster.run(host, "musterctl destroy shop-web@1.container").map(|_| ())
}

fn runners(cluster: &Cluster, host: &Host) -> Result<String> {
    Ok(cluster.run(host, "musterctl list-machines --no-legend --fields=runners")?.stdout)
}
