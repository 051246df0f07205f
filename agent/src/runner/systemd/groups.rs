//! Control groups of units: whether any process of a unit is left.
//!
//! systemd calls a unit inactive when it has done what the unit's `KillMode=` and `SendSIGKILL=` say; processes that these
//! spare run on in the unit's control group, which systemd then forgets. So the group is looked for by the unit's name,
//! in every slice below systemd's own group; systemd keeps units nowhere else, and gives a name to one unit only.
//!
//! Owns the look into the file systems of control groups (cgroups(7)), the unified one and that of `name=systemd`. It reads
//! small files that the kernel makes, waits for nothing, and never writes or kills.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use muster_common::unit::{UnitName, UnitType};

use super::host::{Leftovers, UnitGroups};

/// The top of systemd's groups, once for each hierarchy that it keeps units in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ControlGroups {
    tops: Vec<PathBuf>,
}

impl ControlGroups {
    /// The groups below that which systemd names as its own: `ControlGroup` of its manager, empty for the root.
    pub(super) fn below_manager(own: &str) -> Self {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        Self { tops: top_groups(&mounts, own).into_iter().filter(|top| top.is_dir()).collect() }
    }
}

impl UnitGroups for ControlGroups {
    fn is_empty(&self) -> bool {
        self.tops.is_empty()
    }

    fn find_leftovers(&self, units: &[&UnitName]) -> BTreeMap<UnitName, Leftovers> {
        let units = units.iter().filter(|unit| has_group(unit));
        let mut found: HashMap<&str, Vec<PathBuf>> =
            units.clone().map(|unit| (unit.as_str(), Vec::new())).collect();
        if !found.is_empty() {
            for top in &self.tops {
                search_slice(top, &mut found);
            }
        }
        let left = |unit: &&UnitName| leftovers_in(found.get(unit.as_str())?);
        units.filter_map(|unit| Some(((*unit).clone(), left(unit)?))).collect()
    }
}

/// The leftovers of the unit that has these groups; `None` when there are none.
fn leftovers_in(groups: &[PathBuf]) -> Option<Leftovers> {
    if !groups.iter().any(|group| is_populated(group)) {
        return None;
    }
    let mut processes = Vec::new();
    for group in groups {
        collect_processes(group, &mut processes);
    }
    // The same processes are in every hierarchy. Those of another namespace have no number here, which reads as 0.
    processes.sort_unstable();
    processes.dedup();
    processes.retain(|process| *process != 0);
    Some(Leftovers { processes })
}

/// True if units of this type have processes of their own. What is in a slice belongs to other units.
fn has_group(unit: &UnitName) -> bool {
    matches!(
        unit.unit_type(),
        UnitType::Service | UnitType::Socket | UnitType::Mount | UnitType::Swap | UnitType::Scope
    )
}

/// Where systemd's own group is, by `/proc/self/mountinfo` (`proc_pid_mountinfo(5)`).
fn top_groups(mounts: &str, own: &str) -> Vec<PathBuf> {
    let mut tops = Vec::new();
    for line in mounts.lines() {
        let Some((mount, system)) = line.split_once(" - ") else { continue };
        let mut system = system.split(' ');
        let kind = system.next().unwrap_or_default();
        let options = system.nth(1).unwrap_or_default();
        let named = options.split(',').any(|option| option == "name=systemd");
        if kind != "cgroup2" && !(kind == "cgroup" && named) {
            continue;
        }
        let mut fields = mount.split(' ').skip(3);
        let (Some(root), Some(point)) = (fields.next(), fields.next()) else { continue };
        // What is mounted may be a part of the hierarchy that begins further down.
        let below = own.strip_prefix(root.trim_end_matches('/')).unwrap_or(own);
        tops.push(Path::new(point).join(below.trim_start_matches('/')));
    }
    tops
}

/// Notes the groups in a slice that are wanted, and goes on in the slices below it.
fn search_slice(slice: &Path, found: &mut HashMap<&str, Vec<PathBuf>>) {
    // A group may go at any time; one that has had nothing in it.
    let Ok(entries) = fs::read_dir(slice) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        // systemd puts `_` before names that the kernel would take for its own files.
        let unescaped = name.strip_prefix('_').unwrap_or(name);
        for name in [name, unescaped].iter().take(if unescaped == name { 1 } else { 2 }) {
            if let Some(groups) = found.get_mut(*name) {
                groups.push(entry.path());
            }
        }
        if name.rsplit_once('.').is_some_and(|(_, kind)| kind == "slice") {
            search_slice(&entry.path(), found);
        }
    }
}

