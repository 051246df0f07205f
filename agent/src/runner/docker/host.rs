//! What a container unit's file may ask about this machine, and the clock its life goes by.
//!
//! Owns the look at the kernel and the translation of its words into systemd's.

use std::time::Duration;

use muster_common::container::Host;
use muster_common::machine::MachineId;
use rustix::time::{ClockId, clock_gettime};

/// This machine.
pub(super) fn facts(machine: &MachineId) -> Host {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let uname = rustix::system::uname();
    let name = read("/proc/sys/kernel/hostname");
    Host {
        name: name.trim().to_owned(),
        machine_id: machine.to_string(),
        boot_id: read("/proc/sys/kernel/random/boot_id").trim().replace('-', ""),
        kernel: uname.release().to_string_lossy().into_owned(),
        architecture: architecture(&uname.machine().to_string_lossy()).to_owned(),
    }
}

/// systemd's word for an architecture, `%a`; see `ConditionArchitecture=` in systemd.unit(5).
fn architecture(machine: &str) -> &str {
    match machine {
        "x86_64" => "x86-64",
        "i386" | "i486" | "i586" | "i686" => "x86",
        "aarch64" => "arm64",
        "aarch64_be" => "arm64-be",
        "armv8b" | "armv8l" | "armv7l" | "armv6l" | "armv5tel" => "arm",
        "armv7b" | "armv6b" => "arm-be",
        "ppc64le" => "ppc64-le",
        "ppcle" => "ppc-le",
        "mips64" => "mips64",
        "riscv64" => "riscv64",
        "loongarch64" => "loongarch64",
        other => other,
    }
}

/// The time since the machine booted, which goes on while it sleeps and over a restart of the daemon.
pub(super) fn now() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn architectures_are_systemds() {
        assert_eq!(architecture("x86_64"), "x86-64");
        assert_eq!(architecture("aarch64"), "arm64");
        assert_eq!(architecture("s390x"), "s390x");
    }

    #[test]
    fn a_machine_has_all_its_facts() {
        let facts = facts(&"0123456789abcdef0123456789abcdef".parse().unwrap());
        assert_eq!(facts.machine_id, "0123456789abcdef0123456789abcdef");
        for fact in [&facts.name, &facts.boot_id, &facts.kernel, &facts.architecture] {
            assert!(!fact.is_empty() && fact.trim() == fact, "{facts:?}");
        }
    }
}
