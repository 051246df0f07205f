//! A libvirt to talk to: the machine's own if it runs, else one started here.
//!
//! One started here lives in a network namespace of its own, so that its bridges and its rules of the firewall are nobody
//! else's, and ends with the run.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use muster_tests::lab::wait_until;

use super::probe::Driver;
use crate::shell::{is_success, program_command, run};

/// The namespace of a libvirt started here.
const NAMESPACE: &str = "muster-vagrant";

/// The daemons.
const LIBVIRT: &str = "/usr/sbin/libvirtd";
const LOGS: &str = "/usr/sbin/virtlogd";

const KVM: &str = "/dev/kvm";

/// Where [`WITHOUT_KVM`] keeps its files.
const HIDDEN: &str = "/run/muster-vagrant";

/// Puts something in the place of a virtualization that does not work, for this daemon alone (`ip netns exec` gives it mounts of
/// its own). It would ask the emulator anew at every call, and take seconds each time, since what ought to work did not. The
/// machines share its `/dev`, then: libvirt cannot make them one of their own around what lies over a file of it.
const WITHOUT_KVM: &str = "umask 077 && mkdir -p \"$1\" && : >\"$1/kvm\" && \
    cp /etc/libvirt/qemu.conf \"$1/qemu.conf\" && echo 'namespaces = []' >>\"$1/qemu.conf\" && \
    mount --bind \"$1/kvm\" /dev/kvm && mount --bind \"$1/qemu.conf\" /etc/libvirt/qemu.conf && exec \"$0\"";

/// libvirt, as long as this lives.
#[derive(Debug)]
pub(crate) struct Hypervisor {
    daemons: Vec<Child>,
}

impl Hypervisor {
    /// Finds or starts it.
    pub(crate) fn start(driver: Driver) -> Result<Self> {
        if is_success(&mut program_command("virsh", &["--connect", "qemu:///system", "version"])) {
            return Ok(Self { daemons: Vec::new() });
        }
        // A directory of systemd's is no proof of it: in a container it may be there without.
        if is_success(&mut program_command("systemctl", &["start", "libvirtd.service"])) {
            return Ok(Self { daemons: Vec::new() });
        }
        if !Path::new("/run/netns").join(NAMESPACE).exists() {
            run(&mut program_command("ip", &["netns", "add", NAMESPACE]))?;
        }
        let mut hypervisor = Self { daemons: Vec::new() };
        run(&mut command_inside("ip", &["link", "set", "lo", "up"]))?;
        let hidden = driver == Driver::Qemu && Path::new(KVM).exists();
        let libvirt = if hidden {
            command_inside("sh", &["-c", WITHOUT_KVM, LIBVIRT, HIDDEN])
        } else {
            command_inside(LIBVIRT, &[])
        };
        for (daemon, mut command) in [(LOGS, command_inside(LOGS, &[])), (LIBVIRT, libvirt)] {
            let child = command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .with_context(|| format!("cannot start {daemon}"))?;
            hypervisor.daemons.push(child);
        }
        wait_until("libvirt", Duration::from_secs(60), || {
            if is_success(
                &mut hypervisor
                    .command_inside("virsh", &["--connect", "qemu:///system", "version"]),
            ) {
                return Ok(());
            }
            bail!("libvirtd does not answer")
        })?;
        Ok(hypervisor)
    }

    /// A command that sees the machines' networks.
    pub(crate) fn command_inside(&self, name: &str, arguments: &[&str]) -> Command {
        if self.daemons.is_empty() {
            program_command(name, arguments)
        } else {
            command_inside(name, arguments)
        }
    }
}

impl Drop for Hypervisor {
    fn drop(&mut self) {
        if self.daemons.is_empty() {
            return;
        }
        for network in ["vagrant-libvirt", "muster"] {
            is_success(&mut command_inside("virsh", &["net-destroy", network]));
            is_success(&mut command_inside("virsh", &["net-undefine", network]));
        }
        for daemon in self.daemons.iter_mut().rev() {
            // `ip netns exec` becomes the program it runs, so this is the daemon's own id.
            is_success(&mut program_command("kill", &[daemon.id().to_string()]));
            let _ = daemon.wait();
        }
        is_success(&mut program_command("ip", &["netns", "del", NAMESPACE]));
        let _ = std::fs::remove_dir_all(HIDDEN);
    }
}

fn command_inside(name: &str, arguments: &[&str]) -> Command {
    let mut command = program_command("ip", &["netns", "exec", NAMESPACE, name]);
    command.args(arguments);
    command
}
