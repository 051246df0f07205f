//! Files of Quadlet's that name one another, with Podman: a pod with its containers, volumes, networks and images, brought to where
//! they are needed, moved as one, and gone with the last that names them.
//!
//! What runs is read from Podman and from cgroups of the hosts, never only from Muster.

use anyhow::{Result, ensure};
use muster_tests::cluster::Cluster;
use muster_tests::lab::{Host, Options, Release};

const X_FLEET: &str = "[X-Fleet]\nRunner=podman\n";
const IMAGE: &str = "Image=localhost/busybox:latest\nPull=never\n";

fn ours(unit: &str) -> bool {
    ["shop-pod.service", "web.service", "side.service"].contains(&unit)
}

fn member(exec: &str, more: &str) -> String {
    let run = format!("Exec=sh -c '{exec}; trap \"exit 0\" TERM; sleep infinity & wait'\n");
    format!("[Container]\n{IMAGE}Pod=shop.pod\n{more}{run}\n[Service]\nRestart=always\n\n{X_FLEET}")
}

#[test]
fn files_that_name_one_another_go_together() -> Result<()> {
    let options = Options { podman: true, release: Some(Release::Trixie), ..Options::default() };
    let cluster = Cluster::start(options)?;
    let first = cluster.host(0)?;
    write_files(&cluster, first)?;

    cluster.step("a pod and its containers start on one machine, with what they name");
    cluster.run(first, "musterctl submit data.volume front.network")?;
    let started = cluster.run(first, "musterctl start shop.pod web.container side.container")?;
    cluster.report_duration("musterctl start of a pod of two containers", started.took);
    let home = cluster.host_of("web.service")?;
    for unit in ["shop-pod.service", "side.service"] {
        let on = cluster.host_of(unit)?;
        ensure!(on.name() == home.name(), "{unit} is on {}", on.name());
    }
    runs_as_a_pod(&cluster, home)?;

    cluster.step("musterd is killed on every host: the same runs");
    let before = cluster.list_running(ours)?;
    ensure!(before.len() == 3, "{}", Cluster::format_running(&before));
    cluster.for_each_host(|_, host| cluster.run(host, "systemctl kill --signal=KILL musterd"))?;
    cluster.wait_for_machines(3)?;
    cluster.one_round()?;
    cluster.ensure_unchanged(&before, ours)?;

    cluster.step("what is named is not destroyed before those that name it");
    for unit in ["shop.pod", "data.volume"] {
        let words = [unit, "is in use"];
        cluster.run_failing(first, &format!("musterctl destroy {unit}"), &words)?;
    }

    cluster.step("a host loses power: the pod runs elsewhere, as one");
    let survivor = cluster.other_host(&[home])?;
    home.power_cut()?;
    let took = cluster.moves_away("side.service", &[home])?;
    cluster.report_duration("from the cut to running elsewhere", took);
    cluster.wait_for_condition("all of it on one other machine", || {
        let next = cluster.host_of("side.service")?;
        for unit in ["shop-pod.service", "web.service"] {
            ensure!(cluster.host_of(unit)?.name() == next.name(), "{unit} is not with the rest");
        }
        runs_as_a_pod(&cluster, next)
    })?;
    home.power_on()?;
    cluster.wait_for_etcd()?;
    cluster.wait_for_machines(3)?;
    cluster.wait_until_settled()?;
    ensure!(left_over(&cluster, home)?.is_empty(), "left over: {}", left_over(&cluster, home)?);

    cluster.step("the last one that names them takes them along, and a volume's data stays");
    let last = cluster.host_of("web.service")?;
    cluster.run(survivor, "musterctl destroy web.container side.container shop.pod")?;
    cluster.wait_for_condition("nothing of it on any host", || {
        for host in cluster.hosts() {
            ensure!(left_over(&cluster, host)?.is_empty(), "left: {}", left_over(&cluster, host)?);
            // A pod that a power cut has left behind is Podman's to replace when it comes again; it does not run.
            let which = if host.name() == home.name() { "" } else { "--all" };
            let line = format!("podman ps {which} --quiet");
            let known = cluster.run(host, &line)?.stdout;
            ensure!(known.is_empty(), "its Podman still knows {known}");
        }
        Ok(())
    })?;
    let volumes = cluster.run(last, "podman volume ls --quiet")?.stdout;
    ensure!(volumes.contains("systemd-data"), "volumes: {volumes}");

    units_of_their_own(&cluster, survivor)?;
    cluster.run(survivor, "musterctl destroy data.volume front.network")?;
    cluster.wait_until_forgotten(survivor)?;
    cluster.assert_sound()?;
    cluster.tear_down()
}

