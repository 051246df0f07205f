//! What users install: `cargo xtask man`, `cargo xtask dist`.
//!
//! Owns the order of things and what makes the result the same bytes every time. What the .deb and the tarball hold is
//! said in their own modules.

mod deb;
pub(crate) mod man;
mod tarball;

use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use serde_json::Value;

use crate::build;
use crate::install::{self, For};
use crate::shell::{cargo, output, program, run, top};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only one of them.
    #[arg(long)]
    only: Option<What>,
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
enum What {
    /// The Debian package.
    Deb,
    /// The static tarball.
    Tarball,
}

/// What a package is made of.
#[derive(Debug)]
struct Source<'a> {
    /// Where musterd and musterctl are.
    binaries: &'a Path,
    /// A directory that may be emptied.
    work: &'a Path,
    /// The package's version.
    version: &'a str,
    /// The time of everything in it, in seconds since 1970.
    epoch: &'a str,
    /// Rather quickly than small.
    fast: bool,
}

/// `cargo xtask dist`.
pub(crate) fn dist(arguments: &Arguments) -> Result<()> {
    install::ensure(For::Dist)?;
    let target = build::target()?.join("dist");
    let version = arguments.version.clone().map_or_else(workspace_version, Ok)?;
    let directory = arguments.output.clone().unwrap_or_else(|| target.clone());
    let made = make(arguments, &target.join("build"), &directory, &version)?;
    if arguments.twice {
        let again = make(arguments, &target.join("again"), &target.join("second"), &version)?;
        for (first, second) in made.iter().zip(&again) {
            if fs::read(first)? != fs::read(second)? {
                bail!("{} and {} differ", first.display(), second.display());
            }
        }
        eprintln!("dist: built twice, the same bytes");
    }
    for path in &made {
        let sum = output(program("sha256sum", &["--binary"]).arg(path))?;
        let sum = sum.split_whitespace().next().unwrap_or_default();
        println!("{}\t{} bytes\tsha256 {sum}", path.display(), fs::metadata(path)?.len());
    }
    Ok(())
}

/// Packs programs for hosts to be installed from: the package.
pub(crate) fn package(binaries: &Path) -> Result<PathBuf> {
    install::ensure(For::Dist)?;
    let directory = build::target()?.join("packages");
    let (version, epoch) = (workspace_version()?, epoch()?);
    let work = directory.join("work");
    let source =
        Source { binaries, work: &work, version: &version, epoch: epoch.trim(), fast: true };
    let package = deb::make(&source, &directory)?;
    fs::remove_dir_all(&work)?;
    Ok(package)
}

/// Packs programs for the tests: the package, one to upgrade from, and the tarball; the directory they are in.
pub(crate) fn for_tests(binaries: &Path) -> Result<PathBuf> {
    install::ensure(For::Dist)?;
    let directory = build::target()?.join("packages");
    empty(&directory)?;
    let (version, epoch) = (workspace_version()?, epoch()?);
    let before = format!("{version}~before");
    let source =
        |version, work| Source { binaries, work, version, epoch: epoch.trim(), fast: true };
    let work = directory.join("work");
    deb::make(&source(&before, &work), &directory)?;
    deb::make(&source(&version, &work), &directory)?;
    tarball::make(&source(&version, &work), &directory)?;
    fs::remove_dir_all(&work)?;
    Ok(directory)
}

/// Builds what is to be built below `build`, and packs it into `directory`.
fn make(
    arguments: &Arguments,
    build: &Path,
    directory: &Path,
    version: &str,
) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(directory)?;
    let directory = directory.canonicalize()?;
    let epoch = epoch()?;
    let wanted = |what| arguments.only.is_none_or(|only| only == what);
    let mut made = Vec::new();
    for what in [What::Deb, What::Tarball] {
        if !wanted(what) {
            continue;
        }
        let (name, target) = match what {
            What::Deb => ("deb", None),
            What::Tarball => ("tarball", Some(format!("{ARCH}-unknown-linux-musl"))),
        };
        let binaries = match &arguments.binaries {
            Some(binaries) => binaries.canonicalize()?,
            None => compile(build, target.as_deref())?,
        };
        let work = directory.join(format!("{name}-work"));
        let epoch = epoch.trim();
        let source = Source { binaries: &binaries, work: &work, version, epoch, fast: false };
        made.push(match what {
            What::Deb => deb::make(&source, &directory)?,
            What::Tarball => tarball::make(&source, &directory)?,
        });
        fs::remove_dir_all(&work)?;
    }
    Ok(made)
}

/// Builds the programs so that where they were built does not show in them; the directory they are in.
fn compile(build: &Path, target: Option<&str>) -> Result<PathBuf> {
    fs::create_dir_all(build)?;
    let home = std::env::var("CARGO_HOME")
        .or_else(|_| std::env::var("HOME").map(|home| format!("{home}/.cargo")))
        .context("neither CARGO_HOME nor HOME is set")?;
    // The last one that fits counts, so that the target directory wins over the checkout it may be in.
    let flags = [
        format!("--remap-path-prefix={home}=/usr/src/cargo"),
        format!("--remap-path-prefix={}=/usr/src/muster", top().display()),
        format!("--remap-path-prefix={}=/usr/src/target", build.canonicalize()?.display()),
    ];
    let mut command = cargo(&["build", "--release", "--locked", "--package", "musterd"]);
    command.args(["--package", "musterctl"]).arg("--target-dir").arg(build);
    command.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    let Some(target) = target else {
        run(&mut command)?;
        return Ok(build.join("release"));
    };
    install::target(target)?;
    run(command.args(["--target", target]))?;
    Ok(build.join(target).join("release"))
}

/// Puts what is made from the programs into `directory`: `man/` and `completions/`.
fn extras(binaries: &Path, directory: &Path) -> Result<()> {
    man::write(binaries, &directory.join("man"))?;
    let completions = directory.join("completions");
    fs::create_dir_all(&completions)?;
    let musterctl = binaries.join("musterctl");
    for (shell, name) in [("bash", "musterctl"), ("zsh", "_musterctl"), ("fish", "musterctl.fish")]
    {
        let script = output(&mut program(&musterctl.to_string_lossy(), &["completions", shell]))?;
        fs::write(completions.join(name), script)?;
    }
    Ok(())
}

/// An empty directory.
fn empty(directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory)
            .with_context(|| format!("cannot empty {}", directory.display()))?;
    }
    Ok(fs::create_dir_all(directory)?)
}

/// The time of everything: that of the commit, unless somebody says otherwise.
fn epoch() -> Result<String> {
    if let Ok(epoch) = std::env::var("SOURCE_DATE_EPOCH") {
        return Ok(epoch);
    }
    output(&mut program("git", &["log", "-1", "--format=%ct"]))
}

fn workspace_version() -> Result<String> {
    let metadata = output(&mut cargo(&["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let packages = metadata.get("packages").and_then(Value::as_array);
    let daemon = packages
        .and_then(|all| all.iter().find(|p| p.get("name").is_some_and(|name| name == "musterd")));
    let version = daemon.and_then(|package| package.get("version")).and_then(Value::as_str);
    Ok(version.context("cargo metadata has no version of musterd")?.to_owned())
}

/// A command with the time that everything gets.
fn timed(mut command: Command, epoch: &str) -> Command {
    command.env("SOURCE_DATE_EPOCH", epoch);
    command
}
