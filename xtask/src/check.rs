//! `cargo xtask check`: what can be said about the sources without running them.

use anyhow::Result;

use crate::install::{self, Purpose};
use crate::shell::{cargo_command, is_success, program_command, read_output, run};

pub(crate) fn run_checks() -> Result<()> {
    install::ensure_tools(Purpose::Check)?;
    run(&mut cargo_command(&["fmt", "--all", "--check"]))?;
    run(&mut cargo_command(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "--deny",
        "warnings",
    ]))?;
    check_shell_scripts()?;
    crate::vagrant::validate_vagrantfile()?;
    check_dependencies()
}

pub(crate) fn check() -> Result<()> {
    run_checks()?;
    eprintln!("check: formatting, lints, scripts, the Vagrantfile and dependencies are in order");
    Ok(())
}

/// Every tracked file that says a shell reads it.
fn check_shell_scripts() -> Result<()> {
    let files = read_output(&mut program_command("git", &["ls-files"]))?;
    let top = crate::shell::checkout_root();
    let scripts: Vec<&str> = files
        .lines()
        .filter(|file| {
            let head = std::fs::read(top.join(file)).unwrap_or_default();
            let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
            let line = String::from_utf8_lossy(line);
            line.starts_with("#!") && line.ends_with("sh")
        })
        .collect();
    run(&mut program_command("shellcheck", &scripts))
}

/// Licences, sources, duplicates and known vulnerabilities of the dependencies.
fn check_dependencies() -> Result<()> {
    // The list of vulnerabilities is fetched over the network, the rest is not. A machine that cannot reach the list still
    // checks the rest, and says what it did not.
    if is_success(&mut cargo_command(&["deny", "fetch", "db"])) {
        return run(&mut cargo_command(&["deny", "check"]));
    }
    eprintln!(
        "warning: the advisory database cannot be fetched; known vulnerabilities are NOT checked"
    );
    run(&mut cargo_command(&["deny", "check", "bans", "licenses", "sources"]))
}
