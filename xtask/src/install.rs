//! What the machine lacks, and how it gets it: Debian packages, rustup components, cargo's subcommands.

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::shell::{cargo_command, is_success, program_command, read_output, run};

/// Needed to compile: etcd's protocol is generated with protoc from google's includes.
const BUILD: &[&str] = &["protobuf-compiler", "libprotobuf-dev"];

/// Needed by the checks.
const CHECK: &[&str] = &["shellcheck"];

/// Needed by the store's tests, which start real members.
const STORE: &[&str] = &["etcd-server", "etcd-client"];

/// Needed by the daemon's tests: a bus of their own, on which they play the programs that the daemon talks to.
const BUS: &[&str] = &["dbus-daemon"];

/// Needed by the tests of the client: a server of their own on loopback, and the client that speaks to it.
const SSH: &[&str] = &["openssh-client", "openssh-server"];

/// Needed to look for faults in manual pages.
const MAN: &[&str] = &["groff-base"];

/// Needed to make packages: what finds the libraries a program needs, and a C compiler for static ones.
const DIST: &[&str] = &["dpkg-dev", "musl-tools"];

/// The program that packs the Debian package.
const CARGO_DEB: &str = "3.8.0";

/// Needed to make hosts.
const LAB: &[&str] = &["systemd-container", "debootstrap", "iproute2", "util-linux"];

/// Needed to see whether Vagrant understands our file.
const VAGRANT_FILE: &[&str] = &["vagrant"];

/// Needed to make virtual machines.
const VAGRANT: &[&str] = &[
    "debootstrap",
    "dnsmasq-base",
    "e2fsprogs",
    "fdisk",
    "grub-common",
    "grub-pc-bin",
    "iproute2",
    "iptables",
    "libvirt-clients",
    "libvirt-daemon-system",
    "openssh-client",
    "qemu-system-x86",
    "qemu-utils",
    "vagrant-libvirt",
];

/// The purpose that tools are needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Compiling.
    Build,
    /// Formatting, lints, dependencies.
    Check,
    /// Tests that need no hosts.
    Unit,
    /// Anything on the lab.
    Lab,
    /// Manual pages.
    Man,
    /// Packages.
    Dist,
    /// Reading the file that describes virtual machines.
    VagrantFile,
    /// Anything on virtual machines.
    Vagrant,
}

/// Installs what is missing for a purpose; quick when nothing is.
pub(crate) fn ensure_tools(purpose: Purpose) -> Result<()> {
    let sets: &[&[&str]] = match purpose {
        Purpose::Build => &[BUILD],
        Purpose::Check => &[BUILD, CHECK],
        Purpose::Unit => &[BUILD, STORE, BUS, SSH],
        Purpose::Lab => &[BUILD, STORE, LAB],
        Purpose::Man => &[MAN],
        Purpose::Dist => &[BUILD, MAN, DIST],
        Purpose::VagrantFile => &[VAGRANT_FILE],
        Purpose::Vagrant => &[BUILD, VAGRANT_FILE, VAGRANT],
    };
    ensure_packages(&sets.concat())?;
    match purpose {
        Purpose::Build | Purpose::Lab | Purpose::Man | Purpose::VagrantFile | Purpose::Vagrant => {}
        Purpose::Check => {
            ensure_component("rustfmt", "fmt")?;
            ensure_component("clippy", "clippy")?;
            ensure_subcommand("deny")?;
        }
        Purpose::Unit => ensure_subcommand("nextest")?,
        Purpose::Dist => ensure_pinned("deb", CARGO_DEB)?,
    }
    Ok(())
}

/// The test runner, which the end-to-end tests need beside hosts.
pub(crate) fn ensure_nextest() -> Result<()> {
    ensure_subcommand("nextest")
}

/// The standard library for another target.
pub(crate) fn ensure_target(name: &str) -> Result<()> {
    let sysroot = read_output(&mut program_command("rustc", &["--print", "sysroot"]))?;
    if Path::new(sysroot.trim()).join("lib/rustlib").join(name).join("lib").exists() {
        return Ok(());
    }
    run(&mut program_command("rustup", &["target", "add", name]))
        .with_context(|| format!("Rust cannot build for {name}; install its standard library"))
}

