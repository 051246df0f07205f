//! `cargo xtask demo`: three hosts, and what a user gets from Muster on them.

mod acts;
mod reboot;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};
use muster_tests::lab::{Lab, Options};

use crate::install::{self, For};
use crate::story::Story;
use crate::{build, dist, lab};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Which story.
    #[arg(value_enum, default_value_t = Which::Units)]
    story: Which,
    /// Leave the hosts up, and say how to enter them.
    #[arg(long)]
    keep: bool,
    /// What the hosts are called while they are kept.
    #[arg(long, value_name = "NAME", default_value = "demo", requires = "keep", value_parser = lab::parse_name)]
    name: String,
    /// Take musterd and musterctl from here instead of building them.
    #[arg(long, value_name = "DIR")]
    binaries: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    /// Units are placed, moved and forgotten.
    Units,
    /// Three hosts reboot one after the other under a replicated service.
    Reboot,
}

pub(crate) fn demo(arguments: &Arguments) -> Result<()> {
    install::ensure(For::Lab)?;
    let binaries = match &arguments.binaries {
        Some(binaries) => binaries.clone(),
        None => build::release()?,
    };
    let package = dist::package(&binaries)?;
    let mut story = Story::begin();
    let lab =
        story.event("three hosts boot: systemd, etcd, dockerd and musterd on each", || {
            let configuration = match arguments.story {
                Which::Units => String::new(),
                Which::Reboot => reboot::CONFIGURATION.to_owned(),
            };
            let containers = arguments.story == Which::Units;
            let name = arguments.keep.then(|| arguments.name.clone());
            let package = Some(package);
            let options =
                Options { name, package, configuration, containers, ..Options::default() };
            Lab::up(&options)
        })?;
    let told = match arguments.story {
        Which::Units => acts::tell(&mut story, &lab),
        Which::Reboot => reboot::tell(&mut story, &lab),
    };
    if arguments.keep {
        lab.keep()?;
        lab::explain(&arguments.name);
    } else {
        lab.down()?;
    }
    told?;
    story.end()
}
