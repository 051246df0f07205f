//! What users install, on a Debian that has never seen Muster: the package from its first installation to its purge, and the
//! static tarball.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use muster_tests::cluster::Cluster;
use muster_tests::lab::{Host, Lab, Options, wait_until};

const WAIT_LIMIT: Duration = Duration::from_secs(60);

const UNIT: &str = "[Service]\nExecStart=/bin/sleep infinity\n";

/// One machine without Muster, and without what the provisioning of hosts has written for it.
fn fresh() -> Result<Lab> {
    let lab = Lab::start(&Options { hosts: 1, etcd: false, ..Options::default() })?;
    run(lab.host(0)?, "rm -r /etc/muster; ! test -e /usr/bin/musterd")?;
    Ok(lab)
}

/// A package that `cargo xtask test` has made, by its file's name.
fn package(wanted: impl Fn(&str) -> bool) -> Result<PathBuf> {
    let directory = std::env::var_os("MUSTER_PACKAGES")
        .context("MUSTER_PACKAGES names no directory with packages; `cargo xtask test` sets it")?;
    let files = std::fs::read_dir(&directory)?.flatten().map(|file| file.path());
    let mut found = files.filter(|path| wanted(&path.to_string_lossy()));
    found.next().with_context(|| format!("not in {}", Path::new(&directory).display()))
}

/// The package before, and the one it is upgraded to.
fn packages() -> Result<(PathBuf, PathBuf)> {
    let before = package(|name| name.contains(".deb") && name.contains("~before"))?;
    Ok((before, package(|name| name.contains(".deb") && !name.contains("~before"))?))
}

/// Runs a command line; what it printed.
fn run(host: &Host, line: &str) -> Result<String> {
    let output = host.exec(&["sh", "-c", &format!("cd /root && {line}")])?;
    Ok(output.ensure_success().with_context(|| line.to_owned())?.stdout.trim().to_owned())
}

/// Puts a file of this machine onto the host.
fn copy(host: &Host, path: &Path, to: &str) -> Result<()> {
    let bytes = std::fs::read(path)?;
    let output = host.exec_with_input(&["sh", "-c", &format!("cat > {to}")], &bytes)?;
    output.ensure_success().with_context(|| format!("copy {}", path.display())).map(|_| ())
}

fn install(host: &Host, package: &Path) -> Result<()> {
    copy(host, package, "/root/muster.deb")?;
    run(host, "DEBIAN_FRONTEND=noninteractive dpkg --install muster.deb < /dev/null").map(|_| ())
}

/// The state of a unit, from systemd.
fn unit_property(host: &Host, unit: &str, name: &str) -> Result<String> {
    run(host, &format!("systemctl show --property={name} --value {unit}"))
}

/// Waits until the daemon answers and the unit runs.
fn runs(host: &Host, unit: &str) -> Result<()> {
    wait_until(&format!("{unit} to run"), WAIT_LIMIT, || {
        let listed = run(host, "musterctl list-units --no-legend")?;
        ensure!(listed.contains(unit) && listed.contains("running"), "listed: {listed}");
        Ok(())
    })?;
    ensure!(unit_property(host, unit, "ActiveState")? == "active", "{unit} does not run");
    Ok(())
}

/// The parts of Muster on the machine, as files.
fn files(host: &Host) -> Result<String> {
    let places = "/etc/muster /etc/systemd/system /var/lib/muster /run/muster /run/systemd/system /usr/bin /usr/lib/systemd";
    run(
        host,
        &format!(
            "find {places} -name '*muster*' -o -name 'keeps.service' 2>/dev/null | sort || true"
        ),
    )
}

/// Names of units that are hard on scripts.
const HARD_NAMES: [&str; 3] = ["-Hnobody@nowhere.service", ".hidden.service", "--help.service"];

