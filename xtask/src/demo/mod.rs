//! `cargo xtask demo`: three hosts, and what a user gets from Muster on them.

mod acts;
mod hosts;
mod podman;
mod reboot;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};
use muster_tests::lab::{Lab, Options, Release};

use crate::story::Story;
use crate::{build, lab};

#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// Which story.
    #[arg(value_enum, default_value_t = DemoPart::Units)]
    story: DemoPart,
    /// Leave the hosts up, and say how to enter them.
    #[arg(long)]
    keep: bool,
    /// What the hosts are called while they are kept.
    #[arg(long, value_name = "NAME", default_value = "demo", requires = "keep", value_parser = lab::parse_name)]
    name: String,
    /// Take musterd and musterctl from here instead of building them.
    #[arg(long, value_name = "DIR")]
    binaries: Option<PathBuf>,
    #[command(flatten)]
    debian: lab::DebianChoice,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DemoPart {
    /// Units are placed, moved and forgotten.
    Units,
    /// Three hosts reboot one after the other under a replicated service.
    Reboot,
}

pub(crate) fn run_demo(arguments: &DemoArguments) -> Result<()> {
    let release = arguments.debian.chosen_release().map_or_else(Release::from_environment, Ok)?;
    let binaries = build::prepare_hosts(arguments.binaries.as_deref(), Some(release))?;
    let containers = arguments.story == DemoPart::Units;
    let podman = containers && release.has_quadlet();
    let engines = match (containers, podman) {
        (true, true) => ", dockerd, Podman",
        (true, false) => ", dockerd",
        (false, _) => "",
    };
    let mut story = Story::begin();
    let lab = story.tell_event(
        &format!("three hosts boot: systemd, etcd{engines} and musterd on each"),
        || {
            let configuration = match arguments.story {
                DemoPart::Units => String::new(),
                DemoPart::Reboot => reboot::CONFIGURATION.to_owned(),
            };
            let name = arguments.keep.then(|| arguments.name.clone());
            let options = Options {
                name,
                binaries: Some(binaries),
                configuration,
                containers,
                podman,
                release: Some(release),
                ..Options::default()
            };
            let lab = Lab::start(&options)?;
            if podman {
                podman::name_image(&lab)?;
            }
            Ok(lab)
        },
    )?;
    let outcome = match arguments.story {
        DemoPart::Units => acts::play_acts(&mut story, &lab, podman),
        DemoPart::Reboot => reboot::play_reboots(&mut story, &lab),
    };
    if arguments.keep {
        lab.keep_running()?;
        lab::explain_lab(&arguments.name);
    } else {
        lab.tear_down()?;
    }
    outcome?;
    story.end()
}
