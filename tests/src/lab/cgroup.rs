//! Cgroups of the nodes: each node has a directory of its own in every hierarchy systemd uses.
//!
//! A host that runs containers has one in each of the others too, since its container engine makes directories there and they
//! would be this machine's. They serve three purposes: everything a run started can be found and killed, however it came about; what runs on a node can
//! be seen from outside; and a power cut leaves nothing that a new systemd would take for running units.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;

use super::process::signal_pid;
use super::wait::wait_closely;

const MOUNT: &str = "/sys/fs/cgroup";

/// The unified hierarchy on a machine that has others beside it.
const UNIFIED: &str = "/sys/fs/cgroup/unified";

/// Above all runs, in each hierarchy.
const TOP: &str = "muster-lab";

/// A directory of the same name in several hierarchies.
#[derive(Debug, Clone)]
pub(super) struct Cgroups {
    directories: Vec<PathBuf>,
    /// In hierarchies that only container engines use; made on demand.
    engines: Vec<PathBuf>,
}

impl Cgroups {
    /// Those of one run.
    pub(super) fn of_run(run: &str) -> Self {
        let below = |mount: PathBuf| mount.join(TOP).join(run);
        Self {
            directories: hierarchies().into_iter().map(below).collect(),
            engines: other_hierarchies().into_iter().map(below).collect(),
        }
    }

    /// Those of one node of a run; `unified` where its systemd keeps units in the unified hierarchy only.
    pub(super) fn node_group(&self, name: &str, unified: bool) -> Self {
        let below = |directories: &[PathBuf]| -> Vec<PathBuf> {
            directories.iter().map(|directory| directory.join(name)).collect()
        };
        let mut directories = below(&self.directories);
        if unified {
            // Where units are looked for is the first.
            directories.sort_by_key(|directory| !directory.starts_with(UNIFIED));
        }
        Self { directories, engines: below(&self.engines) }
    }

    /// Makes the directories, those for a container engine too if there is one.
    pub(super) fn create(&self, containers: bool) -> Result<()> {
        for directory in self.engines.iter().filter(|_| containers) {
            fs::create_dir_all(directory)
                .with_context(|| format!("cannot make cgroup {}", directory.display()))?;
            inherit_processors(directory);
        }
        for directory in &self.directories {
            fs::create_dir_all(directory)
                .with_context(|| format!("cannot make cgroup {}", directory.display()))?;
            // Only the unified hierarchy has this file. Without the controllers systemd in the node still works, it
            // only cannot limit, so a machine that refuses them is no obstacle.
            for level in directory.ancestors().take_while(|level| level.starts_with(MOUNT)).skip(1)
            {
                let _ = fs::write(level.join("cgroup.subtree_control"), "+cpu +memory +pids");
            }
        }
        Ok(())
    }

    /// Those that have been made.
    pub(super) fn list_directories(&self) -> impl Iterator<Item = &PathBuf> {
        self.directories.iter().chain(&self.engines).filter(|directory| directory.exists())
    }

    /// Numbers of all processes inside.
    pub(super) fn list_processes(&self) -> Vec<i32> {
        let mut pids: Vec<i32> = Vec::new();
        for directory in &self.directories {
            walk(directory, &mut |directory| pids.extend(processes_in(directory)));
        }
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// Processes of the systemd unit, or of any unit, for which `wanted` holds, read in the first hierarchy, which
    /// is one systemd keeps units in.
    pub(super) fn list_units(&self, wanted: &dyn Fn(&str) -> bool) -> Vec<(String, Vec<i32>)> {
        let mut units = Vec::new();
        let Some(directory) = self.directories.first() else { return units };
        walk(directory, &mut |directory| {
            let Some(name) = directory.file_name().and_then(|name| name.to_str()) else { return };
            if wanted(name) {
                let mut pids = Vec::new();
                walk(directory, &mut |inner| pids.extend(processes_in(inner)));
                if !pids.is_empty() {
                    units.push((name.to_owned(), pids));
                }
            }
        });
        units
    }

    /// The number of directories below this one, in the first hierarchy.
    pub(super) fn count_directories(&self, below: &str) -> usize {
        self.directories.first().map_or(0, |directory| children(&directory.join(below)).len())
    }

    /// Kills whatever runs inside until nothing does.
    pub(super) fn kill_all(&self) -> Result<()> {
        let limit = Duration::from_secs(10);
        wait_closely("killed processes to go", limit, Duration::from_millis(5), || {
            let pids = self.list_processes();
            for pid in &pids {
                signal_pid(*pid, Signal::KILL);
            }
            if pids.is_empty() { Ok(()) } else { Err(format!("{pids:?} are left")) }
        })
        .map(|_| ())
    }

    /// Removes the directories; nothing may run in them any more.
    pub(super) fn remove(&self) -> Result<()> {
        for directory in self.directories.iter().chain(&self.engines) {
            remove_tree(directory)
                .with_context(|| format!("cannot remove cgroup {}", directory.display()))?;
        }
        Ok(())
    }
}

/// Where cgroup hierarchies that systemd keeps units in are mounted, and that which accounts processor time where it
/// is one of its own.
fn hierarchies() -> Vec<PathBuf> {
    let mount = Path::new(MOUNT);
    if mount.join("cgroup.controllers").exists() {
        return vec![mount.to_owned()];
    }
    ["systemd", "unified", "cpuacct"]
        .iter()
        .map(|name| mount.join(name))
        .filter(|mount| mount.join("cgroup.procs").exists())
        .collect()
}

/// The hierarchies that systemd keeps nothing in that is looked at from outside.
fn other_hierarchies() -> Vec<PathBuf> {
    let used = hierarchies();
    let mut others: Vec<PathBuf> = children(Path::new(MOUNT))
        .into_iter()
        .filter(|mount| !used.contains(mount) && mount.join("cgroup.clone_children").exists())
        .collect();
    others.sort();
    others
}

/// A new directory of the cpuset hierarchy has no processors and takes no process. Ours get those of the one above.
fn inherit_processors(directory: &Path) {
    let inside = |level: &&Path| level.starts_with(MOUNT) && *level != Path::new(MOUNT);
    let levels: Vec<&Path> = directory.ancestors().take_while(inside).collect();
    for pair in levels.windows(2).rev() {
        let [level, above] = pair else { continue };
        for file in ["cpuset.cpus", "cpuset.mems"] {
            // Only that hierarchy has them.
            let _ = fs::read(above.join(file)).and_then(|all| fs::write(level.join(file), all));
        }
        // What is made below does the same by itself.
        let _ = fs::write(level.join("cgroup.clone_children"), "1");
    }
}

fn processes_in(directory: &Path) -> Vec<i32> {
    let list = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    list.lines().filter_map(|line| line.parse().ok()).collect()
}

fn walk(directory: &Path, visit: &mut dyn FnMut(&Path)) {
    visit(directory);
    for child in children(directory) {
        walk(&child, visit);
    }
}

fn remove_tree(directory: &Path) -> std::io::Result<()> {
    for child in children(directory) {
        remove_tree(&child)?;
    }
    match fs::remove_dir(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A cgroup may vanish at any time; one that did has no children.
fn children(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}
