//! `cargo xtask vagrant`: real virtual machines, with kernels of their own, brought up by what is in vagrant/, and the story
//! of its README told on them.
//!
//! It downloads no box: `vagrant/make-box` makes one of Debian's packages, once. Everything it starts runs in a network
//! namespace of its own and is gone afterwards.

mod hypervisor;
mod machines;
mod probe;
mod tale;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use crate::install::{self, Purpose};
use crate::shell::{checkout_root, program_command, run};
use crate::story::Story;
use crate::{build, dist};
use hypervisor::Hypervisor;
use machines::Machines;
use probe::Driver;

/// Where the box is kept: making it takes minutes.
const CACHE: &str = "/var/cache/muster-vagrant";

#[derive(Debug, Args)]
pub(crate) struct VagrantArguments {
    /// Install this package instead of building one.
    #[arg(long, value_name = "FILE")]
    package: Option<PathBuf>,
    /// Do not try whether the processor's virtualization works, use this.
    #[arg(long, value_enum)]
    driver: Option<Driver>,
    /// Leave the machines up, and say how to reach them.
    #[arg(long)]
    keep: bool,
    /// Only let Vagrant read vagrant/Vagrantfile.
    #[arg(long)]
    validate: bool,
}

pub(crate) fn run_vagrant(arguments: &VagrantArguments) -> Result<()> {
    if arguments.validate {
        return validate_vagrantfile();
    }
    install::ensure_tools(Purpose::Vagrant)?;
    let package = match &arguments.package {
        Some(package) => {
            package.canonicalize().with_context(|| format!("{} is not there", package.display()))?
        }
        None => dist::make_package(&build::build_release()?)?,
    };
    let image = make_box()?;
    let driver = match arguments.driver {
        Some(driver) => driver,
        None => probe::probe_driver(&image)?,
    };
    println!("the machines run with libvirt's driver {}", driver.name());
    let hypervisor = Hypervisor::start(driver)?;
    let machines = Machines::new(&hypervisor, &image, &package, driver)?;
    let mut story = Story::begin();
    let outcome = tale::play_tale(&mut story, &machines);
    if arguments.keep {
        machines.explain_access();
        println!("Enter ends them.");
        std::io::stdin().read_line(&mut String::new())?;
    }
    let destroyed = machines.destroy_all();
    drop(hypervisor);
    outcome?;
    destroyed?;
    story.end()
}

/// Lets Vagrant read vagrant/Vagrantfile; for that it needs no machine and no plugin.
pub(crate) fn validate_vagrantfile() -> Result<()> {
    install::ensure_tools(Purpose::VagrantFile)?;
    machines::validate_vagrantfile()
}

/// The box, made anew when its recipe has changed.
fn make_box() -> Result<PathBuf> {
    let recipe = ["vagrant/make-box", "provision/provision-host"]
        .map(|file| std::fs::read_to_string(checkout_root().join(file)))
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?
        .concat();
    let image = PathBuf::from(CACHE).join(format!("{:016x}.box", fingerprint(&recipe)));
    if image.exists() {
        return Ok(image);
    }
    std::fs::create_dir_all(CACHE).with_context(|| format!("cannot make {CACHE}"))?;
    let making = image.with_extension("making.box");
    run(program_command("vagrant/make-box", &["--output"]).arg(&making))?;
    for extension in ["vmlinuz", "initrd"] {
        std::fs::rename(making.with_extension(extension), image.with_extension(extension))?;
    }
    std::fs::rename(&making, &image)?;
    Ok(image)
}

/// FNV-1a: a name, not a protection, and the same with every compiler.
fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
