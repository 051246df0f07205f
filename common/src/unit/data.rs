//! What a unit keeps on its machine.
//!
//! Owns the judgement whether a file makes its unit write what outlives it and stays on the machine, by systemd.exec(5),
//! systemd.mount(5) and podman-systemd.unit(5). Such a unit may not run twice at a time, for two would write what only one
//! can own, and finds nothing, or something old, when it moves. It never looks at a machine.
//!
//! | counts | does not, and why |
//! | --- | --- |
//! | `StateDirectory=` | `CacheDirectory=`: made to be lost; `LogsDirectory=`: nothing reads it back; `ConfigurationDirectory=`: read, not written; `RuntimeDirectory=`: gone with the unit |
//! | `BindPaths=`, `ReadWritePaths=`: the author says that the unit writes there | `BindReadOnlyPaths=`, `TemporaryFileSystem=`, `WorkingDirectory=` (says where, not that it writes) |
//! | `RootDirectory=`, `RootImage=`, `MountImages=`: what runs there writes there | a `RootImage=` with `RootHash=` or `RootVerity=`, which cannot be written to; `ExtensionImages=` |
//! | `Volume=` and `Mount=` of a container, `Volume=` of a pod, or the same in a container's `PodmanArgs=`: volumes, with a name or without, and paths of the machine | the same with `ro`, and `tmpfs`; a `VOLUME` of its image, which no file here speaks of |
//! | a `.mount` of a device or of another path | one with `ro`, of memory, or of a server |
//!
//! `DynamicUser=` alone is no sign: such a unit can write nowhere but where one of these says. Paths below `/run`, `/dev`,
//! `/proc` and `/sys` hold what does not outlive a boot, such as the sockets of other services.

use super::blank::BLANKS;
use super::words::{self, Backslash};
use super::{UnitFile, UnitOption};
use crate::container;
use crate::machine::RunnerKind;

/// The option that makes a unit one that keeps data on its machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptData {
    /// Line of the file that says so, from 1; 0 where no single line does.
    pub line: usize,
    /// The option as written, as in `[Service] StateDirectory=db`.
    pub what: String,
}

/// Sections with the directives of systemd.exec(5).
const EXEC: [&str; 4] = ["Service", "Socket", "Mount", "Swap"];

/// Where nothing outlives a boot. `%t` is `/run`.
const VOLATILE: [&str; 6] = ["/run", "/var/run", "/dev", "/proc", "/sys", "%t"];

/// The data that a unit made from this file and run by that runner keeps on its machine; the first there is.
pub fn kept_data(runner: RunnerKind, file: &UnitFile) -> Option<KeptData> {
    match runner {
        RunnerKind::Systemd => of_systemd(file),
        RunnerKind::Docker => of_container(file),
        // Its `[Service]` section is systemd's own.
        RunnerKind::Podman => {
            of_container(file).or_else(|| of_pod(file)).or_else(|| of_systemd(file))
        }
    }
}

/// One assignment that may have been taken back since.
struct GivenOption {
    line: usize,
    section: String,
    name: &'static str,
    value: String,
}

impl GivenOption {
    fn kept_text(&self, word: &str) -> KeptData {
        KeptData { line: self.line, what: format!("[{}] {}={word}", self.section, self.name) }
    }
}