#[test]
fn a_package_is_installed_upgraded_removed_and_purged() -> Result<()> {
    let (before, after) = packages()?;
    let lab = fresh()?;
    let host = lab.host(0)?;

    eprintln!("installed");
    install(host, &before)?;
    for unit in ["musterd.service", "musterd.socket"] {
        ensure!(run(host, &format!("systemctl is-enabled {unit}"))? == "enabled", "{unit}");
        ensure!(unit_property(host, unit, "ActiveState")? == "active", "{unit}");
    }
    let socket = run(host, "stat --format='%a %U %G' /run/muster/muster.sock")?;
    ensure!(socket == "660 root muster", "the socket: {socket}");
    wait_until("the machine", WAIT_LIMIT, || {
        let machines = run(host, "musterctl list-machines --full --no-legend")?;
        ensure!(machines.contains(host.machine_id()), "{machines}");
        Ok(())
    })?;
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/muster.toml");
    ensure!(host.read_file("/etc/muster/muster.toml")? == std::fs::read_to_string(default)?);
    for file in [
        "man/man1/musterctl.1.gz",
        "man/man1/musterctl-reboot-status.1.gz",
        "man/man5/muster.toml.5.gz",
        "man/man5/muster.unit.5.gz",
        "man/man8/musterd.8.gz",
        "bash-completion/completions/musterctl",
        "zsh/vendor-completions/_musterctl",
        "fish/vendor_completions.d/musterctl.fish",
        "doc/muster/copyright",
        "doc/muster/configuration.md",
    ] {
        run(host, &format!("test -s /usr/share/{file}"))?;
    }

    eprintln!("upgraded");
    host.write_file("/root/keeps.service", UNIT)?;
    run(host, "musterctl start keeps.service")?;
    runs(host, "keeps.service")?;
    run(host, "sed -i 's/^#token_limit = 100/token_limit = 50/' /etc/muster/muster.toml")?;
    let unit = unit_property(host, "keeps.service", "InvocationID")?;
    let socket = unit_property(host, "musterd.socket", "InvocationID")?;
    let daemon = unit_property(host, "musterd.service", "MainPID")?;
    install(host, &after)?;
    ensure!(!run(host, "dpkg-query --show --showformat='${Version}' muster")?.contains("before"));
    ensure!(
        unit_property(host, "musterd.service", "MainPID")? != daemon,
        "the daemon is the old one"
    );
    runs(host, "keeps.service")?;
    ensure!(unit_property(host, "keeps.service", "InvocationID")? == unit, "the unit restarted");
    ensure!(unit_property(host, "musterd.socket", "InvocationID")? == socket, "the socket closed");
    let configured = "grep --quiet --line-regexp 'token_limit = 50' /etc/muster/muster.toml";
    run(host, configured)?;

    eprintln!("upgraded where the administrator has switched the daemon off");
    run(host, "systemctl --quiet disable --now musterd.service musterd.socket")?;
    install(host, &after)?;
    ensure!(unit_property(host, "musterd.service", "ActiveState")? == "inactive");
    ensure!(unit_property(host, "keeps.service", "InvocationID")? == unit, "the unit restarted");
    run(host, "systemctl --quiet enable --now musterd.socket musterd.service")?;
    runs(host, "keeps.service")?;

    eprintln!("removed");
    run(host, "dpkg --remove muster")?;
    ensure!(unit_property(host, "keeps.service", "LoadState")? == "not-found", "{}", files(host)?);
    ensure!(!host.is_active("keeps.service") && !host.is_active("musterd.service"));
    run(host, configured)?;
    run(host, "test -d /var/lib/muster && ! test -e /usr/bin/musterd")?;

    eprintln!("and installed again");
    install(host, &after)?;
    run(host, configured)?;
    runs(host, "keeps.service")?;

    eprintln!("removed while the daemon does not run");
    // Names that a careless script takes for options, or does not see.
    for name in HARD_NAMES {
        host.write_file(&format!("/root/{name}"), UNIT)?;
        run(host, &format!("musterctl start -- /root/{name}"))?;
        run(host, &format!("systemctl is-active -- {name}"))?;
    }
    run(
        host,
        "systemctl kill --signal=KILL musterd.service; systemctl stop musterd.socket musterd.service",
    )?;
    ensure!(host.is_active("keeps.service"), "a killed daemon's unit has stopped");
    run(host, "dpkg --remove muster")?;
    ensure!(!host.is_active("keeps.service"), "nobody knows of it, and it runs");
    for name in HARD_NAMES {
        run(host, &format!("! systemctl is-active -- {name}"))?;
    }

    eprintln!("purged");
    run(host, "dpkg --purge muster")?;
    let left = files(host)?;
    ensure!(left.is_empty(), "a purge leaves {left}");

    eprintln!("and installed once more, as new");
    install(host, &before)?;
    wait_until("the machine", WAIT_LIMIT, || {
        run(host, "musterctl list-machines --no-legend").map(|_| ())
    })?;
    ensure!(run(host, "musterctl list-unit-files --no-legend")?.is_empty());
    run(host, "dpkg --purge muster")?;
    lab.tear_down()
}

