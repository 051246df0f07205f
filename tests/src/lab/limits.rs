//! Limits of the kernel that labs run into: room is made for a lab before it boots, and what is short is named.
//!
//! Every systemd, and much of what it starts, watches files through inotify, and the kernel gives all processes of one user
//! 128 instances of it unless told otherwise: two dozen hosts. A host that gets none hangs in its boot without a word of
//! why. The limit is raised, never lowered, and raising it is said, since it outlives the lab.

use std::fs;
use std::path::Path;

/// The kernel's setting, instances for each user.
const INSTANCES: &str = "/proc/sys/fs/inotify/max_user_instances";

/// What one host takes: about five, as measured, and a few more with a container engine or somebody logged in.
const OF_A_HOST: usize = 10;

/// What stays free for everything else on this machine.
const SPARE: usize = 64;

/// Raised to at least this: a limit that must be raised once should not have to be raised for the next lab too.
const AT_LEAST: usize = 1024;

/// Sees to it that so many hosts find inotify instances, and says what it changed or could not change.
pub(super) fn make_room(hosts: usize, say: &dyn Fn(&str)) {
    let Some(limit) = instance_limit() else { return };
    let used = used_instances();
    let Some(wanted) = wanted_limit(limit, used, hosts) else { return };
    match fs::write(INSTANCES, wanted.to_string()) {
        Ok(()) => say(&format!(
            "raised fs.inotify.max_user_instances of this machine from {limit} to {wanted}: {used} are in use"
        )),
        Err(error) => say(&format!("{} ({INSTANCES}: {error})", shortage(limit, used, wanted))),
    }
}

/// The thing that is short on this machine now, as a sentence with the way out; `None` when it is something else that hinders a boot.
pub(super) fn name_shortage() -> Option<String> {
    let (limit, used) = (instance_limit()?, used_instances());
    if used + OF_A_HOST <= limit {
        return None;
    }
    Some(shortage(limit, used, wanted_limit(limit, used, 1)?))
}

/// The limit that so many hosts more want, if it is not enough as it is.
fn wanted_limit(limit: usize, used: usize, hosts: usize) -> Option<usize> {
    let needed = used + hosts * OF_A_HOST + SPARE;
    (needed > limit).then(|| needed.next_power_of_two().max(AT_LEAST))
}

fn shortage(limit: usize, used: usize, wanted: usize) -> String {
    format!(
        "{used} of {limit} inotify instances of this machine are in use, which hosts need to boot; \
         `sysctl fs.inotify.max_user_instances={wanted}` gives them more, `cargo xtask lab list` shows what may be taken down"
    )
}

fn instance_limit() -> Option<usize> {
    fs::read_to_string(INSTANCES).ok()?.trim().parse().ok()
}

/// Open inotify instances of all processes. One that several share counts several times: an estimate upwards.
fn used_instances() -> usize {
    let Ok(processes) = fs::read_dir("/proc") else { return 0 };
    processes.flatten().map(|process| instances_of(&process.path())).sum()
}

/// Those of one process; none of one that has ended meanwhile.
fn instances_of(process: &Path) -> usize {
    let Ok(descriptors) = fs::read_dir(process.join("fd")) else { return 0 };
    let links =
        descriptors.flatten().filter_map(|descriptor| fs::read_link(descriptor.path()).ok());
    links.filter(|link| link.as_os_str() == "anon_inode:inotify").count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_is_enough_stays() {
        assert_eq!(wanted_limit(128, 0, 3), None);
        assert_eq!(wanted_limit(128, 34, 3), None);
        assert_eq!(wanted_limit(8192, 1000, 24), None);
    }

    #[test]
    fn one_that_is_short_is_raised_with_room_for_the_next_lab() {
        assert_eq!(wanted_limit(128, 35, 3), Some(1024));
        assert_eq!(wanted_limit(128, 0, 24), Some(1024));
        assert_eq!(wanted_limit(1024, 1000, 3), Some(2048));
    }

    #[test]
    fn a_shortage_names_the_setting_and_the_way_out() {
        let text = shortage(128, 127, 1024);
        assert!(text.starts_with("127 of 128 inotify instances"), "{text}");
        assert!(text.contains("sysctl fs.inotify.max_user_instances=1024"), "{text}");
    }

    #[test]
    fn instances_are_counted_where_they_are_open() {
        let before = instances_of(Path::new("/proc/self"));
        let flags = rustix::fs::inotify::CreateFlags::CLOEXEC;
        let _instance = rustix::fs::inotify::init(flags).unwrap();
        assert_eq!(instances_of(Path::new("/proc/self")), before + 1);
    }
}