/// True if a process is in a group or below it.
fn is_populated(group: &Path) -> bool {
    // The kernel says so itself in the unified hierarchy.
    if let Ok(events) = fs::read_to_string(group.join("cgroup.events")) {
        return events.lines().any(|line| line == "populated 1");
    }
    let mut processes = Vec::new();
    collect_processes(group, &mut processes);
    !processes.is_empty()
}

/// Adds the processes in a group and below it.
fn collect_processes(group: &Path, processes: &mut Vec<u32>) {
    let list = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    processes.extend(list.lines().filter_map(|line| line.parse::<u32>().ok()));
    let Ok(entries) = fs::read_dir(group) else { return };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect_processes(&entry.path(), processes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(name: &str) -> UnitName {
        name.parse().unwrap()
    }

    /// A directory that looks like a hierarchy, with these processes in these groups.
    fn hierarchy(groups: &[(&str, &str)]) -> (tempfile::TempDir, ControlGroups) {
        let top = tempfile::tempdir().unwrap();
        for (group, processes) in groups {
            fs::create_dir_all(top.path().join(group)).unwrap();
            fs::write(top.path().join(group).join("cgroup.procs"), processes).unwrap();
        }
        let groups = ControlGroups { tops: vec![top.path().to_owned()] };
        (top, groups)
    }

    #[test]
    fn a_unit_is_found_in_whatever_slice_it_is() {
        let (top, groups) = hierarchy(&[
            ("system.slice/web.service", "12\n11\n"),
            ("system.slice/system-app.slice/app@1.service/sub/group", "13\n"),
            ("db.service", "14\n"),
            ("system.slice/_cpu.service", "15\n"),
            ("system.slice/done.service/sub", ""),
            ("user.slice/user-0.slice/user@0.service/app.slice/other.service", "16\n"),
            ("own.slice", ""),
            ("own.slice/part.service", "17\n"),
        ]);
        let remark = |name: &str| groups.leftovers_of(&unit(name)).map(|left| left.remark_text());
        assert_eq!(
            remark("web.service").as_deref(),
            Some("waits for processes that it has left behind: 11, 12")
        );
        assert_eq!(
            remark("app@1.service").as_deref(),
            Some("waits for a process that it has left behind: 13")
        );
        for name in ["db.service", "cpu.service", "part.service"] {
            assert!(remark(name).is_some(), "{name}");
        }
        assert_eq!(remark("done.service"), None);
        assert_eq!(remark("absent.service"), None);
        assert_eq!(remark("other.service"), None, "that is a unit of another systemd's");
        assert_eq!(remark("own.slice"), None, "what is in a slice belongs to other units");
        drop(top);
        assert_eq!(remark("web.service"), None);
    }

    #[test]
    fn the_kernels_word_counts_where_it_has_one() {
        let (top, groups) = hierarchy(&[("system.slice/web.service", "0\n")]);
        let events = top.path().join("system.slice/web.service/cgroup.events");
        fs::write(&events, "populated 0\nfrozen 0\n").unwrap();
        assert_eq!(groups.leftovers_of(&unit("web.service")), None);
        fs::write(&events, "populated 1\nfrozen 0\n").unwrap();
        let left = groups.leftovers_of(&unit("web.service")).unwrap();
        assert_eq!(left.remark_text(), "waits for processes that it has left behind");
    }

    #[test]
    fn hierarchies_are_found_by_what_is_mounted() {
        let unified = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(top_groups(unified, ""), [PathBuf::from("/sys/fs/cgroup/")]);
        assert_eq!(
            top_groups(unified, "/user.slice/user@0.service"),
            [PathBuf::from("/sys/fs/cgroup/user.slice/user@0.service")]
        );
        let hybrid = "40 32 0:35 / /sys/fs/cgroup/unified rw - cgroup2 cgroup rw\n\
                      41 32 0:36 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
                      42 32 0:37 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                      43 32 0:38 / /proc rw - proc proc rw\n";
        assert_eq!(
            top_groups(hybrid, "/"),
            [PathBuf::from("/sys/fs/cgroup/unified/"), PathBuf::from("/sys/fs/cgroup/systemd/")]
        );
        let part = "40 32 0:35 /lab/n1 /sys/fs/cgroup rw - cgroup2 cgroup rw\n";
        assert_eq!(top_groups(part, "/lab/n1/payload"), [PathBuf::from("/sys/fs/cgroup/payload")]);
    }
}