fn ensure_packages(wanted: &[&str]) -> Result<()> {
    let missing: Vec<&str> = wanted.iter().copied().filter(|name| !is_installed(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!("missing: {list} (Debian's names); install them and try again");
    }
    if read_output(&mut program_command("id", &["-u"]))?.trim() != "0" {
        bail!("missing: {list}; run `apt-get install {list}` as root");
    }
    // Debian starts a server when it is installed, on the ports a real one may want, and one lets people in. A machine that
    // had none before is to have none after.
    let guarded: Vec<&str> = if Path::new("/run/systemd/system").exists() {
        let servers = [("etcd-server", "etcd.service"), ("openssh-server", "ssh.service")];
        servers
            .into_iter()
            .filter(|(name, _)| missing.contains(name))
            .map(|(_, unit)| unit)
            .collect()
    } else {
        Vec::new()
    };
    for unit in &guarded {
        run(&mut program_command("systemctl", &["mask", "--runtime", unit]))?;
    }
    let installed = run(&mut program_command("apt-get", &["update", "--quiet"]))
        .and_then(|()| {
            let mut command = program_command("apt-get", &["install", "--quiet", "--yes"]);
            command.arg("--no-install-recommends").args(&missing);
            if missing.contains(&"qemu-system-x86") {
                // A machine may carry newer tools of QEMU's, with which Debian's emulator does not go together.
                command.arg("--allow-downgrades").args(beside_emulator()?);
            }
            run(command.env("DEBIAN_FRONTEND", "noninteractive"))
        })
        .with_context(|| format!("cannot install {list}"));
    for unit in &guarded {
        run(&mut program_command("systemctl", &["unmask", "--runtime", unit]))?;
        run(&mut program_command("systemctl", &["disable", unit]))?;
    }
    installed
}

/// QEMU's tools in the version of its emulator, if they are to be had.
fn beside_emulator() -> Result<Option<String>> {
    let list = read_output(&mut program_command(
        "apt-cache",
        &["madison", "qemu-system-x86", "qemu-utils"],
    ))?;
    let rows: Vec<Vec<&str>> =
        list.lines().map(|line| line.split('|').map(str::trim).collect()).collect();
    let version = |name: &str, wanted: Option<&str>| {
        rows.iter().find_map(|row| match row.as_slice() {
            [package, version, ..] if *package == name && wanted.is_none_or(|w| w == *version) => {
                Some(*version)
            }
            _ => None,
        })
    };
    let emulator = version("qemu-system-x86", None);
    Ok(version("qemu-utils", emulator)
        .filter(|_| emulator.is_some())
        .map(|version| format!("qemu-utils={version}")))
}

fn is_installed(package: &str) -> bool {
    let query = ["--show", "--showformat=${db:Status-Status}", package];
    program_command("dpkg-query", &query)
        .output()
        .is_ok_and(|output| output.stdout.starts_with(b"installed"))
}

fn ensure_component(name: &str, subcommand: &str) -> Result<()> {
    if is_success(&mut cargo_command(&[subcommand, "--version"])) {
        return Ok(());
    }
    run(&mut program_command("rustup", &["component", "add", name]))
        .with_context(|| format!("cargo has no `{subcommand}`; install {name}"))
}

fn ensure_subcommand(name: &str) -> Result<()> {
    if is_success(&mut cargo_command(&[name, "--version"])) {
        return Ok(());
    }
    let package = format!("cargo-{name}");
    eprintln!("{package} is missing; compiling it takes some minutes, once");
    run(&mut cargo_command(&["install", "--locked", &package]))
}

/// [`subcommand`] in one version: what it packs is to be the same bytes everywhere.
fn ensure_pinned(name: &str, version: &str) -> Result<()> {
    let installed = cargo_command(&[name, "--version"]).output();
    let is = |output: std::process::Output| {
        String::from_utf8_lossy(&output.stdout).trim().ends_with(version)
    };
    if installed.is_ok_and(is) {
        return Ok(());
    }
    let package = format!("cargo-{name}");
    eprintln!("{package} {version} is missing; compiling it takes some minutes, once");
    run(&mut cargo_command(&["install", "--locked", &package, "--version", version]))
}