/// The assignments of a directive that are in force: an empty value takes back those before it.
fn in_force(file: &UnitFile, names: &[&'static str]) -> Vec<GivenOption> {
    let mut given: Vec<GivenOption> = Vec::new();
    for (line, option) in file.numbered_options() {
        let Some(name) = names.iter().find(|name| **name == option.name) else { continue };
        if !EXEC.contains(&option.section.as_str()) {
            continue;
        }
        let value = option.joined_value().into_owned();
        if value.is_empty() {
            given.retain(|before| before.section != option.section);
        } else {
            given.push(GivenOption { line, section: option.section.clone(), name, value });
        }
    }
    given
}

/// The words of a value. One that systemd could not read is taken apart at its blanks: better too careful.
fn words_of(value: &str) -> Vec<String> {
    let plain = || value.split(BLANKS).filter(|word| !word.is_empty()).map(str::to_owned).collect();
    words::split(value, Backslash::Literal).unwrap_or_else(|_| plain())
}

fn of_systemd(file: &UnitFile) -> Option<KeptData> {
    for given in in_force(file, &["StateDirectory"]) {
        if let Some(word) = words_of(&given.value).iter().find(|word| !word.is_empty()) {
            return Some(given.kept_text(word));
        }
    }
    // `ReadWriteDirectories=` is what it was called before.
    let writable: [&[&'static str]; 3] =
        [&["BindPaths"], &["ReadWritePaths", "ReadWriteDirectories"], &["MountImages"]];
    for names in writable {
        for given in in_force(file, names) {
            if let Some(word) = words_of(&given.value).iter().find(|word| is_kept_path(word)) {
                return Some(given.kept_text(word));
            }
        }
    }
    let sealed = !in_force(file, &["RootHash", "RootVerity"]).is_empty();
    let roots = ["RootDirectory", "RootImage"].into_iter();
    for name in roots.filter(|name| !(sealed && *name == "RootImage")) {
        if let Some(given) = in_force(file, &[name]).pop()
            && given.value.trim_end_matches('/').starts_with(['/', '%'])
        {
            return Some(given.kept_text(&given.value));
        }
    }
    mounted_path(file)
}

/// True when a word names a path of the machine that outlives a boot; `-` before it says that it may be missing, `+` that it is
/// meant below the unit's root.
fn is_kept_path(word: &str) -> bool {
    let source = word.trim_start_matches(['-', '+']);
    let source = source.split(':').next().unwrap_or_default();
    source.starts_with(['/', '%']) && !is_volatile(source)
}

fn is_volatile(path: &str) -> bool {
    let path = clean_path(path);
    VOLATILE.iter().any(|below| {
        path.strip_prefix(below).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// A path without what systemd would simplify.
fn clean_path(path: &str) -> String {
    let parts = path.split('/').filter(|part| !part.is_empty() && *part != ".");
    let clean = parts.collect::<Vec<_>>().join("/");
    if path.starts_with('/') { format!("/{clean}") } else { clean }
}

/// The data below a mount unit's mount, if that is the machine's own and can be written to.
fn mounted_path(file: &UnitFile) -> Option<KeptData> {
    let last = |name| in_force(file, &[name]).pop().filter(|given| given.section == "Mount");
    let what = last("What")?;
    let options = last("Options").map(|given| given.value).unwrap_or_default();
    let has = |word: &str| options.split(',').any(|option| option.trim() == word);
    let device = what.value.starts_with("/dev/") || what.value.contains('=');
    // A directory that is bound, or a file with a file system in it; with two slashes it is a server's.
    let path = what.value.starts_with('/') && !what.value.starts_with("//");
    let local = device || path && !is_volatile(&what.value);
    // What is written to an overlay is kept in a directory of its own, whatever it is called.
    let upper = options.split(',').filter_map(|option| option.trim().strip_prefix("upperdir="));
    let local = local || upper.into_iter().any(|path| !is_volatile(path));
    (local && !has("ro")).then(|| what.kept_text(&what.value))
}

fn of_container(file: &UnitFile) -> Option<KeptData> {
    // Most files are no container's, or have nothing mounted: those are not read in full.
    mount_lines(file).next()?;
    // What cannot be read here may have been written by a daemon that can.
    let Ok(mounts) = container::list_mounts(file) else { return mounted_somehow(file) };
    let kept = |mount: &&container::Mount| {
        !mount.read_only
            && match &mount.source {
                container::Source::Path(path) => !is_volatile(path),
                container::Source::Volume(_) | container::Source::Anonymous => true,
                container::Source::Tmpfs { .. } | container::Source::Image(_) => false,
            }
    };
    let Some(mount) = mounts.iter().find(kept) else { return mounted_by_variable(file) };
    let what = match &mount.source {
        container::Source::Path(path) => format!("the machine's {path} as {}", mount.target),
        container::Source::Volume(container::NamedResource::Unit(unit)) => {
            format!("the volume {unit} as {}", mount.target)
        }
        container::Source::Volume(container::NamedResource::Engine(name)) => {
            format!("the volume {name} as {}", mount.target)
        }
        _ => format!("a volume as {}", mount.target),
    };
    Some(KeptData { line: 0, what })
}

/// What the containers of a pod have in common.
fn of_pod(file: &UnitFile) -> Option<KeptData> {
    let mut mounts =
        file.numbered_options().filter(|(_, o)| o.section == "Pod" && o.name == "Volume");
    mounts.find_map(|(line, option)| {
        let value = option.joined_value();
        let mut parts = value.trim().split(':');
        let source = parts.next().filter(|source| !source.is_empty())?;
        let is_read_only = parts.nth(1).is_some_and(|words| words.split(',').any(|w| w == "ro"));
        let is_gone = is_read_only || source.starts_with('/') && is_volatile(source);
        (!is_gone).then(|| written_paths(line, option))
    })
}

/// A mount that only the machine can read: what its variables stand for is in a file there.
fn mounted_by_variable(file: &UnitFile) -> Option<KeptData> {
    file.values_of("Service", "EnvironmentFile").last().filter(|path| !path.is_empty())?;
    let (line, option) = mount_lines(file).find(|(_, option)| option.value.contains('$'))?;
    Some(written_paths(line, option))
}

/// The last mount of a container whose file cannot be read in full.
fn mounted_somehow(file: &UnitFile) -> Option<KeptData> {
    let (line, option) = mount_lines(file).last().filter(|(_, option)| !option.value.is_empty())?;
    Some(written_paths(line, option))
}

fn mount_lines(file: &UnitFile) -> impl Iterator<Item = (usize, &UnitOption)> {
    file.numbered_options().filter(|(_, option)| {
        option.section == "Container"
            && match option.name.as_str() {
                "Volume" | "Mount" => true,
                "PodmanArgs" => may_mount(&option.joined_value()),
                _ => false,
            }
    })
}

/// True when options of `podman run` may have one among them that mounts: `--volume`, `--mount`, or `v` among short ones.
fn may_mount(args: &str) -> bool {
    words_of(args).iter().any(|word| match word.strip_prefix("--") {
        Some(long) => long.starts_with("volume") || long.starts_with("mount"),
        None => word.strip_prefix('-').is_some_and(|short| short.contains('v')),
    })
}

fn written_paths(line: usize, option: &UnitOption) -> KeptData {
    KeptData {
        line,
        what: format!("[{}] {}={}", option.section, option.name, option.joined_value()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept_text(runner: RunnerKind, text: &str) -> Option<String> {
        kept_data(runner, &text.parse().unwrap()).map(|kept| kept.what)
    }

    fn service(lines: &str) -> Option<String> {
        kept_text(RunnerKind::Systemd, &format!("[Service]\nExecStart=/bin/true\n{lines}\n"))
    }

    fn container(lines: &str) -> Option<String> {
        kept_text(RunnerKind::Docker, &format!("[Container]\nImage=a\n{lines}\n"))
    }

    #[test]
    fn a_pod_keeps_what_its_containers_have_in_common() {
        let pod = |lines: &str| kept_text(RunnerKind::Podman, &format!("[Pod]\n{lines}\n"));
        assert_eq!(pod("Volume=d.volume:/d"), Some("[Pod] Volume=d.volume:/d".to_owned()));
        assert!(pod("Volume=/srv/d:/d:z").is_some());
        for lines in ["", "Volume=/run/d:/d", "Volume=d.volume:/d:ro,z", "Volume="] {
            assert_eq!(pod(lines), None, "{lines}");
        }
    }

    #[test]
    fn a_state_directory_is_kept_however_it_is_written() {
        let state = Some("[Service] StateDirectory=db".to_owned());
        for lines in [
            "StateDirectory=db",
            "StateDirectory = db",
            "StateDirectory=\"db\"",
            "StateDirectory=db other",
            "StateDirectory=\\\n  db",
            "StateDirectory=\nStateDirectory=db",
            "StateDirectory=gone\nStateDirectory=\nStateDirectory=db",
            "DynamicUser=yes\nStateDirectory=db",
        ] {
            assert_eq!(service(lines), state, "{lines}");
        }
        assert!(service("StateDirectory=%p/%i").is_some());
        assert!(service("StateDirectory=a:b").is_some());
    }

    #[test]
    fn what_is_taken_back_or_stands_elsewhere_is_not() {
        for lines in [
            "",
            "StateDirectory=",
            "StateDirectory=db\nStateDirectory=",
            "StateDirectory=\"\"",
            "#StateDirectory=db",
            "DynamicUser=yes",
            "CacheDirectory=db",
            "LogsDirectory=db",
            "ConfigurationDirectory=db",
            "RuntimeDirectory=db",
            "WorkingDirectory=/srv/db",
            "TemporaryFileSystem=/srv",
            "StateDirectoryMode=0700",
            "[Unit]\nStateDirectory=db",
            "[X-Fleet]\nMachineMetadata=StateDirectory=db",
        ] {
            assert_eq!(service(lines), None, "{lines}");
        }
    }

    #[test]
    fn paths_of_the_machine_count_where_they_can_be_written_to() {
        for (lines, kept) in [
            ("BindPaths=/srv/db", "BindPaths=/srv/db"),
            ("BindPaths=/run/a /srv/db:/data:norbind", "BindPaths=/srv/db:/data:norbind"),
            ("BindPaths=-/srv/db:/data", "BindPaths=-/srv/db:/data"),
            ("BindPaths='/srv/my db:/data'", "BindPaths=/srv/my db:/data"),
            ("BindPaths=%S/db:/data", "BindPaths=%S/db:/data"),
            ("ReadWritePaths=-/var/lib/db", "ReadWritePaths=-/var/lib/db"),
            ("ReadWriteDirectories=/srv", "ReadWriteDirectories=/srv"),
            ("RootDirectory=/srv/root", "RootDirectory=/srv/root"),
            ("RootImage=/srv/root.raw", "RootImage=/srv/root.raw"),
            ("MountImages=/srv/db.raw:/data", "MountImages=/srv/db.raw:/data"),
        ] {
            assert_eq!(service(lines), Some(format!("[Service] {kept}")), "{lines}");
        }
        for lines in [
            "BindReadOnlyPaths=/srv/db",
            "BindPaths=/run/docker.sock",
            "BindPaths=/var/run//docker.sock:/run/docker.sock",
            "BindPaths=/dev/log %t/x /proc/1 /sys",
            "BindPaths=/srv/db\nBindPaths=",
            "ReadWritePaths=/run/db",
            "RootDirectory=/",
            "RootDirectory=/srv\nRootDirectory=",
            "RootImage=/srv/root.raw\nRootHash=00",
        ] {
            assert_eq!(service(lines), None, "{lines}");
        }
        assert!(service("BindPaths=/running/db").is_some(), "only what is below /run");
    }

    #[test]
    fn volumes_and_paths_of_a_container_count_where_they_can_be_written_to() {
        for (lines, kept) in [
            ("Volume=db.volume:/data", "the volume db.volume as /data"),
            ("Volume=db:/data", "the volume db as /data"),
            ("Volume=/data", "a volume as /data"),
            ("Volume=/srv/db:/data", "the machine's /srv/db as /data"),
            ("Volume=/srv/db:/data:Z", "the machine's /srv/db as /data"),
            ("Volume=/a:/b:ro\nVolume=/srv/db:/data:rw", "the machine's /srv/db as /data"),
            ("Volume=%p-%i.volume:/data", "the volume check-INSTANCE.volume as /data"),
            ("Mount=type=volume,source=db,target=/data", "the volume db as /data"),
            ("Mount=type=volume,target=/data", "a volume as /data"),
            ("Mount=type=bind,source=/srv/db,dst=/data", "the machine's /srv/db as /data"),
            (
                "Mount=type=bind,src=/srv/db,dst=/data,readonly=false",
                "the machine's /srv/db as /data",
            ),
            ("PodmanArgs=--volume /srv/db:/data", "the machine's /srv/db as /data"),
            ("PodmanArgs=--volume=db:/data", "the volume db as /data"),
            ("PodmanArgs=--cpus 2 -v /srv/db:/data", "the machine's /srv/db as /data"),
            ("PodmanArgs=-itv /srv/db:/data", "the machine's /srv/db as /data"),
            ("PodmanArgs=-v/srv/db:/data", "the machine's /srv/db as /data"),
            ("PodmanArgs=\"--volume=/srv/db:/data\"", "the machine's /srv/db as /data"),
            (
                "PodmanArgs=--mount type=bind,source=/srv/db,target=/data",
                "the machine's /srv/db as /data",
            ),
            ("Volume=/a:/b:ro\nPodmanArgs=-v db:/data", "the volume db as /data"),
        ] {
            assert_eq!(container(lines).as_deref(), Some(kept), "{lines}");
        }
        for lines in [
            "",
            "Volume=db.volume:/data:ro",
            "Volume=/srv/db:/data:ro,Z",
            "Volume=db:/data\nVolume=",
            "Volume=/run/docker.sock:/run/docker.sock",
            "Mount=type=bind,source=/srv/db,target=/data,readonly",
            "Mount=type=bind,source=/srv/db,target=/data,ro=true",
            "Mount=type=tmpfs,target=/data",
            "Tmpfs=/data",
            "PodmanArgs=-v /srv/db:/data:ro",
            "PodmanArgs=--mount type=tmpfs,target=/data",
            "PodmanArgs=--cpus 2 -e A=v",
            "PodmanArgs=-v /srv/db:/data\nPodmanArgs=",
            "Secret=db",
            "Frobnicate=yes",
        ] {
            assert_eq!(container(lines), None, "{lines}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_not_taken_for_nothing() {
        assert!(container("Volume=/a:/b:frobnicate").is_some());
        assert!(container("Frobnicate=yes\nVolume=/a:/b").is_some());
        assert!(container("Frobnicate=yes\nPodmanArgs=-v /a:/b").is_some());
        assert!(service("StateDirectory='db").is_some());
        let by_variable = "Volume=${DATA}:/data\n[Service]\nEnvironmentFile=/etc/db.env\n";
        assert!(container(by_variable).is_some());
    }

    #[test]
    fn a_mount_of_the_machines_own_counts() {
        let mount =
            |lines: &str| kept_text(RunnerKind::Systemd, &format!("[Mount]\nWhere=/m\n{lines}"));
        assert_eq!(mount("What=/dev/sdb1").as_deref(), Some("[Mount] What=/dev/sdb1"));
        assert!(mount("What=UUID=1-2").is_some());
        assert!(mount("What=/srv/a\nOptions=noatime,bind").is_some());
        assert!(mount("What=/srv/db.img\nType=ext4\nOptions=loop").is_some());
        assert!(mount("What=/srv/db.img").is_some());
        let overlay =
            "What=overlay\nType=overlay\nOptions=lowerdir=/a,upperdir=/srv/b,workdir=/srv/c";
        assert!(mount(overlay).is_some());
        for lines in [
            "What=tmpfs\nType=tmpfs",
            "What=server:/export\nType=nfs",
            "What=//server/share\nType=cifs",
            "What=overlay\nType=overlay\nOptions=lowerdir=/a:/b",
            "What=overlay\nType=overlay\nOptions=lowerdir=/a,upperdir=/run/b,workdir=/run/c",
            "What=/dev/sdb1\nOptions=ro,noatime",
            "What=/run/a\nOptions=bind",
        ] {
            assert_eq!(mount(lines), None, "{lines}");
        }
    }
}
