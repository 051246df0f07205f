//! Container units that Podman's own Quadlet makes services of: started, shown, adopted, moved and gone, as a user sees it.
//!
//! What runs is read from cgroups of the hosts and from Podman itself, never only from Muster. These hosts are Debian 13 whatever
//! release the others are made of: older ones have no Quadlet.

use anyhow::{Context, Result, ensure};
use muster_tests::cluster::Cluster;
use muster_tests::lab::{Host, Options, Release};

const UNIT: &str = "[Unit]\nDescription=Greets, %i\n\n[Container]\nImage=localhost/busybox:latest\nPull=never\nNetwork=host\n\
                    PodmanArgs=--no-hosts\nEnvironment=WHERE=%H\n\
                    Exec=sh -c 'echo instance %i greets from $$WHERE; trap \"exit 0\" TERM; sleep infinity & wait'\n\n\
                    [Service]\nRestart=always\nSlice=greeters.slice\n\n[X-Fleet]\nRunner=podman\nConflicts=web@*\n";

fn ours(unit: &str) -> bool {
    unit.starts_with("web@") && unit.ends_with(".service")
}

#[test]
fn container_units_are_services_that_podman_makes() -> Result<()> {
    let options = Options { podman: true, release: Some(Release::Trixie), ..Options::default() };
    let cluster = Cluster::start(options)?;
    let first = cluster.host(0)?;

    cluster.step("every machine lists podman among its runners");
    let listed = cluster.run(first, "musterctl list-machines --no-legend --fields=runners")?.stdout;
    ensure!(listed.lines().filter(|line| line.contains("podman")).count() == 3, "{listed}");

    cluster.step("instances of a template start on different machines, as services");
    cluster.write_unit(first, "web@.container", UNIT)?;
    let started = cluster.run(first, "musterctl start web@1.container web@2.container")?;
    cluster.report_duration("musterctl start web@1.container web@2.container", started.took);
    let (one, two) = (cluster.host_of("web@1.service")?, cluster.host_of("web@2.service")?);
    ensure!(one.name() != two.name(), "both run on {}", one.name());
    ensure!(known(&cluster, one)? == ["systemd-web_1"], "{:?}", known(&cluster, one)?);
    let slice = cluster.unit_property(one, "web@1.service", "Slice")?;
    ensure!(slice == "greeters.slice", "its slice is {slice}");

    shown_anywhere(&cluster, one, two)?;
    wrong_files_are_told(&cluster, first)?;

    cluster.step("musterd is killed on every host, and restarted: the same runs");
    let before = cluster.list_running(ours)?;
    ensure!(before.len() == 2, "{}", Cluster::format_running(&before));
    cluster.for_each_host(|_, host| cluster.run(host, "systemctl kill --signal=KILL musterd"))?;
    cluster.wait_for_machines(3)?;
    cluster.one_round()?;
    cluster.ensure_unchanged(&before, ours)?;

    cluster.step("a container that is killed is systemd's to restart");
    cluster.run(two, "podman kill --signal KILL systemd-web_2")?;
    cluster.wait_for_condition("it to run again", || {
        let restarts = cluster.unit_property(two, "web@2.service", "NRestarts")?;
        ensure!(restarts == "1", "{restarts} restarts");
        ensure!(known(&cluster, two)? == ["systemd-web_2"], "{:?}", known(&cluster, two)?);
        Ok(())
    })?;

    cluster.step("a drained machine gives its container up");
    let drain = cluster.run(first, &format!("musterctl drain {}", two.machine_id()))?;
    cluster.report_duration("musterctl drain", drain.took);
    let cut = cluster.host_of("web@2.service")?;
    ensure!(cut.name() != two.name(), "it is drained, and the container is still there");
    ensure!(known(&cluster, two)?.is_empty(), "its Podman still knows {:?}", known(&cluster, two)?);
    ensure!(left_over(&cluster, two)?.is_empty(), "left over: {}", left_over(&cluster, two)?);
    cluster.run(first, &format!("musterctl uncordon {}", two.machine_id()))?;

    cluster.step("a host loses power: its container runs elsewhere");
    let survivor = cluster.other_host(&[cut])?;
    cut.power_cut()?;
    let took = cluster.moves_away("web@2.service", &[cut])?;
    cluster.report_duration("from the cut to running elsewhere", took);

    cluster.step("the host comes back: nothing of it is there, and nothing moves");
    let before = cluster.list_running(ours)?;
    cut.power_on()?;
    cluster.wait_for_etcd()?;
    cluster.wait_for_machines(3)?;
    cluster.wait_until_settled()?;
    cluster.one_round()?;
    cluster.ensure_unchanged(&before, ours)?;
    ensure!(left_over(&cluster, cut)?.is_empty(), "left over: {}", left_over(&cluster, cut)?);
    ensure!(known(&cluster, cut)?.is_empty(), "its Podman still knows {:?}", known(&cluster, cut)?);

    cluster.step("destroyed is gone: from every host and the store");
    cluster.run(survivor, "musterctl destroy web@1.container web@2.container web@.container")?;
    for host in cluster.hosts() {
        let units = host.active_units(ours);
        ensure!(units.is_empty(), "{} runs {units:?}", host.name());
        ensure!(left_over(&cluster, host)?.is_empty(), "left over: {}", left_over(&cluster, host)?);
    }
    for host in [one, survivor] {
        ensure!(known(&cluster, host)?.is_empty(), "{:?}", known(&cluster, host)?);
    }
    cluster.wait_until_forgotten(survivor)?;
    cluster.assert_sound()?;
    cluster.tear_down()
}

