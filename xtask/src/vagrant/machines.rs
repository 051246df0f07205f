//! Vagrant's machines: up, off, on, gone, and what is typed on them.
//!
//! Vagrant itself is asked only for what is its own; commands go over ssh, for `vagrant ssh` takes seconds to begin.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use muster_tests::lab::Output;

use super::hypervisor::Hypervisor;
use super::probe::Driver;
use crate::build;
use crate::shell::{checkout_root, program_command, read_output, run};
use crate::story::Place;

/// The machines that come up by themselves.
pub(crate) const NAMES: [&str; 3] = ["n1", "n2", "n3"];

/// The name under which the box is added.
const BOX: &str = "muster/debian12";

/// The machines, and how Vagrant is told of them.
#[derive(Debug)]
pub(crate) struct Machines<'a> {
    hypervisor: &'a Hypervisor,
    home: PathBuf,
    environment: Vec<(&'static str, String)>,
}

/// One machine.
#[derive(Debug)]
pub(crate) struct Machine<'a> {
    machines: &'a Machines<'a>,
    name: String,
}

/// Lets Vagrant read the file of the machines.
pub(crate) fn validate_vagrantfile() -> Result<()> {
    let home = build::target_directory()?.join("vagrant");
    std::fs::create_dir_all(&home)?;
    let mut command = program_command("vagrant", &["validate", "--ignore-provider"]);
    command.current_dir(checkout_root().join("vagrant")).env("VAGRANT_HOME", &home);
    command.env("VAGRANT_DOTFILE_PATH", home.join("machines")).env("VAGRANT_NO_PLUGINS", "1");
    run(&mut command)
}

impl<'a> Machines<'a> {
    /// Machines of this box, which are not up yet.
    pub(crate) fn new(
        hypervisor: &'a Hypervisor,
        image: &Path,
        package: &Path,
        driver: Driver,
    ) -> Result<Self> {
        let home = build::target_directory()?.join("vagrant");
        std::fs::create_dir_all(&home)?;
        let environment = vec![
            ("VAGRANT_HOME", home.to_string_lossy().into_owned()),
            ("VAGRANT_DOTFILE_PATH", home.join("machines").to_string_lossy().into_owned()),
            ("VAGRANT_CHECKPOINT_DISABLE", "1".to_owned()),
            ("VAGRANT_NO_COLOR", "1".to_owned()),
            ("VAGRANT_DEFAULT_PROVIDER", "libvirt".to_owned()),
            ("MUSTER_BOX", BOX.to_owned()),
            ("MUSTER_PACKAGE", package.to_string_lossy().into_owned()),
            ("MUSTER_DRIVER", driver.name().to_owned()),
        ];
        let machines = Self { hypervisor, home, environment };
        let add = ["box", "add", "--force", "--provider", "libvirt", "--name", BOX];
        run(machines.vagrant_command(&add).arg(image))?;
        Ok(machines)
    }

    /// `vagrant up`, and how to reach what is up.
    pub(crate) fn boot_all(&self, names: &[&str]) -> Result<()> {
        run(self.vagrant_command(&["up"]).args(names))?;
        self.read_ssh_configuration(names)
    }

    /// Pulls the plug.
    pub(crate) fn power_off(&self, name: &str) -> Result<()> {
        run(&mut self.vagrant_command(&["halt", "--force", name]))
    }

    /// Takes them away, with their disks and their networks.
    pub(crate) fn destroy_all(&self) -> Result<()> {
        run(&mut self.vagrant_command(&["destroy", "--force"]))?;
        run(&mut self.vagrant_command(&["box", "remove", "--force", BOX]))?;
        // The copy that libvirt made of it.
        let virsh = |arguments: &[&str]| {
            let mut command =
                self.hypervisor.command_inside("virsh", &["--connect", "qemu:///system"]);
            command.args(arguments);
            read_output(&mut command)
        };
        let list = virsh(&["vol-list", "default"])?;
        for volume in list.lines().filter_map(|line| line.split_whitespace().next()) {
            if volume.starts_with("muster-VAGRANTSLASH-debian12") {
                virsh(&["vol-delete", volume, "default"])?;
            }
        }
        Ok(())
    }

    /// One of them.
    pub(crate) fn machine_of(&'a self, name: &str) -> Machine<'a> {
        Machine { machines: self, name: name.to_owned() }
    }

    /// Says how to reach them.
    pub(crate) fn explain_access(&self) {
        let line = describe(&self.ssh_command("n1"));
        println!("The machines are up. On another terminal: {line}");
    }

    fn read_ssh_configuration(&self, besides: &[&str]) -> Result<()> {
        // Asked of all at once it would fail for those that are not to be up.
        let mut configuration = String::new();
        for name in NAMES.iter().chain(besides.iter().filter(|name| !NAMES.contains(name))) {
            configuration += &read_output(&mut self.vagrant_command(&["ssh-config", name]))?;
        }
        let path = self.ssh_configuration();
        std::fs::write(&path, configuration)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    fn ssh_configuration(&self) -> PathBuf {
        self.home.join("ssh-config")
    }

    fn ssh_command(&self, name: &str) -> Command {
        let mut command = self.hypervisor.command_inside("ssh", &["-F"]);
        command.arg(self.ssh_configuration()).args(["-o", "ConnectTimeout=20", name]);
        command
    }

    fn vagrant_command(&self, arguments: &[&str]) -> Command {
        let mut command = self.hypervisor.command_inside("vagrant", arguments);
        command.current_dir(checkout_root().join("vagrant")).stdin(Stdio::null());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

impl Place for Machine<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn run_line(&self, line: &str) -> Result<Output> {
        let begin = Instant::now();
        let mut command = self.machines.ssh_command(&self.name);
        let output = command
            .arg(format!("sudo sh -c {}", quote_word(line)))
            .stdin(Stdio::null())
            .output()
            .context("cannot run ssh")?;
        let Some(code) = output.status.code() else { bail!("ssh: {}", output.status) };
        Ok(Output {
            code,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            took: begin.elapsed(),
        })
    }
}

/// One word of a shell's.
fn quote_word(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}
