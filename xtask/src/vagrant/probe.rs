//! Whether the processor's virtualization works, found by booting.
//!
//! `/dev/kvm` being there proves nothing: inside a virtual machine it may be there and guests hang in their first second.

use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::shell::program_command;

/// A kernel that runs natively says this within a second or two.
const SIGN: &str = "Run /init as init process";
const WAIT_LIMIT: Duration = Duration::from_secs(30);

/// The way in which libvirt runs machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Driver {
    /// On the processor.
    Kvm,
    /// In software.
    Qemu,
}

impl Driver {
    /// libvirt's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Qemu => "qemu",
        }
    }
}

/// Boots the box's kernel natively, without a disk, and sees how far it gets.
pub(crate) fn probe_driver(image: &Path) -> Result<Driver> {
    if !Path::new("/dev/kvm").exists() {
        return Ok(Driver::Qemu);
    }
    let mut command =
        program_command("qemu-system-x86_64", &["-machine", "pc,accel=kvm", "-cpu", "host"]);
    command.args(["-m", "512", "-no-reboot", "-nodefaults", "-display", "none"]);
    command.args(["-serial", "stdio", "-append", "console=ttyS0 panic=-1"]);
    command.arg("-kernel").arg(image.with_extension("vmlinuz"));
    command.arg("-initrd").arg(image.with_extension("initrd"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().context("cannot run qemu-system-x86_64")?;
    let came_up = reads_sign(&mut child, SIGN);
    // It may have ended by itself.
    let _ = child.kill();
    child.wait()?;
    Ok(if came_up { Driver::Kvm } else { Driver::Qemu })
}

/// True when a child says this in time.
fn reads_sign(child: &mut Child, sign: &'static str) -> bool {
    let Some(mut output) = child.stdout.take() else { return false };
    let (told, heard) = mpsc::channel();
    thread::spawn(move || {
        let (mut text, mut piece) = (String::new(), [0; 4096]);
        while let Ok(length @ 1..) = output.read(&mut piece) {
            text.push_str(&String::from_utf8_lossy(piece.get(..length).unwrap_or_default()));
            if text.contains(sign) {
                let _ = told.send(());
                return;
            }
        }
    });
    heard.recv_timeout(WAIT_LIMIT).is_ok()
}
