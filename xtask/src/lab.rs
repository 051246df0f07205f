//! `cargo xtask lab`: the three hosts by themselves, for looking around.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use muster_tests::lab::{Lab, Options};

use crate::install::{self, For};
use crate::{build, dist};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Boot three hosts with Muster and leave them up.
    Up {
        /// Take musterd and musterctl from here instead of building them.
        #[arg(long, value_name = "DIR")]
        binaries: Option<PathBuf>,
        /// Without Muster, only hosts and etcd.
        #[arg(long)]
        bare: bool,
        /// With a Docker engine on each.
        #[arg(long)]
        containers: bool,
    },
    /// Enter a host that was kept: a shell, or a command.
    Enter {
        /// n1, n2 or n3.
        host: String,
        /// What to run instead of a shell.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Cut a kept host's power.
    PowerCut {
        /// n1, n2 or n3.
        host: String,
    },
    /// Switch a kept host on again.
    Boot {
        /// n1, n2 or n3.
        host: String,
    },
    /// List the hosts that were kept.
    List,
    /// Take away every lab that was kept.
    Down,
}

pub(crate) fn lab(arguments: &Arguments) -> Result<()> {
    match &arguments.command {
        Command::Up { binaries, bare, containers } => up(binaries.clone(), *bare, *containers),
        Command::Enter { host, command } => enter(host, command),
        Command::PowerCut { host } => Lab::kept()?.host_named(host)?.power_cut(),
        Command::Boot { host } => Lab::kept()?.host_named(host)?.boot().map(|_| ()),
        Command::List => {
            for host in Lab::all_kept().iter().flat_map(Lab::hosts) {
                let power = if host.is_up() { "up" } else { "down" };
                println!("{}\t{}\t{}\t{power}", host.name(), host.address(), host.machine_id());
            }
            Ok(())
        }
        Command::Down => {
            for lab in Lab::all_kept() {
                lab.down()?;
            }
            Ok(())
        }
    }
}

/// Says how to get into hosts that stay.
pub(crate) fn explain() {
    eprintln!("the hosts are up:");
    eprintln!("  cargo xtask lab enter n1         a shell on n1");
    eprintln!("  cargo xtask lab enter n1 CMD...  a command there");
    eprintln!(
        "  cargo xtask lab power-cut n2     pull n2's cable and plug; `lab boot n2` brings it back"
    );
    eprintln!("  cargo xtask lab down             take them away");
}

fn up(binaries: Option<PathBuf>, bare: bool, containers: bool) -> Result<()> {
    install::ensure(For::Lab)?;
    let package = match (bare, binaries) {
        (true, _) => None,
        (false, Some(binaries)) => Some(dist::package(&binaries)?),
        (false, None) => Some(dist::package(&build::release()?)?),
    };
    Lab::up(&Options { package, containers, ..Options::default() })?.keep()?;
    explain();
    Ok(())
}

fn enter(host: &str, command: &[String]) -> Result<()> {
    let lab = Lab::kept()?;
    let shell = ["bash".to_owned(), "--login".to_owned()];
    let command = if command.is_empty() { &shell } else { command };
    let mut entering = lab.host_named(host)?.command(command)?;
    if let Some(terminal) = std::env::var_os("TERM") {
        entering.env("TERM", terminal);
    }
    // Replaces this process, so that the terminal and the exit code are the command's own.
    bail!("cannot run nsenter: {}", entering.exec())
}
