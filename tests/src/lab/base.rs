//! The base root: the Debian that all nodes start from, built once and cached outside the checkout.
//!
//! A base is named by the hash of its recipe, so that a changed recipe builds a new one and never half an old one. It is built
//! beside its place and renamed into it under a lock: a base that exists is complete.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::command;
use super::image;
use super::lock::Lock;
use super::provision;
use super::release::Release;

/// Raised when the steps below change in a way that their inputs do not show.
const RECIPE: &str = "3";

/// Wanted in a node by people and tests, not by Muster.
const CONVENIENCES: [&str; 4] = ["busybox-static", "iputils-ping", "less", "tar"];

/// Enabled when the host that is to run them is provisioned.
const ON_DEMAND: [&str; 4] =
    ["containerd.service", "docker.service", "docker.socket", "etcd.service"];

/// Enabled in those releases that have them, and of no use here.
const OF_PODMAN: [&str; 3] = [
    "netavark-dhcp-proxy.service",
    "netavark-dhcp-proxy.socket",
    "netavark-firewalld-reload.service",
];

/// What a node has no use for: it costs boot time, and some of it waits for a network that is given from outside.
const MASKED: [&str; 15] = [
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "console-getty.service",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty.target",
    "getty@.service",
    "logrotate.timer",
    "systemd-networkd-wait-online.service",
    "systemd-networkd.service",
    "systemd-resolved.service",
    "systemd-timesyncd.service",
    "systemd-tmpfiles-clean.timer",
];

/// The base root, built if it is not there; `say` hears about it, since that takes minutes.
pub(super) fn ensure_base(cache: &Path, release: Release, say: &dyn Fn(&str)) -> Result<PathBuf> {
    let mut packages = provision::required_packages(release.has_quadlet())?;
    packages.extend(CONVENIENCES.map(ToOwned::to_owned));
    packages.extend(release.extra_packages().iter().map(|&package| package.to_owned()));
    let packages = packages.join(",");
    let suite = release.archive_suite();
    let recipe = format!("{RECIPE}\n{suite}\n{packages}\n{MASKED:?}{ON_DEMAND:?}");
    let base =
        cache.join(format!("base-{}-{:016x}", release.release_number(), fingerprint(&recipe)));
    if base.exists() {
        return Ok(base);
    }
    let _lock = Lock::acquire(&cache.join("base.lock"), "another run builds the base root", say)?;
    if base.exists() {
        return Ok(base);
    }
    let building = base.with_extension("building");
    if building.exists() {
        fs::remove_dir_all(&building)?;
    }
    say(&format!(
        "building the base root of {release} in {} (once; a few minutes)",
        base.display()
    ));
    let result = build(&building, release, &packages, say);
    if result.is_err() {
        let _ = fs::remove_dir_all(&building);
    }
    result?;
    command::run("sync", &["--file-system", &building.to_string_lossy()])?;
    fs::rename(&building, &base)?;
    remove_others(cache, release, &base);
    Ok(base)
}

