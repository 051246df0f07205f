//! Machines that have the static tarball from their first boot: the Butane examples are done to machines, as Ignition does it,
//! and bring them into a cluster.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use muster_tests::cluster::Cluster;
use muster_tests::lab::{Host, Options};
use serde::Deserialize;

const UNIT: &str = "[Service]\nExecStart=/bin/sleep infinity\n\n[X-Fleet]\nGlobal=true\n";

/// What the examples use of Butane's `fcos` 1.4.0 and `flatcar` 1.0.0, both of Ignition's specification 3.3.0. Whatever else stands in
/// one is a mistake in it or an omission here.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Butane {
    variant: String,
    version: String,
    passwd: Passwd,
    storage: Storage,
    systemd: Systemd,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Passwd {
    users: Vec<User>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct User {
    name: String,
    ssh_authorized_keys: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Storage {
    files: Vec<File>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    path: String,
    /// Octal digits, as they are spelt.
    mode: Option<String>,
    contents: Contents,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    inline: Option<String>,
    source: Option<String>,
    verification: Option<Verification>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Verification {
    hash: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Systemd {
    units: Vec<Unit>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Unit {
    name: String,
    #[serde(default)]
    enabled: bool,
    #[serde(default)]
    mask: bool,
    contents: Option<String>,
}

impl Butane {
    fn read(name: &str) -> Result<Self> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/butane").join(name);
        let text = std::fs::read_to_string(&path)?;
        let read: Self = serde_saphyr::from_str(&text).with_context(|| name.to_owned())?;
        let [user] = read.passwd.users.as_slice() else { bail!("{name}: not one user") };
        ensure!(user.name == "core" && user.ssh_authorized_keys.len() == 1, "{name}: {user:?}");
        Ok(read)
    }

    /// What it writes to a file.
    fn inline(&self, path: &str) -> Result<&str> {
        let file = self.storage.files.iter().find(|file| file.path == path);
        file.and_then(|file| file.contents.inline.as_deref()).with_context(|| path.to_owned())
    }

    /// Does to a running machine what Ignition does to one before its first boot, with the tarball for the one that the
    /// example's address promises, and the lab's etcd for the example's.
    fn ignite(&self, cluster: &Cluster, host: &Host, tarball: &[u8]) -> Result<()> {
        for file in &self.storage.files {
            let File { path, mode, contents } = file;
            match contents {
                Contents { inline: Some(text), source: None, verification: None } => {
                    host.write_file(path, &fill_in(cluster, text))?;
                }
                Contents { inline: None, source: Some(source), verification: Some(sum) } => {
                    ensure!(source.ends_with("-x86_64-linux.tar.gz"), "{source}: no tarball");
                    let digits = sum.hash.strip_prefix("sha256-").context("no SHA-256")?;
                    ensure!(digits.len() == 64, "{}: no SHA-256", sum.hash);
                    let line = format!("mkdir -p $(dirname {path}) && cat > {path}");
                    host.exec_with_input(&["sh", "-c", &line], tarball)?.ensure_success()?;
                }
                other => bail!("{path}: {other:?}"),
            }
            // Ignition's default is 0644.
            let mode = mode.as_deref().unwrap_or("0644");
            cluster.run(host, &format!("chmod {mode} {path}"))?;
        }
        for unit in &self.systemd.units {
            let name = &unit.name;
            if let Some(contents) = &unit.contents {
                host.write_file(&format!("/etc/systemd/system/{name}"), contents)?;
            }
            if unit.enabled {
                cluster.run(host, &format!("systemctl enable {name}"))?;
            }
            if unit.mask {
                cluster.run(host, &format!("systemctl mask {name}"))?;
            }
        }
        Ok(())
    }
}

/// Puts the lab's members of etcd in the place of the example's.
fn fill_in(cluster: &Cluster, text: &str) -> String {
    cluster.hosts().iter().zip(11..).fold(text.to_owned(), |text, (host, last)| {
        text.replace(&format!("//10.0.0.{last}:"), &format!("//{}:", host.address()))
    })
}

/// The tarball that `cargo xtask test` has made.
fn tarball() -> Result<Vec<u8>> {
    let directory = std::env::var_os("MUSTER_PACKAGES")
        .context("MUSTER_PACKAGES names no directory with packages; `cargo xtask test` sets it")?;
    let files = std::fs::read_dir(&directory)?.flatten().map(|file| file.path());
    let is_one = |path: &PathBuf| path.to_string_lossy().ends_with("-linux.tar.gz");
    let path = { files }.find(is_one).context("no tarball among the packages")?;
    std::fs::read(&path).with_context(|| path.display().to_string())
}

/// Waits until a host, whose client is where every user finds it, knows of so many machines.
fn registered(cluster: &Cluster, host: &Host, count: usize) -> Result<()> {
    let wait = cluster.wait_for_condition(&format!("{count} machines"), || {
        let found = cluster.machines(host)?.len();
        ensure!(found == count, "{found}");
        Ok(())
    });
    wait.map(|_| ())
}

#[test]
fn the_butane_examples_bring_machines_into_a_cluster() -> Result<()> {
    let tarball = tarball()?;
    let (flatcar, fedora) = (Butane::read("flatcar.yaml")?, Butane::read("fedora-coreos.yaml")?);
    ensure!(flatcar.variant == "flatcar" && flatcar.version == "1.0.0", "{flatcar:?}");
    ensure!(fedora.variant == "fcos" && fedora.version == "1.4.0", "{fedora:?}");
    let cluster = Cluster::start(Options::default())?;
    let first = cluster.host(0)?;
    let machines = [(cluster.host(1)?, &flatcar), (cluster.host(2)?, &fedora)];

    cluster.step("two machines without Muster, ignited");
    for (host, butane) in machines {
        cluster.run(host, "dpkg --purge muster; rm -rf /etc/muster; ! test -e /usr/bin/musterd")?;
        butane.ignite(&cluster, host, &tarball)?;
    }
    registered(&cluster, first, 1)?;
    cluster.write_unit(first, "everywhere.service", UNIT)?;
    cluster.run(first, "musterctl start everywhere.service")?;

    for boot in ["their first boot", "and their second, which finds Muster installed"] {
        cluster.step(boot);
        for (host, _) in machines {
            host.reboot()?;
        }
        registered(&cluster, first, machines.len() + 1)?;
        for (host, _) in machines {
            cluster.wait_for_condition("the unit to run there", || {
                ensure!(host.is_active("everywhere.service"), "it does not");
                let id = host.machine_id();
                ensure!(
                    cluster
                        .list_states(first)?
                        .iter()
                        .any(|row| row.machine.as_deref() == Some(id))
                );
                Ok(())
            })?;
            let program = "readlink /proc/$(systemctl show -P MainPID musterd)/exe";
            let program = cluster.run(host, program)?.stdout;
            ensure!(program.trim() == "/opt/bin/musterd", "{program} runs");
            let failed = cluster.run(host, "systemctl --failed --no-legend")?.stdout;
            ensure!(failed.trim().is_empty(), "{failed}");
        }
    }

    cluster.step("Flatcar's own reboots are off");
    let (flatcar, _) = machines[0];
    ensure!(cluster.unit_property(flatcar, "locksmithd.service", "LoadState")? == "masked");

    cluster.step("Fedora's Zincati finds its FleetLock");
    let (host, _) = machines[1];
    let zincati = fedora.inline("/etc/zincati/config.d/55-updates-strategy.toml")?;
    let base = zincati.split('"').find(|part| part.starts_with("http://"));
    let base = base.with_context(|| format!("no base_url in {zincati}"))?;
    for step in ["pre-reboot", "steady-state"] {
        let body = r#"{"client_params":{"id":"zincati","group":"default"}}"#;
        let request_line = format!(
            "curl --silent --show-error --fail --header 'fleet-lock-protocol: true' --data '{body}' {base}v1/{step}"
        );
        cluster.run(host, &request_line)?;
    }
    cluster.tear_down()
}