fn write_files(cluster: &Cluster, host: &Host) -> Result<()> {
    cluster.write_unit(host, "data.volume", "[Volume]\nLabel=of=shop\n")?;
    cluster.write_unit(host, "front.network", "[Network]\n")?;
    let pod = format!("[Pod]\nNetwork=front.network\nVolume=data.volume:/data\n\n{X_FLEET}");
    cluster.write_unit(host, "shop.pod", &pod)?;
    let web = member("hostname > /data/greeting", "");
    cluster.write_unit(host, "web.container", &web)?;
    cluster.write_unit(host, "side.container", &member("true", "Environment=A=b\n"))
}

/// The pod is there, with both containers, its network and its volume.
fn runs_as_a_pod(cluster: &Cluster, host: &Host) -> Result<()> {
    let line = "podman ps --filter pod=systemd-shop --format '{{.Names}}' | sort";
    let names = cluster.run(host, line)?.stdout;
    let expected = ["systemd-shop-infra", "systemd-side", "systemd-web"];
    ensure!(names.lines().eq(expected), "its pod has {names}");
    let greeting = cluster.run(host, "podman exec systemd-side cat /data/greeting")?.stdout;
    ensure!(!greeting.trim().is_empty(), "the volume is not shared");
    let networks = cluster.run(host, "podman network ls --quiet")?.stdout;
    ensure!(networks.contains("systemd-front"), "networks: {networks}");
    Ok(())
}

fn units_of_their_own(cluster: &Cluster, host: &Host) -> Result<()> {
    cluster.step("volumes, networks and images are units by themselves, too, under the names that they ask for");
    let volume = format!("[Volume]\nServiceName=keep-it\n\n{X_FLEET}");
    cluster.write_unit(host, "kept.volume", &volume)?;
    cluster.write_unit(
        host,
        "back@.network",
        &format!("[Network]\nNetworkName=back-%i\n\n{X_FLEET}"),
    )?;
    let image = format!("[Image]\nImage=docker-archive:{}\n", muster_tests::lab::IMAGE_ARCHIVE);
    cluster.write_unit(host, "box.image", &image)?;
    cluster.run(host, "musterctl submit back@.network")?;
    cluster.run(host, "musterctl start kept.volume back@1.network box.image")?;
    // They have no process once they have done what they are for.
    for service in ["keep-it.service", "back@1-network.service", "box-image.service"] {
        let mut active = 0;
        for host in cluster.hosts() {
            let state = cluster.unit_property(host, service, "ActiveState")?;
            active += usize::from(state == "active");
        }
        ensure!(active == 1, "{service} is active on {active} hosts");
    }
    let status = cluster.run(host, "musterctl status kept.volume")?.stdout;
    ensure!(status.contains("keep-it.service"), "{status}");

    cluster.step("a kind that the machine's Podman does not know is told");
    cluster.write_unit(host, "new.artifact", "[Artifact]\nArtifact=localhost/a\n")?;
    let words = [".artifact", "Podman"];
    cluster.run_failing(host, "musterctl start new.artifact", &words)?;

    cluster.step("what one names that nobody knows is told, with its line");
    let lonely = format!("[Container]\n{IMAGE}Volume=nowhere.volume:/d\n\n{X_FLEET}");
    cluster.write_unit(host, "lonely.container", &lonely)?;
    let words = ["line 4", "nowhere.volume", "submit it first"];
    cluster.run_failing(host, "musterctl start lonely.container", &words)?;

    cluster.step("what fails below is named");
    let image = "[Image]\nImage=localhost/nothing:1\n";
    cluster.write_unit(host, "missing.image", image)?;
    let below = format!("[Container]\nImage=missing.image\n\n{X_FLEET}");
    cluster.write_unit(host, "below.container", &below)?;
    cluster.run(host, "musterctl submit missing.image")?;
    let words = ["missing.image", "has failed"];
    cluster.run_failing(host, "musterctl start below.container", &words)?;

    let units = "kept.volume back@1.network back@.network box.image new.artifact lonely.container \
                 below.container missing.image";
    cluster.run(host, &format!("musterctl destroy {units}"))?;
    for host in cluster.hosts() {
        ensure!(left_over(cluster, host)?.is_empty(), "left: {}", left_over(cluster, host)?);
    }
    Ok(())
}

/// The files of Quadlet's on a host, ours and systemd's.
fn left_over(cluster: &Cluster, host: &Host) -> Result<String> {
    let line = "ls -A /run/muster/quadlet /run/muster/quadlet-made; \
                grep -l '^SourcePath=/run/muster' /run/systemd/system/*.service";
    let listed = cluster.run(host, &format!("({line}) 2>/dev/null | grep -v :$ || true"))?.stdout;
    Ok(listed.trim().to_owned())
}
