//! One run of the lab on this machine: where its things are, whose it is, and how all of it is taken away.
//!
//! Whatever a run makes can be found from its id alone: a directory, cgroups, network namespaces, nspawn's own files. So a run
//! whose owner died is cleaned by the next one, whatever state it was left in, and runs never meet.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};
use rustix::mount::{UnmountFlags, unmount};
use serde::{Deserialize, Serialize};

use super::cgroup::Cgroups;
use super::lock::Lock;
use super::network::Network;
use super::process::Process;
use super::release::Release;

/// Makes ids of runs of one process differ.
static COUNTER: AtomicU32 = AtomicU32::new(0);

/// The record of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct RunRecord {
    pub(super) id: String,
    /// The process whose run it is; a run without one was kept on purpose and ends when a person says so.
    pub(super) owner: Option<Process>,
    /// Its name for people; a lab that is not meant to be kept has no name.
    #[serde(default)]
    pub(super) name: Option<String>,
    /// The checkout that made it. Names are unique within one.
    #[serde(default)]
    pub(super) checkout: PathBuf,
    pub(super) nodes: Vec<NodeRecord>,
}

impl RunRecord {
    /// True when its processes are meant to be there: it was kept, or its owner lives.
    fn is_wanted(&self) -> bool {
        self.owner.is_none_or(Process::is_alive)
    }

    /// True when this checkout made it.
    pub(super) fn is_own(&self) -> bool {
        self.checkout == own_checkout()
    }

    /// True when it is the one that this checkout calls so.
    fn is_called(&self, name: Option<&str>) -> bool {
        self.is_own() && self.name.as_deref() == name
    }
}

/// The checkout that this library was compiled in.
fn own_checkout() -> &'static Path {
    let crate_directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_directory.parent().unwrap_or(crate_directory)
}

/// The record of a node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct NodeRecord {
    pub(super) name: String,
    pub(super) address: Ipv4Addr,
    pub(super) machine_id: String,
    /// True when it runs a container engine.
    #[serde(default)]
    pub(super) containers: bool,
    /// True when it has a place for Podman's images.
    #[serde(default)]
    pub(super) podman: bool,
    /// The Debian it is made of.
    #[serde(default)]
    pub(super) release: Release,
}

/// A run's handles.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) id: String,
    pub(super) directory: PathBuf,
    pub(super) network: Network,
    pub(super) cgroups: Cgroups,
}

impl Run {
    fn from_id(cache: &Path, id: &str) -> Self {
        Self {
            id: id.to_owned(),
            directory: runs(cache).join(id),
            network: Network::of_run(id),
            cgroups: Cgroups::of_run(id),
        }
    }

    /// Begins a run owned by this process, after taking away those whose owner is gone. A name that another run of this
    /// checkout has is refused.
    pub(super) fn begin(
        cache: &Path,
        name: Option<&str>,
        nodes: Vec<NodeRecord>,
        say: &dyn Fn(&str),
    ) -> Result<Self> {
        let runs = runs(cache);
        fs::create_dir_all(&runs)?;
        let _lock = Lock::acquire(&runs.join("lock"), "another run is being made or removed", say)?;
        for (run, record) in all_runs(cache) {
            match record.filter(RunRecord::is_wanted) {
                Some(record) if name.is_some() && record.is_called(name) => bail!(
                    "this checkout has a lab called {0}; `cargo xtask lab down {0}` takes it away, `--name` calls this one something else",
                    name.unwrap_or_default()
                ),
                Some(_) => {}
                None => {
                    say(&format!("removing what run {} left behind", run.id));
                    run.remove()?;
                }
            }
        }
        let owner = Process::own_process().context("cannot read /proc")?;
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let run = Self::from_id(cache, &format!("{}-{number}", owner.pid));
        fs::create_dir(&run.directory)
            .with_context(|| format!("cannot make {}", run.directory.display()))?;
        run.write(&RunRecord {
            id: run.id.clone(),
            owner: Some(owner),
            name: name.map(str::to_owned),
            checkout: own_checkout().to_owned(),
            nodes,
        })?;
        Ok(run)
    }

    /// From now on the run belongs to nobody and outlives this process.
    pub(super) fn keep_run(&self) -> Result<()> {
        let mut record = self.read()?;
        record.owner = None;
        self.write(&record)
    }

    pub(super) fn read(&self) -> Result<RunRecord> {
        let path = self.directory.join("run.json");
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(serde_json::from_slice(&text)?)
    }

    fn write(&self, record: &RunRecord) -> Result<()> {
        // Renamed into place, so that nobody sees half of it.
        let path = self.directory.join("run.json");
        let new = path.with_extension("new");
        fs::write(&new, serde_json::to_vec_pretty(record)?)?;
        Ok(fs::rename(new, path)?)
    }

    pub(super) fn node_directory(&self, node: &str) -> PathBuf {
        self.directory.join(node)
    }

    /// nspawn's name for a node, unlike any other on this machine.
    pub(super) fn nspawn_name(&self, node: &str) -> String {
        format!("muster-{}-{node}", self.id)
    }

    /// Removes what nspawn leaves on this machine when it is killed.
    pub(super) fn sweep_leftovers(&self, node: &str) {
        let nspawn = Path::new("/run/systemd/nspawn");
        let propagate = nspawn.join("propagate").join(self.nspawn_name(node));
        let _ = unmount(&propagate, UnmountFlags::DETACH);
        let _ = fs::remove_dir(propagate);
        let _ = fs::remove_dir_all(nspawn.join("unix-export").join(self.nspawn_name(node)));
        let directory = self.node_directory(node);
        if let Ok(root) = fs::metadata(directory.join("root")) {
            let lock = format!("inode-{}:{}", root.dev(), root.ino());
            let _ = fs::remove_file(nspawn.join("locks").join(lock));
        }
        let _ = fs::remove_file(directory.join(".#root.lck"));
    }

    /// Takes everything of the run away: processes, cgroups, network, mounts, files.
    pub(super) fn remove(&self) -> Result<()> {
        self.cgroups.kill_all()?;
        self.cgroups.remove()?;
        self.network.remove()?;
        for entry in fs::read_dir(&self.directory)?.flatten() {
            let root = entry.path().join("root");
            if root.exists() {
                self.sweep_leftovers(&entry.file_name().to_string_lossy());
                // Not mounted is fine; still mounted would be found by the removal below.
                let _ = unmount(&root, UnmountFlags::empty());
            }
        }
        fs::remove_dir_all(&self.directory)
            .with_context(|| format!("cannot remove {}", self.directory.display()))
    }
}

/// Every run on this machine, with its record if that can be read.
pub(super) fn all_runs(cache: &Path) -> Vec<(Run, Option<RunRecord>)> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(runs(cache)) else { return found };
    for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
        let run = Run::from_id(cache, &entry.file_name().to_string_lossy());
        let record = run.read().ok();
        found.push((run, record));
    }
    found.sort_by(|one, other| one.0.id.cmp(&other.0.id));
    found
}

fn runs(cache: &Path) -> PathBuf {
    cache.join("runs")
}