#[test]
fn a_cluster_goes_back_a_release_and_forward_again_machine_by_machine() -> Result<()> {
    let (before, after) = packages()?;
    let cluster = Cluster::start(Options { containers: true, ..Options::default() })?;
    let first = cluster.host(0)?;
    cluster.write_sleeper(first, "web@.service", "Conflicts=web@*")?;
    cluster.write_container(first, "box@.container", "[X-Fleet]\nConflicts=box@*")?;
    cluster.write_sleeper(first, "node.service", "Global=true")?;
    let units = "web@1 web@2 box@1.container box@2.container node.service";
    cluster.run(first, &format!("musterctl start {units}"))?;
    let ours = |unit: &str| ["web@", "box@", "node."].iter().any(|name| unit.starts_with(name));
    let running = cluster.list_running(ours)?;
    ensure!(running.len() == 7, "not what was started:\n{}", Cluster::format_running(&running));

    for (step, package) in [("a release back", &before), ("and forward again", &after)] {
        cluster.step(step);
        for host in cluster.hosts() {
            install(host, package)?;
            cluster.wait_for_condition("the daemon to be in order", || {
                let health_request = "curl --silent --fail --unix-socket /run/muster/muster.sock http://localhost/healthz";
                run(host, health_request).map(|_| ())
            })?;
            cluster.wait_for_machines(3)?;
            cluster.ensure_unchanged(&running, ours)?;
        }
        // With whatever the new leader and the new daemons were going to do.
        cluster.one_round()?;
        cluster.ensure_unchanged(&running, ours)?;
        cluster.run(first, "test \"$(musterctl plan)\" = 'nothing to do'")?;
    }
    cluster.assert_sound()?;
    cluster.tear_down()
}

#[test]
fn a_tarball_is_installed_and_upgraded() -> Result<()> {
    let tarball = package(|name| name.ends_with("-linux.tar.gz"))?;
    let lab = fresh()?;
    let host = lab.host(0)?;
    copy(host, &tarball, "/root/muster.tar.gz")?;
    run(host, "mkdir muster && tar xzf muster.tar.gz --strip-components=1 --directory=muster")?;

    eprintln!("installed");
    run(host, "muster/install --start")?;
    host.write_file("/root/keeps.service", UNIT)?;
    run(host, "ln -s /opt/bin/musterctl /usr/local/bin/musterctl")?;
    // The daemon answers a moment before its machine is registered.
    wait_until("the machine to be registered", WAIT_LIMIT, || {
        let machines = run(host, "musterctl list-machines --no-legend")?;
        ensure!(!machines.is_empty(), "it is not");
        Ok(())
    })?;
    run(host, "musterctl start keeps.service")?;
    runs(host, "keeps.service")?;
    let program = run(host, "readlink /proc/$(systemctl show -P MainPID musterd)/exe")?;
    ensure!(program == "/opt/bin/musterd", "{program} runs");
    ensure!(
        run(host, "systemctl is-enabled musterd.service musterd.socket")? == "enabled\nenabled"
    );

    eprintln!("upgraded");
    let unit = unit_property(host, "keeps.service", "InvocationID")?;
    let daemon = unit_property(host, "musterd.service", "MainPID")?;
    run(host, "echo '# kept' >> /etc/muster/muster.toml && muster/install --start")?;
    ensure!(
        unit_property(host, "musterd.service", "MainPID")? != daemon,
        "the daemon is the old one"
    );
    runs(host, "keeps.service")?;
    ensure!(unit_property(host, "keeps.service", "InvocationID")? == unit, "the unit restarted");
    run(host, "grep --quiet kept /etc/muster/muster.toml")?;
    lab.tear_down()
}
