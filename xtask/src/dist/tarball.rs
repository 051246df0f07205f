//! The static tarball, for machines without a package manager; packaging/static/install puts it in place there.

use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::source::{PackageSource, collect_extras, empty_directory};
use crate::shell::{checkout_root, program_command, read_output, run};

/// Files of the checkout, and where they are in the tarball.
const FILES: &[(&str, &str)] = &[
    ("packaging/static/install", "install"),
    ("packaging/muster.toml", "muster.toml"),
    ("provision/systemd/musterd.service", "systemd/musterd.service"),
    ("provision/systemd/musterd.socket", "systemd/musterd.socket"),
    ("provision/systemd/sysusers.conf", "sysusers.conf"),
    ("packaging/butane/flatcar.yaml", "butane/flatcar.yaml"),
    ("packaging/butane/fedora-coreos.yaml", "butane/fedora-coreos.yaml"),
    ("LICENSE", "LICENSE"),
    ("CHANGELOG.md", "CHANGELOG.md"),
];

/// Packs the programs and what belongs to them.
pub(super) fn make_tarball(source: &PackageSource<'_>, directory: &Path) -> Result<PathBuf> {
    let name = format!("muster-{}", source.version);
    let tree = source.work.join(&name);
    empty_directory(source.work)?;
    for part in ["bin", "systemd", "butane"] {
        fs::create_dir_all(tree.join(part))?;
    }
    for program in ["musterd", "musterctl"] {
        let from = source.binaries.join(program);
        fs::copy(&from, tree.join("bin").join(program))
            .with_context(|| format!("cannot copy {}", from.display()))?;
    }
    collect_extras(&tree.join("bin"), &tree)?;
    for (from, to) in FILES {
        fs::copy(checkout_root().join(from), tree.join(to))
            .with_context(|| format!("cannot copy {from}"))?;
    }
    let unpacked = source.work.join(format!("{name}.tar"));
    // Whoever packs it, whenever, and in whichever order the disk lists files.
    let mut tar = program_command(
        "tar",
        &["--create", "--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--format=gnu"],
    );
    tar.args(["--mode=u=rwX,go=rX", &format!("--mtime=@{}", source.epoch)]);
    tar.arg("--file").arg(&unpacked).arg("--directory").arg(source.work).arg(&name);
    run(&mut tar)?;
    read_output(program_command("gzip", &["--no-name", "--best", "--force"]).arg(&unpacked))?;
    let package = directory.join(format!("{name}-{ARCH}-linux.tar.gz"));
    fs::rename(unpacked.with_extension("tar.gz"), &package)?;
    Ok(package)
}
