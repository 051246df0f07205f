//! The suite that every runner must pass, against the systemd of a real host.
//!
//! `agent/tests/runner_conformance.rs` runs everywhere against the runner in memory. Here the same program runs as root
//! inside a host, where it may start, break and re-execute things.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use muster_tests::lab::{Lab, Options};

/// Where the program goes on the host.
const PLACE: &str = "/root/runner_conformance";

#[test]
fn the_systemd_runner_does_what_every_runner_must() -> Result<()> {
    let program = std::fs::read(built()?).context("read the suite")?;
    let lab = Lab::up(&Options { hosts: 1, etcd: false, ..Options::default() })?;
    let host = lab.host(0)?;
    let put = format!("cat > {PLACE} && chmod +x {PLACE}");
    host.exec_with_input(&["sh", "-c", &put], &program)?.success()?;
    // One at a time: one of them makes systemd execute itself anew.
    let run = format!("MUSTER_CONFORMANCE=systemd {PLACE} --test-threads=1 2>&1");
    let output = host.exec(&["sh", "-c", &run])?;
    eprintln!("{}", output.stdout);
    ensure!(output.code == 0, "the suite failed on the host");
    ensure!(!output.stdout.contains("running 0 tests"), "the suite is empty");
    lab.down()
}

/// The suite's program. Where all tests are run it has been compiled before.
fn built() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["test", "--package", "musterd", "--test", "runner_conformance", "--no-run"])
        .arg("--message-format=json")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .context("run cargo")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let messages = String::from_utf8(output.stdout)?;
    let built = messages.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let ours = message.pointer("/target/name")? == "runner_conformance";
        ours.then(|| message.get("executable")?.as_str().map(PathBuf::from)).flatten()
    });
    built.context("cargo named no program")
}
