//! Containers of a host: the engine's place on its disk, and what runs, seen from outside.
//!
//! What runs is told by cgroups with processes in them, which container it is by what the engine wrote down on disk; so it
//! can be told while the engine is down or hangs, and whatever Muster says.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::Result;
use serde::Deserialize;

use super::host::Host;
use super::image::IMAGE_ARCHIVE;
use super::process::Process;
use super::wait::wait_until;

/// How long an engine may take until it answers.
const ENGINE_LIMIT: Duration = Duration::from_secs(60);

/// An engine's data, as the host sees it.
const DATA: &str = "/var/lib/docker";

/// How the control group begins that Podman puts a container's processes into.
const PODMANS: &str = "libpod-payload-";

/// A container with processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Its id, all 64 digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The unit it is labelled as, if it is.
    pub unit: Option<String>,
    /// Its processes, the ones of this machine.
    pub processes: Vec<Process>,
}

/// What is of use in an engine's own record of a container.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ContainerRecord {
    name: String,
    config: Config,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Config {
    labels: Option<BTreeMap<String, String>>,
}

impl Host {
    /// Makes the place for the engine's data, and has it leave alone what is not this host's.
    pub(super) fn make_room_for_containers(&self, plain: bool) -> Result<()> {
        fs::create_dir_all(self.run_directory().join("docker"))?;
        // An overlay lies on no other overlay.
        let driver = if plain { "overlay2" } else { "vfs" };
        // A test may start it more often than a person would. nspawn lets nobody write to the hierarchies that systemd does not need; those seen in the host are its own.
        let cgroups = "for mount in /sys/fs/cgroup/*/; do mountpoint -q $mount && mount -o remount,bind,rw $mount || :; done";
        let text = format!(
            "[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStartPre=/bin/sh -c '{cgroups}'\nExecStart=\nExecStart=/usr/sbin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock \
             --storage-driver={driver} --iptables=false --ip6tables=false\n"
        );
        self.write_file("/etc/systemd/system/docker.service.d/lab.conf", &text)
    }

    /// Makes the place for Podman's data, and has it ask for no more than hosts of the lab can give.
    pub(super) fn make_room_for_podman(&self, plain: bool) -> Result<()> {
        fs::create_dir_all(self.run_directory().join("containers"))?;
        let driver = if plain { "overlay" } else { "vfs" };
        let storage = format!(
            "[storage]\ndriver = \"{driver}\"\nrunroot = \"/run/containers/storage\"\ngraphroot = \"/var/lib/containers/storage\"\n"
        );
        self.write_file("/etc/containers/storage.conf", &storage)?;
        // Its own limit on processes needs a controller that a machine may keep in a hierarchy of its own.
        self.write_file("/etc/containers/containers.conf", "[containers]\npids_limit = 0\n")
    }

    /// Has Podman load the lab's image.
    pub fn load_podman_image(&self) -> Result<()> {
        self.exec(&["podman", "load", "--quiet", "--input", IMAGE_ARCHIVE])?.ensure_success()?;
        Ok(())
    }

    /// Waits until the container engine answers.
    pub fn wait_for_engine(&self) -> Result<Duration> {
        wait_until(&format!("dockerd on {}", self.name()), ENGINE_LIMIT, || {
            self.exec(&["docker", "version"])?.ensure_success().map(|_| ())
        })
    }

    /// Has the engine load the lab's image; waits until it answers.
    pub fn load_image(&self) -> Result<()> {
        self.wait_for_engine()?;
        self.exec(&["docker", "load", "--quiet", "--input", IMAGE_ARCHIVE])?.ensure_success()?;
        Ok(())
    }

    /// The number of containers that run on it, Docker's and Podman's, whosever they are; cheap enough to be asked again and again.
    pub fn count_containers(&self) -> usize {
        let is_container = |name: &str| id_of(name).is_some() || name.starts_with(PODMANS);
        self.cgroups.list_units(&is_container).len()
    }

    /// The containers that run on it; more than one of a unit is possible, and wrong.
    pub fn list_containers(&self) -> Vec<Container> {
        if !self.record.containers {
            return Vec::new();
        }
        let Some(init) = self.init_process() else { return Vec::new() };
        let running = self.cgroups.list_units(&|name| id_of(name).is_some());
        let lines = running.into_iter().filter_map(|(name, pids)| {
            let id = id_of(&name)?.to_owned();
            let path = format!("{DATA}/containers/{id}/config.v2.json");
            let record: ContainerRecord =
                self.peek_file(init, &path).and_then(|text| serde_json::from_str(&text).ok())?;
            let mut labels = record.config.labels.unwrap_or_default();
            Some(Container {
                id,
                name: record.name.trim_start_matches('/').to_owned(),
                unit: labels.remove("muster.unit"),
                processes: pids.into_iter().filter_map(Process::from_pid).collect(),
            })
        });
        let mut containers: Vec<Container> = lines.collect();
        containers.sort_by(|one, other| one.name.cmp(&other.name));
        containers
    }
}

/// The container whose cgroup has this name, as an engine that makes cgroups itself calls it, or one that asks systemd.
fn id_of(name: &str) -> Option<&str> {
    let id = match name.strip_prefix("docker-") {
        Some(scope) => scope.strip_suffix(".scope")?,
        None => name,
    };
    (id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
}
