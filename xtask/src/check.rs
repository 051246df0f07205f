//! `cargo xtask check`: what can be said about the sources without running them.

use anyhow::Result;

use crate::install::{self, For};
use crate::shell::{cargo, output, program, run, succeeds};

pub(crate) fn run_checks() -> Result<()> {
    install::ensure(For::Check)?;
    run(&mut cargo(&["fmt", "--all", "--check"]))?;
    run(&mut cargo(&["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]))?;
    shell_scripts()?;
    crate::vagrant::validate()?;
    dependencies()
}

pub(crate) fn check() -> Result<()> {
    run_checks()?;
    eprintln!("check: formatting, lints, scripts, the Vagrantfile and dependencies are in order");
    Ok(())
}

/// Every tracked file that says a shell reads it.
fn shell_scripts() -> Result<()> {
    let files = output(&mut program("git", &["ls-files"]))?;
    let top = crate::shell::top();
    let scripts: Vec<&str> = files
        .lines()
        .filter(|file| {
            let head = std::fs::read(top.join(file)).unwrap_or_default();
            let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
            let line = String::from_utf8_lossy(line);
            line.starts_with("#!") && line.ends_with("sh")
        })
        .collect();
    run(&mut program("shellcheck", &scripts))
}

/// Licences, sources, duplicates and known vulnerabilities of the dependencies.
fn dependencies() -> Result<()> {
    // The list of vulnerabilities is fetched over the network, the rest is not. A machine that cannot reach the list still
    // checks the rest, and says what it did not.
    if succeeds(&mut cargo(&["deny", "fetch", "db"])) {
        return run(&mut cargo(&["deny", "check"]));
    }
    eprintln!(
        "warning: the advisory database cannot be fetched; known vulnerabilities are NOT checked"
    );
    run(&mut cargo(&["deny", "check", "bans", "licenses", "sources"]))
}
