//! The base root: the Debian that all nodes start from, built once and cached outside the checkout.
//!
//! A base is named by the hash of its recipe, so that a changed recipe builds a new one and never half an old one. It is built
//! beside its place and renamed into it under a lock: a base that exists is complete.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

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
    let result = build(&building, release, &packages);
    if result.is_err() {
        let _ = fs::remove_dir_all(&building);
    }
    result?;
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

fn build(root: &Path, release: Release, packages: &str) -> Result<()> {
    let suite = release.archive_suite();
    let mirror = apt_mirror(suite)?;
    let include = format!("--include={packages}");
    let target = root.to_string_lossy();
    command::run(
        "debootstrap",
        &["--variant=minbase", "--merged-usr", &include, suite, &target, &mirror],
    )
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
