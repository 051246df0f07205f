//! `cargo xtask demo`: three hosts, and what a user gets from Muster on them.

mod acts;
mod story;

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use muster_tests::lab::{Lab, Options};

use crate::install::{self, For};
use crate::{build, lab};
use story::Story;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Leave the hosts up, and say how to enter them.
    #[arg(long)]
    keep: bool,
    /// Take musterd and musterctl from here instead of building them.
    #[arg(long, value_name = "DIR")]
    binaries: Option<PathBuf>,
}

pub(crate) fn demo(arguments: &Arguments) -> Result<()> {
    install::ensure(For::Lab)?;
    let binaries = match &arguments.binaries {
        Some(binaries) => binaries.clone(),
        None => build::release()?,
    };
    let mut story = Story::begin();
    let lab = story.event("three hosts boot: systemd, etcd and musterd on each", || {
        Lab::up(&Options { binaries: Some(binaries), ..Options::default() })
    })?;
    let told = acts::tell(&mut story, &lab);
    if arguments.keep {
        lab.keep()?;
        lab::explain();
    } else {
        lab.down()?;
    }
    told?;
    story.end()
}