fn shown_anywhere(cluster: &Cluster, home: &Host, other: &Host) -> Result<()> {
    cluster.step("list-units, status and journal, asked from another host");
    let unit = "web@1.container";
    let rows = cluster.list_states(other)?;
    let row = rows.iter().find(|row| row.unit == unit).context("it is not listed")?;
    let words = (row.active.as_deref(), row.sub.as_deref(), row.machine.as_deref());
    ensure!(words == (Some("active"), Some("running"), Some(home.machine_id())), "{row:?}");
    let status = cluster.run(other, &format!("musterctl status {unit}"))?.stdout;
    for word in ["web@1.service", "Greets, 1", "active (running)", "greeters.slice"] {
        ensure!(status.contains(word), "{word} in:\n{status}");
    }
    let greeting = format!("instance 1 greets from {}", home.name());
    cluster.wait_for_condition("its greeting", || {
        let journal = cluster.run(other, &format!("musterctl journal {unit}"))?.stdout;
        ensure!(journal.contains(&greeting), "{journal}");
        Ok(())
    })?;
    Ok(())
}

fn wrong_files_are_told(cluster: &Cluster, first: &Host) -> Result<()> {
    let file = |lines: &str| {
        format!("[Container]\nImage=localhost/busybox:latest\n{lines}\n[X-Fleet]\nRunner=podman\n")
    };
    cluster.step("what the generator does not take is told with its line");
    cluster.write_unit(first, "bad.container", &file("Bogus=1"))?;
    let words = ["line 3", "unsupported key 'Bogus'"];
    cluster.run_failing(first, "musterctl start bad.container", &words)?;
    cluster.run(first, "musterctl destroy bad.container")?;

    cluster.step("an image that does not exist is told");
    let missing = file("").replace("busybox:latest", "nothing:latest");
    cluster.write_unit(first, "missing.container", &missing.replace("\n\n", "\nPull=never\n"))?;
    cluster.run_failing(first, "musterctl start missing.container", &["missing.container"])?;
    cluster.run(first, "musterctl destroy missing.container")?;

    cluster.step("what Podman would not find is refused at once");
    cluster.write_unit(first, "refers.container", &file("Volume=data@%i.volume:/data"))?;
    let words = ["line 3", "data@%i.volume"];
    cluster.run_failing(first, "musterctl submit refers.container", &words)?;

    cluster.step("a service that would take a name of the machine's own is refused");
    let alias = format!("{}[Install]\nAlias=dbus.service\n", file("Pull=never"));
    cluster.write_unit(first, "thief.container", &alias)?;
    cluster.run_failing(first, "musterctl start thief.container", &["dbus.service"])?;
    cluster.run(first, "musterctl destroy thief.container")?;

    cluster.step("two container units that would be one service are told apart");
    for name in ["same-one", "same-two"] {
        let text = file("Pull=never\nServiceName=same\nExec=sleep infinity\nStopTimeout=1");
        let bound = format!("{text}MachineID={}\n", first.machine_id());
        cluster.write_unit(first, &format!("{name}.container"), &bound)?;
    }
    cluster.run(first, "musterctl start same-one.container")?;
    let words = ["same.service", "that of same-one.container"];
    cluster.run_failing(first, "musterctl start same-two.container", &words)?;
    cluster.run(first, "musterctl destroy same-two.container same-one.container")?;

    cluster.step("two units that would be one service are told apart");
    cluster.write_sleeper(first, "twin.service", "Global=true")?;
    cluster.run(first, "musterctl start twin.service")?;
    cluster.wait_for_condition("it on every host", || {
        let on = cluster.active_on("twin.service").len();
        ensure!(on == 3, "{on} hosts run it");
        Ok(())
    })?;
    let runs = cluster.list_running(|unit| unit == "twin.service")?;
    cluster.write_unit(first, "twin.container", &file("Pull=never\nExec=sleep infinity"))?;
    let words = ["twin.service", "another unit of that name"];
    cluster.run_failing(first, "musterctl start twin.container", &words)?;
    cluster.ensure_unchanged(&runs, |unit| unit == "twin.service")?;
    cluster.run(first, "musterctl destroy twin.container")?;
    cluster.ensure_unchanged(&runs, |unit| unit == "twin.service")?;
    cluster.run(first, "musterctl destroy twin.service").map(|_| ())
}

/// The containers that a host's Podman knows, running or not.
fn known(cluster: &Cluster, host: &Host) -> Result<Vec<String>> {
    let names = cluster.run(host, "podman ps --all --format '{{.Names}}'")?.stdout;
    Ok(names.lines().map(str::to_owned).collect())
}

/// The files of container units on a host, ours and systemd's.
fn left_over(cluster: &Cluster, host: &Host) -> Result<String> {
    let line = "ls /run/muster/quadlet /run/muster/quadlet-made; ls /run/systemd/system | grep web@ || true";
    let listed = cluster.run(host, &format!("({line}) 2>/dev/null | grep -v : || true"))?.stdout;
    Ok(listed.trim().to_owned())
}
