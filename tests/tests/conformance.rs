//! The suite that every runner must pass, against the systemd, the Podman and the container engine of a real host.
//!
//! `agent/tests/runner_conformance.rs` runs everywhere against the runner in memory. Here the same program runs as root
//! inside a host, where it may start, break and re-execute things; and beside it what only containers do.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use muster_tests::lab::{Host, IMAGE, Lab, Options, Release};

/// The suite's program.
const SUITE: &str = "runner_conformance";

#[test]
fn the_systemd_runner_does_what_every_runner_must() -> Result<()> {
    let program = built(SUITE)?;
    let lab = Lab::start(&Options { hosts: 1, etcd: false, ..Options::default() })?;
    passes(lab.host(0)?, &program, "MUSTER_CONFORMANCE=systemd")?;
    lab.tear_down()
}

#[test]
fn the_podman_runner_does_what_every_runner_must() -> Result<()> {
    let program = built(SUITE)?;
    let options = Options {
        hosts: 1,
        etcd: false,
        podman: true,
        release: Some(Release::Trixie),
        ..Options::default()
    };
    let lab = Lab::start(&options)?;
    let environment = "MUSTER_CONFORMANCE=podman MUSTER_PODMAN_IMAGE=localhost/busybox:latest";
    passes(lab.host(0)?, &program, environment)?;
    lab.tear_down()
}

#[test]
fn the_docker_runner_does_what_every_runner_must_and_what_containers_do() -> Result<()> {
    let programs = [built(SUITE)?, built("docker")?];
    let provision = vec!["--docker-live-restore".to_owned()];
    let options =
        Options { hosts: 1, etcd: false, containers: true, provision, ..Options::default() };
    let lab = Lab::start(&options)?;
    let environment = format!(
        "MUSTER_CONFORMANCE=docker MUSTER_DOCKER=/run/docker.sock MUSTER_DOCKER_IMAGE={IMAGE} \
         MUSTER_DOCKER_RESTART='systemctl restart docker'"
    );
    for program in programs {
        passes(lab.host(0)?, &program, &environment)?;
    }
    lab.tear_down()
}

/// Runs a program of tests on a host. One at a time: one of them makes systemd execute itself anew, another restarts
/// the container engine.
fn passes(host: &Host, program: &Path, environment: &str) -> Result<()> {
    let place = "/root/program";
    let bytes = std::fs::read(program).context("read the program")?;
    let put = format!("cat > {place} && chmod +x {place}");
    host.exec_with_input(&["sh", "-c", &put], &bytes)?.ensure_success()?;
    let run = format!("{environment} {place} --test-threads=1 2>&1");
    let output = host.exec(&["sh", "-c", &run])?;
    eprintln!("{}", output.stdout);
    ensure!(output.code == 0, "{} failed on the host", program.display());
    ensure!(!output.stdout.contains("running 0 tests"), "{} is empty", program.display());
    ensure!(!output.stdout.contains("nothing to test on"), "it did not find what to test");
    Ok(())
}

/// A program of the daemon's tests. Where all tests are run it has been compiled before.
fn built(name: &str) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["test", "--package", "musterd", "--test", name, "--no-run"])
        .arg("--message-format=json")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .context("run cargo")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let messages = String::from_utf8(output.stdout)?;
    let built = messages.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let ours = message.pointer("/target/name")? == name;
        ours.then(|| message.get("executable")?.as_str().map(PathBuf::from)).flatten()
    });
    built.context("cargo named no program")
}
