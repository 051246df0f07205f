//! What users install: `cargo xtask man`, `cargo xtask dist`.
//!
//! Owns the order of things and what makes the result the same bytes every time. What the .deb and the tarball hold is
//! said in their own modules.

mod deb;
pub(crate) mod man;
mod source;
mod tarball;

use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use serde_json::Value;

use crate::build;
use crate::install::{self, Purpose};
use crate::shell::{cargo_command, checkout_root, program_command, read_output, run};
use source::{PackageSource, empty_directory};

#[derive(Debug, Args)]
pub(crate) struct DistArguments {
    /// Only one of them.
    #[arg(long)]
    only: Option<PackageKind>,
    /// Take musterd and musterctl from here instead of building them.
    #[arg(long, value_name = "DIR")]
    binaries: Option<PathBuf>,
    /// Version of the packages instead of the workspace's.
    #[arg(long, value_name = "VERSION", id = "package-version")]
    version: Option<String>,
    /// Where to put them instead of `target/dist`.
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Build everything a second time in another place, and fail unless it is the same bytes.
    #[arg(long, conflicts_with = "binaries")]
    twice: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PackageKind {
    /// The Debian package.
    Deb,
    /// The static tarball.
    Tarball,
}

/// `cargo xtask dist`.
pub(crate) fn make_dist(arguments: &DistArguments) -> Result<()> {
    install::ensure_tools(Purpose::Dist)?;
    let target = build::target_directory()?.join("dist");
    let version = arguments.version.clone().map_or_else(workspace_version, Ok)?;
    let directory = arguments.output.clone().unwrap_or_else(|| target.clone());
    let made = make_packages(arguments, &target.join("build"), &directory, &version)?;
    if arguments.twice {
        let again =
            make_packages(arguments, &target.join("again"), &target.join("second"), &version)?;
        for (first, second) in made.iter().zip(&again) {
            if fs::read(first)? != fs::read(second)? {
                bail!("{} and {} differ", first.display(), second.display());
            }
        }
        eprintln!("dist: built twice, the same bytes");
    }
    for path in &made {
        let sum = read_output(program_command("sha256sum", &["--binary"]).arg(path))?;
        let sum = sum.split_whitespace().next().unwrap_or_default();
        println!("{}\t{} bytes\tsha256 {sum}", path.display(), fs::metadata(path)?.len());
    }
    Ok(())
}

/// Packs programs for hosts to be installed from: the package.
pub(crate) fn make_package(binaries: &Path) -> Result<PathBuf> {
    install::ensure_tools(Purpose::Dist)?;
    let directory = build::target_directory()?.join("packages");
    let (version, epoch) = (workspace_version()?, source_epoch()?);
    let work = directory.join("work");
    let source =
        PackageSource { binaries, work: &work, version: &version, epoch: epoch.trim(), fast: true };
    let package = deb::make_package(&source, &directory)?;
    fs::remove_dir_all(&work)?;
    Ok(package)
}

/// Packs programs for the tests: the package, one to upgrade from, and the tarball; the directory they are in.
pub(crate) fn for_tests(binaries: &Path) -> Result<PathBuf> {
    install::ensure_tools(Purpose::Dist)?;
    let directory = build::target_directory()?.join("packages");
    empty_directory(&directory)?;
    let (version, epoch) = (workspace_version()?, source_epoch()?);
    let before = format!("{version}~before");
    let source =
        |version, work| PackageSource { binaries, work, version, epoch: epoch.trim(), fast: true };
    let work = directory.join("work");
    deb::make_package(&source(&before, &work), &directory)?;
    deb::make_package(&source(&version, &work), &directory)?;
    tarball::make_tarball(&source(&version, &work), &directory)?;
    fs::remove_dir_all(&work)?;
    Ok(directory)
}

/// Builds what is to be built below `build`, and packs it into `directory`.
fn make_packages(
    arguments: &DistArguments,
    build: &Path,
    directory: &Path,
    version: &str,
) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(directory)?;
    let directory = directory.canonicalize()?;
    let epoch = source_epoch()?;
    let wanted = |what| arguments.only.is_none_or(|only| only == what);
    let mut made = Vec::new();
    for what in [PackageKind::Deb, PackageKind::Tarball] {
        if !wanted(what) {
            continue;
        }
        let (name, target) = match what {
            PackageKind::Deb => ("deb", None),
            PackageKind::Tarball => ("tarball", Some(format!("{ARCH}-unknown-linux-musl"))),
        };
        let binaries = match &arguments.binaries {
            Some(binaries) => binaries.canonicalize()?,
            None => compile_release(build, target.as_deref())?,
        };
        let work = directory.join(format!("{name}-work"));
        let epoch = epoch.trim();
        let source =
            PackageSource { binaries: &binaries, work: &work, version, epoch, fast: false };
        made.push(match what {
            PackageKind::Deb => deb::make_package(&source, &directory)?,
            PackageKind::Tarball => tarball::make_tarball(&source, &directory)?,
        });
        fs::remove_dir_all(&work)?;
    }
    Ok(made)
}

/// Builds the programs so that where they were built does not show in them; the directory they are in.
fn compile_release(build: &Path, target: Option<&str>) -> Result<PathBuf> {
    fs::create_dir_all(build)?;
    let home = std::env::var("CARGO_HOME")
        .or_else(|_| std::env::var("HOME").map(|home| format!("{home}/.cargo")))
        .context("neither CARGO_HOME nor HOME is set")?;
    // The last one that fits counts, so that the target directory wins over the checkout it may be in.
    let flags = [
        format!("--remap-path-prefix={home}=/usr/src/cargo"),
        format!("--remap-path-prefix={}=/usr/src/muster", checkout_root().display()),
        format!("--remap-path-prefix={}=/usr/src/target", build.canonicalize()?.display()),
    ];
    let mut command = cargo_command(&["build", "--release", "--locked", "--package", "musterd"]);
    command.args(["--package", "musterctl"]).arg("--target-dir").arg(build);
    command.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    let Some(target) = target else {
        run(&mut command)?;
        return Ok(build.join("release"));
    };
    install::ensure_target(target)?;
    run(command.args(["--target", target]))?;
    Ok(build.join(target).join("release"))
}

/// The time of everything: that of the commit, unless somebody says otherwise.
fn source_epoch() -> Result<String> {
    if let Ok(epoch) = std::env::var("SOURCE_DATE_EPOCH") {
        return Ok(epoch);
    }
    read_output(&mut program_command("git", &["log", "-1", "--format=%ct"]))
}

fn workspace_version() -> Result<String> {
    let metadata =
        read_output(&mut cargo_command(&["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let packages = metadata.get("packages").and_then(Value::as_array);
    let daemon = packages
        .and_then(|all| all.iter().find(|p| p.get("name").is_some_and(|name| name == "musterd")));
    let version = daemon.and_then(|package| package.get("version")).and_then(Value::as_str);
    Ok(version.context("cargo metadata has no version of musterd")?.to_owned())
}
