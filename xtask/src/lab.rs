//! `cargo xtask lab`: the three hosts by themselves, for looking around.

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use muster_tests::lab::{KeptLab, Lab, Options, RELEASE_VARIABLE, Release};

use crate::build;
use crate::install::{self, Purpose};

#[derive(Debug, Args)]
pub(crate) struct LabArguments {
    #[command(subcommand)]
    command: LabCommand,
}

#[derive(Debug, Subcommand)]
enum LabCommand {
    /// Boot three hosts with Muster and leave them up.
    Up {
        /// What the lab is called; several can be up at once.
        #[arg(long, value_name = "NAME", default_value = "lab", value_parser = parse_name)]
        name: String,
        /// Take musterd and musterctl from here instead of building them.
        #[arg(long, value_name = "DIR")]
        binaries: Option<PathBuf>,
        /// Without Muster, only hosts and etcd.
        #[arg(long)]
        bare: bool,
        /// With a Docker engine on each.
        #[arg(long)]
        containers: bool,
        /// With a Podman on each.
        #[arg(long)]
        podman: bool,
        #[command(flatten)]
        debian: DebianChoice,
    },
    /// Enter a host that was kept: a shell, or a command.
    Enter {
        #[command(flatten)]
        which: LabChoice,
        /// n1, n2 or n3.
        host: String,
        /// What to run instead of a shell.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Cut a kept host's power.
    PowerCut {
        #[command(flatten)]
        which: LabChoice,
        /// n1, n2 or n3.
        host: String,
    },
    /// Switch a kept host on again.
    Boot {
        #[command(flatten)]
        which: LabChoice,
        /// n1, n2 or n3.
        host: String,
    },
    /// List the hosts that were kept, of every checkout on this machine.
    List,
    /// Take away the labs that this checkout made, or those with these names.
    Down {
        /// What they are called.
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        /// Every lab that was kept on this machine, whoever made it.
        #[arg(long, conflicts_with = "names")]
        all: bool,
    },
}

/// Which Debian hosts are made of.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct DebianChoice {
    /// The release of Debian that the hosts run: 12 or 13.
    #[arg(long, value_name = "RELEASE")]
    debian: Option<Release>,
}

impl DebianChoice {
    /// The release that was asked for.
    pub(crate) fn chosen_release(self) -> Option<Release> {
        self.debian
    }

    /// Has the tests that a command runs use it.
    pub(crate) fn pass_to(self, command: &mut std::process::Command) {
        command.envs(self.debian.map(|release| (RELEASE_VARIABLE, release.release_number())));
    }
}

/// Which of several kept labs is meant.
#[derive(Debug, Args)]
struct LabChoice {
    /// What it is called; needed only where several are kept.
    #[arg(long = "lab", value_name = "NAME")]
    name: Option<String>,
}

impl LabChoice {
    fn find(&self) -> Result<Lab> {
        Ok(Lab::find_kept(self.name.as_deref())?.lab)
    }
}

pub(crate) fn run_lab(arguments: &LabArguments) -> Result<()> {
    match &arguments.command {
        LabCommand::Up { name, binaries, bare, containers, podman, debian } => {
            let options = Options {
                name: Some(name.clone()),
                binaries: find_programs(*bare, binaries.as_deref(), debian.chosen_release())?,
                containers: *containers,
                podman: *podman,
                release: debian.chosen_release(),
                ..Options::default()
            };
            boot_lab(name, &options)
        }
        LabCommand::Enter { which, host, command } => enter_host(which, host, command),
        LabCommand::PowerCut { which, host } => which.find()?.host_named(host)?.power_cut(),
        LabCommand::Boot { which, host } => which.find()?.host_named(host)?.power_on().map(|_| ()),
        LabCommand::List => {
            list_hosts();
            Ok(())
        }
        LabCommand::Down { names, all } => take_down(names, *all),
    }
}

/// A name people type: short, and the same in a shell, a path and a table.
pub(crate) fn parse_name(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    // Longer ones only make the list unreadable.
    if text.is_empty() || text.len() > 32 || !text.chars().all(fits) || text.starts_with('-') {
        return Err("expected up to 32 lower-case letters, digits and dashes".to_owned());
    }
    Ok(text.to_owned())
}

fn list_hosts() {
    for kept in Lab::all_kept() {
        for host in kept.lab.hosts() {
            let power = if host.is_up() { "up" } else { "down" };
            let (name, address, id) = (host.name(), host.address(), host.machine_id());
            let whose = if kept.own { String::new() } else { format!("\tof {}", kept.checkout) };
            println!("{}\t{name}\t{address}\t{id}\t{power}{whose}", kept.name);
        }
    }
}

fn take_down(names: &[String], all: bool) -> Result<()> {
    let doomed: Vec<KeptLab> = if names.is_empty() {
        Lab::all_kept().into_iter().filter(|kept| all || kept.own).collect()
    } else {
        // All are found before any is taken away, so that a misspelt name loses nothing.
        let names: BTreeSet<&String> = names.iter().collect();
        names.into_iter().map(|name| Lab::find_kept(Some(name))).collect::<Result<_>>()?
    };
    for kept in doomed {
        kept.lab.tear_down()?;
        eprintln!("lab {} is gone", kept.name);
    }
    let left = Lab::all_kept();
    if !left.is_empty() {
        let left: Vec<String> = left.iter().map(KeptLab::to_string).collect();
        eprintln!("still kept: {}", left.join(", "));
    }
    Ok(())
}

/// Says how to get into hosts that stay.
pub(crate) fn explain_lab(name: &str) {
    let several = Lab::all_kept().into_iter().filter(|kept| kept.own).count() > 1;
    let which = if several { format!("--lab {name} ") } else { String::new() };
    eprintln!("the hosts are up:");
    eprintln!("  cargo xtask lab enter {which}n1         a shell on n1");
    eprintln!("  cargo xtask lab enter {which}n1 CMD...  a command there");
    eprintln!(
        "  cargo xtask lab power-cut {which}n2     pull n2's cable and plug; `lab boot {which}n2` brings it back"
    );
    eprintln!("  cargo xtask lab down {name:<18} take them away");
}

/// The programs that hosts are to run, unless they are to be bare.
fn find_programs(
    bare: bool,
    binaries: Option<&Path>,
    release: Option<Release>,
) -> Result<Option<PathBuf>> {
    if bare {
        install::ensure_tools(Purpose::Lab)?;
        return Ok(None);
    }
    build::prepare_hosts(binaries, release).map(Some)
}

fn boot_lab(name: &str, options: &Options) -> Result<()> {
    Lab::start(options)?.keep_running()?;
    explain_lab(name);
    Ok(())
}

fn enter_host(which: &LabChoice, host: &str, command: &[String]) -> Result<()> {
    let lab = which.find()?;
    let shell = ["bash".to_owned(), "--login".to_owned()];
    let command = if command.is_empty() { &shell } else { command };
    let mut entering = lab.host_named(host)?.command_on(command)?;
    if let Some(terminal) = std::env::var_os("TERM") {
        entering.env("TERM", terminal);
    }
    // Replaces this process, so that the terminal and the exit code are the command's own.
    bail!("cannot run nsenter: {}", entering.exec())
}
