//! The Debian package. What it holds is in the daemon's manifest; what it does on a machine, in packaging/debian.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::source::{PackageSource, collect_extras, empty_directory, with_epoch};
use crate::shell::{cargo_command, program_command, read_output, run};

/// Packs the programs and what belongs to them.
pub(super) fn make_package(source: &PackageSource<'_>, directory: &Path) -> Result<PathBuf> {
    // cargo-deb looks for programs where cargo would have put them; so they are put there, wherever they are from.
    let release = source.work.join("release");
    empty_directory(source.work)?;
    fs::create_dir_all(&release)?;
    for name in ["musterd", "musterctl"] {
        let from = source.binaries.join(name);
        fs::copy(&from, release.join(name))
            .with_context(|| format!("cannot copy {}", from.display()))?;
    }
    collect_extras(&release, &release)?;
    let mut pages: Vec<PathBuf> = Vec::new();
    for page in fs::read_dir(release.join("man"))? {
        pages.push(page?.path());
    }
    read_output(program_command("gzip", &["--no-name", "--best"]).args(pages))?;
    let architecture = read_output(&mut program_command("dpkg", &["--print-architecture"]))?;
    let package = directory.join(format!("muster_{}_{}.deb", source.version, architecture.trim()));
    let command =
        cargo_command(&["deb", "--package", "musterd", "--no-build", "--no-strip", "--quiet"]);
    let mut command = with_epoch(command, source.epoch);
    if source.fast {
        command.arg("--fast");
    }
    command.args(["--deb-version", source.version, "--output"]).arg(&package);
    run(command.env("CARGO_TARGET_DIR", source.work))?;
    Ok(package)
}