/// Removes bases of the release's other recipes that no host is mounted over; what cannot be removed only costs space.
fn remove_others(cache: &Path, release: Release, base: &Path) {
    let its = format!("base-{}-", release.release_number());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let Ok(entries) = fs::read_dir(cache) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let unused = !mounts.contains(&*path.to_string_lossy());
        // There was one release only, which bases did not name.
        let nameless = name.starts_with("base-") && name.matches('-').count() == 1;
        if (name.starts_with(&its) || nameless) && path != base && unused {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

fn build(root: &Path, release: Release, packages: &str, say: &dyn Fn(&str)) -> Result<()> {
    let suite = release.archive_suite();
    let mirror = apt_mirror(suite)?;
    let include = format!("--include={packages}");
    let target = root.to_string_lossy();
    let mut debootstrap = Command::new("debootstrap");
    debootstrap
        .args(["--variant=minbase", "--merged-usr", &include, suite, &target, &mirror])
        // Each file is brought to the disk at the end, and not by itself: half a base is never used.
        .env("DPKG_FORCE", "unsafe-io,security-mac,downgrade");
    let mut progress = BaseProgress::default();
    command::follow_output(&mut debootstrap, |line| {
        if let Some(told) = progress.read_line(line) {
            say(&told);
        }
    })
    .context("cannot build the base root")?;
    for unit in MASKED {
        let path = root.join("etc/systemd/system").join(unit);
        let _ = fs::remove_file(&path);
        symlink("/dev/null", path)?;
    }
    let root_option = format!("--root={target}");
    let mut disable = vec!["--quiet", &root_option, "disable"];
    disable.extend(ON_DEMAND);
    if release.has_quadlet() {
        disable.extend(OF_PODMAN);
    }
    command::run("systemctl", &disable)?;
    image::build(root)?;
    // Every node gets its own.
    fs::write(root.join("etc/machine-id"), "")?;
    // Downloaded packages only make copies slower.
    let archives = root.join("var/cache/apt/archives");
    for entry in fs::read_dir(archives)?.flatten() {
        let _ = fs::remove_file(entry.path());
    }
    Ok(())
}

/// Packages of one stage between two words about it.
const TOLD_EACH: usize = 50;

/// The stages of debootstrap, as it prints them.
const STAGES: [(&str, &str); 3] =
    [("Retrieving", "fetching"), ("Unpacking", "unpacking"), ("Configuring", "configuring")];

/// How far debootstrap has come.
#[derive(Debug, Default)]
struct BaseProgress {
    stage: &'static str,
    packages: usize,
}

impl BaseProgress {
    /// Reads a line of its output; a word about it at the beginning of a stage, and now and then within.
    fn read_line(&mut self, line: &str) -> Option<String> {
        let word = line.strip_prefix("I: ")?.split(' ').next()?;
        let (_, stage) = STAGES.iter().find(|(printed, _)| *printed == word)?;
        if self.stage != *stage {
            *self = Self { stage, packages: 0 };
        }
        self.packages += 1;
        match self.packages {
            1 => Some(format!("base root: {stage} packages")),
            n if n % TOLD_EACH == 0 => Some(format!("base root: {stage} packages, {n} so far")),
            _ => None,
        }
    }
}

/// The mirror apt uses on this machine: that of the same release if there is one, else any of Debian's own archive.
fn apt_mirror(suite: &str) -> Result<String> {
    let format = "$(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN)";
    let list = command::run(
        "apt-get",
        &["indextargets", "--format", format, "Identifier: Packages", "Component: main"],
    )?;
    let targets: Vec<(&str, &str)> = list
        .lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            Some((words.next()?, words.next()?))
        })
        .collect();
    let same = targets.iter().find(|(_, release)| *release == suite);
    let any = targets.iter().find(|(uri, _)| uri.trim_end_matches('/').ends_with("/debian"));
    match same.or(any) {
        Some((uri, _)) => Ok((*uri).to_owned()),
        None => bail!("apt on this machine knows no Debian mirror (apt-get indextargets)"),
    }
}

/// FNV-1a: a name, not a protection, and the same with every compiler.
fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_said_at_the_beginning_of_a_stage_and_now_and_then() {
        let mut progress = BaseProgress::default();
        let mut said = |line: &str| progress.read_line(line);
        assert_eq!(said("I: Checking component main on http://deb.debian.org/debian..."), None);
        assert_eq!(
            said("I: Retrieving InRelease "),
            Some("base root: fetching packages".to_owned())
        );
        assert_eq!(said("I: Validating InRelease "), None);
        assert_eq!(said("I: Retrieving adduser 3.152"), None);
        assert_eq!(
            said("I: Unpacking libc6:amd64..."),
            Some("base root: unpacking packages".to_owned())
        );
        let told: Vec<String> = (0..TOLD_EACH).filter_map(|_| said("I: Unpacking x...")).collect();
        assert_eq!(told, [format!("base root: unpacking packages, {TOLD_EACH} so far")]);
        assert_eq!(said("W: something else"), None);
    }
}
